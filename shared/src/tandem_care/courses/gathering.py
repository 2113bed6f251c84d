"""From what is on record to the facts that guards ask for, and which categories a guard's word speaks of."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tandem_care import local_time
from tandem_care.categories import Category
from tandem_care.clocks import Given, given
from tandem_care.courses.record import Record
from tandem_care.entry_kinds import (
    BloodPressure,
    CertifiedSetting,
    DosingSession,
    DosingStart,
    Guard,
    GuardState,
    IntegrationSummary,
    LabReview,
    Logistics,
    MedicationHoldInstruction,
    MedicationPause,
    PreparationSummary,
    Prescription,
    RemsEnrolment,
    SafetyRisk,
    ScaleScore,
    ScreeningResult,
    SessionCheck,
    SupplyCounted,
    TreatmentConsent,
    Vitals,
)
from tandem_care.guards import Facts, Session, SupplyCount
from tandem_care.pathways import GuardCode
from tandem_care.risk import Risk, risk_in, risk_of
from tandem_care.scales import ScaleCode


class Part(StrEnum):
    """What a practice does in an episode. One that is alone does all of it."""

    PRESCRIBES = "prescribes"
    GIVES_THERAPY = "gives-therapy"
    ALL = "all"


_RECORDED_BY: Final[Mapping[Part, frozenset[GuardCode]]] = MappingProxyType(
    {
        Part.PRESCRIBES: frozenset(
            {
                GuardCode.CLEARANCE,
                GuardCode.CONSENT,
                GuardCode.PRESCRIPTION,
                GuardCode.SCREENING,
                GuardCode.LABS,
                GuardCode.HOLDS,
                GuardCode.REMS_ENROLMENT,
            }
        ),
        Part.GIVES_THERAPY: frozenset({GuardCode.PREPARATION, GuardCode.INTEGRATION}),
        Part.ALL: frozenset(),
    }
)


def recorded_elsewhere(part: Part) -> frozenset[GuardCode]:
    """Guards whose facts the partner of a practice with this *part* records: whatever was withheld of them."""
    partner = {Part.PRESCRIBES: Part.GIVES_THERAPY, Part.GIVES_THERAPY: Part.PRESCRIBES}.get(part)
    return frozenset() if partner is None else _RECORDED_BY[partner]


_SPEAKS_OF: Final[Mapping[GuardCode, frozenset[Category]]] = MappingProxyType(
    {
        GuardCode.PREPARATION: frozenset({Category.PROGRESS_SUMMARY}),
        GuardCode.CONSENT: frozenset({Category.TREATMENT_PLAN}),
        GuardCode.SCREENING: frozenset({Category.SCREENING_RESULT}),
        GuardCode.INTEGRATION: frozenset({Category.PROGRESS_SUMMARY}),
        GuardCode.LABS: frozenset({Category.LAB_RESULT}),
        GuardCode.HOLDS: frozenset({Category.MEDICATION_HOLD_INSTRUCTION}),
        GuardCode.RISK_SCREEN: frozenset({Category.SAFETY_RISK, Category.SCALE_SCORE}),
        GuardCode.RIDE: frozenset({Category.LOGISTICS}),
        GuardCode.SUPPORT_PERSON: frozenset({Category.LOGISTICS}),
        GuardCode.HOME_ADDRESS: frozenset({Category.LOGISTICS}),
        GuardCode.CHAPERONE: frozenset({Category.LOGISTICS}),
    }
)


def inputs_of(guards: Iterable[Guard]) -> frozenset[Category]:
    """Categories that a signature or start tells of beside its own: where a named person had to speak for a guard."""
    spoken = (GuardCode(each.code) for each in guards if each.state is not GuardState.MET)
    return frozenset(category for code in spoken for category in _SPEAKS_OF.get(code, ()))


def facts_on_record(
    record: Record, session: Session, now: datetime, *, part: Part, therapist: str | None
) -> Facts:
    """What guards may know at *now* of *session*. None and empty mean: not on record here."""
    check = _on_the_day(record, session, now)
    return Facts(
        elsewhere=recorded_elsewhere(part),
        therapist=therapist,
        preparation=record.newest(PreparationSummary, lambda each: each.held_at),
        consent=_consent(record, session),
        prescriptions=record.all(Prescription),
        screening=record.newest(ScreeningResult, lambda each: each.evaluated_at),
        doses=doses_on_record(record),
        integrations=record.all(IntegrationSummary),
        labs_outstanding=_outstanding(record),
        holds=_holds(record),
        held_medication=_paused(record, session, now),
        risk=newest_risk(record, now),
        blood_pressure=_readings(record),
        last_food_at=None if check is None else check.last_food_at,
        last_liquid_at=None if check is None else check.last_liquid_at,
        logistics=_logistics(record, session),
        attendants=() if check is None else check.attendants,
        video_therapist=None if check is None else check.video_therapist,
        supply=_supply(record),
        rems=_newest_in_force(record, session),
        setting_certified=_certified(record, session),
        prescriber_on_site=None if check is None else check.prescriber_on_site,
        starts=record.all(DosingStart),
    )


def doses_on_record(record: Record) -> tuple[Given, ...]:
    """Those recorded, and those begun of which no record has followed yet, the earliest first."""
    doses = [given(each) for each in record.all(DosingSession)]
    begun = [
        Given(each.started_at, each.started_at, each.time_zone)
        for each in record.all(DosingStart)
        if not any(_same_day(each, dose) for dose in doses)
    ]
    return tuple(sorted([*doses, *begun], key=lambda each: each.started_at))


def _same_day(start: DosingStart, dose: Given) -> bool:
    return local_time.day_of(start.started_at, dose.time_zone) == dose.day


def newest_risk(record: Record, now: datetime) -> Risk | None:
    """Of screens for risk and clinicians' assessments; other scales only point to one."""
    screens = [risk_in(each) for each in record.all(ScaleScore) if each.scale is ScaleCode.CSSRS]
    found = [each for each in [*screens, *map(risk_of, record.all(SafetyRisk))] if each and each.at <= now]
    return max(found, key=lambda each: each.at, default=None)


def _consent(record: Record, session: Session) -> TreatmentConsent | None:
    """The newest to this drug, or else to another, so that the guard can say so."""
    found = record.all(TreatmentConsent)
    return max(found, key=lambda each: (each.drug is session.drug, each.signed_at), default=None)


def _outstanding(record: Record) -> tuple[str, ...] | None:
    review = record.newest(LabReview, lambda each: each.reviewed_at)
    return None if review is None else review.outstanding


def _holds(record: Record) -> tuple[MedicationHoldInstruction, ...] | None:
    told = record.all(MedicationHoldInstruction)
    nothing_to_pause = any(each.none_needed for each in record.all(MedicationPause))
    return told if told or nothing_to_pause else None


def _paused(record: Record, session: Session, now: datetime) -> frozenset[str]:
    """As the patient said on the day."""
    return frozenset(
        name
        for each in record.all(MedicationPause)
        if each.asked_at <= now and local_time.day_of(each.asked_at, session.time_zone) == session.day
        for name in each.paused
    )


def _on_the_day(record: Record, session: Session, now: datetime) -> SessionCheck | None:
    """The newest; what was found on another day says nothing of this one."""
    found = [
        each
        for each in record.all(SessionCheck)
        if each.checked_at <= now and local_time.day_of(each.checked_at, session.time_zone) == session.day
    ]
    return max(found, key=lambda each: each.checked_at, default=None)


def _logistics(record: Record, session: Session) -> Logistics | None:
    """Those written last for the session's day; else the last, whose address may still hold."""
    found = record.all(Logistics)
    of_the_day = [
        each for each in found if local_time.day_of(each.session_at, session.time_zone) == session.day
    ]
    known = of_the_day or list(found)
    return known[-1] if known else None


def _readings(record: Record) -> tuple[BloodPressure, ...]:
    apart = [reading for taken in record.all(Vitals) for reading in taken.blood_pressure]
    within = [reading for dose in record.all(DosingSession) for reading in dose.blood_pressure]
    return (*apart, *within)


def _supply(record: Record) -> SupplyCount | None:
    counted = record.newest(SupplyCounted, lambda each: each.counted_at)
    return None if counted is None else SupplyCount(counted.counted_at, counted.found, counted.expected)


def _newest_in_force(record: Record, session: Session) -> RemsEnrolment | None:
    found = record.all(RemsEnrolment)
    return max(
        found, key=lambda each: (each.in_force(session.day), each.enrolled_on.toordinal()), default=None
    )


def _certified(record: Record, session: Session) -> bool | None:
    found = record.all(CertifiedSetting)
    return any(each.in_force(session.day) for each in found) if found else None
