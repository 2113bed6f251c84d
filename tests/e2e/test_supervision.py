"""Members as processes: ready when they listen, drained when asked, back after a kill."""

import contextlib
import os
import signal
import socket
import time

import pytest

from tandem_ops.console import Exit, Stop
from tandem_ops.network.plan import Layout, free_ports
from tandem_ops.network.process import MemberDidNotStart, MemberProcess
from tandem_ops.network.supervision import Interruptions, interruptions, supervise

MEMBER = """
import os, signal, socket, sys

def drain(*_):
    print("drained", flush=True)
    sys.exit(0)

signal.signal(signal.SIGTERM, drain)
server = socket.create_server(("127.0.0.1", int(os.environ["TANDEM_PORT"])))
print("listening", os.environ.get("TANDEM_SECRET"), flush=True)
while True:
    server.accept()[0].close()
"""


@pytest.fixture
def member(tmp_path, monkeypatch):
    (tmp_path / "toy_member.py").write_text(MEMBER)
    monkeypatch.setenv("TANDEM_SECRET", "of the one who starts it")
    (port,) = free_ports(1)
    settings = {"PYTHONPATH": str(tmp_path), "TANDEM_PORT": str(port)}
    member = MemberProcess("toy", "toy_member", settings, port=port, log=tmp_path / "logs" / "toy.log")
    yield member
    member.kill()


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def test_a_member_is_ready_when_it_listens_and_drains_when_asked(member):
    member.start()
    member.await_ready(20)
    assert answers(member.port)
    assert member.stop(10)
    assert not answers(member.port)
    assert member.log.read_text() == "listening None\ndrained\n"


def test_a_killed_member_starts_again_at_the_same_address(member):
    member.start()
    member.await_ready(20)
    first = member.pid
    member.kill()
    assert not answers(member.port)
    member.start()
    member.await_ready(20)
    assert member.pid != first
    assert answers(member.port)


def test_a_member_that_ends_is_told_with_the_end_of_its_log(tmp_path):
    (tmp_path / "failing_member.py").write_text("raise SystemExit('TANDEM_HUB_TARGET is missing')")
    settings = {"PYTHONPATH": str(tmp_path)}
    member = MemberProcess("toy", "failing_member", settings, port=1, log=tmp_path / "toy.log")
    member.start()
    with pytest.raises(MemberDidNotStart, match="TANDEM_HUB_TARGET is missing"):
        member.await_ready(20)


def test_the_first_interruption_drains_and_the_second_forces():
    with interruptions() as noted:
        os.kill(os.getpid(), signal.SIGINT)
        assert noted.drain.wait(5)
        assert not noted.force.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert noted.force.wait(5)


class Falling:
    """A network of one member that falls whenever it is looked at."""

    def __init__(self, layout):
        self.layout = layout
        self.revived = 0

    def revive(self):
        self.revived += 1
        return ["toy"]


def test_what_falls_again_and_again_is_given_up(tmp_path):
    told: list[str] = []
    network = Falling(Layout(tmp_path))
    with pytest.raises(Stop) as stop:
        supervise(network, Interruptions(), told.append)  # type: ignore[arg-type]
    assert stop.value.code is Exit.FINDING
    assert network.revived == len(told) == 5


def test_supervision_ends_when_it_is_interrupted(tmp_path):
    noted = Interruptions()
    noted.drain.set()
    began = time.monotonic()
    supervise(Falling(None), noted, lambda text: None)  # type: ignore[arg-type]
    assert time.monotonic() - began < 1
