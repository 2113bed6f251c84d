"""The course of an episode: choosing a pathway, the dated plan that comes of it, moving and holding its sessions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import Any

from tandem_care.categories import Category
from tandem_care.courses import Followed, Part, Record, doses_on_record, follow
from tandem_care.entry_kinds import (
    Content,
    Drug,
    IntegrationKind,
    IntegrationSummary,
    ItemKind,
    Place,
    PlannedItem,
    PreparationSummary,
    Route,
    SessionKind,
    SessionTimes,
)
from tandem_care.errors import Invalid
from tandem_care.local_time import Site
from tandem_care.pathways import shipped
from tandem_care.plans import Fault, Pace, Plan, instantiate, moved
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.course_refusals import (
    HeldAlready,
    NotASession,
    PlanIsPartners,
    PlanThere,
    SiteNotStated,
)
from tandem_clinic.domain.refusals import ContentInvalid, EpisodeClosed
from tandem_clinic.domain.staff import CARE, COORDINATION, Staff
from tandem_clinic.store import audit, episodes, patients, sites, watches
from tandem_clinic.store.sites import StatedSite
from tandem_clinic.usecases.course_reading import (
    Course,
    checked,
    find_course,
    linked,
    open_course,
    part_in,
    record_in,
)
from tandem_clinic.usecases.entries import Recorded, amend_entry, content_from, record_entry
from tandem_platform.storage import Transaction


@dataclass(frozen=True, slots=True)
class Planned:
    recorded: Recorded
    plan: Plan


@dataclass(frozen=True, slots=True)
class CourseView:
    """What a person sees of a course. ``faults``: later sessions that what was given has made unfit."""

    course: Course
    items: tuple[Followed, ...]
    faults: tuple[Fault, ...]


def state_site(tx: Transaction, clinic: Clinic, by: Staff, stated: StatedSite) -> None:
    """Where the clinic works and when it is closed, for plans made from now on."""
    by.require(COORDINATION)
    sites.state(tx, stated, by.staff_id, clinic.now())
    audit.note(tx, "site-stated", clinic.now(), by=by)


def stated_site(tx: Transaction, by: Staff) -> StatedSite:
    by.require(COORDINATION)
    return _site(tx)


def _site(tx: Transaction) -> StatedSite:
    found = sites.stated(tx)
    if found is None:
        raise SiteNotStated
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a pathway is to become a plan. ``partner_site``: where the partner works; as here, if it is not known."""

    pathway: str
    version: int | None = None
    start: date
    drug: Drug | None = None
    route: Route | None = None
    place: Place | None = None
    sessions: Mapping[str, int] | None = None
    pace: Pace = Pace.USUAL
    dose_at: time = time(9)
    therapy_at: time = time(9)
    partner_site: Site | None = None


def plan_course(tx: Transaction, clinic: Clinic, by: Staff, episode_id: str, wish: Wish) -> Planned:
    """Choose a pathway for an episode. The plan is an entry, and goes to the partner where the patient permits."""
    by.require(CARE)
    episodes.hold(tx, episode_id, "exclusive")
    episode, patient_id = linked(tx, episode_id)
    if not episode.is_open:
        raise EpisodeClosed
    if find_course(tx, clinic, episode_id) is not None:
        raise PlanThere
    record = record_in(tx, clinic, episode, patient_id)
    part, _ = part_in(tx, clinic, episode)
    here = _site(tx).site
    there = wish.partner_site or here
    patient_zone = patients.get(tx, clinic.vault, patient_id).identity.time_zone

    def made() -> Plan:
        pathway = shipped().of(wish.pathway, wish.version)
        place = wish.place or pathway.medicine(wish.drug or pathway.medicines[0].drug).places[0]
        prescribers, therapists = (there, here) if part is Part.GIVES_THERAPY else (here, there)
        dosing = {
            Place.HOME: replace(prescribers, time_zone=patient_zone),
            Place.THERAPIST_OFFICE: therapists,
        }.get(place, prescribers)
        return instantiate(
            pathway,
            wish.start,
            dosing,
            therapists,
            drug=wish.drug,
            route=wish.route,
            place=place,
            sessions=wish.sessions,
            pace=wish.pace,
            dose_at=wish.dose_at,
            therapy_at=wish.therapy_at,
            earlier=_days_given(record),
        )

    plan = checked(made)
    entry = plan.entry(clinic.now(), by.display_name)
    recorded = record_entry(
        tx, clinic, by, patient_id, entry, episode_id=episode_id, derived_from=_inputs(record)
    )
    watches.look(tx, [episode_id], clinic.now())
    return Planned(recorded, plan)


def _days_given(record: Record) -> tuple[date, ...]:
    return tuple(each.day for each in doses_on_record(record))


def _inputs(record: Record) -> list[str]:
    """Days of a plan tell of doses, once there were any."""
    return [Category.MEDICATION_MONITORING] if _days_given(record) else []


def read_course(tx: Transaction, clinic: Clinic, by: Staff, episode_id: str) -> CourseView:
    """Plan and record together, as far as this clinic may see both. Reading is noted."""
    by.require(CARE)
    course = open_course(tx, clinic, episode_id)
    audit.note(
        tx, "course-read", clinic.now(), by=by, patient_id=course.patient_id, subject_id=course.plan_id
    )
    return CourseView(course, follow(course.plan, course.record, clinic.now()), course.as_given.faults())


def move_session(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    episode_id: str,
    item: str,
    day: date,
    at: time | None = None,
    *,
    later_too: bool = False,
) -> Planned:
    """Put a session elsewhere, with what hangs on it. Refused with the rule that it would break, and a day that fits."""
    by.require(CARE)
    episodes.hold(tx, episode_id, "exclusive")
    course = open_course(tx, clinic, episode_id)
    if not course.own:
        raise PlanIsPartners
    made = checked(lambda: moved(course.as_given, item, day, at, later_too=later_too))
    # Which doses were given is read from the record, wherever the plan is read.
    plan = made.with_items([replace(each, held_at=None) for each in made.items])
    recorded = amend_entry(
        tx,
        clinic,
        by,
        course.plan_id,
        plan.entry(clinic.now(), by.display_name),
        derived_from=_inputs(course.record),
    )
    watches.look(tx, [episode_id], clinic.now())
    return Planned(recorded, plan)


_HELD_AS: Mapping[ItemKind, tuple[SessionKind, type[Content] | None]] = {
    ItemKind.PREPARATION: (SessionKind.PREPARATION, PreparationSummary),
    ItemKind.DEBRIEF: (SessionKind.INTEGRATION, IntegrationSummary),
    ItemKind.INTEGRATION: (SessionKind.INTEGRATION, IntegrationSummary),
    ItemKind.DISCHARGE: (SessionKind.FOLLOW_UP, None),
}


def hold_session(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    episode_id: str,
    item: str,
    started_at: datetime,
    ended_at: datetime,
    summary: Mapping[str, Any] | None = None,
) -> list[Recorded]:
    """Record that a session of the plan was held: its times and, for the partner, a summary.

    Two entries of two categories, because the patient may permit the one without the other.
    """
    by.require(CARE)
    episodes.hold(tx, episode_id, "exclusive")
    course = open_course(tx, clinic, episode_id)
    planned = checked(lambda: course.as_given.item(item))
    if planned.kind not in _HELD_AS:
        raise NotASession(planned.kind)
    if any(each.item == item for each in course.record.all(SessionTimes)):
        raise HeldAlready
    kind, summarised = _HELD_AS[planned.kind]
    times = {
        "session": kind.value,
        "started_at": started_at.isoformat(),
        "ended_at": ended_at.isoformat(),
        "item": item,
    }
    parts = [content_from(SessionTimes.kind, times, "")]
    if summary is not None:
        if summarised is None:
            raise ContentInvalid(Invalid("summary", "is not written of this session"))
        parts.append(
            content_from(summarised.kind, _filled(planned, course, started_at, by, summary), "summary")
        )
    made = [record_entry(tx, clinic, by, course.patient_id, each, episode_id=episode_id) for each in parts]
    watches.look(tx, [episode_id], clinic.now())
    return made


def _filled(
    planned: PlannedItem, course: Course, started_at: datetime, by: Staff, summary: Mapping[str, Any]
) -> dict[str, Any]:
    """What of a summary follows from the item."""
    fields: dict[str, Any] = {"held_at": started_at.isoformat(), "written_by": by.display_name}
    if planned.kind is not ItemKind.PREPARATION:
        debrief = planned.kind is ItemKind.DEBRIEF
        kind = IntegrationKind.SAME_DAY_DEBRIEF if debrief else IntegrationKind.INTEGRATION
        fields["session"] = kind.value
        dose = course.as_given.by_id.get(planned.follows or "")
        if dose is not None and dose.held_at is not None:
            fields["dosing_session_at"] = dose.held_at.isoformat()
    return {**fields, **summary}
