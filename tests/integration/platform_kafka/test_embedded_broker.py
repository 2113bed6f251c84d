"""The embedded broker starts by itself, stays on loopback, and ends with whoever started it."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from integration.platform_kafka.stage import eventually

from tandem_platform.broker.embedded import LOOPBACK, BrokerDidNotStart, EmbeddedBroker
from tandem_platform.broker.leash import LeashedProcess

START_AND_WAIT = """
import sys, time
from pathlib import Path
from tandem_platform.broker.embedded import EmbeddedBroker
broker = EmbeddedBroker(log=Path(sys.argv[1])).start()
print(broker.pid, flush=True)
time.sleep(600)
"""


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_it_listens_on_loopback_only(tmp_path: Path) -> None:
    with EmbeddedBroker(log=tmp_path / "log") as broker:
        listening = [
            connection.laddr.ip
            for connection in psutil.Process(broker.pid).net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]

    assert listening == [LOOPBACK]


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:
        assert parent.stdout is not None
        broker = int(parent.stdout.readline())
        assert not gone(broker)

        parent.send_signal(signal.SIGKILL)

    eventually("the broker ended", lambda: gone(broker), within=5)


def test_it_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    broker = EmbeddedBroker(log=tmp_path / "log")
    starting = threading.Thread(target=broker.start)
    starting.start()
    starting.join()

    assert broker.running()
    broker.kill()
    assert not broker.running()


def test_it_starts_again_at_the_same_address(tmp_path: Path) -> None:
    with EmbeddedBroker(log=tmp_path / "log") as broker:
        address, first = broker.bootstrap, broker.pid
        broker.kill()

        broker.start()

        assert broker.bootstrap == address
        assert broker.pid != first


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with (
        EmbeddedBroker(log=tmp_path / "one") as broker,
        pytest.raises(BrokerDidNotStart, match=str(broker.port)),
    ):
        EmbeddedBroker(broker.port, log=tmp_path / "two").start()


def test_starting_twice_changes_nothing(tmp_path: Path) -> None:
    with EmbeddedBroker(log=tmp_path / "log") as broker:
        first = broker.pid

        broker.start()

        assert broker.pid == first


def test_a_leashed_process_that_ends_by_itself_leaves_its_output(tmp_path: Path) -> None:
    process = LeashedProcess(["/bin/sh", "-c", "echo spoken"], log=tmp_path / "log")
    eventually("it ended", lambda: not process.running())
    process.kill()

    assert (tmp_path / "log").read_text() == "spoken\n"


def test_a_leashed_process_that_will_not_end_is_killed(tmp_path: Path) -> None:
    process = LeashedProcess(["/bin/sh", "-c", "trap '' TERM; echo up; sleep 600"], log=tmp_path / "log")
    eventually("it traps the signal", lambda: (tmp_path / "log").read_text() == "up\n")

    assert process.terminate(timeout=0.2) is False
    assert not process.running()
