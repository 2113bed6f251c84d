"""What follows from an entry when a person records it: a dose's review, the routing of a risk, clocks that are looked at anew."""

from collections.abc import Sequence
from typing import Any

from tandem_care import dose_review
from tandem_care.clocks import given
from tandem_care.courses import doses_on_record
from tandem_care.dose_review import ReviewReason
from tandem_care.entry_kinds import (
    Content,
    DosingClearance,
    DosingSession,
    DosingStart,
    SafetyRisk,
    ScaleScore,
    from_json,
)
from tandem_care.local_time import day_of
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.course_refusals import PathwayNotKnown, PlanUnfit
from tandem_clinic.domain.staff import Staff
from tandem_clinic.store import entries, episodes, watches, worklist
from tandem_clinic.usecases.course_reading import Course, find_course
from tandem_clinic.usecases.entries import Recorded, record_entry
from tandem_clinic.usecases.risks import route_risk
from tandem_platform.storage import Transaction

FOLLOWED = frozenset(
    {
        "appointment",
        "dose-decision",
        "dose-feedback",
        "dosing-session",
        "integration-summary",
        "maintenance-check",
        "misuse-check",
        "monitoring-form",
        "preparation-summary",
        "scale-score",
        "session-times",
    }
)
"""Kinds that move a clock of a course."""


def record_followed(
    tx: Transaction, clinic: Clinic, by: Staff, patient_id: str, content: Content, **details: Any
) -> Recorded:
    """`record_entry`, and what follows from it. What was recorded before has had its consequences."""
    recorded = record_entry(tx, clinic, by, patient_id, content, **details)
    if not recorded.is_new:
        return recorded
    if isinstance(content, DosingSession):
        review_dose(tx, clinic, patient_id, recorded, content)
    if isinstance(content, ScaleScore | SafetyRisk):
        route_risk(tx, clinic, by, patient_id, recorded, content)
    if content.kind in FOLLOWED:
        mine = [each.episode_id for each in episodes.of_patient(tx, patient_id) if each.is_open]
        watches.look(tx, mine, clinic.now())
    return recorded


def review_dose(
    tx: Transaction,
    clinic: Clinic,
    patient_id: str,
    recorded: Recorded,
    session: DosingSession,
    besides: Sequence[str] = (),
) -> tuple[ReviewReason, ...]:
    """Nothing stops the record of a dose; what is out of the ordinary waits on the worklist for somebody to look.

    *besides*: what else there is to look at.
    """
    newest_first = reversed(episodes.of_patient(tx, patient_id))
    courses = (_course(tx, clinic, each.episode_id) for each in newest_first)
    course = next((each for each in courses if each is not None), None)
    day = given(session).day
    if course is None:
        own = entries.own_of_kind(tx, clinic.vault, patient_id, DosingSession.kind)
        others = [
            given(content)
            for each in own
            if each.state == "active"
            and each.record_id != recorded.record_id
            and isinstance(content := from_json(each.content), DosingSession)
        ]
        reasons = dose_review.reasons_to_review(session, None, None, None, others, clinic.now())
    else:
        starts = [each for each in course.record.all(DosingStart) if _on(each, session)]
        signed = [
            each
            for each in course.record.all(DosingClearance)
            if day_of(each.session_at, session.time_zone) == day
        ]
        others = [each for each in doses_on_record(course.record) if each.started_at != session.started_at]
        reasons = dose_review.reasons_to_review(
            session,
            starts[-1] if starts else None,
            signed[-1] if signed else None,
            course.plan.pathway,
            others,
            clinic.now(),
        )
    if reasons or besides:
        warnings = ",".join((*reasons, *besides))
        worklist.raise_item(tx, "dosing-review", recorded.record_id, clinic.now(), warnings=warnings)
    return reasons


def _on(start: DosingStart, session: DosingSession) -> bool:
    return day_of(start.started_at, session.time_zone) == given(session).day


def _course(tx: Transaction, clinic: Clinic, episode_id: str) -> Course | None:
    """A plan that cannot be read here must not stand in the way of a record."""
    try:
        return find_course(tx, clinic, episode_id)
    except (PathwayNotKnown, PlanUnfit):
        return None
