"""How well the loop between practices closes, counted from the clinic's own records.

Measures of doses and their integration belong to the plans of a course and are not counted here.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from sqlalchemy import func, select

from tandem_care.lifecycle import FINAL, Move, State
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.staff import COORDINATION, OVERSIGHT, Staff
from tandem_clinic.store.tables import audit_record, hub_referral, worklist_item
from tandem_clinic.store.worklist import SERVICE
from tandem_platform.storage import Transaction

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What of one kind waits for a person, and for how long the oldest has."""

    kind: str
    items: int
    oldest_hours: float


@dataclass(frozen=True, slots=True)
class Measures:
    """Of referrals that were requested since a day. A share or time of nothing is None.

    to_accept_hours: the median from the request to our acceptance, of those that came to us and that we accepted.
    closure_rate: of those that have ended, the share that was completed.
    """

    since: datetime
    inbound: int
    outbound: int
    accepted: int
    to_accept_hours: float | None
    ended: int
    completed: int
    closure_rate: float | None
    waiting: list[Waiting]


def measure_loop(tx: Transaction, clinic: Clinic, by: Staff, since: datetime) -> Measures:
    by.require(COORDINATION | OVERSIGHT)
    referral = hub_referral.c
    rows = tx.all(
        select(referral.recipient_practice_id, referral.state).where(
            referral.requested_at >= since, referral.state != "refused"
        )
    )
    inbound = sum(row.recipient_practice_id == clinic.practice_id for row in rows)
    waits = _hours_to_accept(tx, clinic, since)
    ended = sum(row.state in FINAL for row in rows)
    completed = sum(row.state == State.COMPLETED for row in rows)
    return Measures(
        since=since,
        inbound=inbound,
        outbound=len(rows) - inbound,
        accepted=len(waits),
        to_accept_hours=round(median(waits), 2) if waits else None,
        ended=ended,
        completed=completed,
        closure_rate=round(completed / ended, 4) if ended else None,
        waiting=_waiting(tx, clinic.now()),
    )


def _hours_to_accept(tx: Transaction, clinic: Clinic, since: datetime) -> list[float]:
    """By our first acceptance: an acceptance that is repeated changes nothing."""
    referral, record = hub_referral.c, audit_record.c
    rows = tx.all(
        select(referral.requested_at, func.min(record.at).label("accepted_at"))
        .join_from(hub_referral, audit_record, record.subject_id == referral.referral_id)
        .where(
            record.action == f"referral-{Move.ACCEPT}",
            referral.recipient_practice_id == clinic.practice_id,
            referral.requested_at >= since,
            referral.state != "refused",
        )
        .group_by(referral.referral_id, referral.requested_at)
    )
    return [max(timedelta(), row.accepted_at - row.requested_at) / _HOUR for row in rows]


def _waiting(tx: Transaction, now: datetime) -> list[Waiting]:
    item = worklist_item.c
    rows = tx.all(
        select(item.kind, func.count().label("items"), func.min(item.raised_at).label("oldest"))
        .where(item.done_at.is_(None), item.staff_id != SERVICE)
        .group_by(item.kind)
        .order_by(item.kind)
    )
    return [Waiting(row.kind, row.items, round((now - row.oldest) / _HOUR, 2)) for row in rows]
