"""What is known when a dosing session is to be cleared or started."""

from dataclasses import dataclass
from datetime import date, datetime

from tandem_care import local_time
from tandem_care.clocks import Given
from tandem_care.entry_kinds import (
    Attendant,
    BloodPressure,
    Dose,
    DosingStart,
    Drug,
    IntegrationSummary,
    Logistics,
    MedicationHoldInstruction,
    Place,
    PreparationSummary,
    Prescription,
    RemsEnrolment,
    Route,
    ScreeningResult,
    TreatmentConsent,
)
from tandem_care.pathways import GuardCode, GuardRule, Pathway
from tandem_care.plans import Plan
from tandem_care.risk import Risk


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The session that is to begin. ``phase_began`` is the day of the first dose of its phase, if there was one."""

    at: datetime
    time_zone: str
    drug: Drug
    route: Route
    place: Place
    dose: Dose
    phase: str
    phase_began: date | None = None

    @property
    def day(self) -> date:
        return local_time.day_of(self.at, self.time_zone)


def session_of(plan: Plan, item: str, dose: Dose) -> Session:
    """The session that *item* of *plan* stands for."""
    planned = plan.item(item)
    phase = planned.phase or ""
    before = [each.day for each in plan.doses if each.phase == phase and each.starts_at < planned.starts_at]
    return Session(
        at=planned.starts_at,
        time_zone=planned.time_zone,
        drug=plan.drug,
        route=plan.route,
        place=plan.place,
        dose=dose,
        phase=phase,
        phase_began=min(before, default=None),
    )


@dataclass(frozen=True, slots=True)
class SupplyCount:
    """Doses counted at home, and how many there should be."""

    counted_at: datetime
    found: int
    expected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """None and empty mean: not on record here.

    ``elsewhere`` names the guards whose facts are the partner's to record, from who does what in the episode and
    never from what was withheld. Such a fact that is not on record here is asked for and attested by hand.
    """

    elsewhere: frozenset[GuardCode] = frozenset()
    therapist: str | None = None
    preparation: PreparationSummary | None = None
    consent: TreatmentConsent | None = None
    prescriptions: tuple[Prescription, ...] = ()
    screening: ScreeningResult | None = None
    doses: tuple[Given, ...] = ()
    """All that were given, of earlier courses too."""
    integrations: tuple[IntegrationSummary, ...] = ()
    labs_outstanding: tuple[str, ...] | None = None
    """Ordered, and not seen yet; empty where nothing is."""
    holds: tuple[MedicationHoldInstruction, ...] | None = None
    held_medication: frozenset[str] = frozenset()
    """What the patient says was paused as told."""
    risk: Risk | None = None
    blood_pressure: tuple[BloodPressure, ...] = ()
    last_food_at: datetime | None = None
    last_liquid_at: datetime | None = None
    logistics: Logistics | None = None
    attendants: tuple[Attendant, ...] = ()
    video_therapist: str | None = None
    supply: SupplyCount | None = None
    rems: RemsEnrolment | None = None
    setting_certified: bool | None = None
    prescriber_on_site: str | None = None
    starts: tuple[DosingStart, ...] = ()
    """Sessions already begun, so that a clearance serves once."""


@dataclass(frozen=True, slots=True)
class Case:
    """What one guard is asked about."""

    rule: GuardRule
    pathway: Pathway
    session: Session
    facts: Facts
    now: datetime
