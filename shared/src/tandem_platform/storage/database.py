"""One way to read and write SQLite and PostgreSQL."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, CursorResult, Executable, MetaData, Row, Select, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from tandem_platform.storage.wakeup import CHANNEL, CommitWatcher, Wakeup

_log = logging.getLogger(__name__)

T = TypeVar("T")
Lock = Literal["exclusive", "shared"]

_RETRIED_SQLSTATES = {"40001", "40P01"}
_ATTEMPTS = 6


class Transaction:
    """A unit of work on one connection. Not thread-safe; never outlives its ``with`` block."""

    def __init__(self, connection: Connection, database: "Database") -> None:
        self.connection = connection
        self.database = database
        self.dialect: str = connection.dialect.name
        self.notes: dict[str, Any] = {}
        self._before_commit: list[tuple[int, Callable[[Transaction], None]]] = []
        self._after_commit: list[Callable[[], None]] = []

    def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        return self.connection.execute(statement, parameters)

    def first(self, statement: Select[Any], lock: Lock | None = None) -> Row[Any] | None:
        return self.connection.execute(self._locked(statement, lock)).first()

    def all(self, statement: Any, lock: Lock | None = None) -> Sequence[Row[Any]]:
        return self.connection.execute(self._locked(statement, lock)).all()

    def _locked(self, statement: Any, lock: Lock | None) -> Any:
        """SQLite's write transactions exclude each other already, so that a row lock adds nothing there."""
        if lock is None or self.dialect == "sqlite":
            return statement
        return statement.with_for_update(read=lock == "shared")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what happens inside, and what it staged for commit, if it raises."""
        staged, before, after = self._copy_notes(), list(self._before_commit), list(self._after_commit)
        nested = self.connection.begin_nested()
        try:
            yield
        except BaseException:
            nested.rollback()
            self.notes, self._before_commit, self._after_commit = staged, before, after
            raise
        nested.commit()

    def _copy_notes(self) -> dict[str, Any]:
        return {name: note.copy() if hasattr(note, "copy") else note for name, note in self.notes.items()}

    def before_commit(self, work: "Callable[[Transaction], None]", rank: int = 0) -> None:
        """Run *work* at the very end of the transaction: the lower *rank* first, then in order of registration."""
        self._before_commit.append((rank, work))

    def after_commit(self, work: Callable[[], None]) -> None:
        self._after_commit.append(work)

    def finish(self) -> None:
        for _, work in sorted(self._before_commit, key=lambda ranked: ranked[0]):
            work(self)

    def committed(self) -> None:
        for work in self._after_commit:
            work()


class Database:
    """A service's own database.

    SQLite: WAL, ``synchronous=FULL``, write transactions begin IMMEDIATE and queue on a lock of the process,
    which is fairer and faster than SQLite's own busy polling; the busy timeout serves other processes.
    PostgreSQL: READ COMMITTED; what must not change under a decision is locked by row.
    """

    def __init__(self, url: str | URL, metadata: MetaData, *, pool_size: int = 12) -> None:
        self.url = make_url(url)
        self.metadata = metadata
        self.wakeup = Wakeup()
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._writer = threading.Lock()
        self._writing_thread: int | None = None
        self._watcher: CommitWatcher | None = None
        if self.is_sqlite:
            self.engine = create_engine(
                self.url,
                connect_args={"timeout": 30, "check_same_thread": False},
                pool_size=pool_size,
                max_overflow=52,
            )
            event.listen(self.engine, "connect", _prepare_sqlite)
        else:
            self.engine = create_engine(
                self.url,
                pool_size=pool_size,
                max_overflow=20,
                pool_pre_ping=True,
                isolation_level="READ COMMITTED",
                connect_args={"connect_timeout": 5},
            )

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Commit on leaving, roll back on an exception."""
        if self.is_sqlite:
            with self._only_writer(), self._connected() as tx:
                tx.connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield from self._work(tx)
        else:
            with self._connected() as tx:
                yield from self._work(tx)
        # Outside the writer's lock: whoever is woken may want to write at once.
        tx.committed()

    @contextmanager
    def _only_writer(self) -> Iterator[None]:
        if self._writing_thread == threading.get_ident():
            raise RuntimeError(
                "a write transaction is open on this thread already: pass it on instead of opening another"
            )
        with self._writer:
            self._writing_thread = threading.get_ident()
            try:
                yield
            finally:
                self._writing_thread = None

    def _work(self, tx: Transaction) -> Iterator[Transaction]:
        try:
            yield tx
            tx.finish()
        except BaseException:
            tx.connection.rollback()
            raise
        tx.connection.commit()

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A snapshot to read from; writing in it is a fault of the caller."""
        with self._connected() as tx:
            if self.is_sqlite:
                tx.connection.exec_driver_sql("BEGIN")
            else:
                tx.connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            try:
                yield tx
            finally:
                tx.connection.rollback()

    def run(self, work: Callable[[Transaction], T]) -> T:
        """Run *work* in a transaction, again from its beginning when the database asks for that."""
        for attempt in range(1, _ATTEMPTS):
            try:
                with self.transaction() as tx:
                    return work(tx)
            except DBAPIError as fault:
                if not _asks_for_retry(fault):
                    raise
                time.sleep(0.01 * 2**attempt)
        with self.transaction() as tx:
            return work(tx)

    @contextmanager
    def _connected(self) -> Iterator[Transaction]:
        with self.engine.connect() as connection:
            yield Transaction(connection, self)

    def notify(self) -> None:
        """Wake the waiters of a commit, in other processes too; on SQLite those see it by ``data_version``."""
        self.wakeup.notify()
        if self.is_sqlite:
            return
        try:
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text(f"NOTIFY {CHANNEL}"))
        except DBAPIError as fault:
            # What was committed stays committed: nobody may be told otherwise because a hint was lost.
            _log.warning("other processes were not woken", extra={"fault": type(fault).__name__})

    def watch(self) -> None:
        """Let this process's waiters be woken by other processes' commits, too, until `close`."""
        self._watcher = CommitWatcher(self.url, self.wakeup)
        self._watcher.start()

    def create_all(self) -> None:
        self.metadata.create_all(self.engine)

    def version(self) -> str:
        with self.engine.connect() as connection:
            query = "SELECT 'SQLite ' || sqlite_version()" if self.is_sqlite else "SELECT version()"
            return str(connection.exec_driver_sql(query).scalar_one())

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
        self.engine.dispose()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own implicit BEGIN is deferred and fails under concurrency; we issue every BEGIN ourselves.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")


def _asks_for_retry(fault: DBAPIError) -> bool:
    if getattr(fault.orig, "sqlstate", None) in _RETRIED_SQLSTATES:
        return True
    return isinstance(fault, OperationalError) and "database is locked" in str(fault.orig)
