"""A model of care or maintenance: which medicine, how dense, and what goes before, with and after each dose."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from tandem_care.codec import Between, Part
from tandem_care.entry_kinds import (
    CheckSubject,
    Code,
    Drug,
    Effect,
    Line,
    Minutes,
    Name,
    Place,
    Route,
    Sessions,
    Version,
    VitalsMoment,
)
from tandem_care.errors import Invalid
from tandem_care.pathways.guard_rules import HOME, REMS, Days, GuardCode, GuardRule
from tandem_care.scales import ScaleCode

NOTICE: Final = "Decision support; the clinician decides."
MISUSE: Final = "misuse"
"""A check that is recorded as an entry about substance use, apart from the others."""

Spacing = Annotated[int, Between(1, 365)]
Hours = Annotated[int, Between(0, 1000)]


class Care(StrEnum):
    COURSE = "course"
    MAINTENANCE = "maintenance"


@dataclass(frozen=True, slots=True, kw_only=True)
class MinutesRange(Part):
    shortest: Minutes
    longest: Minutes

    def agree(self) -> None:
        if self.longest < self.shortest:
            raise Invalid("longest", "must not be below shortest")


@dataclass(frozen=True, slots=True, kw_only=True)
class VitalsTime(Part):
    """When to measure, in minutes from the start; without minutes, whenever that moment comes."""

    moment: VitalsMoment
    minutes: Minutes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationRule(Part):
    """Nobody leaves before ``minutes`` from the start, nor before the named effects have resolved."""

    minutes: Minutes
    resolved: tuple[Effect, ...] = ()
    vitals: tuple[VitalsTime, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fasting(Part):
    food_minutes: Minutes
    liquid_minutes: Minutes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FormRule(Part):
    """A form that a safety programme wants after every session, by the end of the nth day after it."""

    form: Code
    within_days: Days


@dataclass(frozen=True, slots=True, kw_only=True)
class Medicine(Part):
    drug: Drug
    routes: tuple[Route, ...]
    places: tuple[Place, ...]
    onset_minutes: MinutesRange | None = None
    session_minutes: MinutesRange
    observation: ObservationRule
    fasting: Fasting | None = None
    form: FormRule | None = None
    rest_hours: Annotated[int, Between(24, 168)] | None = None
    """No driving for so long after racemic ketamine; after esketamine, until the next day after sleep."""
    after_dose: tuple[Line, ...] = ()

    def agree(self) -> None:
        for field in ("routes", "places"):
            if not getattr(self, field):
                raise Invalid(field, "name at least one")
        if self.observation.minutes < self.session_minutes.shortest:
            raise Invalid("observation.minutes", "must not be below the shortest session")
        if self.drug is Drug.RACEMIC_KETAMINE and self.rest_hours is None:
            raise Invalid("rest_hours", "is required for racemic ketamine")
        if self.drug is Drug.ESKETAMINE:
            self._agree_with_rems()

    def _agree_with_rems(self) -> None:
        """SPRAVATO REMS and prescribing information, sections 2 and 5.4."""
        if self.routes != (Route.INTRANASAL,):
            raise Invalid("routes", "esketamine is only given by nose")
        if self.places != (Place.CLINIC,):
            raise Invalid("places", "esketamine is only given in a certified clinic (REMS)")
        if self.observation.minutes < 120:
            raise Invalid("observation.minutes", "must be at least 120 for esketamine (REMS)")
        if self.form is None:
            raise Invalid("form", "is required for esketamine (REMS)")
        if self.rest_hours is not None:
            raise Invalid(
                "rest_hours", "is not given for esketamine: driving waits for the next day, after sleep"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit(Part):
    """Never more than ``doses`` on any ``days`` consecutive days."""

    doses: Annotated[int, Between(1, 20)]
    days: Spacing


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase(Part):
    """A stretch of sessions with one rhythm: usually so many days apart, and never denser than allowed."""

    code: Code
    fewest: Sessions
    usual: Sessions
    most: Sessions
    every_days: Spacing
    densest: tuple[Limit, ...]

    def agree(self) -> None:
        if not self.fewest <= self.usual <= self.most:
            raise Invalid("usual", "must lie between fewest and most")
        if not self.densest:
            raise Invalid("densest", "name at least one limit")
        for limit in self.densest:
            if limit.doses == 1 and self.every_days < limit.days:
                raise Invalid("every_days", "is denser than the densest schedule")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationRule(Part):
    sessions: Annotated[int, Between(1, 6)]
    every_days: Spacing
    days_before_dose: Annotated[int, Between(0, 60)]
    minutes: Minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Plasticity(Part):
    """The window after a dose in which what was found is best worked with."""

    opens_hours: Hours
    peaks_hours: Hours
    closes_days: Days

    def agree(self) -> None:
        if not self.opens_hours <= self.peaks_hours <= 24 * self.closes_days:
            raise Invalid("peaks_hours", "must lie between the opening and the closing")


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegrationRule(Part):
    """Due from ``due_days`` on, over at the end of the day ``deadline_days`` after the dose.

    Booked by ``book_within_hours`` after the dose ended, or it shows on both worklists.
    """

    same_day_debrief: bool
    debrief_minutes: Minutes = 0
    due_days: Days
    deadline_days: Days
    book_within_hours: Hours
    every_doses: Sessions = 1
    before_next_dose: bool = False
    minutes: Minutes
    window: Plasticity

    def agree(self) -> None:
        if self.deadline_days < max(self.due_days, 1):
            raise Invalid("deadline_days", "must be at least 1 and not before due_days")
        if self.book_within_hours > 24 * self.deadline_days:
            raise Invalid("book_within_hours", "must not end after the deadline")
        if self.before_next_dose and self.every_doses != 1:
            raise Invalid("every_doses", "must be 1 where integration comes before the next dose")
        if self.same_day_debrief and not self.debrief_minutes:
            raise Invalid("debrief_minutes", "is required with a same-day debrief")

    def follows(self, number: int, last: bool) -> bool:
        """Whether the dose with this number has an integration session of its own."""
        return last or number % self.every_doses == 0


class ScaleMoment(StrEnum):
    BASELINE = "baseline"
    BEFORE_DOSE = "before-dose"
    AFTER_DOSE = "after-dose"
    INTERVAL = "interval"
    END = "end"
    FOLLOW_UP = "follow-up"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleTime(Part):
    """When a scale is sent. ``days`` counts to the dose, from it, or between two; ``open_days`` to answer."""

    scale: ScaleCode
    moment: ScaleMoment
    days: Days = 0
    open_days: Days = 2

    def agree(self) -> None:
        if (
            self.moment in (ScaleMoment.AFTER_DOSE, ScaleMoment.INTERVAL, ScaleMoment.FOLLOW_UP)
            and not self.days
        ):
            raise Invalid("days", f"is required for {self.moment}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRule(Part):
    """A check that long use asks for: after so many days or so many doses, whichever comes first."""

    subject: Code
    every_days: Spacing
    every_doses: Sessions | None = None

    def agree(self) -> None:
        known = [*CheckSubject, MISUSE]
        if self.subject not in known:
            raise Invalid("subject", f"must be one of {', '.join(known)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DischargeRule(Part):
    after_days: Days
    minutes: Minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Pathway(Part):
    code: Code
    version: Version
    title: Name
    summary: Line
    care: Care
    sources: tuple[Line, ...]
    clearance_hours: Annotated[int, Between(1, 168)]
    """A clearance ends so long after the planned start."""
    medicines: tuple[Medicine, ...]
    phases: tuple[Phase, ...]
    preparation: PreparationRule | None = None
    integration: IntegrationRule
    scales: tuple[ScaleTime, ...] = ()
    checks: tuple[CheckRule, ...] = ()
    discharge: DischargeRule
    guards: tuple[GuardRule, ...]

    def agree(self) -> None:
        for field in ("sources", "medicines", "phases", "guards"):
            if not getattr(self, field):
                raise Invalid(field, "name at least one")
        _once("medicines", [each.drug for each in self.medicines])
        _once("phases", [each.code for each in self.phases])
        _once("guards", [each.guard for each in self.guards])
        _once("checks", [each.subject for each in self.checks])
        self._guards_have_what_they_ask_for()
        if self.care is Care.MAINTENANCE and not self.checks:
            raise Invalid("checks", "maintenance needs at least one")

    def _guards_have_what_they_ask_for(self) -> None:
        codes = {each.guard for each in self.guards}
        places = {place for each in self.medicines for place in each.places}
        esketamine = any(each.drug is Drug.ESKETAMINE for each in self.medicines)
        for needed, why, wanted in (
            (HOME, "for sessions at home", Place.HOME in places),
            (REMS, "for esketamine (REMS)", esketamine),
        ):
            if wanted and not needed <= codes:
                raise Invalid("guards", f"must list {', '.join(sorted(needed - codes))} {why}")
            if not wanted and needed & codes:
                raise Invalid("guards", f"lists {', '.join(sorted(needed & codes))}, which is {why}")
        if GuardCode.SCHEDULE not in codes:
            raise Invalid("guards", f"must list {GuardCode.SCHEDULE}")
        if (GuardCode.INTEGRATION in codes) != self.integration.before_next_dose:
            raise Invalid(
                "integration.before_next_dose", f"must be set exactly where {GuardCode.INTEGRATION} guards"
            )
        if GuardCode.PREPARATION in codes and self.preparation is None:
            raise Invalid("preparation", f"is required by the guard {GuardCode.PREPARATION}")
        if GuardCode.FASTING in codes and any(each.fasting is None for each in self.medicines):
            raise Invalid("medicines", f"must say fasting for the guard {GuardCode.FASTING}")
        for place, rule in enumerate(self.guards):
            if not places >= set(rule.places):
                raise Invalid(f"guards[{place}].places", "names a place where no medicine is given")
            if rule.guard is GuardCode.RISK_SCREEN and not any(
                each.scale is ScaleCode.CSSRS
                and each.moment is ScaleMoment.BEFORE_DOSE
                and each.days < (rule.valid_days or 0)
                for each in self.scales
            ):
                raise Invalid(
                    "scales", "must send the C-SSRS before each dose, while the risk screen is valid"
                )

    def medicine(self, drug: Drug) -> Medicine:
        for each in self.medicines:
            if each.drug is drug:
                return each
        raise Invalid("drug", f"is not given on the pathway {self.code}")

    def phase(self, code: str) -> Phase:
        for each in self.phases:
            if each.code == code:
                return each
        raise Invalid("phase", f"is not a phase of the pathway {self.code}")

    def guard(self, code: GuardCode) -> GuardRule:
        for each in self.guards:
            if each.guard is code:
                return each
        raise Invalid("guard", f"is not a guard of the pathway {self.code}")


def _once(field: str, codes: list[str]) -> None:
    if len(set(codes)) != len(codes):
        raise Invalid(field, "names one twice")
