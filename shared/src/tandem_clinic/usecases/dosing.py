"""Clearing and starting dosing sessions: guards are asked with what this clinic may see, and named people speak for the rest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tandem_care import guards
from tandem_care.courses import Part, facts_on_record, inputs_of
from tandem_care.entry_kinds import Dose, DosingClearance, DosingStart, ItemKind
from tandem_care.errors import Invalid
from tandem_care.guards import Facts, Finding, Session, Word, ready_to_start, session_of
from tandem_care.local_time import day_of
from tandem_care.pathways import GuardCode
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.course_refusals import DoseGiven, SignedByThePrescriber
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.domain.staff import CARE, Role, Staff
from tandem_clinic.store import audit, episodes, watches
from tandem_clinic.usecases.course_reading import Course, checked, open_course
from tandem_clinic.usecases.entries import Recorded, record_entry
from tandem_platform.storage import Transaction

SIGNERS = frozenset({Role.CLINICIAN, Role.INTEGRATION})
"""Who signs, attests and overrides. An EHR names the person for whom it speaks."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A person vouches for a guard or overrides it. ``by`` may be left out by whoever speaks in person."""

    guard: str
    reason: str
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    attested: Sequence[Spoken] = ()
    overridden: Sequence[Spoken] = ()

    def __bool__(self) -> bool:
        return bool(self.attested or self.overridden)


@dataclass(frozen=True, slots=True)
class Signed:
    recorded: Recorded
    clearance: DosingClearance


@dataclass(frozen=True, slots=True)
class Started:
    recorded: Recorded
    start: DosingStart


def ask_guards(
    tx: Transaction, clinic: Clinic, by: Staff, episode_id: str, item: str, dose: Dose
) -> tuple[Finding, ...]:
    """What stands for and against starting a session now, the clearance first."""
    by.require(CARE)
    course = open_course(tx, clinic, episode_id)
    session, facts = _asked(clinic, course, item, dose)
    audit.note(
        tx, "guards-asked", clinic.now(), by=by, patient_id=course.patient_id, subject_id=course.plan_id
    )
    clearance = clearance_of(course, session)
    return ready_to_start(course.plan.pathway, session, facts, clearance, clinic.now())


def sign_clearance(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    episode_id: str,
    item: str,
    dose: Dose,
    highest_dose: Dose | None = None,
    words: Words | None = None,
) -> Signed:
    """The prescriber's signature under one session, which expires and serves once."""
    by.require(SIGNERS)
    words = words or Words()
    course = open_course(tx, clinic, episode_id)
    if course.part is Part.GIVES_THERAPY:
        raise SignedByThePrescriber
    session, facts = _asked(clinic, course, item, dose, now=False)
    clearance = checked(
        lambda: guards.sign(
            course.plan.pathway,
            session,
            facts,
            clinic.now(),
            by=by.display_name,
            highest_dose=highest_dose or dose,
            attested=_said(by, words.attested, "attested"),
            overridden=_said(by, words.overridden, "overridden"),
        )
    )
    return Signed(_kept(tx, clinic, by, course, clearance), clearance)


def start_session(
    tx: Transaction,
    clinic: Clinic,
    by: Staff,
    episode_id: str,
    item: str,
    dose: Dose,
    words: Words | None = None,
) -> Started:
    """That a session begins now, where the dose is taken. Every guard is asked again; a clearance serves once."""
    by.require(CARE)
    words = words or Words()
    if words:
        by.require(SIGNERS)
    # Two who start at once: the second finds the first's start.
    episodes.hold(tx, episode_id, "exclusive")
    course = open_course(tx, clinic, episode_id)
    session, facts = _asked(clinic, course, item, dose)
    begun = checked(
        lambda: guards.start(
            course.plan.pathway,
            session,
            facts,
            clearance_of(course, session),
            clinic.now(),
            by=by.display_name,
            attested=_said(by, words.attested, "attested"),
            overridden=_said(by, words.overridden, "overridden"),
        )
    )
    return Started(_kept(tx, clinic, by, course, begun), begun)


def _asked(
    clinic: Clinic, course: Course, item: str, dose: Dose, *, now: bool = True
) -> tuple[Session, Facts]:
    """The session as it is about to begin, or as it is planned, and what is on record for its day."""
    plan = course.as_given
    planned = checked(lambda: plan.item(item))
    if planned.kind is not ItemKind.DOSE:
        raise ContentInvalid(Invalid("item", "is not a dose of the plan"))
    if planned.held_at is not None:
        raise DoseGiven
    session = session_of(plan, item, dose)
    if now:
        session = replace(session, at=clinic.now())
    facts = facts_on_record(
        course.record, session, clinic.now(), part=course.part, therapist=course.therapist
    )
    return session, facts


def clearance_of(course: Course, session: Session) -> DosingClearance | None:
    """Of those signed for the session's day the newest, or else the newest, so that the guard can say why it does not serve."""
    signed = course.record.all(DosingClearance)
    return max(
        signed,
        key=lambda each: (day_of(each.session_at, session.time_zone) == session.day, each.cleared_at),
        default=None,
    )


def _said(by: Staff, spoken: Sequence[Spoken], field: str) -> list[Word]:
    return [_word(by, each, f"{field}[{place}]") for place, each in enumerate(spoken)]


def _word(by: Staff, spoken: Spoken, field: str) -> Word:
    if spoken.guard not in list(GuardCode):
        raise ContentInvalid(Invalid(f"{field}.guard", "is not a guard"))
    if not spoken.reason.strip():
        raise ContentInvalid(Invalid(f"{field}.reason", "is required"))
    person = by.roles & {Role.CLINICIAN}
    if not person and not spoken.by:
        raise ContentInvalid(Invalid(f"{field}.by", "must name the person who says so"))
    return Word(GuardCode(spoken.guard), by.display_name if person else spoken.by, spoken.reason)


def _kept(
    tx: Transaction, clinic: Clinic, by: Staff, course: Course, content: DosingClearance | DosingStart
) -> Recorded:
    """What it says for a guard by a person's word is shared only with who may see what that speaks of."""
    episode_id = course.episode.episode_id
    recorded = record_entry(
        tx,
        clinic,
        by,
        course.patient_id,
        content,
        episode_id=episode_id,
        derived_from=sorted(inputs_of(content.guards)),
    )
    against = [each for each in content.guards if each.by is not None]
    for guard in against:
        audit.note(
            tx,
            f"guard-{guard.state}",
            clinic.now(),
            by=by,
            patient_id=course.patient_id,
            subject_id=recorded.record_id,
            guard=guard.code,
        )
    watches.look(tx, [episode_id], clinic.now())
    return recorded
