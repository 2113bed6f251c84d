"""Clocks of the courses under way: what has fallen due comes to the worklist, and goes from it when it was done.

Each clinic looks at what it may see, so nothing of a partner's that was withheld shows in what waits here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from tandem_care.categories import Category
from tandem_care.clocks import awaiting_decision, observation
from tandem_care.courses import Followed, Noted, Part, Record, Stand, follow
from tandem_care.entry_kinds import (
    DoseDecision,
    DoseFeedback,
    DosingSession,
    DosingStart,
    ItemKind,
    SafetyRisk,
    ScaleScore,
)
from tandem_care.local_time import day_of
from tandem_care.risk import Risk, route
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.course_refusals import PathwayNotKnown, PlanUnfit
from tandem_clinic.store import episodes, watches, worklist
from tandem_clinic.usecases.course_reading import Course, find_course, part_in, record_in
from tandem_clinic.usecases.risks import raise_risk, risk_told
from tandem_platform.storage import Transaction

LOOK_EVERY = timedelta(minutes=5)
_RISKS_OF = timedelta(days=14)
"""Older ones that a partner gives, such as a history, interrupt nobody."""
_WANTING = frozenset({Stand.NOT_BOOKED, Stand.BOOKED_TOO_LATE, Stand.OVERDUE})
_BOTH = frozenset({ItemKind.INTEGRATION, ItemKind.DEBRIEF})
_SHOWN: Mapping[Part, frozenset[ItemKind]] = {
    Part.PRESCRIBES: _BOTH | {ItemKind.DOSE, ItemKind.FORM, ItemKind.CHECK, ItemKind.SCALE},
    Part.GIVES_THERAPY: _BOTH | {ItemKind.PREPARATION, ItemKind.DISCHARGE},
    Part.ALL: frozenset(ItemKind),
}
"""Whose worklist shows what: integration both practices', the rest where it is done."""
_WHEN_DUE = frozenset({ItemKind.FORM, ItemKind.CHECK, ItemKind.SCALE})
"""Waits from when it is due; the rest only once it is late, for it has its day."""


MOVES_CLOCKS = frozenset(
    category.value
    for category in (
        Category.APPOINTMENT,
        Category.MEDICATION_MONITORING,
        Category.PROGRESS_SUMMARY,
        Category.SAFETY_RISK,
        Category.SCALE_SCORE,
        Category.SESSION_TIMES,
        Category.TREATMENT_PLAN,
    )
)
"""What a partner gives of these is looked at as it comes."""


@dataclass(frozen=True, slots=True)
class Waiting:
    kind: str
    subject_id: str
    facts: Mapping[str, str]


def look_at_course(tx: Transaction, clinic: Clinic, episode_id: str) -> None:
    """Put right what of this course waits on the worklist; look again in a while, as long as its clocks run."""
    # First: whoever records something meanwhile waits for this look, and then has it looked at again.
    watches.put_off(tx, episode_id, clinic.now() + LOOK_EVERY)
    if not _look(tx, clinic, episode_id):
        watches.forget(tx, episode_id)


def _look(tx: Transaction, clinic: Clinic, episode_id: str) -> bool:
    """Whether its clocks still run."""
    now = clinic.now()
    episode = episodes.find(tx, episode_id)
    if episode is None or episode.patient_id is None:
        return False
    course = _course(tx, clinic, episode_id)
    part, _ = part_in(tx, clinic, episode)
    record = course.record if course else record_in(tx, clinic, episode, episode.patient_id)
    _tell_risks(tx, clinic, episode_id, record)
    waiting = [*_feedback(episode_id, part, record, now)]
    if course is not None and episode.is_open:
        waiting += [*_due(course, now), *_observations(course, now)]
    for each in waiting:
        worklist.raise_unless_finished(
            tx, each.kind, each.subject_id, now, episode_id=episode_id, **each.facts
        )
    worklist.settle_others(tx, KINDS, {each.subject_id for each in waiting}, episode_id, now)
    return episode.is_open and course is not None


def _course(tx: Transaction, clinic: Clinic, episode_id: str) -> Course | None:
    try:
        return find_course(tx, clinic, episode_id)
    except (PathwayNotKnown, PlanUnfit):
        worklist.raise_unless_finished(
            tx, "plan-not-readable", episode_id, clinic.now(), episode_id=episode_id
        )
        return None


KINDS = ("dose-feedback", "observation", *(f"course-{kind}" for kind in ItemKind))


def _due(course: Course, now: datetime) -> Iterator[Waiting]:
    shown = _SHOWN[course.part]
    for each in follow(course.plan, course.record, now):
        late = each.stand in _WANTING
        if each.item.kind in shown and (late or (each.stand is Stand.DUE and each.item.kind in _WHEN_DUE)):
            yield _of_item(course.episode.episode_id, each)


def _of_item(episode_id: str, each: Followed) -> Waiting:
    """A new standing is a new item: to have finished the one says nothing of the other."""
    return Waiting(
        f"course-{each.item.kind}",
        f"{episode_id}:{each.item.item}:{each.stand}",
        {"item": each.item.item, "stand": each.stand.value, "due_at": each.due_at.isoformat()},
    )


def _feedback(episode_id: str, part: Part, record: Record, now: datetime) -> Iterator[Waiting]:
    """A wish for another dose waits where it is decided."""
    if part is Part.GIVES_THERAPY:
        return
    for each in awaiting_decision(record.all(DoseFeedback), record.all(DoseDecision), now):
        at = each.dosing_session_at.isoformat()
        yield Waiting("dose-feedback", f"{episode_id}:{at}", {"dosing_session_at": at})


def _observations(course: Course, now: datetime) -> Iterator[Waiting]:
    """Sessions begun here whose patient should have been seen off by now, and of whom no record says so."""
    medicine = course.plan.medicine
    begun = [
        each.content for each in course.record.noted if each.own and isinstance(each.content, DosingStart)
    ]
    doses = course.record.all(DosingSession)
    for start in begun:
        assert isinstance(start, DosingStart)
        session = next((each for each in doses if _same_day(start, each)), None)
        until = start.started_at + timedelta(minutes=medicine.observation.minutes)
        stays = session is None or (
            session.discharged_at is None and not observation(medicine, session, now).over
        )
        if stays and now >= until:
            at = start.started_at.isoformat()
            yield Waiting(
                "observation",
                f"{course.episode.episode_id}:{at}",
                {"started_at": at, "until": until.isoformat()},
            )


def _same_day(start: DosingStart, session: DosingSession) -> bool:
    return day_of(start.started_at, session.time_zone) == day_of(session.started_at, session.time_zone)


def _tell_risks(tx: Transaction, clinic: Clinic, episode_id: str, record: Record) -> None:
    """Risks that a partner gave: new, worse or severe ones interrupt here as they do there."""
    told = sorted(_risks(record), key=lambda pair: pair[1].at)
    for place, (each, risk) in enumerate(told):
        if each.own or risk.at < clinic.now() - _RISKS_OF:
            continue
        before = [other for _, other in told[:place] if other.scale in (None, risk.scale)]
        routing = route(before[-1] if before else None, risk, may_share=True)
        raise_risk(tx, clinic, each.id, episode_id, routing.attention)


def _risks(record: Record) -> Iterator[tuple[Noted, Risk]]:
    for each in record.noted:
        if isinstance(each.content, ScaleScore | SafetyRisk):
            risk = risk_told(each.content)
            if risk is not None:
                yield each, risk
