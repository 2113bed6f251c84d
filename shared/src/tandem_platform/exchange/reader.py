"""Applying a log's rows, once each and in order.

Every path that applies rows (Kafka, Push, Read, a revived process) first locks the cursor, then reads it, then applies:
that lock is the only fence between them.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Protocol

from google.protobuf.message import DecodeError
from sqlalchemy import Select, Table, Update, bindparam, select, update
from sqlalchemy.exc import InterfaceError, OperationalError

from tandem.exchange.v1.exchange_pb2 import LogRow, RowBody
from tandem_platform.exchange import log as logs
from tandem_platform.exchange import quarantine
from tandem_platform.exchange.rows import (
    FIRST_EPOCH,
    GENESIS_HASH,
    START,
    BrokenRow,
    Position,
    Verify,
    chain,
    head_message,
)
from tandem_platform.exchange.tables import tables_of
from tandem_platform.rpc.intake import NumberCheck, RequestMalformed, TextCheck
from tandem_platform.storage.database import Database, Transaction
from tandem_platform.storage.inserts import insert_new

_log = logging.getLogger(__name__)

# The database's own troubles say nothing about a row: the transaction fails, and is tried again.
_DATABASE_TROUBLE = (OperationalError, InterfaceError)


class RowFault(Exception):
    """The content of a row is at fault: its origin's doing. ``reason`` is a code and holds nothing of the content."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ReaderStopped(Exception):
    """Our own exceptions passed the share that a bad row can explain: the code is at fault, and parking on would park everything.

    The reader comes back with its process, which an operator restarts after mending what failed; nothing is lost meanwhile.
    """


@dataclass(frozen=True, slots=True)
class Item:
    """A row that is the next to take effect. ``raw`` is its body as it came: what does not parse is parked whole."""

    log: str
    position: Position
    body: RowBody
    raw: bytes = b""


class RowHandler(Protocol):
    """What a service does with the rows of the logs that it reads."""

    def apply(self, tx: Transaction, items: Sequence[Item]) -> None:
        """Give *items* effect, in order, in *tx*. Raises RowFault for a bad one; it is then called with one item at a time."""
        ...

    def episode_of(self, body: RowBody) -> str | None:
        """The episode that is parked if this row fails; None for rows which never wait behind content."""
        ...

    def is_ready(self, tx: Transaction, log: str) -> bool:
        """Whether rows of this log may take effect at all now."""
        ...

    def must_wait(self, tx: Transaction, log: str, body: RowBody) -> bool:
        """Whether this row comes after a command that is not answered yet."""
        ...


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a batch.

    cursor: where the log stands now.
    rows: how many rows moved it.
    gap: a row before the batch is missing.
    broken: why the batch cannot be the writer's, or empty.
    waiting: the next row waits for a command.
    unsigned: rows at the end that no signature covers yet.
    """

    cursor: Position
    rows: int = 0
    gap: bool = False
    broken: str = ""
    waiting: bool = False
    unsigned: int = 0


BAD_SIGNATURE = "bad-signature"


class LogStopped(Exception):
    """The log stands still until somebody acts; ``reason`` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FaultWindow:
    """The share of our own exceptions among the last hundred rows. Thread-safe."""

    def __init__(self, size: int = 100, limit: int = 10) -> None:
        self._outcomes: deque[bool] = deque(maxlen=size)
        self._limit = limit
        self._lock = threading.Lock()

    def note(self, *own_faults: bool) -> None:
        with self._lock:
            self._outcomes.extend(own_faults)

    @property
    def exceeded(self) -> bool:
        with self._lock:
            return sum(self._outcomes) > self._limit


class LogReader:
    """Applies rows of any of the logs that a service reads. Thread-safe: the database's cursor lock is what orders."""

    def __init__(
        self,
        database: Database,
        handler: RowHandler,
        verifier_of: Callable[[Transaction, str], Verify],
        now: Callable[[], datetime],
        keep: bool = False,
    ) -> None:
        """*keep* stores the rows as they came, so that their writer can read them back after a restore."""
        self._keep = keep
        self._database = database
        self._handler = handler
        self._verifier_of = verifier_of
        self._now = now
        self._faults = FaultWindow()

    def apply(
        self, log: str, rows: Sequence[LogRow], *, authoritative: bool, kafka_offset: int | None = None
    ) -> Applied:
        """Apply what of *rows* comes next.

        A Kafka copy is a hint (*authoritative* false): broken, it is reported and dropped.
        What Push or Read brought is the truth: out of its chain, it stops the log.
        A signature that does not hold stops nothing, because it may be by a key that we have yet to learn of.
        Raises LogStopped, ReaderStopped.
        """
        if self._faults.exceeded:
            raise ReaderStopped
        applied = self._database.run(lambda tx: self._apply(tx, log, rows, authoritative, kafka_offset))
        if authoritative and applied.broken and applied.broken != BAD_SIGNATURE:
            raise LogStopped(applied.broken)
        return applied

    def _apply(
        self, tx: Transaction, log: str, rows: Sequence[LogRow], authoritative: bool, kafka_offset: int | None
    ) -> Applied:
        cursor, stopped = lock_cursor(tx, log)
        if stopped:
            raise LogStopped(stopped)
        fresh = [row for row in rows if row.sequence > cursor.sequence]
        if not fresh:
            self._note_offset(tx, log, kafka_offset)
            return Applied(cursor)
        if fresh[0].sequence != cursor.sequence + 1:
            return Applied(cursor, gap=True)
        if not self._handler.is_ready(tx, log):
            return Applied(cursor, waiting=True)
        run = _unbroken_run(fresh)
        try:
            positions = chain(log, cursor, run)
            covered = self._covered(tx, log, run, positions)
            if not authoritative and any(row.void_reason for row in run):
                # A void keeps its hash and signature, so that whoever holds the broker could empty any row.
                raise BrokenRow("void-in-copy")
        except BrokenRow as broken:
            if authoritative and broken.reason != BAD_SIGNATURE:
                self._stop(tx, log, broken.reason)
            return Applied(cursor, broken=broken.reason)
        if covered == 0:
            return Applied(cursor, unsigned=len(run))
        items = _decoded(log, run[:covered], positions)
        done = self._take(tx, log, run, items)
        if done:
            cursor = positions[done - 1]
            move_cursor(tx, log, cursor)
        waiting = done < covered
        if not waiting and len(run) == len(fresh) and covered == len(run):
            self._note_offset(tx, log, kafka_offset)
        return Applied(
            cursor, rows=done, gap=len(run) < len(fresh), waiting=waiting, unsigned=len(run) - covered
        )

    def _covered(
        self, tx: Transaction, log: str, rows: Sequence[LogRow], positions: Sequence[Position]
    ) -> int:
        """How many rows, from the first, the last valid signature covers."""
        verify = self._verifier_of(tx, log)
        for index in range(len(rows) - 1, -1, -1):
            if rows[index].signature:
                if not verify(rows[index].signature, head_message(log, positions[index])):
                    raise BrokenRow(BAD_SIGNATURE)
                return index + 1
        return 0

    def _take(
        self,
        tx: Transaction,
        log: str,
        rows: Sequence[LogRow],
        items: Sequence[tuple[Position, RowBody | None, bytes]],
    ) -> int:
        """Give the rows effect; return how many were dealt with, which is fewer if one must wait for a command."""
        ready: list[Item] = []
        taken = 0
        parked = quarantine.parked_episodes(tx, log)
        for position, body, raw in items:
            if body is None:
                taken += 1
                continue
            if body.after_request_id and self._handler.must_wait(tx, log, body):
                break
            episode = self._handler.episode_of(body) if body.WhichOneof("content") else None
            if episode is not None and episode in parked:
                quarantine.park(
                    tx, log, position, episode, raw, "queued-behind", own_fault=False, at=self._now()
                )
            else:
                ready.append(Item(log, position, body, raw))
            taken += 1
        if self._keep and taken:
            # Before they take effect: a late wrap looks for its entry, which may be a row of the same batch.
            logs.keep(tx, log, rows[:taken], self._now())
        self._give_effect(tx, log, ready)
        return taken

    def _give_effect(self, tx: Transaction, log: str, items: Sequence[Item]) -> None:
        if not items:
            return
        try:
            with tx.savepoint():
                self._handler.apply(tx, items)
            self._faults.note(*[False] * len(items))
            return
        except _DATABASE_TROUBLE:
            raise
        except Exception as fault:  # noqa: BLE001 - whatever a row does must not stop its neighbours
            _log.warning("batch failed, applying row by row", extra={"fault": type(fault).__name__})
        parked: set[str] = set()
        for item in items:
            self._apply_alone(tx, log, item, parked)

    def _apply_alone(self, tx: Transaction, log: str, item: Item, parked: set[str]) -> None:
        episode = (self._handler.episode_of(item.body) if item.body.WhichOneof("content") else None) or ""

        def park(reason: str, *, own_fault: bool = False) -> None:
            quarantine.park(
                tx, log, item.position, episode, item.raw, reason, own_fault=own_fault, at=self._now()
            )
            if episode:
                parked.add(episode)

        if episode in parked:
            park("queued-behind")
            return
        try:
            with tx.savepoint():
                self._handler.apply(tx, [item])
            self._faults.note(False)
        except _DATABASE_TROUBLE:
            raise
        except Exception as fault:
            reason = _reason(fault, item.raw)
            if reason != _OURS:
                park(reason)
                return
            _log.error("row failed", extra={"fault": type(fault).__name__})
            self._faults.note(True)
            if self._faults.exceeded:
                raise ReaderStopped from fault
            park(reason, own_fault=True)

    def retry(self, log: str, episode_id: str) -> tuple[int, int]:
        """Apply an episode's parked rows again, in order, up to the first that fails. Returns (applied, still parked).

        Rows without an episode ("") hold nobody up: each is tried.
        """
        return self._database.run(lambda tx: self.retry_in(tx, log, episode_id))

    def retry_parked_for(self, log: str, reason: str) -> None:
        """What could not be applied for *reason* is tried again, because something was learned since."""

        def work(tx: Transaction) -> None:
            # Before looking: whoever parks holds it too.
            lock_cursor(tx, log)
            for episode_id in sorted(
                {row.episode_id for row in quarantine.listed(tx, log) if row.reason == reason}
            ):
                self.retry_in(tx, log, episode_id)

        self._database.run(work)

    def retry_in(self, tx: Transaction, log: str, episode_id: str) -> tuple[int, int]:
        """As `retry`, in a transaction of the caller's."""
        lock_cursor(tx, log)
        applied = 0
        for row in quarantine.rows_of(tx, log, episode_id):
            try:
                body = RowBody.FromString(row.body)
                with tx.savepoint():
                    item = Item(log, Position(row.epoch, row.sequence, b""), body, row.body)
                    self._handler.apply(tx, [item])
            except _DATABASE_TROUBLE:
                raise
            except Exception as fault:  # noqa: BLE001 - the row stays parked with its reason
                reason = _reason(fault, row.body)
                quarantine.failed_again(tx, log, row.sequence, reason, own_fault=reason == _OURS)
                if episode_id:
                    break
                continue
            quarantine.release(tx, log, row.sequence)
            applied += 1
        return applied, len(quarantine.rows_of(tx, log, episode_id))

    def _stop(self, tx: Transaction, log: str, reason: str) -> None:
        cursor = tables_of(tx.database.metadata).cursor
        tx.execute(update(cursor).where(cursor.c.log == log).values(stopped=reason))
        _log.error("log stopped", extra={"reason": reason})

    def _note_offset(self, tx: Transaction, log: str, kafka_offset: int | None) -> None:
        if kafka_offset is not None:
            noted = {"of": log, "offset": kafka_offset}
            tx.execute(_noting_offset(tables_of(tx.database.metadata).cursor), noted)


@cache
def _noting_offset(cursor: Table) -> Update:
    return update(cursor).where(cursor.c.log == bindparam("of")).values(kafka_offset=bindparam("offset"))


_OURS = "internal"
_check_text = TextCheck(RowBody.DESCRIPTOR)
_check_numbers = NumberCheck(RowBody.DESCRIPTOR)


def _reason(fault: Exception, raw: bytes) -> str:
    """Whose fault it is. A body with what no honest writer writes and no database keeps is looked for only here:
    on every row it would take time."""
    if isinstance(fault, RowFault):
        return fault.reason
    try:
        body = RowBody.FromString(raw)
        _check_text(body)
        _check_numbers(body)
    except (DecodeError, RequestMalformed):
        return "malformed"
    return _OURS


def _unbroken_run(rows: Sequence[LogRow]) -> list[LogRow]:
    """*rows* up to the first gap or the next epoch; a sequence given twice is taken once."""
    run = [rows[0]]
    for row in rows[1:]:
        if row.sequence == run[-1].sequence:
            if row.signature and not run[-1].signature:
                run[-1] = row
            continue
        if row.sequence != run[-1].sequence + 1 or row.epoch != run[-1].epoch:
            break
        run.append(row)
    return run


def _decoded(
    log: str, rows: Sequence[LogRow], positions: Sequence[Position]
) -> list[tuple[Position, RowBody | None, bytes]]:
    """Bodies, None for voids. A body that its own writer signed and that does not parse is an empty one: the handler faults it."""
    decoded: list[tuple[Position, RowBody | None, bytes]] = []
    for row, position in zip(rows, positions, strict=False):
        if row.void_reason:
            decoded.append((position, None, b""))
            continue
        try:
            decoded.append((position, RowBody.FromString(row.body), row.body))
        except DecodeError:
            decoded.append((position, RowBody(), row.body))
    return decoded


def lock_cursor(tx: Transaction, log: str) -> tuple[Position, str]:
    """Take the cursor's lock, then read it: the place, and why the log stands still (empty if it does not)."""
    cursor = tables_of(tx.database.metadata).cursor
    row = tx.first(_locking(cursor), of=log)
    if row is None:
        insert_new(tx, cursor, {"log": log, "epoch": FIRST_EPOCH, "sequence": 0, "hash": GENESIS_HASH})
        row = tx.first(_locking(cursor), of=log)
        assert row is not None
    return Position(row.epoch, row.sequence, row.hash), row.stopped


@cache
def _place(cursor: Table) -> Select[Any]:
    return select(cursor).where(cursor.c.log == bindparam("of"))


@cache
def _locking(cursor: Table) -> Select[Any]:
    return _place(cursor).with_for_update()


def cursor_of(tx: Transaction, log: str) -> Position:
    return place_of(tx, log)[0]


def place_of(tx: Transaction, log: str) -> tuple[Position, str]:
    """As `lock_cursor`, without the lock: for telling, not for applying."""
    row = tx.first(_place(tables_of(tx.database.metadata).cursor), of=log)
    return (START, "") if row is None else (Position(row.epoch, row.sequence, row.hash), row.stopped)


def move_cursor(tx: Transaction, log: str, to: Position) -> None:
    moved = {"of": log, "to_epoch": to.epoch, "to": to.sequence, "with_hash": to.hash}
    tx.execute(_moving(tables_of(tx.database.metadata).cursor), moved)


@cache
def _moving(cursor: Table) -> Update:
    return (
        update(cursor)
        .where(cursor.c.log == bindparam("of"))
        .values(epoch=bindparam("to_epoch"), sequence=bindparam("to"), hash=bindparam("with_hash"))
    )


def restart(tx: Transaction, log: str) -> None:
    """Let a log that stands still go on; its writer has opened an epoch, or an operator has looked."""
    cursor = tables_of(tx.database.metadata).cursor
    tx.execute(update(cursor).where(cursor.c.log == log).values(stopped=""))
