"""The dated plan of a course, as both practices see it."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated

from tandem_care import local_time
from tandem_care.categories import Category
from tandem_care.codec import Part, Text
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


@entry_kind("course-plan", Category.TREATMENT_PLAN)
@dataclass(frozen=True, slots=True, kw_only=True)
class CoursePlan(Content):
    pathway: Code
    pathway_version: Version
    drug: Drug
    route: Route
    place: Place
    items: tuple[PlannedItem, ...]
    planned_at: datetime
    planned_by: Name

    def agree(self) -> None:
        if len({each.item for each in self.items}) != len(self.items):
            raise Invalid("items", "names an item twice")
