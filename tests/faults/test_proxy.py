"""The network of the fault suites does to connections what it says."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from support.proxy import Proxy
from tandem_platform.broker.embedded import LOOPBACK

Dial = Callable[[], socket.socket]


@pytest.fixture
def line() -> Iterator[Proxy]:
    """In front of somebody who says everything back."""
    listener = socket.create_server((LOOPBACK, 0))

    def echo(peer: socket.socket) -> None:
        with peer:
            try:
                while heard := peer.recv(4096):
                    peer.sendall(heard)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    made = Proxy(listener.getsockname()[1])
    yield made
    made.close()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def dial(line: Proxy) -> Iterator[Dial]:
    made: list[socket.socket] = []

    def connect() -> socket.socket:
        made.append(socket.create_connection((LOOPBACK, line.port), timeout=5))
        return made[-1]

    yield connect
    for each in made:
        each.close()


def _says_back(peer: socket.socket, word: bytes) -> bool:
    peer.sendall(word)
    return peer.recv(100) == word


def _is_silent(peer: socket.socket) -> bool:
    peer.settimeout(0.3)
    try:
        peer.recv(100)
    except TimeoutError:
        return True
    finally:
        peer.settimeout(5)
    return False


def test_a_cut_line_keeps_what_is_sent_until_it_is_healed(line: Proxy, dial: Dial) -> None:
    peer = dial()
    assert _says_back(peer, b"one")
    line.cut()
    peer.sendall(b"two")
    assert _is_silent(peer)
    assert line.vanished == 0
    line.heal()
    assert _says_back(dial(), b"three")


def test_on_a_half_open_line_connections_stay_and_what_is_sent_is_gone(line: Proxy, dial: Dial) -> None:
    peer = dial()
    assert _says_back(peer, b"one")
    line.lose()
    peer.sendall(b"two")
    assert _is_silent(peer)
    assert line.vanished == 1
    assert _is_silent(dial())
    line.heal()
    assert peer.recv(100) == b""
    assert _says_back(dial(), b"three")


def test_a_refusing_line_breaks_connections_and_lets_none_be_made(line: Proxy, dial: Dial) -> None:
    peer = dial()
    assert _says_back(peer, b"one")
    line.refuse()
    with pytest.raises(ConnectionResetError):
        peer.recv(100)
    with pytest.raises(ConnectionResetError):
        dial().recv(100)
    assert line.refused == 1
    line.heal()
    assert _says_back(dial(), b"two")


def test_a_reset_breaks_what_is_open_and_nothing_else(line: Proxy, dial: Dial) -> None:
    peer = dial()
    assert _says_back(peer, b"one")
    assert line.reset() == 1
    with pytest.raises(ConnectionResetError):
        peer.recv(100)
    assert line.reset() == 0
    assert _says_back(dial(), b"two")


def test_a_slow_line_holds_every_piece_up(line: Proxy, dial: Dial) -> None:
    peer = dial()
    line.delay = 0.4
    peer.sendall(b"one")
    assert _is_silent(peer)
    assert peer.recv(100) == b"one"
    assert line.delayed == 2
