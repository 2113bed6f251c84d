"""How a shared episode goes: appointments as they stand, sessions held of those planned, reports, the thread of messages."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tandem_care.entry_kinds import (
    Appointment,
    AppointmentStatus,
    CourseReport,
    IntegrationSummary,
    Message,
    PreparationSummary,
    ReferralNote,
    SessionTimes,
)
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.staff import Staff
from tandem_clinic.usecases.plan import PlanItem, read_care_plan
from tandem_platform.storage import Transaction

_REPORTS = frozenset({CourseReport.kind, PreparationSummary.kind, IntegrationSummary.kind})
_WORDS = frozenset({Message.kind, ReferralNote.kind})


@dataclass(frozen=True, slots=True)
class Booked:
    """An appointment as its practice last told it. ``cancelled_by``: "patient", "practice", "partner", or not said."""

    appointment_id: str
    origin: str
    session: str
    status: str
    cancelled_by: str
    starts_at: str
    ends_at: str
    time_zone: str
    by_video: bool
    changes: int
    told_at: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """Sessions of one kind: ``held`` of ``planned``, which is None where nobody has said."""

    session: str
    held: int
    planned: int | None
    missed: int


@dataclass(frozen=True, slots=True)
class EpisodeCourse:
    appointments: tuple[Booked, ...]
    progress: tuple[Progress, ...]
    reports: tuple[PlanItem, ...]
    thread: tuple[PlanItem, ...]


def read_episode_course(
    tx: Transaction, clinic: Clinic, by: Staff, patient_id: str, episode_id: str
) -> EpisodeCourse:
    """Of the clinic's own entries in the episode and of those that it was given; reading is noted as a plan's is."""
    items = [
        item
        for item in read_care_plan(tx, clinic, by, patient_id, episode_id=episode_id)
        if item.state == "active"
    ]
    appointments = _as_they_stand(item for item in items if item.kind == Appointment.kind)
    held = [item.content for item in items if item.kind == SessionTimes.kind]
    return EpisodeCourse(
        appointments=appointments,
        progress=_progress(items, appointments, held),
        reports=tuple(item for item in items if item.kind in _REPORTS),
        thread=tuple(item for item in items if item.kind in _WORDS),
    )


def _as_they_stand(told: Iterable[PlanItem]) -> tuple[Booked, ...]:
    """One for each of a practice's numbers: both may count from one."""
    latest: dict[tuple[str, str], Booked] = {}
    for item in told:
        content = item.content
        key = (item.origin, content["appointment_id"])
        latest[key] = Booked(
            appointment_id=content["appointment_id"],
            origin=item.origin,
            session=content["session"],
            status=content["status"],
            cancelled_by=content.get("cancelled_by") or "",
            starts_at=content["starts_at"],
            ends_at=content["ends_at"],
            time_zone=content["time_zone"],
            by_video=bool(content.get("by_video")),
            changes=latest[key].changes + 1 if key in latest else 0,
            told_at=item.authored_at,
        )
    return tuple(sorted(latest.values(), key=lambda each: (each.starts_at, each.appointment_id)))


def _progress(
    items: list[PlanItem], appointments: tuple[Booked, ...], held: list[Any]
) -> tuple[Progress, ...]:
    """What was held is said by session times, else by appointments that were kept: the two are not added up."""
    said = [item.content for item in items if item.kind in (Appointment.kind, SessionTimes.kind)]
    found = []
    for session in sorted({content["session"] for content in said}):
        kept = [each for each in appointments if each.session == session]
        planned = [
            content["sessions_planned"]
            for content in said
            if content["session"] == session and content.get("sessions_planned")
        ]
        found.append(
            Progress(
                session=session,
                held=max(
                    sum(content["session"] == session for content in held),
                    sum(each.status == AppointmentStatus.COMPLETED for each in kept),
                ),
                planned=planned[-1] if planned else None,
                missed=sum(each.status == AppointmentStatus.NO_SHOW for each in kept),
            )
        )
    return tuple(found)
