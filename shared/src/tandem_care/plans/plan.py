"""The dated plan of a course, and what is wrong with it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from tandem_care.clocks import Given
from tandem_care.entry_kinds import CoursePlan, Drug, ItemKind, OpenDays, Place, PlannedItem, Route
from tandem_care.errors import Invalid
from tandem_care.local_time import Site, day_of, wall
from tandem_care.pathways import NOTICE, Medicine, Pathway
from tandem_care.plans.density import in_words, too_dense
from tandem_care.scales import scale_of

AT_THE_DOSE: Final = frozenset(
    {ItemKind.DOSE, ItemKind.DEBRIEF, ItemKind.CHECK, ItemKind.DISCHARGE, ItemKind.FORM, ItemKind.SCALE}
)
"""What keeps the time of the place where doses are taken; the rest keeps that of the therapist."""
_NEEDS_AN_OPEN_DAY: Final = frozenset(
    {ItemKind.PREPARATION, ItemKind.DOSE, ItemKind.INTEGRATION, ItemKind.CHECK, ItemKind.DISCHARGE}
)
_WITH_THE_PATIENT: Final = frozenset(
    {ItemKind.PREPARATION, ItemKind.DOSE, ItemKind.DEBRIEF, ItemKind.INTEGRATION, ItemKind.DISCHARGE}
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing in a plan that breaks a rule of its pathway."""

    item: str
    rule: str
    reason: str
    way_out: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Items in order of time. ``earlier`` are the days of doses given before this plan."""

    pathway: Pathway
    drug: Drug
    route: Route
    place: Place
    dosing: Site
    """Where the dose is taken, be it a clinic, an office or a home."""
    therapy: Site
    therapy_at: time = time(9)
    """When the therapist's sessions usually begin."""
    earlier: tuple[date, ...] = ()
    items: tuple[PlannedItem, ...] = ()

    @property
    def notice(self) -> str:
        return NOTICE

    @property
    def medicine(self) -> Medicine:
        return self.pathway.medicine(self.drug)

    @property
    def by_id(self) -> Mapping[str, PlannedItem]:
        return MappingProxyType({each.item: each for each in self.items})

    def item(self, item: str) -> PlannedItem:
        found = self.by_id.get(item)
        if found is None:
            raise Invalid("item", "is not in the plan")
        return found

    def of_kind(self, kind: ItemKind) -> tuple[PlannedItem, ...]:
        return tuple(each for each in self.items if each.kind is kind)

    @property
    def doses(self) -> tuple[PlannedItem, ...]:
        return tuple(sorted(self.of_kind(ItemKind.DOSE), key=lambda each: each.number or 0))

    def site_of(self, kind: ItemKind) -> Site:
        return self.dosing if kind in AT_THE_DOSE else self.therapy

    def faults(self) -> tuple[Fault, ...]:
        """Empty for every plan that was made or moved here. What was held is as it was, and breaks nothing."""
        return tuple(self._faults())

    def _faults(self) -> Iterator[Fault]:
        for each in self.items:
            if each.held_at is None:
                yield from self.faults_of_time(each)
                if each.kind is ItemKind.DOSE:
                    yield from self._of_density(each)
        yield from self._of_overlap()
        yield from self._of_order()

    def faults_of_time(self, each: PlannedItem) -> Iterator[Fault]:
        """What is wrong with when *each* is, whether it is in the plan or only wished for."""
        if each.kind in _NEEDS_AN_OPEN_DAY and not self.site_of(each.kind).is_open(each.day):
            yield Fault(
                each.item, "CLOSED_DAY", f"{each.day} is a closed day there.", "Choose a day that is open."
            )
        if each.kind is ItemKind.DEBRIEF:
            there = day_of(each.starts_at, self.therapy.time_zone)
            if not self.therapy.is_open(there):
                yield Fault(
                    each.item,
                    "CLOSED_DAY",
                    f"The therapist is closed on {there}, and the debrief is on the day of the dose.",
                    "Move the dose to a day on which both are open.",
                )
        if each.starts_at < each.earliest_at:
            earliest = wall(each.earliest_at, each.time_zone)
            yield Fault(
                each.item, "TOO_EARLY", "That is too early.", f"The earliest is {earliest:%Y-%m-%d %H:%M}."
            )
        if each.starts_at >= each.latest_at:
            latest = wall(each.latest_at, each.time_zone)
            yield Fault(
                each.item,
                "TOO_LATE",
                "That is too late.",
                f"It must begin before {latest:%Y-%m-%d %H:%M}; to go further, move what it hangs on.",
            )

    def _of_density(self, dose: PlannedItem) -> Iterator[Fault]:
        others = [each for each in self.doses if each.item != dose.item]
        broken = too_dense(
            self.pathway,
            dose.phase or "",
            [each.day for each in others if each.phase == dose.phase],
            [*self.earlier, *(each.day for each in others if each.phase != dose.phase)],
            dose.day,
        )
        if broken is not None:
            yield Fault(
                dose.item,
                "DENSEST_SCHEDULE",
                f"{dose.day} is too close to another dose: the pathway allows {in_words(broken)}.",
                "Choose another day, or move the later doses too.",
            )

    def _of_overlap(self) -> Iterator[Fault]:
        for number, each in enumerate(self.items):
            for other in self.items[number + 1 :]:
                if other.starts_at >= each.ends_at:
                    break
                if overlap(each, other):
                    # Named is the one that can better give way: neither what was held, nor a dose.
                    stays, yields = sorted(
                        (each, other), key=lambda item: (item.held_at is None, item.kind is not ItemKind.DOSE)
                    )
                    yield Fault(
                        yields.item, "OVERLAP", f"It overlaps with {stays.item}.", "Choose another time."
                    )

    def _of_order(self) -> Iterator[Fault]:
        doses = self.doses
        for before, dose in pairwise(doses):
            if dose.held_at is None and dose.starts_at <= before.starts_at:
                yield Fault(
                    dose.item, "ORDER", "It comes before the dose before it.", "Move them in their order."
                )

    def given(self, dose: PlannedItem) -> Given:
        """The dose as clocks count from it: given, or as if it went as planned."""
        starts_at = dose.held_at or dose.starts_at
        return Given(starts_at, starts_at + timedelta(minutes=dose.minutes), dose.time_zone)

    def entry(self, planned_at: datetime, planned_by: str) -> CoursePlan:
        """What the partner is shown of it."""
        return CoursePlan(
            pathway=self.pathway.code,
            pathway_version=self.pathway.version,
            drug=self.drug,
            route=self.route,
            place=self.place,
            dosing=OpenDays.of(self.dosing),
            therapy=OpenDays.of(self.therapy),
            items=self.items,
            planned_at=planned_at,
            planned_by=planned_by,
        )

    def with_items(self, items: Iterator[PlannedItem] | list[PlannedItem]) -> "Plan":
        return replace(self, items=tuple(sorted(items, key=lambda each: (each.starts_at, each.item))))


def plan_of(
    entry: CoursePlan,
    pathway: Pathway,
    dosing: Site | None = None,
    therapy: Site | None = None,
    earlier: tuple[date, ...] = (),
) -> Plan:
    """The plan that *entry* holds, under the version of the pathway that it was made with.

    Sites are those that it was made for, unless given. One that names none was made by an earlier version.
    """
    if (entry.pathway, entry.pathway_version) != (pathway.code, pathway.version):
        raise Invalid("pathway_version", "is not the one that the plan was made with")
    _fits(entry, pathway)
    always = Site(time_zone=entry.items[0].time_zone)
    usual = [each for each in entry.items if each.kind is ItemKind.INTEGRATION and not each.moved]
    return Plan(
        pathway=pathway,
        therapy_at=time.fromisoformat(usual[0].at) if usual else time(9),
        drug=entry.drug,
        route=entry.route,
        place=entry.place,
        dosing=dosing or (entry.dosing.site if entry.dosing else always),
        therapy=therapy or (entry.therapy.site if entry.therapy else always),
        earlier=earlier,
        items=entry.items,
    )


_A_LONG_TIME: Final = timedelta(days=3650)


def _fits(entry: CoursePlan, pathway: Pathway) -> None:
    """What every plan that was made here has, and one from elsewhere may lack: a drug, doses and scales to count from."""
    pathway.medicine(entry.drug)
    doses = [each for each in entry.items if each.kind is ItemKind.DOSE]
    if not doses:
        raise Invalid("items", "must hold a dose")
    for each in entry.items:
        if each.kind is ItemKind.DOSE:
            pathway.phase(each.phase or "")
        if each.kind is ItemKind.SCALE:
            scale_of(each.subject or "", "items.subject")
        if (
            abs(each.earliest_at - entry.planned_at) > _A_LONG_TIME
            or abs(each.day - doses[0].day) > _A_LONG_TIME
        ):
            raise Invalid("items", "must lie within ten years")


def overlap(one: PlannedItem, other: PlannedItem) -> bool:
    """Whether the patient would have to be in two sessions at once. Two that were held are past all changing."""
    return (
        {one.kind, other.kind} <= _WITH_THE_PATIENT
        and one.item != other.item
        and (one.held_at is None or other.held_at is None)
        and one.starts_at < other.ends_at
        and other.starts_at < one.ends_at
    )


def put(item: PlannedItem, day: date, at: time) -> PlannedItem:
    return replace(item, day=day, at=f"{at:%H:%M}", again=False)


def put_at(item: PlannedItem, moment: datetime) -> PlannedItem:
    """*item* at the first full minute from *moment* on."""
    late = moment - moment.replace(second=0, microsecond=0)
    shown = wall(moment + timedelta(minutes=1) - late if late else moment, item.time_zone)
    return replace(item, day=shown.date(), at=f"{shown:%H:%M}", again=bool(shown.fold))
