"""Whose turn it is inside the clinic: who a referral is assigned to, who is away and covered, how often a patient was tried."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, func, or_, select, update

from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.store.tables import hub_referral, referral_desk, staff, worklist_item
from tandem_platform.ids import new_id
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_new

_desk, _absence, _attempt = referral_desk.desk, referral_desk.absence, referral_desk.attempt


@dataclass(frozen=True, slots=True)
class Absence:
    """From ``starts_at`` to before ``until``; what waits for the one meanwhile waits for the cover, too."""

    absence_id: str
    staff_id: str
    cover_id: str
    starts_at: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    attempt_id: str
    referral_id: str
    channel: str
    reached: bool
    staff_id: str
    at: datetime


def assign(tx: Transaction, referral_id: str, staff_id: str) -> None:
    _set(tx, referral_id, assigned_to=staff_id)


def follow_shortlist(tx: Transaction, referral_id: str, *, follows: bool) -> None:
    _set(tx, referral_id, follows_shortlist=follows)


def _set(tx: Transaction, referral_id: str, **values: Any) -> None:
    fresh = {"referral_id": referral_id, "assigned_to": "", "follows_shortlist": False, **values}
    if not insert_new(tx, _desk, fresh):
        tx.execute(update(_desk).where(_desk.c.referral_id == referral_id).values(**values))


def follows_shortlist(tx: Transaction, referral_id: str) -> bool:
    row = tx.first(_DESK, of=referral_id)
    return row is not None and bool(row.follows_shortlist)


def assigned_to(tx: Transaction, referral_id: str) -> str:
    """Empty: everybody who coordinates. Until somebody says otherwise, whoever asked for it."""
    row = tx.first(_DESK, of=referral_id)
    if row is not None and row.assigned_to:
        return str(row.assigned_to)
    asked = tx.first(_ASKED, of=referral_id)
    by = "" if asked is None else str(asked.requested_by)
    return by if by.startswith("staff_") and is_active(tx, by) else ""


_DESK = select(_desk).where(_desk.c.referral_id == bindparam("of"))
_ASKED = select(hub_referral.c.requested_by).where(hub_referral.c.referral_id == bindparam("of"))


def is_active(tx: Transaction, staff_id: str) -> bool:
    return tx.first(_ACTIVE, of=staff_id) is not None


_ACTIVE = select(staff.c.staff_id).where(staff.c.staff_id == bindparam("of"), staff.c.disabled.is_(False))


def hand_over(tx: Transaction, from_id: str, to_id: str) -> list[str]:
    """Every referral that is the one's, and every open item on the worklist, becomes the other's. The referrals."""
    moved = tx.all(
        update(_desk)
        .where(_desk.c.assigned_to == from_id)
        .values(assigned_to=to_id)
        .returning(_desk.c.referral_id)
    )
    told = {row.referral_id for row in moved}
    for row in tx.all(_ASKED_BY, who=from_id):
        held = tx.first(_DESK, of=row.referral_id)
        if held is None or not held.assigned_to:
            assign(tx, row.referral_id, to_id)
            told.add(row.referral_id)
    tx.execute(
        update(worklist_item)
        .where(worklist_item.c.staff_id == from_id, worklist_item.c.done_at.is_(None))
        .values(staff_id=to_id)
    )
    return sorted(told)


_ASKED_BY = (
    select(hub_referral.c.referral_id)
    .where(hub_referral.c.requested_by == bindparam("who"))
    .order_by(hub_referral.c.referral_id)
)


def move_items(tx: Transaction, referral_id: str, to_id: str) -> None:
    """What waits about a referral waits for *to_id* now."""
    tx.execute(
        update(worklist_item)
        .where(
            worklist_item.c.subject_id == referral_id,
            worklist_item.c.done_at.is_(None),
            worklist_item.c.staff_id != "service",
        )
        .values(staff_id=to_id)
    )


def add_absence(
    tx: Transaction, staff_id: str, cover_id: str, starts_at: datetime, until: datetime
) -> Absence:
    made = Absence(new_id("away"), staff_id, cover_id, starts_at, until)
    tx.execute(_absence.insert().values(**{name: getattr(made, name) for name in Absence.__slots__}))
    return made


def end_absence(tx: Transaction, absence_id: str) -> None:
    ended = delete(_absence).where(_absence.c.absence_id == absence_id).returning(_absence.c.absence_id)
    if tx.execute(ended).first() is None:
        raise NotKnown("absence", "absence_id")


def absences(tx: Transaction, now: datetime) -> list[Absence]:
    """Those that are not over, soonest first."""
    rows = tx.all(select(_absence).where(_absence.c.until > now).order_by(_absence.c.starts_at))
    return [Absence(**row._mapping) for row in rows]


def cover_of(tx: Transaction, staff_id: str, now: datetime) -> str:
    """Who stands in for somebody now; empty for nobody. A cover who is away too is followed to theirs."""
    seen = {staff_id}
    present = staff_id
    while (row := tx.first(_COVER, of=present, at=now)) is not None and row.cover_id not in seen:
        present = row.cover_id
        seen.add(present)
    return "" if present == staff_id else present


_AWAY = _absence.c.starts_at <= bindparam("at")
_COVER = (
    select(_absence.c.cover_id)
    .where(_absence.c.staff_id == bindparam("of"), _absence.c.until > bindparam("at"), _AWAY)
    .order_by(_absence.c.starts_at.desc())
    .limit(1)
)


def covered_by(tx: Transaction, staff_id: str, now: datetime) -> list[str]:
    """For whom somebody stands in now."""
    away = {row.staff_id for row in tx.all(_ALL_AWAY, at=now)}
    return sorted(each for each in away if cover_of(tx, each, now) == staff_id)


_ALL_AWAY = select(_absence.c.staff_id).where(_absence.c.until > bindparam("at"), _AWAY)


def add_attempt(
    tx: Transaction, referral_id: str, channel: str, staff_id: str, now: datetime, *, reached: bool
) -> Attempt:
    made = Attempt(new_id("try"), referral_id, channel, reached, staff_id, now)
    tx.execute(_attempt.insert().values(**{name: getattr(made, name) for name in Attempt.__slots__}))
    return made


def attempts(tx: Transaction, referral_id: str) -> list[Attempt]:
    """Oldest first."""
    return [Attempt(**row._mapping) for row in tx.all(_ATTEMPTS, of=referral_id)]


_ATTEMPTS = (
    select(_attempt)
    .where(_attempt.c.referral_id == bindparam("of"))
    .order_by(_attempt.c.at, _attempt.c.attempt_id)
)


def count_in_vain(tx: Transaction, referral_id: str) -> int:
    """Attempts since the patient was last reached."""
    last = (
        select(func.max(_attempt.c.at))
        .where(_attempt.c.referral_id == referral_id, _attempt.c.reached.is_(True))
        .scalar_subquery()
    )
    query = select(func.count()).where(
        _attempt.c.referral_id == referral_id,
        _attempt.c.reached.is_(False),
        or_(last.is_(None), _attempt.c.at > last),
    )
    return int(tx.execute(query).scalar_one())
