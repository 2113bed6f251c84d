"""Referrals, their history, and who may no longer see how they go on."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Row,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from tandem_care.lifecycle import STEPS, Kind, Move, Outcome, State, Urgency
from tandem_platform.storage.database import Lock, Transaction
from tandem_platform.storage.inserts import insert_new
from tandem_platform.storage.types import UtcTime
from tandem_referral.domain.errors import NotYours
from tandem_referral.domain.lifecycle import Moved, Referral
from tandem_referral.store.partnerships import IdTaken
from tandem_referral.store.tables import episode, referral, referral_closed_to, referral_move

CLOSED = "closed"
"""The one state that a referral has for a party from whom it was withdrawn."""

REQUEST = "request"
"""The first line of every history."""


@dataclass(frozen=True, slots=True)
class Closure:
    """A party's last look at a referral: it goes on seeing *version* and the first *moves* moves."""

    version: int
    moves: int
    closed_at: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """A referral with what stands between it and one of its parties."""

    referral: Referral
    closure: Closure | None

    @property
    def state(self) -> str:
        return self.referral.state.value if self.closure is None else CLOSED


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a history."""

    number: int
    move: str
    from_state: str
    to_state: str
    by: str
    reason: str
    at: datetime


def open_episode(
    tx: Transaction, episode_id: str, partnership_id: str, opener: str, partner: str, now: datetime
) -> None:
    values = {
        "episode_id": episode_id,
        "partnership_id": partnership_id,
        "opener_practice_id": opener,
        "partner_practice_id": partner,
        "opened_at": now,
    }
    if not insert_new(tx, episode, values):
        raise IdTaken("episode_id")


def add(tx: Transaction, new: Referral) -> None:
    values = {
        "referral_id": new.id,
        "episode_id": new.episode_id,
        "partnership_id": new.partnership_id,
        "referrer_practice_id": new.referrer,
        "recipient_practice_id": new.recipient,
        "kind": new.kind.value,
        "urgency": new.urgency.value,
        "requested_at": new.requested_at,
        "replaces_referral_id": new.replaces or "",
        "continues_referral_id": new.continues or "",
        **_changing(new),
    }
    if not insert_new(tx, referral, values):
        raise IdTaken("referral_id")
    _add_line(tx, new.id, 1, REQUEST, "", new.state.value, new.referrer, "", new.requested_at)


def get(tx: Transaction, referral_id: str, *, visible_to: str, lock: Lock | None = None) -> Seen:
    """Raises NotYours for somebody else's referral, and for none."""
    query = select(referral).where(referral.c.referral_id == referral_id, _is_of(visible_to))
    row = tx.first(query, lock=lock)
    if row is None:
        raise NotYours
    return Seen(_referral(row), closure(tx, referral_id, visible_to))


def get_any(tx: Transaction, referral_id: str, *, lock: Lock | None = None) -> Referral:
    row = tx.first(select(referral).where(referral.c.referral_id == referral_id), lock=lock)
    if row is None:
        raise NotYours
    return _referral(row)


def of_episode(tx: Transaction, episode_id: str, *, lock: Lock | None = None) -> list[Referral]:
    return [_referral(row) for row in tx.all(_OF_EPISODE, lock=lock, episode=episode_id)]


_OF_EPISODE = (
    select(referral).where(referral.c.episode_id == bindparam("episode")).order_by(referral.c.referral_id)
)


def of(
    tx: Transaction,
    practice_id: str,
    *,
    state: str = "",
    before: tuple[datetime, str] | None = None,
    limit: int,
) -> list[Seen]:
    """The practice's referrals, newest first; *state* is the one that it sees."""
    closed = and_(
        referral_closed_to.c.referral_id == referral.c.referral_id,
        referral_closed_to.c.practice_id == practice_id,
    )
    seen_state = case((referral_closed_to.c.practice_id.is_not(None), CLOSED), else_=referral.c.state)
    query = (
        select(
            referral,
            referral_closed_to.c.version.label("closed_version"),
            referral_closed_to.c.moves.label("closed_moves"),
            referral_closed_to.c.closed_at,
        )
        .outerjoin(referral_closed_to, closed)
        .where(_is_of(practice_id))
        .order_by(referral.c.requested_at.desc(), referral.c.referral_id.desc())
        .limit(limit)
    )
    if state:
        query = query.where(seen_state == state)
    if before is not None:
        place = tuple_(literal(before[0], UtcTime), literal(before[1]))
        query = query.where(tuple_(referral.c.requested_at, referral.c.referral_id) < place)
    return [Seen(_referral(row), _closure_in(row)) for row in tx.all(query)]


def save(tx: Transaction, changed: Referral) -> None:
    tx.execute(update(referral).where(referral.c.referral_id == changed.id).values(_changing(changed)))


def add_move(tx: Transaction, referral_id: str, moved: Moved) -> None:
    """Under the referral's exclusive lock."""
    _add_line(
        tx,
        referral_id,
        count_moves(tx, referral_id) + 1,
        moved.move.value,
        moved.from_state.value,
        moved.to_state.value,
        moved.by,
        moved.reason or "",
        moved.at,
    )


def count_moves(tx: Transaction, referral_id: str) -> int:
    counted = select(func.max(referral_move.c.number)).where(referral_move.c.referral_id == referral_id)
    return tx.execute(counted).scalar_one() or 0


def moves(tx: Transaction, referral_id: str, *, after: int, up_to: int | None, limit: int) -> list[Line]:
    """The history in order; a party to whom the referral is closed sees it *up_to* that number."""
    query = (
        select(referral_move)
        .where(referral_move.c.referral_id == referral_id, referral_move.c.number > after)
        .order_by(referral_move.c.number)
        .limit(limit)
    )
    if up_to is not None:
        query = query.where(referral_move.c.number <= up_to)
    return [
        Line(row.number, row.move, row.from_state, row.to_state, row.by_practice_id, row.reason, row.at)
        for row in tx.all(query)
    ]


def closure(tx: Transaction, referral_id: str, practice_id: str) -> Closure | None:
    query = select(referral_closed_to).where(
        referral_closed_to.c.referral_id == referral_id, referral_closed_to.c.practice_id == practice_id
    )
    row = tx.first(query)
    return None if row is None else Closure(row.version, row.moves, row.closed_at)


def closed_to(tx: Transaction, referral_id: str) -> set[str]:
    """The practices from whom it was withdrawn."""
    return {row.practice_id for row in tx.all(_CLOSED_TO, of=referral_id)}


_CLOSED_TO = select(referral_closed_to.c.practice_id).where(
    referral_closed_to.c.referral_id == bindparam("of")
)


def close_to(tx: Transaction, referral_id: str, practice_id: str, as_seen: Closure) -> None:
    tx.execute(
        insert(referral_closed_to).values(
            referral_id=referral_id,
            practice_id=practice_id,
            version=as_seen.version,
            moves=as_seen.moves,
            closed_at=as_seen.closed_at,
        )
    )


def open_to(tx: Transaction, referral_id: str, practice_id: str) -> None:
    tx.execute(
        delete(referral_closed_to).where(
            referral_closed_to.c.referral_id == referral_id, referral_closed_to.c.practice_id == practice_id
        )
    )


def due(tx: Transaction, now: datetime, limit: int = 200) -> list[str]:
    """Referrals whose state's clock has run out and that expire by it, the longest overdue first."""
    expiring = [state.value for state in STEPS[Move.EXPIRE].sources]
    query = select(referral.c.referral_id).where(referral.c.state.in_(expiring), referral.c.due_at <= now)
    return [row.referral_id for row in tx.all(query.order_by(referral.c.due_at).limit(limit))]


def _is_of(practice_id: str) -> Any:
    return or_(
        referral.c.referrer_practice_id == practice_id, referral.c.recipient_practice_id == practice_id
    )


def _add_line(tx: Transaction, referral_id: str, number: int, *values: str | datetime) -> None:
    columns = ("move", "from_state", "to_state", "by_practice_id", "reason", "at")
    line = dict(zip(columns, values, strict=True))
    tx.execute(_INSERT_MOVE, {"referral_id": referral_id, "number": number, **line})


_INSERT_MOVE = insert(referral_move)


def _changing(changed: Referral) -> dict[str, Any]:
    return {
        "state": changed.state.value,
        "reason": changed.reason or "",
        "outcome": changed.outcome.value if changed.outcome else "",
        "version": changed.version,
        "changed_at": changed.changed_at,
        "due_at": changed.due_at,
        "received_at": changed.received_at,
        "opened_at": changed.opened_at,
        "cancel_from": changed.cancel_from.value if changed.cancel_from else "",
        "closed_from": changed.closed_from.value if changed.closed_from else "",
        "last_move": changed.last_move.value if changed.last_move else "",
        "last_move_by": changed.last_by or "",
        "replaced_by_referral_id": changed.replaced_by or "",
    }


def _referral(row: Row[Any]) -> Referral:
    return Referral(
        id=row.referral_id,
        episode_id=row.episode_id,
        partnership_id=row.partnership_id,
        kind=Kind(row.kind),
        urgency=Urgency(row.urgency),
        referrer=row.referrer_practice_id,
        recipient=row.recipient_practice_id,
        requested_at=row.requested_at,
        changed_at=row.changed_at,
        due_at=row.due_at,
        state=State(row.state),
        version=row.version,
        received_at=row.received_at,
        opened_at=row.opened_at,
        last_move=Move(row.last_move) if row.last_move else None,
        last_by=row.last_move_by or None,
        reason=row.reason or None,
        outcome=Outcome(row.outcome) if row.outcome else None,
        cancel_from=State(row.cancel_from) if row.cancel_from else None,
        closed_from=State(row.closed_from) if row.closed_from else None,
        replaces=row.replaces_referral_id or None,
        replaced_by=row.replaced_by_referral_id or None,
        continues=row.continues_referral_id or None,
    )


def _closure_in(row: Row[Any]) -> Closure | None:
    if row.closed_version is None:
        return None
    return Closure(row.closed_version, row.closed_moves, row.closed_at)
