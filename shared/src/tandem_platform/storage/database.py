"""One way to read and write SQLite and PostgreSQL."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, TypeVar

from sqlalchemy import (
    Connection,
    CursorResult,
    Executable,
    MetaData,
    Row,
    Select,
    bindparam,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from tandem_platform.storage.prepared import PreparedStatements, Rows
from tandem_platform.storage.wakeup import CHANNEL, CommitWatcher, Wakeup, Wakeups, payload_of

T = TypeVar("T")
Lock = Literal["exclusive", "shared"]

_TELL = select(func.pg_notify(bindparam("channel"), bindparam("payload")))
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
        self._topics: set[str] = set()
        self._savepoints = 0
        self._cursor: Any = None

    def execute(self, statement: Executable, parameters: Any = None) -> "CursorResult[Any] | Rows":
        """A statement that is built once, and not for each call, costs a quarter."""
        many = isinstance(parameters, list | tuple)
        if many and len(parameters) == 1:
            many, parameters = False, parameters[0]
        values = parameters[0] if many else parameters or {}
        prepared = self.database.prepared.get(statement, tuple(values), self.connection.dialect)
        if prepared is None:
            return self.connection.execute(statement, parameters)
        if many:
            self.drive(prepared.text, [prepared.parameters(each) for each in parameters], many=True)
            return Rows([])
        return Rows(prepared.rows(self.drive(prepared.text, prepared.parameters(values))))

    def drive(self, statement: str, parameters: Any, *, many: bool = False) -> Sequence[Any]:
        """Have the driver execute its own words; the rows as it gives them. Raises what SQLAlchemy raises."""
        if self._cursor is None:
            driver: Any = self.connection.connection.driver_connection
            self._cursor = driver.cursor()
        cursor = self._cursor
        try:
            if many:
                cursor.executemany(statement, parameters)
            else:
                cursor.execute(statement, parameters)
            rows = () if many or cursor.description is None else list(cursor.fetchall())
        except Exception as fault:
            self._raise(fault, statement)
            raise
        if listeners := self.connection.dispatch.after_cursor_execute:
            # Whoever observes statements hears of these as of all others.
            listeners(self.connection, cursor, statement, parameters, None, many)
        return rows

    def _raise(self, fault: Exception, statement: str) -> None:
        dialect = self.connection.dialect
        drivers_own: Any = dialect.loaded_dbapi.Error
        if not isinstance(fault, drivers_own):
            return
        lost = dialect.is_disconnect(fault, self.connection.connection.dbapi_connection, self._cursor)
        if lost:
            self.connection.invalidate(fault)
        raise DBAPIError.instance(
            statement,
            None,
            fault,
            drivers_own,
            hide_parameters=True,
            connection_invalidated=lost,
            dialect=dialect,
        ) from fault

    def first(self, statement: Select[Any], lock: Lock | None = None, **values: Any) -> Row[Any] | None:
        """*values*: for the statement's own parameters."""
        found: Row[Any] | None = self.execute(self.locked(statement, lock), values).first()
        return found

    def all(self, statement: Any, lock: Lock | None = None, **values: Any) -> Sequence[Row[Any]]:
        """As `first`, with every row."""
        return self.execute(self.locked(statement, lock), values).all()

    def locked(self, statement: Any, lock: Lock | None) -> Any:
        """SQLite's write transactions exclude each other already, so that a row lock adds nothing there."""
        if lock is None or self.dialect == "sqlite":
            return statement
        return self.database.prepared.locking(statement, lock)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what happens inside, and what it staged for commit, if it raises."""
        staged, before, topics = self._copy_notes(), list(self._before_commit), set(self._topics)
        self._savepoints += 1
        name = f"part_{self._savepoints}"
        self.drive(f"SAVEPOINT {name}", ())
        try:
            yield
        except BaseException:
            if not self.connection.invalidated:
                self.drive(f"ROLLBACK TO SAVEPOINT {name}", ())
            self.notes, self._before_commit, self._topics = staged, before, topics
            raise
        self.drive(f"RELEASE SAVEPOINT {name}", ())

    def _copy_notes(self) -> dict[str, Any]:
        return {name: note.copy() if hasattr(note, "copy") else note for name, note in self.notes.items()}

    def before_commit(self, work: "Callable[[Transaction], None]", rank: int = 0) -> None:
        """Run *work* at the very end of the transaction: the lower *rank* first, then in order of registration."""
        self._before_commit.append((rank, work))

    def wake(self, *topics: str) -> None:
        """When this is committed, wake whoever waits for one of *topics*."""
        self._topics.update(topics)

    def finish(self) -> None:
        for _, work in sorted(self._before_commit, key=lambda ranked: ranked[0]):
            work(self)
        if self._topics and self.database.tells_other_processes:
            self.execute(_TELL, {"channel": CHANNEL, "payload": payload_of(self._topics)})

    def committed(self) -> None:
        self.database.wakeups.notify(self._topics)


class Database:
    """A service's own database.

    SQLite: WAL, ``synchronous=FULL``, write transactions begin IMMEDIATE and queue on a lock of the process,
    which is fairer and faster than SQLite's own busy polling; the busy timeout serves other processes.
    PostgreSQL: READ COMMITTED; what must not change under a decision is locked by row.
    ping_after_idle: seconds after which a pooled connection is asked whether its server is still there.
    One that was used just now is taken to be alive; if it is not, its transaction fails, and the next gets a new one.
    """

    def __init__(
        self, url: str | URL, metadata: MetaData, *, pool_size: int = 12, ping_after_idle: float = 2.0
    ) -> None:
        self.url = make_url(url)
        self.metadata = metadata
        self.wakeups = Wakeups()
        self.prepared = PreparedStatements()
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
                isolation_level="READ COMMITTED",
                connect_args={"connect_timeout": 5},
            )
            event.listen(self.engine, "checkin", _note_use)
            event.listen(self.engine, "checkout", partial(_ping_if_idle_for, ping_after_idle))
        # Options of the driver's: they cost no statement of their own.
        self._snapshots = self._glances = self.engine
        if not self.is_sqlite:
            # The driver's own settings: they cost no statement.
            self._snapshots = self.engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            self._glances = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Commit on leaving, roll back on an exception."""
        if self.is_sqlite:
            with self._only_writer(), self._connected(self.engine) as tx:
                tx.connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield from self._work(tx)
        else:
            with self._connected(self.engine) as tx:
                tx.connection.begin()
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
        with self._connected(self._snapshots) as tx:
            if self.is_sqlite:
                tx.connection.exec_driver_sql("BEGIN")
            else:
                tx.connection.begin()
            try:
                yield tx
            finally:
                tx.connection.rollback()

    @contextmanager
    def glancing(self) -> Iterator[Transaction]:
        """To read by a single statement, or by several that need not agree: on PostgreSQL a third of the round trips of `reading`."""
        with self._connected(self._glances) as tx:
            yield tx

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
    def _connected(self, engine: Engine) -> Iterator[Transaction]:
        with engine.connect() as connection:
            yield Transaction(connection, self)

    def wakeup(self, topic: str) -> Wakeup:
        """What counts the commits that named *topic*, see `Transaction.wake`."""
        return self.wakeups.of(topic)

    @property
    def tells_other_processes(self) -> bool:
        """Whether a commit has to be told; on SQLite others see it by ``data_version``."""
        return self._watcher is not None and not self.is_sqlite

    def watch(self) -> None:
        """Share the database with other processes: each is woken by the others' commits, until `close`."""
        self._watcher = CommitWatcher(self.url, self.wakeups)
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


def _note_use(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info["used_at"] = time.monotonic()


def _ping_if_idle_for(seconds: float, connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
    """A server that was restarted meanwhile is noticed before a transaction begins."""
    used_at = record.info.get("used_at")
    if used_at is None or time.monotonic() - used_at < seconds:
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except Exception as fault:
        raise DisconnectionError from fault


def _asks_for_retry(fault: DBAPIError) -> bool:
    if getattr(fault.orig, "sqlstate", None) in _RETRIED_SQLSTATES:
        return True
    return isinstance(fault, OperationalError) and "database is locked" in str(fault.orig)
