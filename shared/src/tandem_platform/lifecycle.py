"""The life of a process: loops in threads, a signal, a drain, an exit code."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tandem_platform.storage.wakeup import Wakeup

_log = logging.getLogger(__name__)

LONGEST_PAUSE = 5.0
DRAIN_SECONDS = 8.0


@dataclass
class Loop:
    """Steps one part until the process ends.

    step: True if there may be more to do at once.
    idle: seconds to wait when there is not; a commit ends the wait early if *wakeup* is given.
    rest: seconds to wait after every step, more or not.
    A step that fails is tried again, ever more slowly; its fault shows in the health of the process.
    """

    name: str
    step: Callable[[], bool]
    idle: float = 1.0
    wakeup: Wakeup | None = None
    rest: Callable[[], float] | None = None
    fault: str = ""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pause = 0.1
        while not self._stop.is_set():
            seen = self.wakeup.count if self.wakeup else 0
            try:
                more = self.step()
            except Exception as fault:  # noqa: BLE001 - a loop outlives whatever one step does
                if not self.fault:
                    _log.error("loop failed", extra={"loop": self.name, "fault": type(fault).__name__})
                self.fault = type(fault).__name__
                self._stop.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            if self.fault:
                _log.info("loop recovered", extra={"loop": self.name})
            self.fault, pause = "", 0.1
            if self.rest is not None:
                self._stop.wait(self.rest())
            if more or self.idle == 0:
                continue
            if self.wakeup is None:
                self._stop.wait(self.idle)
            else:
                self.wakeup.wait(seen, self.idle)

    def stop(self) -> None:
        self._stop.set()
        if self.wakeup is not None:
            self.wakeup.notify()

    def join(self, until: float) -> bool:
        """Whether it ended by *until*, an instant of time.monotonic()."""
        if self._thread is None:
            return True
        self._thread.join(max(0.0, until - time.monotonic()))
        return not self._thread.is_alive()


def share_the_interpreter() -> None:
    """Let threads take turns ten times as often as Python has them do.

    A service's threads mostly wait for a database: with Python's 5 ms, each answer would wait that long for a busy neighbour,
    and a transaction of twenty statements a tenth of a second.
    """
    sys.setswitchinterval(0.0005)


class Ending:
    """The process's end: the first signal asks for it, a second one forces it."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def listen(self) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._on_signal)

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._asked.is_set():
            # Nothing is lost: what was not committed did not happen.
            raise SystemExit(128 + number)
        self._asked.set()

    def ask(self) -> None:
        self._asked.set()

    def wait(self) -> None:
        # In slices, because a wait without end keeps Python's signal handlers from running on some platforms.
        while not self._asked.wait(0.5):
            pass


def drain(loops: list[Loop], seconds: float = DRAIN_SECONDS) -> bool:
    """Stop all loops. Whether all ended in time."""
    until = time.monotonic() + seconds
    for loop in loops:
        loop.stop()
    ended = [loop.join(until) for loop in loops]
    return all(ended)
