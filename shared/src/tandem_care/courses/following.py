"""Where every item of a plan stands, from what is on record: the same at both practices for what both may see."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tandem_care import local_time
from tandem_care.clocks import (
    Ask,
    Given,
    IntegrationStanding,
    Standing,
    debrief_standing,
    form_standing,
    held_after,
    integration_standing,
    integration_times,
    scale_standing,
    standing,
)
from tandem_care.courses.gathering import doses_on_record
from tandem_care.courses.record import Record
from tandem_care.entry_kinds import (
    Appointment,
    AppointmentStatus,
    IntegrationKind,
    IntegrationSummary,
    ItemKind,
    MaintenanceCheck,
    MisuseCheck,
    MonitoringForm,
    PlannedItem,
    PreparationSummary,
    ScaleScore,
    SessionKind,
    SessionTimes,
)
from tandem_care.pathways import MISUSE, ScaleMoment
from tandem_care.plans import Plan, held
from tandem_care.scales import ScaleCode

_SOON = timedelta(days=14)
"""A check shows as due so long before it is overdue."""


class Stand(StrEnum):
    """``planned`` before it can begin; of integration also where its booking stands."""

    PLANNED = "planned"
    DUE = "due"
    OVERDUE = "overdue"
    DONE = "done"
    TO_BOOK = "to-book"
    BOOKED = "booked"
    NOT_BOOKED = "not-booked"
    BOOKED_TOO_LATE = "booked-too-late"


_OF_CLOCK = {
    Standing.NOT_YET: Stand.PLANNED,
    Standing.DUE: Stand.DUE,
    Standing.OVERDUE: Stand.OVERDUE,
    Standing.DONE: Stand.DONE,
}


@dataclass(frozen=True, slots=True)
class Followed:
    """An item of the plan, and where it stands. ``due_at``: until when it is in time."""

    item: PlannedItem
    stand: Stand
    due_at: datetime


def with_doses(plan: Plan, record: Record) -> Plan:
    """*plan* with the doses that were given since it was made, and all that hangs on them counted from them."""
    for item, dose in _given_items(plan, doses_on_record(record)):
        plan = held(plan, item, dose.started_at, dose.time_zone)
    return plan


def _given_items(plan: Plan, doses: Sequence[Given]) -> Iterator[tuple[str, Given]]:
    """Each dose is the item planned for its day, or else the next one. Days before the plan are of another course.

    A plan on record holds no doses: what was given is read from the record each time.
    """
    left = [each for each in plan.doses if each.held_at is None]
    for dose in doses:
        if dose.day in plan.earlier or not left:
            continue
        item = next((each for each in left if each.day == dose.day), left[0])
        left.remove(item)
        yield item.item, dose


def follow(plan: Plan, record: Record, now: datetime) -> tuple[Followed, ...]:
    """The items of *plan*, in order of time, with the doses on record counted in."""
    plan = with_doses(plan, record)
    return tuple(_Follower(plan, record, now).each())


class _Follower:
    def __init__(self, plan: Plan, record: Record, now: datetime) -> None:
        self.plan, self.record, self.now = plan, record, now
        self.given = {
            each.item: next(
                (dose for dose in doses_on_record(record) if dose.started_at == each.held_at),
                plan.given(each),
            )
            for each in plan.doses
            if each.held_at is not None
        }
        self.sessions = {each.item: each for each in record.all(SessionTimes) if each.item is not None}
        doses = list(self.given.values())
        summaries = record.all(IntegrationSummary)
        self.integrated = held_after(doses, summaries, IntegrationKind.INTEGRATION)
        self.debriefed = held_after(doses, summaries, IntegrationKind.SAME_DAY_DEBRIEF)

    def each(self) -> Iterator[Followed]:
        ask: dict[ItemKind, Callable[[PlannedItem], Stand]] = {
            ItemKind.PREPARATION: self._preparation,
            ItemKind.DOSE: self._dose,
            ItemKind.DEBRIEF: self._debrief,
            ItemKind.INTEGRATION: self._integration,
            ItemKind.SCALE: self._scale,
            ItemKind.CHECK: self._check,
            ItemKind.FORM: self._form,
            ItemKind.DISCHARGE: self._session,
        }
        for item in self.plan.items:
            yield Followed(item, ask[item.kind](item), item.latest_at)

    def _session(self, item: PlannedItem) -> Stand:
        """Something that is done at its time, and is overdue when its day is over."""
        over_at = local_time.end_of(item.day, item.time_zone)
        done = item.item in self.sessions or item.held_at is not None
        return _OF_CLOCK[standing(item.starts_at, over_at, done, self.now)]

    def _dose(self, item: PlannedItem) -> Stand:
        return self._session(item)

    def _preparation(self, item: PlannedItem) -> Stand:
        """By the item that its times name; else by as many summaries as there are before it."""
        held_at = sorted({each.held_at for each in self.record.all(PreparationSummary)})
        if len([at for at in held_at if at <= self.now]) >= (item.number or 1):
            return Stand.DONE
        return self._session(item)

    def _owner(self, item: PlannedItem) -> Given | None:
        return self.given.get(item.follows or "")

    def _held(self, item: PlannedItem, dose: Given, by: dict[datetime, list[datetime]]) -> list[datetime]:
        named = self.sessions.get(item.item)
        return [*by[dose.started_at], *([] if named is None else [named.started_at])]

    def _debrief(self, item: PlannedItem) -> Stand:
        dose = self._owner(item)
        if dose is None:
            return Stand.PLANNED
        times = integration_times(self.plan.pathway.integration, dose)
        found = debrief_standing(times, self._held(item, dose, self.debriefed), self.now)
        return _of_integration(found or IntegrationStanding.HELD)

    def _integration(self, item: PlannedItem) -> Stand:
        dose = self._owner(item)
        if dose is None:
            return Stand.PLANNED
        times = integration_times(self.plan.pathway.integration, dose)
        held_at = self._held(item, dose, self.integrated)
        return _of_integration(integration_standing(times, self._booked(dose), held_at, self.now))

    def _booked(self, dose: Given) -> list[datetime]:
        """Appointments belong to the last dose before them. Of one that was changed, its last word counts."""
        latest = {each.appointment_id: each for each in self.record.all(Appointment)}
        following = [each.started_at for each in self.given.values() if each.started_at > dose.started_at]
        until = min(following, default=None)
        return [
            each.starts_at
            for each in latest.values()
            if each.session is SessionKind.INTEGRATION
            and each.status in (AppointmentStatus.BOOKED, AppointmentStatus.ARRIVED)
            and dose.ended_at <= each.starts_at
            and (until is None or each.starts_at < until)
        ]

    def _form(self, item: PlannedItem) -> Stand:
        dose, rule = self._owner(item), self.plan.medicine.form
        if dose is None or rule is None:
            return Stand.PLANNED
        return _OF_CLOCK[form_standing(rule, dose, self.record.all(MonitoringForm), self.now)]

    def _scale(self, item: PlannedItem) -> Stand:
        asked = [_ask(each) for each in self.plan.of_kind(ItemKind.SCALE) if each.subject == item.subject]
        answered = [each.taken_at for each in self.record.all(ScaleScore) if each.scale == item.subject]
        return _OF_CLOCK[scale_standing(_ask(item), asked, answered, self.now)]

    def _check(self, item: PlannedItem) -> Stand:
        checked = [
            each.checked_at
            for each in (
                self.record.all(MisuseCheck)
                if item.subject == MISUSE
                else [each for each in self.record.all(MaintenanceCheck) if each.subject == item.subject]
            )
            if each.checked_at <= self.now
        ]
        done = len(checked) >= (item.number or 1)
        return _OF_CLOCK[standing(item.latest_at - _SOON, item.latest_at, done, self.now)]


def _ask(item: PlannedItem) -> Ask:
    scale = ScaleCode(item.subject or "")
    return Ask(scale, ScaleMoment.INTERVAL, item.number, None, item.earliest_at, item.latest_at)


def _of_integration(found: IntegrationStanding) -> Stand:
    return Stand.DONE if found is IntegrationStanding.HELD else Stand(found.value)
