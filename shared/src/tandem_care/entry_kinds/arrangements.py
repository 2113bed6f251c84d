"""What is arranged and said around a course."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from tandem_care.categories import Category
from tandem_care.entry_kinds.content import (
    Code,
    Content,
    Line,
    Name,
    Note,
    Sessions,
    Words,
    Zone,
    after,
    entry_kind,
    known_zone,
)
from tandem_care.entry_kinds.dosing import Ride
from tandem_care.entry_kinds.person import PersonToCall
from tandem_care.entry_kinds.therapy import SessionKind
from tandem_care.errors import Invalid


@entry_kind("referral-note", Category.REFERRAL_STATUS)
@dataclass(frozen=True, slots=True, kw_only=True)
class ReferralNote(Content):
    """The words that go with a referral or with one of its moves."""

    referral_id: Code
    move: Code | None = None
    text: Words


class AppointmentStatus(StrEnum):
    BOOKED = "booked"
    ARRIVED = "arrived"
    COMPLETED = "completed"
    NO_SHOW = "no-show"
    CANCELLED = "cancelled"


class CancelledBy(StrEnum):
    PATIENT = "patient"
    PRACTICE = "practice"
    PARTNER = "partner"


@entry_kind("appointment", Category.APPOINTMENT, version=2)
@dataclass(frozen=True, slots=True, kw_only=True)
class Appointment(Content):
    appointment_id: Code
    session: SessionKind
    status: AppointmentStatus
    starts_at: datetime
    ends_at: datetime
    time_zone: Zone
    location: Line | None = None
    by_video: bool = False
    session_number: Sessions | None = None
    sessions_planned: Sessions | None = None
    cancelled_by: CancelledBy | None = None

    def agree(self) -> None:
        if self.cancelled_by is not None and self.status is not AppointmentStatus.CANCELLED:
            raise Invalid("cancelled_by", "is said of a cancelled appointment only")
        known_zone("time_zone", self.time_zone)
        after("ends_at", self.ends_at, self.starts_at, "starts_at")


class Arrangement(StrEnum):
    NEEDED = "needed"
    ARRANGED = "arranged"
    NOT_NEEDED = "not-needed"


@entry_kind("logistics", Category.LOGISTICS)
@dataclass(frozen=True, slots=True, kw_only=True)
class Logistics(Content):
    """What must be in place around one session; ``chaperone`` and ``address`` are for sessions at home."""

    session_at: datetime
    ride: Arrangement
    ride_home: Ride | None = None
    support: Arrangement
    support_person: PersonToCall | None = None
    chaperone: PersonToCall | None = None
    address: Line | None = None
    no_food_from: datetime | None = None
    no_liquid_from: datetime | None = None
    note: Note | None = None

    def agree(self) -> None:
        if self.ride is Arrangement.ARRANGED and self.ride_home is None:
            raise Invalid("ride_home", "name who drives")
        if self.support is Arrangement.ARRANGED and self.support_person is None:
            raise Invalid("support_person", "name who stays")


class CoverageStatus(StrEnum):
    ACTIVE = "active"
    PENDING = "pending"
    DENIED = "denied"
    SELF_PAY = "self-pay"


@entry_kind("coverage-payment", Category.COVERAGE_PAYMENT)
@dataclass(frozen=True, slots=True, kw_only=True)
class CoveragePayment(Content):
    status: CoverageStatus
    payer: Name | None = None
    member_id: Name | None = None
    authorization: Name | None = None
    sessions_authorized: Sessions | None = None
    valid_until: date | None = None
    note: Note | None = None


@entry_kind("message", Category.MESSAGE)
@dataclass(frozen=True, slots=True, kw_only=True)
class Message(Content):
    author: Name
    text: Words
