"""Appending to a log, reading it, voiding in it.

Rows are staged while a transaction works and appended at its end, all logs in the order of their names:
so the log rows are the last thing that any transaction locks, and the order of commit is the order of number.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from google.protobuf.message import DecodeError
from sqlalchemy import Select, Table, Update, and_, bindparam, case, select, update

from tandem.exchange.v1.exchange_pb2 import LogRow, RowBody
from tandem_platform.exchange.rows import FIRST_EPOCH, GENESIS_HASH, START, Position, body_hash, row_hash
from tandem_platform.exchange.tables import tables_of
from tandem_platform.ids import is_id
from tandem_platform.storage.database import Transaction
from tandem_platform.storage.inserts import insert_new, insert_rows
from tandem_platform.storage.lists import among

_STAGED = "exchange.staged"

ROWS = "rows"
"""The topic that a commit wakes when it appends to any log; the log's own name is another."""


@dataclass(slots=True)
class _Staged:
    log: str
    body: bytes
    entry_id: str | None
    episode_id: str | None
    permission_id: str | None
    at: datetime
    urgent: bool


@dataclass
class _Staging:
    rows: list[_Staged] = field(default_factory=list)

    def copy(self) -> "_Staging":
        return _Staging(list(self.rows))


def stage(
    tx: Transaction,
    log: str,
    body: RowBody,
    *,
    at: datetime | None = None,
    entry_id: str | None = None,
    episode_id: str | None = None,
    permission_id: str | None = None,
    urgent: bool = True,
) -> None:
    """Append *body* to *log* when *tx* commits. The ids are for finding the row again, to void it.

    urgent: whether somebody waits for it. What nobody waits for goes a little later, with whatever else there is then.
    """
    staging = tx.notes.get(_STAGED)
    if staging is None:
        staging = tx.notes[_STAGED] = _Staging()
        tx.before_commit(_append_staged)
    staging.rows.append(
        _Staged(
            log,
            body.SerializeToString(deterministic=True),
            entry_id,
            episode_id,
            permission_id,
            at or datetime.now(UTC),
            urgent,
        )
    )


def unstage_entries(tx: Transaction, entry_ids: Iterable[str]) -> None:
    """Take rows of these entries back that this transaction has staged."""
    unwanted = set(entry_ids)
    staging = tx.notes.get(_STAGED)
    if staging is not None:
        staging.rows = [row for row in staging.rows if row.entry_id not in unwanted]


def take_staged(tx: Transaction, log: str, episode_id: str) -> list[RowBody]:
    """Take back, in their order, the rows of *log* that this transaction has staged for an episode."""
    staging = tx.notes.get(_STAGED)
    if staging is None:
        return []
    taken = [row for row in staging.rows if row.log == log and row.episode_id == episode_id]
    staging.rows = [row for row in staging.rows if row not in taken]
    return [RowBody.FromString(row.body) for row in taken]


def _append_staged(tx: Transaction) -> None:
    staging: _Staging = tx.notes.pop(_STAGED, _Staging())
    if not staging.rows:
        return
    tables = tables_of(tx.database.metadata)
    heads = _lock_heads(tx, sorted({row.log for row in staging.rows}))
    urgent = dict.fromkeys(heads, 0)
    values = []
    for row in sorted(staging.rows, key=lambda staged: staged.log):
        before = heads[row.log]
        hash_of_body = body_hash(row.body)
        sequence = before.sequence + 1
        after = Position(
            before.epoch, sequence, row_hash(row.log, before.epoch, sequence, before.hash, hash_of_body)
        )
        heads[row.log] = after
        if row.urgent:
            urgent[row.log] = sequence
        values.append(
            {
                "log": row.log,
                "sequence": sequence,
                "epoch": before.epoch,
                "previous_hash": before.hash,
                "hash": after.hash,
                "body_hash": hash_of_body,
                "body": row.body,
                "entry_id": row.entry_id,
                "episode_id": row.episode_id,
                "permission_id": row.permission_id,
                "appended_at": row.at,
            }
        )
    insert_rows(tx, tables.log, values)
    tx.execute(
        _moving(tables.head),
        [
            {
                "of": log,
                "to_epoch": at.epoch,
                "to": at.sequence,
                "with_hash": at.hash,
                "urgent_to": urgent[log],
            }
            for log, at in heads.items()
        ],
    )
    awaited = [log for log, sequence in urgent.items() if sequence]
    if awaited:
        tx.wake(ROWS, *awaited)


@cache
def _moving(head: Table) -> Update:
    return (
        update(head)
        .where(head.c.log == bindparam("of"))
        .values(
            epoch=bindparam("to_epoch"),
            sequence=bindparam("to"),
            hash=bindparam("with_hash"),
            urgent=case(
                (head.c.urgent < bindparam("urgent_to"), bindparam("urgent_to")), else_=head.c.urgent
            ),
        )
    )


def _lock_heads(tx: Transaction, logs: Sequence[str]) -> dict[str, Position]:
    head = tables_of(tx.database.metadata).head
    rows = tx.all(_locking(head), logs=logs)
    if len(rows) < len(logs):
        for log in logs:
            insert_new(tx, head, {"log": log, "epoch": FIRST_EPOCH, "sequence": 0, "hash": GENESIS_HASH})
        rows = tx.all(_locking(head), logs=logs)
    return {row.log: Position(row.epoch, row.sequence, row.hash) for row in rows}


@cache
def _locking(head: Table) -> Select[Any]:
    return (
        select(head.c.log, head.c.epoch, head.c.sequence, head.c.hash)
        .where(among(head.c.log, "logs"))
        .order_by(head.c.log)
        .with_for_update()
    )


def head_of(tx: Transaction, log: str) -> Position:
    """The place of the last row; START if there is none."""
    head = tables_of(tx.database.metadata).head
    row = tx.first(_place(head), of=log)
    return START if row is None else Position(row.epoch, row.sequence, row.hash)


@cache
def _place(head: Table) -> Select[Any]:
    return select(head.c.epoch, head.c.sequence, head.c.hash).where(head.c.log == bindparam("of"))


def position_at(tx: Transaction, log: str, sequence: int) -> Position | None:
    """The place of row *sequence*, if the log has it."""
    if sequence == 0:
        return START
    rows = tables_of(tx.database.metadata).log
    row = tx.first(
        select(rows.c.epoch, rows.c.sequence, rows.c.hash).where(
            rows.c.log == log, rows.c.sequence == sequence
        )
    )
    return None if row is None else Position(row.epoch, row.sequence, row.hash)


def continuation(tx: Transaction, log: str, after: Position) -> int | None:
    """The epoch in which *log* goes on right above *after*; None if that is no place in this log.

    Not the same as having the row at *after*: a writer that lost rows goes on above its reader's cursor without them.
    """
    tables = tables_of(tx.database.metadata)
    # In one statement: a row that is committed between two would make the place look like nowhere.
    standing = tx.first(_standing(tables.head, tables.log), of=log, next_to=after.sequence + 1)
    if standing is None:
        return START.epoch if (START.sequence, START.hash) == (after.sequence, after.hash) else None
    if standing.next_epoch is not None:
        return int(standing.next_epoch) if standing.next_after == after.hash else None
    is_head = (standing.sequence, standing.hash) == (after.sequence, after.hash)
    return int(standing.epoch) if is_head else None


@cache
def _standing(head: Table, rows: Table) -> Select[Any]:
    return (
        select(
            head.c.epoch,
            head.c.sequence,
            head.c.hash,
            rows.c.epoch.label("next_epoch"),
            rows.c.previous_hash.label("next_after"),
        )
        .select_from(
            head.outerjoin(rows, and_(rows.c.log == head.c.log, rows.c.sequence == bindparam("next_to")))
        )
        .where(head.c.log == bindparam("of"))
    )


def read(tx: Transaction, log: str, after: int, limit: int, max_bytes: int = 3_000_000) -> list[LogRow]:
    """At most *limit* rows above sequence *after*, in order and all of one epoch, because a reader must be told of the next.

    Fewer if they would not fit in *max_bytes*, but never none for that reason.
    """
    rows = tables_of(tx.database.metadata).log
    found: list[LogRow] = []
    size = 0
    for row in tx.all(_following(rows), of=log, above=after, most=limit):
        message = LogRow(
            epoch=row.epoch,
            sequence=row.sequence,
            previous_hash=row.previous_hash,
            body_hash=row.body_hash,
            body=row.body or b"",
            void_reason=row.void_reason,
        )
        size += len(message.body) + 200
        if found and (size > max_bytes or message.epoch != found[0].epoch):
            break
        found.append(message)
    return found


@cache
def _following(rows: Table) -> Select[Any]:
    columns = (
        rows.c.epoch,
        rows.c.sequence,
        rows.c.previous_hash,
        rows.c.body_hash,
        rows.c.body,
        rows.c.void_reason,
    )
    return (
        select(*columns)
        .where(rows.c.log == bindparam("of"), rows.c.sequence > bindparam("above"))
        .order_by(rows.c.sequence)
        .limit(bindparam("most"))
    )


def void(tx: Transaction, log: str, sequences: Sequence[int], reason: str) -> None:
    """Take the content out of rows; their numbers and hashes stay."""
    if sequences:
        rows = tables_of(tx.database.metadata).log
        tx.execute(
            update(rows)
            .where(rows.c.log == log, rows.c.sequence.in_(sequences), rows.c.void_reason == "")
            .values(body=None, void_reason=reason)
        )


def acknowledge(tx: Transaction, log: str, sequence: int) -> None:
    """The log's reader has told that its cursor is at *sequence*."""
    tx.execute(_acknowledging(tables_of(tx.database.metadata).head), {"of": log, "up_to": sequence})


def set_back(tx: Transaction, log: str, sequence: int) -> None:
    """The log's reader comes from a backup: it has told that its cursor is at *sequence*, below where it was."""
    head = tables_of(tx.database.metadata).head
    tx.execute(
        update(head).where(head.c.log == log, head.c.acknowledged > sequence).values(acknowledged=sequence)
    )


@cache
def _acknowledging(head: Table) -> Update:
    return (
        update(head)
        .where(head.c.log == bindparam("of"), head.c.acknowledged < bindparam("up_to"))
        .values(acknowledged=bindparam("up_to"))
    )


def acknowledged(tx: Transaction, log: str) -> int:
    head = tables_of(tx.database.metadata).head
    row = tx.first(select(head.c.acknowledged).where(head.c.log == log))
    return 0 if row is None else row.acknowledged


def open_epoch(
    tx: Transaction, log: str, epoch: int, after: Position, common: int, lost: Sequence[LogRow] = ()
) -> None:
    """Continue *log* in a new *epoch* above *after*: its peer's cursor, which this database, restored from a backup, has lost.

    Rows up to sequence *common* are the same on both sides.
    Rows of ours above it are appended anew, with new numbers: the peer may see their content a second time, and every effect is
    applied once by its id or version.
    *lost* are the rows between *common* and *after* as the peer gave them back, where it could. Of those that were voided
    there is nothing to give back: what we still have of them goes again, unless the peer has its entry by another row.
    """
    tables = tables_of(tx.database.metadata)
    rows = tables.log
    _lock_heads(tx, [log])
    ours = tx.all(select(rows).where(rows.c.log == log, rows.c.sequence > common).order_by(rows.c.sequence))
    tx.execute(rows.delete().where(rows.c.log == log, rows.c.sequence > common))
    if lost:
        keep(tx, log, lost, datetime.now(UTC))
    tx.execute(
        update(tables.head)
        .where(tables.head.c.log == log)
        .values(
            epoch=epoch,
            sequence=after.sequence,
            hash=after.hash,
            published=after.sequence,
            acknowledged=after.sequence,
        )
    )
    given_back = {row.body_hash for row in lost if row.body}
    there = {_ids_in(row.body)[0] for row in lost if row.body} - {None}
    for row in ours:
        if row.body is not None and row.body_hash not in given_back and row.entry_id not in there:
            stage(
                tx,
                log,
                RowBody.FromString(row.body),
                at=row.appended_at,
                entry_id=row.entry_id,
                episode_id=row.episode_id,
                permission_id=row.permission_id,
            )


def keep(tx: Transaction, log: str, received: Sequence[LogRow], at: datetime) -> None:
    """Store rows as they are: a reader's copy of its peer's log, or a writer's own rows that came back."""
    insert_rows(tx, tables_of(tx.database.metadata).log, [_kept_values(log, row, at) for row in received])


def _kept_values(log: str, row: LogRow, at: datetime) -> dict[str, object]:
    entry_id, episode_id = _ids_in(row.body)
    return {
        "log": log,
        "sequence": row.sequence,
        "epoch": row.epoch,
        "previous_hash": row.previous_hash,
        "hash": row_hash(log, row.epoch, row.sequence, row.previous_hash, row.body_hash),
        "body_hash": row.body_hash,
        "body": row.body or None,
        "void_reason": row.void_reason,
        "entry_id": entry_id,
        "episode_id": episode_id,
        "permission_id": None,
        "appended_at": at,
    }


def _ids_in(body: bytes) -> tuple[str | None, str | None]:
    """The entry's and its episode's, if the body holds one. It is another's: what is no id does not get into an index."""
    try:
        labels = RowBody.FromString(body).entry.labels
    except DecodeError:
        return None, None
    return (
        labels.entry_id if is_id(labels.entry_id, "ent") else None,
        labels.episode_id if is_id(labels.episode_id, "epi") else None,
    )
