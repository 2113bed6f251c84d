"""Stopping one thread at one statement, so that another meets it there."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from tandem_platform.storage import Database

PATIENCE = 20.0
"""Seconds after which a thread that should have come has not."""


class Worker(threading.Thread):
    """Runs *work* once and keeps what it raised."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.raised: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as raised:  # noqa: BLE001 - handed to whoever joins
            self.raised = raised

    def ends(self) -> None:
        self.join(PATIENCE)
        assert not self.is_alive(), "a thread hangs"
        if self.raised is not None:
            raise self.raised


class Pause:
    """Where a thread stops, once."""

    def __init__(self, statement: str) -> None:
        self.statement = statement
        self.thread: threading.Thread | None = None
        self._reached = threading.Event()
        self._over = threading.Event()

    def __call__(self, _c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        mine = threading.current_thread() is self.thread and not self._reached.is_set()
        if mine and " ".join(statement.split()).startswith(self.statement):
            self._reached.set()
            self._over.wait(PATIENCE)

    def is_reached(self) -> None:
        assert self._reached.wait(PATIENCE), f"nobody came to {self.statement}"

    def ends(self) -> None:
        self._over.set()


@contextmanager
def paused_at(database: Database, statement: str, work: Callable[[], Any]) -> Iterator[tuple[Worker, Pause]]:
    """*work* on a thread of its own, stopped after its first *statement* until the pause or the block ends."""
    pause = Pause(statement)
    worker = Worker(work)
    pause.thread = worker
    event.listen(database.engine, "after_cursor_execute", pause)
    worker.start()
    try:
        pause.is_reached()
        yield worker, pause
        pause.ends()
        worker.ends()
    finally:
        pause.ends()
        event.remove(database.engine, "after_cursor_execute", pause)


def meets(worker: Worker, pause: Pause, other: Callable[[], Any], seconds: float = 1.5) -> None:
    """*other* runs into the paused *worker*: it gets *seconds* to come through, then the pause ends, and both do."""
    second = Worker(other)
    second.start()
    second.join(seconds)
    pause.ends()
    worker.ends()
    second.ends()
