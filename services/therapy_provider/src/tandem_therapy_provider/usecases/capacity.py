"""Saying how many patients can be taken, so that referrals find an opening."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from tandem.directory.v1.directory_pb2 import Capacity, PublishCapacityRequest
from tandem_care.errors import Invalid
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.domain.staff import COORDINATION, Role, Staff
from tandem_clinic.hub import journal
from tandem_clinic.hub.times import put_time
from tandem_clinic.store import audit
from tandem_clinic.store.refusals import NotKnown
from tandem_platform.storage import Transaction
from tandem_therapy_provider.store.capacity_table import capacity_statement

MOST_OPENINGS = 1000
_MAY_STATE = COORDINATION | {Role.ADMIN}


@dataclass(frozen=True, slots=True)
class Openings:
    openings: int
    next_opening_at: datetime | None
    stated_at: datetime


def state_capacity(
    tx: Transaction, clinic: Clinic, by: Staff, openings: int, next_opening_at: datetime | None = None
) -> str:
    """State the openings now, here and in the directory, where the statement goes stale by itself. The command's id."""
    by.require(_MAY_STATE)
    now = clinic.now()
    if not 0 <= openings <= MOST_OPENINGS:
        raise ContentInvalid(Invalid("openings", f"must lie between 0 and {MOST_OPENINGS}"))
    if next_opening_at is not None and next_opening_at < now:
        raise ContentInvalid(Invalid("next_opening_at", "must lie in the future"))
    request = PublishCapacityRequest(capacity=Capacity(openings=openings))
    put_time(request.capacity, "stated_at", now)
    put_time(request.capacity, "next_opening_at", next_opening_at)
    request_id = journal.queue(
        tx, clinic, "PublishCapacity", request, author_id=by.staff_id, subject_id=clinic.practice_id
    )
    tx.execute(
        capacity_statement.insert().values(
            request_id=request_id,
            openings=openings,
            next_opening_at=next_opening_at,
            stated_by=by.staff_id,
            stated_at=now,
        )
    )
    audit.note(tx, "capacity-stated", now, by=by, subject_id=request_id, openings=str(openings))
    return request_id


def stated_capacity(tx: Transaction, by: Staff) -> Openings:
    """What was stated last."""
    by.require(_MAY_STATE)
    columns = (
        capacity_statement.c.openings,
        capacity_statement.c.next_opening_at,
        capacity_statement.c.stated_at,
    )
    row = tx.first(select(*columns).order_by(capacity_statement.c.stated_at.desc()).limit(1))
    if row is None:
        raise NotKnown("capacity")
    return Openings(**row._mapping)
