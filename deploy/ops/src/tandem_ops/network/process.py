"""One member of the network as a child process."""

import contextlib
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tandem_platform.broker.leash import LeashedProcess, last_lines

_DRAIN = 20.0


class MemberDidNotStart(Exception):
    """The process ended, or did not listen in time. The message carries the end of its log."""


class MemberProcess:
    """A service of Tandem's, started as `python -m <module>` with settings from its environment alone.

    `start` after `kill` or `stop` gives the same member at the same address.
    """

    def __init__(self, name: str, module: str, settings: Mapping[str, str], *, port: int, log: Path) -> None:
        """*port* of the loopback interface is listened on once the member is ready to be called."""
        self.name = name
        self.port = port
        self.log = log
        self._command = [sys.executable, "-m", module]
        self._settings = dict(settings)
        self._process: LeashedProcess | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Begin to start; `await_ready` tells when it is done. Starting a running member changes nothing."""
        if self.running():
            return
        self.kill()  # what is left of one that ended by itself
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._process = LeashedProcess(self._command, log=self.log, environment=_inherited() | self._settings)

    def await_ready(self, timeout: float) -> None:
        """Raises MemberDidNotStart, and ends the process, if it does not listen within *timeout* seconds."""
        deadline = time.monotonic() + timeout
        while self.running() and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        state = f"did not listen on port {self.port} within {timeout:g} s" if self.running() else "ended"
        self.kill()
        raise MemberDidNotStart(f"{self.name} {state}. The end of {self.log}:\n{last_lines(self.log, 12)}")

    def running(self) -> bool:
        return self._process is not None and self._process.running()

    def stop(self, timeout: float = _DRAIN) -> bool:
        """Let it finish what it has begun. False if it had to be killed after *timeout* seconds."""
        if self._process is None:
            return True
        process, self._process = self._process, None
        return process.terminate(timeout)

    def kill(self) -> None:
        """What a power failure looks like."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def freeze(self) -> None:
        """Stop it without closing its connections: what a hung machine looks like."""
        if self._process is not None:
            self._process.freeze()

    def thaw(self) -> None:
        if self._process is not None:
            self._process.thaw()


def _inherited() -> dict[str, str]:
    """What a process needs of its surroundings, and none of this one's own settings."""
    kept = ("PATH", "PYTHONPATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONUNBUFFERED": "1"}
