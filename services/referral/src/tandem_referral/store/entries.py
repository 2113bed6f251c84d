"""Entries as the hub holds them, and what was decided about each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Row, and_, bindparam, func, select, update

from tandem.exchange.v1.exchange_pb2 import KeyWrap, RowBody, SealedEntry
from tandem_platform.exchange.log import acknowledged
from tandem_platform.exchange.rows import downlink, uplink
from tandem_platform.sealing import with_wrap
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_into, insert_rows
from tandem_platform.storage.lists import among, among_rows
from tandem_referral.store.permissions import Scope
from tandem_referral.store.sync import SWEEPS, current_run
from tandem_referral.store.tables import entry, exchange, practice_sync, release, sweep

RELEASED, WITHHELD, WAITING, VOIDED = "released", "withheld", "waiting-for-wrap", "voided"


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision about one entry and one recipient."""

    entry_id: str
    scope: Scope
    result: str
    rule: str
    permission_id: str = ""
    permission_version: int = 0
    category: int = 0


def known(tx: Transaction, entry_ids: Iterable[str]) -> set[str]:
    return {row.entry_id for row in tx.all(_KNOWN, entries=list(entry_ids))}


_KNOWN = select(entry.c.entry_id).where(among(entry.c.entry_id, "entries"))


def insert(tx: Transaction, values: Sequence[Mapping[str, Any]]) -> None:
    insert_rows(tx, entry, values)


def sealed(tx: Transaction, rows: Iterable[Row[Any]]) -> dict[str, SealedEntry]:
    """The sealed entries behind *rows* of `entry`, with their late wraps; a shredded one is missing."""
    found: dict[str, SealedEntry] = {}
    by_log: dict[str, dict[int, Row[Any]]] = {}
    for row in rows:
        by_log.setdefault(uplink(row.origin_practice_id), {})[row.uplink_sequence] = row
    log = exchange.log
    for name, sequences in by_log.items():
        query = select(log.c.sequence, log.c.body).where(
            log.c.log == name, log.c.sequence.in_(list(sequences))
        )
        for kept in tx.all(query):
            row = sequences[kept.sequence]
            if kept.body is None or row.shredded:
                continue
            message = RowBody.FromString(kept.body).entry
            if row.late_wrap is not None:
                message = with_wrap(message, KeyWrap.FromString(row.late_wrap))
            found[row.entry_id] = message
    return found


def held(tx: Transaction, entry_ids: Iterable[str]) -> Sequence[Row[Any]]:
    return tx.all(select(entry).where(entry.c.entry_id.in_(list(entry_ids))))


def amending(tx: Transaction, amended: Row[Any]) -> list[Row[Any]]:
    """What its origin put in the place of the entry, and in the place of that, in the order in which it came."""
    found: dict[str, Row[Any]] = {}
    wanted = {amended.entry_id}
    while wanted:
        rows = tx.all(
            select(entry).where(
                entry.c.episode_id == amended.episode_id,
                entry.c.origin_practice_id == amended.origin_practice_id,
                entry.c.amends_entry_id.in_(sorted(wanted)),
            )
        )
        wanted = {row.entry_id for row in rows} - found.keys()
        found |= {row.entry_id: row for row in rows}
    return sorted(found.values(), key=lambda row: row.uplink_sequence)


def find_own(tx: Transaction, entry_id: str, origin: str) -> Row[Any] | None:
    return tx.first(select(entry).where(entry.c.entry_id == entry_id, entry.c.origin_practice_id == origin))


def add_wrap(tx: Transaction, entry_id: str, wrap: KeyWrap) -> None:
    tx.execute(update(entry).where(entry.c.entry_id == entry_id).values(late_wrap=wrap.SerializeToString()))


def results(tx: Transaction, entry_ids: Iterable[str], recipient: str) -> dict[str, str]:
    query = select(release.c.entry_id, release.c.result).where(
        release.c.entry_id.in_(list(entry_ids)), release.c.recipient_practice_id == recipient
    )
    return {row.entry_id: row.result for row in tx.all(query)}


def decided(tx: Transaction, decisions: Sequence[Decided], now: datetime) -> None:
    """Keep the latest decision on each entry. Delivery and voiding of an earlier release stay on record in the audit chain."""
    insert_rows(
        tx,
        _deciding(tx.dialect),
        [
            {
                "entry_id": each.entry_id,
                "recipient_practice_id": each.scope.recipient,
                "episode_id": each.scope.episode_id,
                "discloser_practice_id": each.scope.discloser,
                "result": each.result,
                "rule": each.rule,
                "permission_id": each.permission_id,
                "permission_version": each.permission_version,
                "decided_at": now,
                "released_at": now if each.result == RELEASED else None,
                "category": str(each.category).encode(),
            }
            for each in decisions
        ],
    )


@cache
def _deciding(dialect: str) -> Any:
    statement = insert_into(release, dialect)
    changed: dict[str, Any] = {
        name: statement.excluded[name]
        for name in ("result", "rule", "permission_id", "permission_version", "decided_at")
    }
    changed["released_at"] = func.coalesce(statement.excluded.released_at, release.c.released_at)
    return statement.on_conflict_do_update(index_elements=["entry_id", "recipient_practice_id"], set_=changed)


def ask_sweep(tx: Transaction, scope: Scope, now: datetime) -> None:
    """Look again at everything of this scope that is not released. Asking again does not cost a scope its place."""
    tx.wake(SWEEPS)
    asked = {
        "episode_id": scope.episode_id,
        "discloser_practice_id": scope.discloser,
        "recipient_practice_id": scope.recipient,
        "after_sequence": 0,
        "asked_at": now,
    }
    tx.execute(_asking(tx.dialect), asked)


@cache
def _asking(dialect: str) -> Any:
    return insert_into(sweep, dialect).on_conflict_do_update(
        index_elements=["episode_id", "discloser_practice_id", "recipient_practice_id"],
        set_={"after_sequence": 0},
    )


def sweeps(tx: Transaction, limit: int = 50) -> list[Scope]:
    """Sweeps that were asked for and whose two practices are there, oldest first; of each recipient the oldest alone.

    A recipient gets what one sweep releases before what the next does, however much the first has to look through:
    the order of its rows must not tell how much was withheld.
    """
    recipient, discloser = practice_sync.alias("recipient"), practice_sync.alias("discloser")
    oldest_first = (sweep.c.asked_at, sweep.c.episode_id, sweep.c.discloser_practice_id)
    place = func.row_number().over(partition_by=sweep.c.recipient_practice_id, order_by=oldest_first)
    ready = (
        select(sweep, place.label("place"))
        .join(recipient, recipient.c.practice_id == sweep.c.recipient_practice_id)
        .join(discloser, discloser.c.practice_id == sweep.c.discloser_practice_id)
        .where(recipient.c.caught_up_in_run == current_run, discloser.c.caught_up_in_run == current_run)
        .subquery()
    )
    query = (
        select(ready).where(ready.c.place == 1).order_by(ready.c.asked_at, ready.c.episode_id).limit(limit)
    )
    return [
        Scope(row.episode_id, row.discloser_practice_id, row.recipient_practice_id) for row in tx.all(query)
    ]


def pending_sweeps(tx: Transaction, scopes: Sequence[Scope]) -> set[Scope]:
    """Which of these are being swept. Waits for a sweep under way and holds off the next: either it sees what we add, or it is over."""
    found = tx.all(_PENDING, scopes=[each.key for each in scopes])
    return {Scope(row.episode_id, row.discloser_practice_id, row.recipient_practice_id) for row in found}


def sweep_position(tx: Transaction, scope: Scope) -> int | None:
    """How far the sweep has come; taken exclusively, so that two sweepers do not work on one scope."""
    row = tx.first(select(sweep.c.after_sequence).where(_sweep_of(scope)), lock="exclusive")
    return None if row is None else int(row.after_sequence)


def sweep_moved(tx: Transaction, scope: Scope, after: int | None) -> None:
    """Continue above *after* next time; None ends the sweep."""
    if after is None:
        tx.execute(sweep.delete().where(_sweep_of(scope)))
    else:
        tx.execute(update(sweep).where(_sweep_of(scope)).values(after_sequence=after))


def _sweep_of(scope: Scope) -> Any:
    return and_(
        sweep.c.episode_id == scope.episode_id,
        sweep.c.discloser_practice_id == scope.discloser,
        sweep.c.recipient_practice_id == scope.recipient,
    )


_SWEPT = (sweep.c.episode_id, sweep.c.discloser_practice_id, sweep.c.recipient_practice_id)
_PENDING = select(*_SWEPT).where(among_rows(_SWEPT, "scopes")).order_by(*_SWEPT).with_for_update(read=True)


def of_scope(tx: Transaction, scope: Scope, after: int, limit: int) -> Sequence[Row[Any]]:
    """Entries of the scope's discloser in the order in which they came, and what was decided about each."""
    joined = entry.outerjoin(
        release,
        and_(release.c.entry_id == entry.c.entry_id, release.c.recipient_practice_id == scope.recipient),
    )
    query = (
        select(entry, release.c.result)
        .select_from(joined)
        .where(
            entry.c.episode_id == scope.episode_id,
            entry.c.origin_practice_id == scope.discloser,
            entry.c.uplink_sequence > after,
        )
        .order_by(entry.c.uplink_sequence)
        .limit(limit)
    )
    return tx.all(query)


def voided(tx: Transaction, entry_ids: Sequence[str], recipient: str, now: datetime) -> None:
    if entry_ids:
        tx.execute(
            update(release)
            .where(release.c.entry_id.in_(entry_ids), release.c.recipient_practice_id == recipient)
            .values(result=VOIDED, voided_at=now)
        )


def undelivered(tx: Transaction, scope: Scope) -> Sequence[Row[Any]]:
    """Rows of this scope's releases on the recipient's downlink that it has not acknowledged."""
    return rows_above(tx, scope, acknowledged(tx, downlink(scope.recipient)))


def rows_above(tx: Transaction, scope: Scope, after: int) -> Sequence[Row[Any]]:
    """Rows of this scope's releases on the recipient's downlink above a number, but for the voided."""
    log = exchange.log
    query = (
        select(log.c.sequence, log.c.entry_id, log.c.permission_id)
        .join(entry, entry.c.entry_id == log.c.entry_id)
        .where(
            log.c.log == downlink(scope.recipient),
            log.c.sequence > after,
            log.c.episode_id == scope.episode_id,
            entry.c.origin_practice_id == scope.discloser,
            log.c.void_reason == "",
        )
        .order_by(log.c.sequence)
    )
    return tx.all(query)


def scopes_under_way(tx: Transaction, recipient: str) -> list[Scope]:
    """Scopes of which releases are on the recipient's downlink that it has not acknowledged."""
    return scopes_above(tx, recipient, acknowledged(tx, downlink(recipient)))


def scopes_above(tx: Transaction, recipient: str, after: int) -> list[Scope]:
    """Scopes of which releases, not voided, are on the recipient's downlink above a number."""
    log = exchange.log
    query = (
        select(entry.c.episode_id, entry.c.origin_practice_id)
        .distinct()
        .join(log, log.c.entry_id == entry.c.entry_id)
        .where(log.c.log == downlink(recipient), log.c.sequence > after, log.c.void_reason == "")
    )
    return sorted(Scope(row.episode_id, row.origin_practice_id, recipient) for row in tx.all(query))


def delivered(
    tx: Transaction, origin: str, recipient: str, hashes: Mapping[str, bytes], now: datetime
) -> list[str]:
    """Note the delivery of entries of *origin* that were released to *recipient*, with the right hash; returns which were new."""
    given = tx.all(_UNCONFIRMED, entries=list(hashes), origin=origin, recipient=recipient)
    fresh = [row.entry_id for row in given if hashes[row.entry_id] == row.content_hash]
    if fresh:
        tx.execute(_CONFIRMING, {"entries": fresh, "recipient": recipient, "now": now})
    return fresh


_UNCONFIRMED = (
    select(entry.c.entry_id, entry.c.content_hash)
    .join(
        release,
        and_(
            release.c.entry_id == entry.c.entry_id, release.c.recipient_practice_id == bindparam("recipient")
        ),
    )
    .where(
        among(entry.c.entry_id, "entries"),
        entry.c.origin_practice_id == bindparam("origin"),
        release.c.result.in_((RELEASED, VOIDED)),
        release.c.delivered_at.is_(None),
    )
)
_CONFIRMING = (
    update(release)
    .where(
        among(release.c.entry_id, "entries"),
        release.c.recipient_practice_id == bindparam("recipient"),
    )
    .values(delivered_at=bindparam("now"))
)


def kept(tx: Transaction, entry_ids: Sequence[str], recipient: str) -> None:
    if entry_ids:
        tx.execute(
            update(release)
            .where(release.c.entry_id.in_(entry_ids), release.c.recipient_practice_id == recipient)
            .values(kept=True)
        )


def decision_on(tx: Transaction, entry_id: str, origin: str) -> Row[Any] | None:
    return tx.first(
        select(release).where(release.c.entry_id == entry_id, release.c.discloser_practice_id == origin)
    )


def wraps_requested(tx: Transaction, entry_ids: Sequence[str], recipient: str, now: datetime) -> None:
    tx.execute(
        update(release)
        .where(release.c.entry_id.in_(entry_ids), release.c.recipient_practice_id == recipient)
        .values(wrap_requested_at=now)
    )
