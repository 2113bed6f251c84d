"""A TCP proxy on loopback that stands for a network: it can be cut, lose what passes, be slow, and break connections."""

import contextlib
import socket
import struct
import threading
import time

from tandem_platform.broker.embedded import LOOPBACK, free_port

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards *port* to *target_port* until it is hurt; `heal` ends what hung and forwards anew.

    target_port may be changed; connections that are open stay where they are.
    """

    def __init__(self, target_port: int, port: int | None = None) -> None:
        self.port = port or free_port()
        self.target_port = target_port
        self.delay = 0.0
        """Seconds by which each piece is held up, in both directions."""
        self.forwarded = 0
        """Pieces passed on. As with the counts below: only what really happened."""
        self.delayed = 0
        self.vanished = 0
        """Pieces that were sent and never arrived, and connections opened to nobody."""
        self.refused = 0
        self._open = threading.Event()
        self._open.set()
        self._losing = False
        self._refusing = False
        self._closed = False
        self._pairs: list[tuple[socket.socket, socket.socket | None]] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server((LOOPBACK, self.port))
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def cut(self) -> None:
        """Connections stay open and nothing passes; what is sent meanwhile waits."""
        self._open.clear()

    def lose(self) -> None:
        """Half open: connections stay, more can be made, and whatever is sent is gone."""
        self._losing = True

    def refuse(self) -> None:
        """Break every connection, and let none be made."""
        self._refusing = True
        self.reset()

    def reset(self) -> int:
        """Break every connection, as a router does that has forgotten them. How many there were."""
        pairs = self._taken()
        for client, server in pairs:
            _break(client)
            if server is None:
                # Nobody reads from it who would close it.
                client.close()
            else:
                _break(server)
        return len(pairs)

    def heal(self) -> None:
        for pair in self._taken():
            for end in pair:
                if end is not None:
                    _close(end)
        self._losing = self._refusing = False
        self.delay = 0.0
        self._open.set()

    def close(self) -> None:
        self._closed = True
        self.heal()
        _close(self._listener)

    def _taken(self) -> list[tuple[socket.socket, socket.socket | None]]:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        return [pair for pair in pairs if any(end is not None and end.fileno() >= 0 for end in pair)]

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                self.refused += 1
                _break(client)
                client.close()
                continue
            if self._losing or not self._open.is_set():
                self.vanished += self._losing
                with self._lock:
                    self._pairs.append((client, None))
                continue
            try:
                server = socket.create_connection((LOOPBACK, self.target_port), timeout=2)
            except OSError:
                _close(client)
                continue
            server.settimeout(None)
            with self._lock:
                self._pairs.append((client, server))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while received := source.recv(65536):
                self._open.wait()
                if self._losing:
                    self.vanished += 1
                    continue
                if self.delay:
                    self.delayed += 1
                    time.sleep(self.delay)  # a slow line is what this is
                sink.sendall(received)
                self.forwarded += 1
        _close(source)
        _close(sink)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        if end.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_RESET_ON_CLOSE)) != _RESET_ON_CLOSE:
            end.shutdown(socket.SHUT_RDWR)
    end.close()


def _break(end: socket.socket) -> None:
    """Closing it sends a reset. Whoever waits in `recv` is woken first, because the kernel closes nothing that is in use."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        end.shutdown(socket.SHUT_RD)
