"""What a care-plan entry can say: one class per kind, each of exactly one category.

A kind changes by a new version, never in place: readers accept fields that a later version added.
No kind holds psychotherapy notes or SUD counselling notes, so no entry can carry them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, TypeVar
from zoneinfo import ZoneInfo

from tandem_care import scales, screening
from tandem_care.categories import Category
from tandem_care.codec import Between, Part, Text, read_document, write_document
from tandem_care.errors import Invalid

Name = Annotated[str, Text(200)]
Line = Annotated[str, Text(500)]
Words = Annotated[str, Text(8000, free=True)]
Note = Annotated[str, Text(1000, free=True)]
Code = Annotated[str, Text(60, pattern=r"[A-Za-z0-9][A-Za-z0-9.:_-]*", needs="must be a code without blanks")]
Phone = Annotated[str, Text(40, pattern=r"\+?[0-9][0-9 ().x-]{3,}", needs="must be a telephone number")]
Zone = Annotated[str, Text(60, pattern=r"[A-Za-z]+(?:/[A-Za-z0-9_+-]+)*", needs="must be an IANA time zone")]
Minutes = Annotated[int, Between(0, 24 * 60)]
Sessions = Annotated[int, Between(1, 200)]


class Content(Part):
    """Base of every kind. ``kind``, ``category`` and ``version`` are set where the kind is declared."""

    __slots__ = ()
    kind: ClassVar[str]
    category: ClassVar[Category]
    version: ClassVar[int]


C = TypeVar("C", bound=type[Content])
Moment = TypeVar("Moment", datetime, date)
_DECLARED: Final[dict[str, type[Content]]] = {}


def _entry_kind(kind: str, category: Category, version: int = 1) -> Callable[[C], C]:
    def declare(cls: C) -> C:
        cls.kind, cls.category, cls.version = kind, category, version
        _DECLARED[kind] = cls
        return cls

    return declare


def to_json(content: Content) -> str:
    """The document that is sealed: kind, version and fields. Equal contents give equal text."""
    return write_document({"kind": content.kind, "version": content.version, "content": content.to_fields()})


def from_json(document: str | bytes) -> Content:
    """Read a document. Unknown fields of a later version are passed over; the rest is as strict as input."""
    found = read_document(document)
    if set(found) != {"kind", "version", "content"}:
        raise Invalid("", "must have kind, version and content, and nothing else")
    cls = kind_of(found["kind"])
    version = found["version"]
    if type(version) is not int or version < 1:
        raise Invalid("version", "must be a whole number from 1")
    return _within("content", cls, found["content"], version > cls.version)


def from_input(kind: str, fields: Mapping[str, Any]) -> Content:
    """Build a kind from what a person or program entered. Unknown fields are refused."""
    return kind_of(kind).from_fields(fields)


def kind_of(kind: object) -> type[Content]:
    found = KINDS.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise Invalid("kind", "is not a kind of entry")
    return found


def _within(field: str, cls: type[Content], fields: object, newer: bool) -> Content:
    try:
        return cls.from_fields(fields, newer=newer)
    except Invalid as fault:
        raise fault.inside(field) from None


def _after(field: str, later: Moment | None, earlier: Moment | None, than: str) -> None:
    if later is not None and earlier is not None and later < earlier:
        raise Invalid(field, f"must not be before {than}")


def _known_zone(field: str, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise Invalid(field, "must be an IANA time zone, such as America/Denver") from None


# Who the patient is


class ContactChannel(StrEnum):
    PHONE = "phone"
    TEXT = "text"
    EMAIL = "email"
    POST = "post"
    PORTAL = "portal"


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeContact(Part):
    """A way to reach the patient, and how much may be said there."""

    channel: ContactChannel
    address: Line
    may_leave_message: bool = False
    may_name_practice: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Representative(Part):
    name: Name
    relation: Name
    authority: Line
    phone: Phone | None = None
    valid_from: date
    valid_until: date | None = None

    def agree(self) -> None:
        _after("valid_until", self.valid_until, self.valid_from, "valid_from")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalIdentifier(Part):
    """A number that another system gave the patient, as FHIR's system and value."""

    system: Line
    value: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonToCall(Part):
    name: Name
    relation: Name
    phone: Phone


@_entry_kind("identity-contact", Category.IDENTITY_CONTACT)
@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityContact(Content):
    """The demographics that a partner needs to reach the right person, safely."""

    legal_name: Name
    used_name: Name | None = None
    pronouns: Name | None = None
    birth_date: date
    time_zone: Zone
    language: Code | None = None
    interpreter_needed: bool = False
    address: Line | None = None
    safe_contact: tuple[SafeContact, ...] = ()
    emergency_contact: PersonToCall | None = None
    representative: Representative | None = None
    identifiers: tuple[ExternalIdentifier, ...] = ()

    def agree(self) -> None:
        _known_zone("time_zone", self.time_zone)


# Referral


@_entry_kind("referral-note", Category.REFERRAL_STATUS)
@dataclass(frozen=True, slots=True, kw_only=True)
class ReferralNote(Content):
    """The words that go with a referral or with one of its moves."""

    referral_id: Code
    move: Code | None = None
    text: Words


# Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreeningReason(Part):
    code: Code
    reason: Note

    def agree(self) -> None:
        line = screening.CHECKLIST.get(self.code)
        if line is None:
            raise Invalid("code", "is not on the checklist")
        if line.substance_use:
            raise Invalid("code", "belongs in an entry of kind substance-use-summary")


@_entry_kind("screening-result", Category.SCREENING_RESULT)
@dataclass(frozen=True, slots=True, kw_only=True)
class ScreeningResult(Content):
    """The outcome of the evaluation. What concerns substance use goes into an entry of its own category."""

    outcome: screening.Outcome
    reasons: tuple[ScreeningReason, ...] = ()
    conditions: tuple[Note, ...] = ()
    evaluated_at: datetime
    expires_at: datetime
    evaluated_by: Name

    def agree(self) -> None:
        _after("expires_at", self.expires_at, self.evaluated_at, "evaluated_at")
        if self.outcome is screening.Outcome.ELIGIBLE_WITH_CONDITIONS and not self.conditions:
            raise Invalid("conditions", "name at least one condition")


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis(Part):
    """``system`` names the code system, such as icd-10-cm."""

    system: Code
    code: Code
    text: Line
    primary: bool = False


@_entry_kind("diagnosis-summary", Category.DIAGNOSIS_SUMMARY)
@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisSummary(Content):
    diagnoses: tuple[Diagnosis, ...]
    stated_on: date
    stated_by: Name
    summary: Words | None = None

    def agree(self) -> None:
        if not self.diagnoses:
            raise Invalid("diagnoses", "name at least one")


class ResultFlag(StrEnum):
    NORMAL = "normal"
    LOW = "low"
    HIGH = "high"
    ABNORMAL = "abnormal"


@_entry_kind("lab-result", Category.LAB_RESULT)
@dataclass(frozen=True, slots=True, kw_only=True)
class LabResult(Content):
    test: Name
    code: Code | None = None
    value: Name
    unit: Name | None = None
    reference_range: Name | None = None
    flag: ResultFlag | None = None
    collected_at: datetime


# Medication


class Drug(StrEnum):
    RACEMIC_KETAMINE = "racemic-ketamine"
    ESKETAMINE = "esketamine"


class Route(StrEnum):
    INTRAVENOUS = "iv"
    INTRAMUSCULAR = "im"
    SUBLINGUAL = "sublingual"
    ORAL_LOZENGE = "oral-lozenge"
    RAPID_DISSOLVE_TABLET = "rapid-dissolve-tablet"
    INTRANASAL = "intranasal"


class DoseUnit(StrEnum):
    MG = "mg"
    MG_PER_KG = "mg/kg"


class Place(StrEnum):
    CLINIC = "clinic"
    THERAPIST_OFFICE = "therapist-office"
    HOME = "home"
    RETREAT = "retreat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dose(Part):
    amount: Annotated[Decimal, Between(0, 5000)]
    unit: DoseUnit


@_entry_kind("prescription", Category.MEDICATION_PRESCRIPTION)
@dataclass(frozen=True, slots=True, kw_only=True)
class Prescription(Content):
    """Esketamine is given by nose in a certified setting and never dispensed for home (REMS)."""

    drug: Drug
    route: Route
    dose: Dose
    directions: Note
    place: Place
    sessions: Sessions | None = None
    supply_count: Annotated[int, Between(0, 1000)] | None = None
    prescribed_at: datetime
    expires_at: datetime
    prescribed_by: Name
    stopped_at: datetime | None = None

    def agree(self) -> None:
        _after("expires_at", self.expires_at, self.prescribed_at, "prescribed_at")
        _after("stopped_at", self.stopped_at, self.prescribed_at, "prescribed_at")
        if self.drug is Drug.ESKETAMINE:
            if self.place is not Place.CLINIC:
                raise Invalid("place", "esketamine is only given in a certified clinic (REMS)")
            if self.route is not Route.INTRANASAL:
                raise Invalid("route", "esketamine is only given by nose")


@dataclass(frozen=True, slots=True, kw_only=True)
class Medication(Part):
    name: Name
    dose: Name | None = None
    schedule: Name | None = None
    since: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Allergy(Part):
    substance: Name
    reaction: Line | None = None


@_entry_kind("medication-list", Category.MEDICATION_LIST_ALLERGIES)
@dataclass(frozen=True, slots=True, kw_only=True)
class MedicationList(Content):
    """An empty list means "none" only where that was said: ``no_medication``, ``no_known_allergies``."""

    medications: tuple[Medication, ...] = ()
    no_medication: bool = False
    allergies: tuple[Allergy, ...] = ()
    no_known_allergies: bool = False
    reviewed_at: datetime
    reviewed_by: Name

    def agree(self) -> None:
        if self.no_medication == bool(self.medications):
            raise Invalid("no_medication", "either list the medication or say that there is none")
        if self.no_known_allergies == bool(self.allergies):
            raise Invalid("no_known_allergies", "either list the allergies or say that none are known")


@_entry_kind("medication-hold-instruction", Category.MEDICATION_HOLD_INSTRUCTION)
@dataclass(frozen=True, slots=True, kw_only=True)
class MedicationHoldInstruction(Content):
    medication: Name
    hold_from: datetime
    resume_at: datetime | None = None
    instruction: Note
    ordered_by: Name

    def agree(self) -> None:
        _after("resume_at", self.resume_at, self.hold_from, "hold_from")


# Dosing


class VitalsMoment(StrEnum):
    BEFORE = "before"
    AT_40_MINUTES = "at-40-minutes"
    BEFORE_LEAVING = "before-leaving"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class BloodPressure(Part):
    moment: VitalsMoment
    taken_at: datetime
    systolic: Annotated[int, Between(40, 300)]
    diastolic: Annotated[int, Between(20, 200)]

    def agree(self) -> None:
        if self.diastolic >= self.systolic:
            raise Invalid("diastolic", "must be below systolic")


@dataclass(frozen=True, slots=True, kw_only=True)
class OxygenSaturation(Part):
    taken_at: datetime
    percent: Annotated[int, Between(30, 100)]


class Effect(StrEnum):
    SEDATION = "sedation"
    DISSOCIATION = "dissociation"
    NAUSEA = "nausea"
    VOMITING = "vomiting"
    HEADACHE = "headache"
    ANXIETY = "anxiety"
    RESPIRATORY_DEPRESSION = "respiratory-depression"
    OTHER = "other"


class Grade(StrEnum):
    NONE = "none"
    MILD = "mild"
    MODERATE = "moderate"
    SEVERE = "severe"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedEffect(Part):
    effect: Effect
    grade: Grade
    observed_at: datetime | None = None
    resolved_at: datetime | None = None
    note: Note | None = None

    def agree(self) -> None:
        _after("resolved_at", self.resolved_at, self.observed_at, "observed_at")
        if self.effect is Effect.OTHER and self.note is None:
            raise Invalid("note", "say which effect")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendant(Part):
    name: Name
    role: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Ride(Part):
    driver: Name
    phone: Phone | None = None


@dataclass(frozen=True, slots=True)
class DrivingProhibition:
    """No driving before this time and, where ``after_sleep`` is set, not before a night's sleep either."""

    until: datetime
    after_sleep: bool


@_entry_kind("dosing-session", Category.MEDICATION_MONITORING)
@dataclass(frozen=True, slots=True, kw_only=True)
class DosingSession(Content):
    """A dose as it was given. Whatever happened can be recorded: only the impossible is refused.

    ``rest_hours`` is the rule of the pathway for racemic ketamine: no driving, signing or demanding work
    for at least 24 hours.
    """

    drug: Drug
    route: Route
    dose: Dose
    lot: Name | None = None
    place: Place
    started_at: datetime
    ended_at: datetime | None = None
    discharged_at: datetime | None = None
    time_zone: Zone
    rest_hours: Annotated[int, Between(24, 168)] = 24
    session_number: Sessions | None = None
    sessions_planned: Sessions | None = None
    blood_pressure: tuple[BloodPressure, ...] = ()
    oxygen_saturation: tuple[OxygenSaturation, ...] = ()
    effects: tuple[ObservedEffect, ...] = ()
    attendants: tuple[Attendant, ...] = ()
    ride: Ride | None = None
    logged_by: Name
    note: Note | None = None

    def agree(self) -> None:
        _known_zone("time_zone", self.time_zone)
        _after("ended_at", self.ended_at, self.started_at, "started_at")
        _after(
            "discharged_at", self.discharged_at, self.ended_at or self.started_at, "the end of the session"
        )
        if self.session_number and self.sessions_planned and self.session_number > self.sessions_planned:
            raise Invalid("session_number", "must not exceed sessions_planned")

    @property
    def no_driving(self) -> DrivingProhibition:
        """Racemic ketamine: ``rest_hours`` from the end. Esketamine: the next day, after sleep (label)."""
        ended_at = self.ended_at or self.started_at
        if self.drug is Drug.RACEMIC_KETAMINE:
            return DrivingProhibition(ended_at + timedelta(hours=self.rest_hours), after_sleep=False)
        zone = _known_zone("time_zone", self.time_zone)
        next_day = ended_at.astimezone(zone).date() + timedelta(days=1)
        return DrivingProhibition(datetime.combine(next_day, time(), zone).astimezone(UTC), after_sleep=True)


@_entry_kind("vitals", Category.MEDICATION_MONITORING)
@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals(Content):
    """Readings outside a dosing session, or by the patient at home."""

    blood_pressure: tuple[BloodPressure, ...] = ()
    oxygen_saturation: tuple[OxygenSaturation, ...] = ()
    self_read: bool = False
    logged_by: Name

    def agree(self) -> None:
        if not self.blood_pressure and not self.oxygen_saturation:
            raise Invalid("blood_pressure", "record at least one reading")


class GuardState(StrEnum):
    MET = "met"
    ATTESTED = "attested"
    OVERRIDDEN = "overridden"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard(Part):
    """One condition of the pathway. By hand or against it, a named person gives the reason."""

    code: Code
    state: GuardState
    reason: Note | None = None
    by: Name | None = None

    def agree(self) -> None:
        if self.state is not GuardState.MET and (self.reason is None or self.by is None):
            raise Invalid("reason", "an attestation or override needs a reason and a name")


@_entry_kind("dosing-clearance", Category.MEDICATION_PRESCRIPTION)
@dataclass(frozen=True, slots=True, kw_only=True)
class DosingClearance(Content):
    """The prescriber's signature under one session."""

    session_at: datetime
    expires_at: datetime
    drug: Drug
    route: Route
    highest_dose: Dose
    place: Place
    pathway: Code
    guards: tuple[Guard, ...] = ()
    cleared_at: datetime
    cleared_by: Name

    def agree(self) -> None:
        _after("expires_at", self.expires_at, self.session_at, "session_at")
        if len({guard.code for guard in self.guards}) != len(self.guards):
            raise Invalid("guards", "names a guard twice")


class AdverseGrade(StrEnum):
    """Grades of the Common Terminology Criteria for Adverse Events (CTCAE)."""

    MILD = "mild"
    MODERATE = "moderate"
    SEVERE = "severe"
    LIFE_THREATENING = "life-threatening"
    FATAL = "fatal"


@_entry_kind("adverse-event", Category.ADVERSE_EVENT)
@dataclass(frozen=True, slots=True, kw_only=True)
class AdverseEvent(Content):
    event: Line
    grade: AdverseGrade
    began_at: datetime
    resolved_at: datetime | None = None
    after_dosing_at: datetime | None = None
    action: Note
    outcome: Note | None = None
    reported_by: Name

    def agree(self) -> None:
        _after("resolved_at", self.resolved_at, self.began_at, "began_at")


# Measures and risk


class Respondent(StrEnum):
    PATIENT = "patient"
    CLINICIAN = "clinician"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemAnswer(Part):
    item: Code
    value: Annotated[int, Between(0, 100)]


@_entry_kind("scale-score", Category.SCALE_SCORE)
@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleScore(Content):
    """Answers with the total and band that follow from them; ``scored`` makes one, a wrong sum is refused."""

    scale: scales.ScaleCode
    answers: tuple[ItemAnswer, ...]
    total: Annotated[int, Between(0, 1000)] | None = None
    band: Code | None = None
    missing: tuple[Code, ...] = ()
    risk_assessment_needed: bool = False
    taken_at: datetime
    respondent: Respondent = Respondent.PATIENT

    def agree(self) -> None:
        if len({answer.item for answer in self.answers}) != len(self.answers):
            raise Invalid("answers", "answers an item twice")
        found = self.score
        for field, expected in (
            ("total", found.total),
            ("band", found.band),
            ("missing", found.missing),
            ("risk_assessment_needed", found.risk_assessment_needed),
        ):
            if getattr(self, field) != expected:
                raise Invalid(field, "does not follow from the answers")

    @property
    def score(self) -> scales.Score:
        return scales.score(scales.SCALES[self.scale], {each.item: each.value for each in self.answers})

    @classmethod
    def scored(
        cls,
        scale: scales.Scale,
        answers: Mapping[str, int | None],
        taken_at: datetime,
        respondent: Respondent = Respondent.PATIENT,
    ) -> "ScaleScore":
        found = scales.score(scale, answers)
        return cls(
            scale=scale.code,
            answers=tuple(
                ItemAnswer(item=item.code, value=value)
                for item in scale.items
                if (value := answers.get(item.code)) is not None
            ),
            total=found.total,
            band=found.band,
            missing=found.missing,
            risk_assessment_needed=found.risk_assessment_needed,
            taken_at=taken_at,
            respondent=respondent,
        )


class RiskLevel(StrEnum):
    LOW = "low"
    MODERATE = "moderate"
    SEVERE = "severe"


class Course(StrEnum):
    NEW = "new"
    WORSE = "worse"
    STEADY = "steady"
    BETTER = "better"


@_entry_kind("safety-risk", Category.SAFETY_RISK)
@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyRisk(Content):
    level: RiskLevel
    course: Course
    assessed_at: datetime
    assessed_by: Name
    summary: Words
    plan: Words | None = None
    safety_plan_in_place: bool = False


SAFETY_SIGNAL_TEXT: Final = "Contact the prescriber before changing medication."


@_entry_kind("safety-signal", Category.SAFETY_SIGNAL)
@dataclass(frozen=True, slots=True, kw_only=True)
class SafetySignal(Content):
    """For a partner who may not see the reason: a fixed text and whom to call, and room for nothing else."""

    on_call_number: Phone

    @property
    def text(self) -> str:
        return f"{SAFETY_SIGNAL_TEXT} On call: {self.on_call_number}"


# Therapy


@_entry_kind("treatment-plan", Category.TREATMENT_PLAN)
@dataclass(frozen=True, slots=True, kw_only=True)
class TreatmentPlan(Content):
    pathway: Code
    goals: tuple[Note, ...]
    intentions: tuple[Note, ...] = ()
    sessions_planned: Sessions | None = None
    starts_on: date | None = None
    agreed_at: datetime
    agreed_by: Name

    def agree(self) -> None:
        if not self.goals:
            raise Invalid("goals", "name at least one goal")


class Readiness(StrEnum):
    READY = "ready"
    READY_WITH_CONDITIONS = "ready-with-conditions"
    NOT_YET = "not-yet"


@_entry_kind("preparation-summary", Category.PROGRESS_SUMMARY)
@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationSummary(Content):
    """A summary of the preparation. The therapist feeds back on the dose; the prescriber decides."""

    held_at: datetime
    readiness: Readiness
    summary: Words
    dose_feedback: Note | None = None
    written_by: Name


class IntegrationKind(StrEnum):
    SAME_DAY_DEBRIEF = "same-day-debrief"
    INTEGRATION = "integration"


@_entry_kind("integration-summary", Category.PROGRESS_SUMMARY)
@dataclass(frozen=True, slots=True, kw_only=True)
class IntegrationSummary(Content):
    held_at: datetime
    session: IntegrationKind
    dosing_session_at: datetime | None = None
    summary: Words
    functional_status: Note | None = None
    dose_feedback: Note | None = None
    next_steps: Note | None = None
    written_by: Name


@_entry_kind("homework-practice", Category.HOMEWORK_PRACTICE)
@dataclass(frozen=True, slots=True, kw_only=True)
class HomeworkPractice(Content):
    practice: Note
    given_at: datetime
    until: date | None = None


@_entry_kind("modality-frequency", Category.MODALITY_FREQUENCY)
@dataclass(frozen=True, slots=True, kw_only=True)
class ModalityFrequency(Content):
    """For example cbt, once every 7 days."""

    modality: Name
    every_days: Annotated[int, Between(1, 365)]
    session_minutes: Minutes | None = None
    starts_on: date


class SessionKind(StrEnum):
    CONSULTATION = "consultation"
    MEDICAL_EVALUATION = "medical-evaluation"
    PREPARATION = "preparation"
    DOSING = "dosing"
    INTEGRATION = "integration"
    PSYCHOTHERAPY = "psychotherapy"
    FOLLOW_UP = "follow-up"


@_entry_kind("session-times", Category.SESSION_TIMES)
@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTimes(Content):
    """Start and stop, which 45 CFR 164.501 keeps apart from psychotherapy notes."""

    session: SessionKind
    started_at: datetime
    ended_at: datetime
    session_number: Sessions | None = None
    sessions_planned: Sessions | None = None

    def agree(self) -> None:
        _after("ended_at", self.ended_at, self.started_at, "started_at")


# Around the course


class AppointmentStatus(StrEnum):
    BOOKED = "booked"
    ARRIVED = "arrived"
    COMPLETED = "completed"
    NO_SHOW = "no-show"
    CANCELLED = "cancelled"


@_entry_kind("appointment", Category.APPOINTMENT)
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

    def agree(self) -> None:
        _known_zone("time_zone", self.time_zone)
        _after("ends_at", self.ends_at, self.starts_at, "starts_at")


class Arrangement(StrEnum):
    NEEDED = "needed"
    ARRANGED = "arranged"
    NOT_NEEDED = "not-needed"


@_entry_kind("logistics", Category.LOGISTICS)
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


@_entry_kind("coverage-payment", Category.COVERAGE_PAYMENT)
@dataclass(frozen=True, slots=True, kw_only=True)
class CoveragePayment(Content):
    status: CoverageStatus
    payer: Name | None = None
    member_id: Name | None = None
    authorization: Name | None = None
    sessions_authorized: Sessions | None = None
    valid_until: date | None = None
    note: Note | None = None


@_entry_kind("message", Category.MESSAGE)
@dataclass(frozen=True, slots=True, kw_only=True)
class Message(Content):
    author: Name
    text: Words


# Guarded by special rules


@_entry_kind("substance-use-summary", Category.SUBSTANCE_USE)
@dataclass(frozen=True, slots=True, kw_only=True)
class SubstanceUseSummary(Content):
    """Diagnosis, status and plan in summary (42 CFR Part 2); never the notes of a counselling session."""

    summary: Words
    in_treatment: bool
    stated_at: datetime
    stated_by: Name


class SensitiveTopic(StrEnum):
    HIV = "hiv"
    SEXUAL_HEALTH = "sexual-health"
    VIOLENCE = "violence"
    GENETIC = "genetic"
    PERSONALITY = "personality"


@_entry_kind("sensitive-summary", Category.OTHER_SENSITIVE)
@dataclass(frozen=True, slots=True, kw_only=True)
class SensitiveSummary(Content):
    topic: SensitiveTopic
    summary: Words
    stated_at: datetime
    stated_by: Name


KINDS: Final[Mapping[str, type[Content]]] = MappingProxyType(_DECLARED)
