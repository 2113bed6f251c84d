"""Saying how many patients can be taken, and when, so that referrals find an opening."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select

from tandem.directory.v1.directory_pb2 import Capacity, PublishCapacityRequest
from tandem_care.errors import Invalid
from tandem_care.profile import FARTHEST_OPENING, MOST_NEXT_OPENINGS, MOST_OPENINGS, SERVICES, check_codes
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.domain.staff import COORDINATION, Role, Staff
from tandem_clinic.hub import journal
from tandem_clinic.hub.times import put_time
from tandem_clinic.store import audit
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.store.tables import capacity_statement
from tandem_platform.storage import Transaction

CAPACITY: Final = "capacity"
_MAY_STATE = COORDINATION | {Role.ADMIN}


@dataclass(frozen=True, slots=True)
class Opening:
    """service: "" for any."""

    at: datetime
    service: str = ""
    telehealth: bool = False


@dataclass(frozen=True, slots=True)
class Openings:
    openings: int
    next_openings: tuple[Opening, ...]
    stated_at: datetime


def state_capacity(
    tx: Transaction, clinic: Clinic, by: Staff, openings: int, next_openings: Sequence[Opening] = ()
) -> str:
    """State the openings now, here and in the directory, where the statement goes stale by itself. The command's id."""
    by.require(_MAY_STATE)
    now = clinic.now()
    _check(openings, next_openings, now)
    request = PublishCapacityRequest(capacity=Capacity(openings=openings))
    put_time(request.capacity, "stated_at", now)
    for each in next_openings:
        put_time(
            request.capacity.next_openings.add(service=each.service, telehealth=each.telehealth),
            "at",
            each.at,
        )
    request_id = journal.queue(
        tx, clinic, "PublishCapacity", request, author_id=by.staff_id, subject_id=CAPACITY
    )
    tx.execute(
        capacity_statement.insert().values(
            request_id=request_id,
            openings=openings,
            next_openings=[_stored(each) for each in next_openings],
            stated_by=by.staff_id,
            stated_at=now,
        )
    )
    audit.note(tx, "capacity-stated", now, by=by, subject_id=request_id, openings=str(openings))
    return request_id


def stated_capacity(tx: Transaction, by: Staff) -> Openings:
    """What was stated last."""
    by.require(_MAY_STATE)
    query = select(capacity_statement).order_by(capacity_statement.c.stated_at.desc()).limit(1)
    row = tx.first(query)
    if row is None:
        raise NotKnown("capacity")
    return Openings(row.openings, tuple(map(_read, row.next_openings)), row.stated_at)


def _check(openings: int, next_openings: Sequence[Opening], now: datetime) -> None:
    if not 0 <= openings <= MOST_OPENINGS:
        raise ContentInvalid(Invalid("openings", f"must lie between 0 and {MOST_OPENINGS}"))
    if len(next_openings) > MOST_NEXT_OPENINGS:
        raise ContentInvalid(Invalid("next_openings", f"must be at most {MOST_NEXT_OPENINGS}"))
    for number, each in enumerate(next_openings):
        try:
            if not now <= each.at <= now + FARTHEST_OPENING:
                raise Invalid("at", "must lie within the next two years")
            if each.service:
                check_codes("service", [each.service], SERVICES)
        except Invalid as fault:
            raise ContentInvalid(fault, f"next_openings[{number}]") from None


def _stored(opening: Opening) -> dict[str, Any]:
    return {
        "at": opening.at.isoformat(),
        "service": opening.service,
        "telehealth": opening.telehealth,
    }


def _read(stored: dict[str, Any]) -> Opening:
    return Opening(**stored | {"at": datetime.fromisoformat(stored["at"])})
