"""The dated plan of a course, as both practices see it."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated

from tandem_care import local_time
from tandem_care.categories import Category
from tandem_care.codec import Between, Part, Text
from tandem_care.entry_kinds.content import (
    Code,
    Content,
    Minutes,
    Name,
    Sessions,
    Version,
    Zone,
    after,
    entry_kind,
    known_zone,
)
from tandem_care.entry_kinds.medication import Drug, Place, Route
from tandem_care.errors import Invalid

WallClock = Annotated[
    str, Text(5, pattern=r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", needs="must be a time such as 09:30")
]


class ItemKind(StrEnum):
    PREPARATION = "preparation"
    DOSE = "dose"
    DEBRIEF = "debrief"
    INTEGRATION = "integration"
    SCALE = "scale"
    CHECK = "check"
    FORM = "form"
    DISCHARGE = "discharge"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedItem(Part):
    """One thing to do, at a time on the wall of the place where it is done.

    It may begin from ``earliest_at`` on and must have begun before ``latest_at``.
    """

    item: Code
    kind: ItemKind
    subject: Code | None = None
    """Which scale, check or form."""
    number: Sessions | None = None
    phase: Code | None = None
    follows: Code | None = None
    """The dose that this item hangs on, before or after it."""
    day: date
    at: WallClock
    again: bool = False
    """The second time that clocks there show it, in the night when they go back."""
    time_zone: Zone
    minutes: Minutes = 0
    earliest_at: datetime
    latest_at: datetime
    moved: bool = False
    """Put there by hand: keeps its distance from the dose when the dose moves."""
    held_at: datetime | None = None

    def agree(self) -> None:
        known_zone("time_zone", self.time_zone)
        after("latest_at", self.latest_at, self.earliest_at, "earliest_at")

    @property
    def starts_at(self) -> datetime:
        """Aware, in UTC. On a day when the clock skips that time, it is as much later as the clock jumps."""
        at = time.fromisoformat(self.at)
        return local_time.instant(self.day, at.replace(fold=1) if self.again else at, self.time_zone)

    @property
    def ends_at(self) -> datetime:
        return self.starts_at + timedelta(minutes=self.minutes)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDays(Part):
    """Where one side of the course works, and when it does not. Weekdays count from Monday, 0."""

    time_zone: Zone
    closed_weekdays: tuple[Annotated[int, Between(0, 6)], ...] = ()
    closed_days: tuple[date, ...] = ()

    def agree(self) -> None:
        _ = self.site

    @property
    def site(self) -> local_time.Site:
        return local_time.Site(
            time_zone=self.time_zone,
            closed_weekdays=frozenset(self.closed_weekdays),
            closed_days=frozenset(self.closed_days),
        )

    @classmethod
    def of(cls, site: local_time.Site) -> "OpenDays":
        return cls(
            time_zone=site.time_zone,
            closed_weekdays=tuple(sorted(site.closed_weekdays)),
            closed_days=tuple(sorted(site.closed_days)),
        )


@entry_kind("course-plan", Category.TREATMENT_PLAN, version=2)
@dataclass(frozen=True, slots=True, kw_only=True)
class CoursePlan(Content):
    """``dosing`` and ``therapy`` say where and on which days each side works, so that both plan alike."""

    pathway: Code
    pathway_version: Version
    drug: Drug
    route: Route
    place: Place
    dosing: OpenDays | None = None
    therapy: OpenDays | None = None
    items: tuple[PlannedItem, ...]
    planned_at: datetime
    planned_by: Name

    def agree(self) -> None:
        if len({each.item for each in self.items}) != len(self.items):
            raise Invalid("items", "names an item twice")
