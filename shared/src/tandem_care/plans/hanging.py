"""What hangs on the doses of a plan: debrief, integration, forms, scales, checks, discharge.

Nothing here refuses. An item that finds no day that fits is put where it comes closest, and the plan's faults say so:
a dose that was given late must not lose what follows it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from tandem_care import local_time
from tandem_care.clocks import asks, form_due_by, integration_times, next_check
from tandem_care.entry_kinds import ItemKind, PlannedItem
from tandem_care.local_time import Site
from tandem_care.pathways import CheckRule
from tandem_care.plans.plan import Plan, overlap, put, put_at

_DISCHARGE_WITHIN = timedelta(days=90)
_CHECK_EARLIER_BY = timedelta(days=30)


def hung(plan: Plan, doses: Sequence[PlannedItem]) -> Plan:
    """*plan* with *doses* in place of its own, and everything else hung on them anew.

    What was held stays. What was moved by hand keeps its distance from its dose, where that still fits.
    """
    return plan.with_items(list(_Hanger(plan, tuple(doses)).items()))


def follow(
    plan: Plan, doses: Sequence[PlannedItem], keep: Callable[[PlannedItem], PlannedItem] = lambda item: item
) -> list[PlannedItem]:
    """What comes after each dose: debrief, integration, form. Sessions with the patient do not overlap."""
    taken = list(doses)
    for place, dose in enumerate(doses):
        following = doses[place + 1] if place + 1 < len(doses) else None
        taken += [keep(item) for item in _followers(plan, dose, following, taken)]
    return taken[len(doses) :]


@dataclass(frozen=True, slots=True)
class _Hanger:
    plan: Plan
    doses: tuple[PlannedItem, ...]

    def items(self) -> Iterator[PlannedItem]:
        new = {each.item: each for each in self._new()}
        yield from (self._kept(each) for each in new.values())
        # Held items that the rules no longer ask for stay on record.
        yield from (each for each in self.plan.items if each.held_at is not None and each.item not in new)

    def _new(self) -> Iterator[PlannedItem]:
        yield from self._preparations()
        yield from self.doses
        followed = follow(self.plan, self.doses, self._kept)
        yield from followed
        discharge = self._kept(self._discharge([self.doses[-1], *followed]))
        yield discharge
        yield from self._scales(discharge.day)
        for rule in self.plan.pathway.checks:
            yield from self._checks(rule, discharge.starts_at)

    @property
    def _old(self) -> Mapping[str, PlannedItem]:
        return self.plan.by_id

    def _kept(self, new: PlannedItem) -> PlannedItem:
        old = self._old.get(new.item)
        if old is None or new.kind is ItemKind.DOSE:
            return new
        if old.held_at is not None:
            return old
        if not old.moved:
            return new
        shift = timedelta(0)
        if new.follows is not None and new.follows in self._old:
            dose = next(each for each in self.doses if each.item == new.follows)
            shift = dose.day - self._old[new.follows].day
        wished = replace(put(new, old.day + shift, time.fromisoformat(old.at)), moved=True)
        return new if any(self.plan.faults_of_time(wished)) else wished

    def _preparations(self) -> Iterator[PlannedItem]:
        rule = self.plan.pathway.preparation
        if rule is None:
            return
        first = self.doses[0]
        latest = local_time.end_of(first.day - timedelta(days=rule.days_before_dose), first.time_zone)
        for each in self.plan.of_kind(ItemKind.PREPARATION):
            yield replace(each, latest_at=max(min(latest, first.starts_at), each.earliest_at))

    def _scales(self, ends_on: date) -> Iterator[PlannedItem]:
        given = [self.plan.given(each) for each in self.doses]
        prepared = [each.day for each in self.plan.of_kind(ItemKind.PREPARATION)]
        begins_on = min([*prepared, self.doses[0].day])
        zone = self.plan.dosing.time_zone
        for ask in asks(self.plan.pathway, given, begins_on, ends_on):
            dose = None if ask.dose is None else self.doses[ask.dose]
            numbered = "" if ask.number is None else f"-{ask.number}"
            asked = PlannedItem(
                item=f"{ask.scale}-{ask.moment}{numbered}",
                kind=ItemKind.SCALE,
                subject=ask.scale.value,
                number=ask.number,
                follows=None if dose is None else dose.item,
                day=ends_on,
                at="00:00",
                time_zone=zone if dose is None else dose.time_zone,
                earliest_at=ask.send_at,
                latest_at=ask.over_at,
            )
            yield put_at(asked, ask.send_at)

    def _checks(self, rule: CheckRule, until: datetime) -> Iterator[PlannedItem]:
        given = [self.plan.given(each) for each in self.doses]
        site, at = self.plan.dosing, time.fromisoformat(self.doses[0].at)
        done: list[datetime] = []
        for number in range(1, len(given) + 366):
            due = next_check(rule, given, done)
            if due is None or due.over_at > until:
                return
            earliest = max(due.over_at - _CHECK_EARLIER_BY, done[-1] if done else given[0].started_at)
            check = PlannedItem(
                item=f"check-{rule.subject}-{number}",
                kind=ItemKind.CHECK,
                subject=rule.subject,
                number=number,
                day=due.on,
                at=f"{at:%H:%M}",
                time_zone=site.time_zone,
                earliest_at=earliest,
                latest_at=due.over_at,
            )
            check = self._kept(_placed(check, site, at, last=True))
            yield check
            done.append(check.held_at or check.starts_at)

    def _discharge(self, before: Sequence[PlannedItem]) -> PlannedItem:
        rule, site = self.plan.pathway.discharge, self.plan.dosing
        ended_at = max(each.starts_at + timedelta(minutes=each.minutes) for each in before)
        day = local_time.day_of(ended_at, site.time_zone) + timedelta(days=rule.after_days)
        at = time.fromisoformat(self.doses[0].at)
        earliest = max(ended_at, local_time.instant(day, time(), site.time_zone))
        discharge = PlannedItem(
            item="discharge",
            kind=ItemKind.DISCHARGE,
            day=day,
            at=f"{at:%H:%M}",
            time_zone=site.time_zone,
            minutes=rule.minutes,
            earliest_at=earliest,
            latest_at=earliest + _DISCHARGE_WITHIN,
        )
        return _placed(discharge, site, at)


def _followers(
    plan: Plan, dose: PlannedItem, following: PlannedItem | None, taken: Sequence[PlannedItem]
) -> Iterator[PlannedItem]:
    rule, medicine = plan.pathway.integration, plan.medicine
    given = plan.given(dose)
    times = integration_times(rule, given)
    if times.debrief_by is not None:
        debrief = _item(ItemKind.DEBRIEF, dose, rule.debrief_minutes, given.ended_at, times.debrief_by)
        debrief = put_at(debrief, given.ended_at)
        taken = [*taken, debrief]
        yield debrief
    if rule.follows(dose.number or 1, following is None):
        latest = times.deadline_at
        if rule.before_next_dose and following is not None:
            latest = min(latest, following.starts_at - timedelta(minutes=rule.minutes))
        latest = max(latest, times.due_at)
        integration = _item(ItemKind.INTEGRATION, dose, rule.minutes, times.due_at, latest)
        integration = replace(integration, time_zone=plan.therapy.time_zone)
        yield _placed(integration, plan.therapy, plan.therapy_at, besides=taken)
    if medicine.form is not None:
        form = _item(ItemKind.FORM, dose, 0, given.ended_at, form_due_by(medicine.form, given))
        yield put_at(replace(form, subject=medicine.form.form), given.ended_at)


def _item(
    kind: ItemKind, dose: PlannedItem, minutes: int, earliest_at: datetime, latest_at: datetime
) -> PlannedItem:
    return PlannedItem(
        item=f"{kind}-{dose.number}",
        kind=kind,
        number=dose.number,
        phase=dose.phase,
        follows=dose.item,
        day=dose.day,
        at=dose.at,
        time_zone=dose.time_zone,
        minutes=minutes,
        earliest_at=earliest_at.astimezone(UTC),
        latest_at=max(latest_at, earliest_at).astimezone(UTC),
    )


def _placed(
    item: PlannedItem, site: Site, at: time, last: bool = False, besides: Sequence[PlannedItem] = ()
) -> PlannedItem:
    """On the first open day between its limits at *at*, or the last; at its earliest, if there is none."""
    first_day = local_time.day_of(item.earliest_at, site.time_zone)
    last_day = local_time.day_of(item.latest_at, site.time_zone)
    days = list(site.open_days(first_day, last_day))
    for day in reversed(days) if last else days:
        placed = put(item, day, at)
        fits = item.earliest_at <= placed.starts_at < item.latest_at
        if fits and not any(overlap(placed, each) for each in besides):
            return placed
    return put_at(item, item.earliest_at)
