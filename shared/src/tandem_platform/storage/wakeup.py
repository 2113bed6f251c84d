"""Waking whoever waits for a commit, in this process and in others."""

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import psycopg
from sqlalchemy.engine import URL

CHANNEL = "tandem_commit"


class Wakeup:
    """A counter of commits that threads wait on.

    A waiter passes the count that it has seen, so that a commit between its last look and its wait is never missed.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    @property
    def count(self) -> int:
        return self._count

    def notify(self) -> None:
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait(self, seen: int, timeout: float) -> int:
        """Return the present count: at once if it is not *seen*, else when it moves or after *timeout* seconds."""
        with self._condition:
            self._condition.wait_for(lambda: self._count != seen, timeout)
            return self._count


class Wakeups:
    """A `Wakeup` for each topic, so that a commit wakes those whom it concerns and nobody else. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_topic: defaultdict[str, Wakeup] = defaultdict(Wakeup)

    def of(self, topic: str) -> Wakeup:
        with self._lock:
            return self._by_topic[topic]

    def notify(self, topics: Iterable[str]) -> None:
        """Topics that nobody has asked for have nobody waiting."""
        with self._lock:
            found = [self._by_topic[topic] for topic in topics if topic in self._by_topic]
        for each in found:
            each.notify()

    def notify_all(self) -> None:
        with self._lock:
            everyone = list(self._by_topic.values())
        for each in everyone:
            each.notify()


_LONGEST_PAYLOAD = 7_900
"""Bytes: PostgreSQL takes 8,000."""

_EVERYTHING = "*"


def payload_of(topics: Iterable[str]) -> str:
    """For NOTIFY. Topics hold no comma."""
    joined = ",".join(sorted(topics))
    return joined if len(joined.encode()) <= _LONGEST_PAYLOAD else _EVERYTHING


class CommitWatcher:
    """Turns other processes' commits into notifications, by a thread of its own.

    On PostgreSQL it listens to a channel; on SQLite it looks at ``data_version``, which another connection's commit moves.
    """

    def __init__(self, url: URL, wakeups: Wakeups, interval: float = 0.005) -> None:
        self._url = url
        self._wakeups = wakeups
        self._interval = interval
        self._stop = threading.Event()
        watch: Callable[[], None] = self._watch_sqlite if url.get_backend_name() == "sqlite" else self._listen
        self._thread = threading.Thread(target=watch, name="commit-watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def _watch_sqlite(self) -> None:
        connection = sqlite3.connect(Path(self._url.database or ""), isolation_level=None)
        try:
            seen = connection.execute("PRAGMA data_version").fetchone()[0]
            while not self._stop.wait(self._interval):
                version = connection.execute("PRAGMA data_version").fetchone()[0]
                if version != seen:
                    seen = version
                    self._wakeups.notify_all()
        finally:
            connection.close()

    def _listen(self) -> None:
        conninfo = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        while not self._stop.is_set():
            try:
                with psycopg.connect(conninfo, autocommit=True, connect_timeout=5) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    # Whatever was committed while nobody listened.
                    self._wakeups.notify_all()
                    while not self._stop.is_set():
                        for told in connection.notifies(timeout=0.5, stop_after=1):
                            self._tell(told.payload)
            except psycopg.OperationalError:
                self._stop.wait(0.5)

    def _tell(self, payload: str) -> None:
        if payload == _EVERYTHING:
            self._wakeups.notify_all()
        else:
            self._wakeups.notify(payload.split(","))
