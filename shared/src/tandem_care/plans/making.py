"""From a pathway to a dated plan: the days of the doses, and what hangs on them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time, timedelta
from enum import StrEnum
from typing import Final, TypeVar

from tandem_care import local_time
from tandem_care.entry_kinds import Drug, ItemKind, Place, PlannedItem, Route
from tandem_care.errors import Invalid, NotAllowed
from tandem_care.local_time import Site
from tandem_care.pathways import Pathway, Phase
from tandem_care.plans.hanging import follow, hung
from tandem_care.plans.plan import Plan, put

_LOOK_AHEAD: Final = 120
_MOST_ITEMS: Final = 200
_A_LONG_TIME: Final = timedelta(days=3650)
_NINE: Final = time(9)
C = TypeVar("C", bound=StrEnum)


class Pace(StrEnum):
    USUAL = "usual"
    DENSEST = "densest"


def instantiate(
    pathway: Pathway,
    start: date,
    dosing: Site,
    therapy: Site | None = None,
    *,
    drug: Drug | None = None,
    route: Route | None = None,
    place: Place | None = None,
    sessions: Mapping[str, int] | None = None,
    pace: Pace = Pace.USUAL,
    dose_at: time = _NINE,
    therapy_at: time = _NINE,
    earlier: Sequence[date] = (),
) -> Plan:
    """A plan that begins on *start* or the next open day, with every item at its time on the wall.

    Drug, route and place default to the first that the pathway names, *therapy* to *dosing*: one practice on
    both sides. *sessions* gives the number of doses by phase; 0 leaves a phase out. *earlier* are the days of
    doses given before, which count for the densest schedule.
    Raises Invalid for what the pathway does not have, NotAllowed where no days can be found.
    """
    medicine = pathway.medicine(drug or pathway.medicines[0].drug)
    plan = Plan(
        pathway=pathway,
        drug=medicine.drug,
        route=_one_of("route", route, medicine.routes),
        place=_one_of("place", place, medicine.places),
        dosing=dosing,
        therapy=therapy or dosing,
        therapy_at=therapy_at,
        earlier=tuple(sorted(earlier)),
    )
    counts = _counts(pathway, sessions or {})
    plan = plan.with_items(list(_preparations(plan, start)))
    plan = _with_doses(plan, start, counts, pace, dose_at)
    for fault in plan.faults():
        raise NotAllowed(fault.rule, fault.reason, fault.way_out)
    if len(plan.items) > _MOST_ITEMS:
        raise NotAllowed(
            "TOO_LONG", f"That makes {len(plan.items)} items.", "Plan fewer sessions now, and go on later."
        )
    return plan


def _one_of(field: str, chosen: C | None, known: Sequence[C]) -> C:
    if chosen is not None and chosen not in known:
        raise Invalid(field, f"must be one of {', '.join(known)} on this pathway")
    return chosen or known[0]


def _counts(pathway: Pathway, sessions: Mapping[str, int]) -> list[tuple[Phase, int]]:
    for code in sessions:
        pathway.phase(code)
    counts = [(phase, sessions.get(phase.code, phase.usual)) for phase in pathway.phases]
    for phase, count in counts:
        if count and not phase.fewest <= count <= phase.most:
            raise Invalid("sessions", f"{phase.code} has {phase.fewest} to {phase.most} sessions")
    if not any(count for _, count in counts):
        raise Invalid("sessions", "plan at least one")
    return counts


def _preparations(plan: Plan, start: date) -> Iterator[PlannedItem]:
    rule, site = plan.pathway.preparation, plan.therapy
    if rule is None:
        return
    day = start
    for number in range(1, rule.sessions + 1):
        earliest = local_time.instant(day, time(), site.time_zone)
        day = _first_open(site, day)
        yield PlannedItem(
            item=f"{ItemKind.PREPARATION}-{number}",
            kind=ItemKind.PREPARATION,
            number=number,
            day=day,
            at=f"{plan.therapy_at:%H:%M}",
            time_zone=site.time_zone,
            minutes=rule.minutes,
            earliest_at=earliest,
            latest_at=earliest + timedelta(days=_LOOK_AHEAD),
        )
        day += timedelta(days=rule.every_days)


def _first_open(site: Site, day: date) -> date:
    for found in site.open_days(day, day + timedelta(days=_LOOK_AHEAD)):
        return found
    raise _no_day(day)


def _no_day(day: date) -> NotAllowed:
    return NotAllowed(
        "NO_DAY_FITS",
        f"No day within {_LOOK_AHEAD} days from {day} fits the pathway and the closed days of both practices.",
        "Open a day, plan another time of day, or choose another start.",
    )


def _with_doses(
    plan: Plan, start: date, counts: Sequence[tuple[Phase, int]], pace: Pace, dose_at: time
) -> Plan:
    doses: list[PlannedItem] = []
    first = day = _after_preparation(plan, start)
    for phase, count in counts:
        for number_in_phase in range(count):
            if doses:
                apart = phase.every_days if pace is Pace.USUAL and number_in_phase else 1
                day = doses[-1].day + timedelta(days=apart)
            doses.append(_next_dose(plan, doses, phase, first, day, dose_at))
    return hung(plan, doses)


def _after_preparation(plan: Plan, start: date) -> date:
    rule, preparations = plan.pathway.preparation, plan.of_kind(ItemKind.PREPARATION)
    if rule is None or not preparations:
        return start
    last = preparations[-1]
    ended_at = last.starts_at + timedelta(minutes=last.minutes)
    there = local_time.day_of(ended_at, plan.dosing.time_zone)
    return max(start, there + timedelta(days=rule.days_before_dose))


def _next_dose(
    plan: Plan, before: Sequence[PlannedItem], phase: Phase, first: date, day: date, at: time
) -> PlannedItem:
    """The first day from *day* on where the dose and what is due between it and its neighbours have room."""
    number = len(before) + 1
    earliest = local_time.instant(first, time(), plan.dosing.time_zone)
    dose = PlannedItem(
        item=f"{ItemKind.DOSE}-{number}",
        kind=ItemKind.DOSE,
        number=number,
        phase=phase.code,
        day=day,
        at=f"{at:%H:%M}",
        time_zone=plan.dosing.time_zone,
        minutes=plan.medicine.observation.minutes,
        earliest_at=earliest,
        latest_at=earliest + _A_LONG_TIME,
    )
    for found in plan.dosing.open_days(day, day + timedelta(days=_LOOK_AHEAD)):
        candidate = put(dose, found, at)
        doses = [*before, candidate]
        if plan.with_items(doses).faults():
            continue
        if not plan.with_items([*plan.of_kind(ItemKind.PREPARATION), *doses, *follow(plan, doses)]).faults():
            return candidate
    raise _no_day(day)
