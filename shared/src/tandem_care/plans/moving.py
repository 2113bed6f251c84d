"""Moving what is planned, and recording what was held: with all that hangs on it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Final

from tandem_care.entry_kinds import ItemKind, PlannedItem
from tandem_care.errors import NotAllowed
from tandem_care.plans.hanging import follow, hung
from tandem_care.plans.plan import Fault, Plan, put, put_at

_LOOK_AHEAD: Final = 60
_LOOK_AROUND: Final = 14


def moved(plan: Plan, item: str, day: date, at: time | None = None, *, later_too: bool = False) -> Plan:
    """*plan* with *item* on *day*, on the wall of the place where it is done.

    What hangs on a dose moves with it; *later_too* moves the doses after it by as many days, each on to the
    next day that fits. Refused with NotAllowed, naming the way out, if the new plan would break a rule.
    """
    target = plan.item(item)
    if target.held_at is not None:
        raise NotAllowed("HELD", f"{item} has been held.", "Correct its record instead.")
    at = at or time.fromisoformat(target.at)
    found = _tried(plan, target, day, at, later_too)
    if isinstance(found, Fault):
        raise NotAllowed(found.rule, found.reason, _way_out(plan, target, day, at, found))
    return found


def held(plan: Plan, item: str, at: datetime, time_zone: str | None = None) -> Plan:
    """*plan* with *item* held at *at*: never refused, whatever was planned.

    What hangs on a dose is counted from when it was given. Later doses stay where they are, and the plan's
    faults name those that are now too close.
    """
    target = plan.item(item)
    place = target.time_zone if time_zone is None else time_zone
    done = replace(put_at(replace(target, time_zone=place), at), held_at=at)
    if target.kind is ItemKind.DOSE:
        return hung(plan, [done if dose.item == item else dose for dose in plan.doses])
    return _rehung(plan, done)


def _tried(plan: Plan, target: PlannedItem, day: date, at: time, later_too: bool) -> Plan | Fault:
    """The new plan, or the first fault that it has and *plan* had not."""
    if target.kind is ItemKind.DOSE:
        doses = [put(target, day, at) if dose.item == target.item else dose for dose in plan.doses]
        if later_too:
            doses = _later_moved(plan, doses, target, day - target.day)
        made = hung(plan, doses)
    else:
        wished = replace(put(target, day, at), moved=True)
        for fault in plan.faults_of_time(wished):
            return fault
        made = _rehung(plan, wished)
    before = set(plan.faults())
    return next((fault for fault in made.faults() if fault not in before), made)


def _rehung(plan: Plan, changed: PlannedItem) -> Plan:
    """A check that was moved changes when the next is due, and an integration session the discharge."""
    items = [changed if each.item == changed.item else each for each in plan.items]
    there = plan.with_items(items)
    return hung(there, there.doses)


def _later_moved(
    plan: Plan, doses: Sequence[PlannedItem], target: PlannedItem, by: timedelta
) -> list[PlannedItem]:
    place = [dose.item for dose in doses].index(target.item)
    settled = list(doses[: place + 1])
    for dose in doses[place + 1 :]:
        if dose.held_at is not None:
            settled.append(dose)
            continue
        wished = dose.day + by
        for day in plan.dosing.open_days(wished, wished + timedelta(days=_LOOK_AHEAD)):
            candidate = put(dose, day, time.fromisoformat(dose.at))
            upto = [*settled, candidate]
            if not plan.with_items([*upto, *follow(plan, upto)]).faults():
                settled.append(candidate)
                break
        else:
            settled.append(put(dose, wished, time.fromisoformat(dose.at)))
    return settled


def _way_out(plan: Plan, target: PlannedItem, day: date, at: time, fault: Fault) -> str:
    """With the nearest day that would be accepted, if there is one besides that on which it lies."""
    for number in range(1, _LOOK_AROUND + 1):
        for near in (day + timedelta(days=number), day - timedelta(days=number)):
            if near != target.day and isinstance(_tried(plan, target, near, at, False), Plan):
                return f"{fault.way_out} {near} would fit."
    return fault.way_out
