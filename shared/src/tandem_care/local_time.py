"""Days and times on the wall, and the instants that they are.

Days are counted on the calendar of a place, never as 24 hours: a day may have 23 or 25.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tandem_care.errors import Invalid


def zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise Invalid("time_zone", "must be an IANA time zone, such as America/Denver") from None


def instant(day: date, at: time, time_zone: str) -> datetime:
    """The instant at which clocks there show *day* and *at*, in UTC.

    A time that the clocks skip is taken as if they had not: as much later as they jump.
    Of a time that they show twice, the first is meant, unless *at* has its fold set.
    """
    moment = datetime.combine(day, at, zone(time_zone))
    if moment.fold and moment.utcoffset() != moment.replace(fold=0).utcoffset() and _skipped(moment):
        moment = moment.replace(fold=0)
    return moment.astimezone(UTC)


def _skipped(moment: datetime) -> bool:
    return moment.replace(fold=0).astimezone(UTC).astimezone(moment.tzinfo).time() != moment.time()


def wall(moment: datetime, time_zone: str) -> datetime:
    """What the clocks there show at *moment*."""
    if moment.tzinfo is None:
        raise Invalid("moment", "must be a time with its offset")
    return moment.astimezone(zone(time_zone))


def day_of(moment: datetime, time_zone: str) -> date:
    return wall(moment, time_zone).date()


def end_of(day: date, time_zone: str) -> datetime:
    """The first instant after *day* there, in UTC."""
    return instant(day + timedelta(days=1), time(), time_zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a practice works, and when it does not. Weekdays count from Monday, 0."""

    time_zone: str
    closed_weekdays: frozenset[int] = frozenset()
    closed_days: frozenset[date] = frozenset()

    def __post_init__(self) -> None:
        zone(self.time_zone)
        if not self.closed_weekdays <= frozenset(range(7)):
            raise Invalid("closed_weekdays", "must be numbers from 0, Monday, to 6, Sunday")
        if len(self.closed_weekdays) == 7:
            raise Invalid("closed_weekdays", "must leave a day on which the practice is open")

    def is_open(self, day: date) -> bool:
        return day.weekday() not in self.closed_weekdays and day not in self.closed_days

    def open_days(self, first: date, last: date) -> Iterator[date]:
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            if self.is_open(day):
                yield day
