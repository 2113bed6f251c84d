"""When integration is due after a dose, and whether it was booked and held in time.

Every time follows from the dose and the pathway alone, so both practices see the same standing.
A closed day never lengthens a deadline: it only leaves fewer days to book.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from tandem_care import local_time
from tandem_care.clocks.given import Given
from tandem_care.entry_kinds import IntegrationKind, IntegrationSummary
from tandem_care.local_time import Site
from tandem_care.pathways import IntegrationRule


@dataclass(frozen=True, slots=True)
class IntegrationTimes:
    debrief_by: datetime | None
    """The end of the day of the dose."""
    due_at: datetime
    book_by: datetime
    deadline_at: datetime
    window_opens_at: datetime
    window_peaks_at: datetime
    window_closes_at: datetime


def integration_times(rule: IntegrationRule, dose: Given) -> IntegrationTimes:
    def end_of_day(number: int) -> datetime:
        return local_time.end_of(dose.day + timedelta(days=number), dose.time_zone)

    return IntegrationTimes(
        debrief_by=end_of_day(0) if rule.same_day_debrief else None,
        due_at=end_of_day(rule.due_days - 1) if rule.due_days else dose.ended_at,
        book_by=dose.ended_at + timedelta(hours=rule.book_within_hours),
        deadline_at=end_of_day(rule.deadline_days),
        window_opens_at=dose.ended_at + timedelta(hours=rule.window.opens_hours),
        window_peaks_at=dose.ended_at + timedelta(hours=rule.window.peaks_hours),
        window_closes_at=end_of_day(rule.window.closes_days),
    )


class IntegrationStanding(StrEnum):
    TO_BOOK = "to-book"
    """Nothing is booked, and there is still time to book."""
    BOOKED = "booked"
    NOT_BOOKED = "not-booked"
    BOOKED_TOO_LATE = "booked-too-late"
    OVERDUE = "overdue"
    HELD = "held"

    @property
    def on_worklists(self) -> bool:
        """Whether it shows at both practices."""
        return self in _WANTING


_WANTING = frozenset(
    {
        IntegrationStanding.NOT_BOOKED,
        IntegrationStanding.BOOKED_TOO_LATE,
        IntegrationStanding.OVERDUE,
    }
)

_WRITTEN_UP_WITHIN = timedelta(hours=24)
"""For so long after a booked time it may still turn out that the session was held."""


def integration_standing(
    times: IntegrationTimes, booked: Iterable[datetime], held: Iterable[datetime], now: datetime
) -> IntegrationStanding:
    """*booked* and *held* are those of this dose; a booking that was cancelled is not among them."""
    if any(at <= now for at in held):
        return IntegrationStanding.HELD
    live = [at for at in booked if now < at + _WRITTEN_UP_WITHIN]
    # Asked before the deadline is: a session held shortly before it is written up after it.
    if any(at < times.deadline_at for at in live):
        return IntegrationStanding.BOOKED
    if now >= times.deadline_at:
        return IntegrationStanding.OVERDUE
    if live:
        return IntegrationStanding.BOOKED_TOO_LATE
    return IntegrationStanding.TO_BOOK if now < times.book_by else IntegrationStanding.NOT_BOOKED


def debrief_standing(
    times: IntegrationTimes, held: Iterable[datetime], now: datetime
) -> IntegrationStanding | None:
    """None where the pathway has no debrief. It is booked with its dose."""
    if times.debrief_by is None:
        return None
    if any(at <= now for at in held):
        return IntegrationStanding.HELD
    return IntegrationStanding.BOOKED if now < times.debrief_by else IntegrationStanding.OVERDUE


def held_after(
    doses: Sequence[Given], summaries: Iterable[IntegrationSummary], session: IntegrationKind
) -> dict[datetime, list[datetime]]:
    """By start of the dose, when its sessions were held.

    A session belongs to the dose that it names, or else to the last one before it.
    """
    found: dict[datetime, list[datetime]] = {dose.started_at: [] for dose in doses}
    for summary in summaries:
        if summary.session is not session:
            continue
        before = [dose.started_at for dose in doses if dose.ended_at <= summary.held_at]
        named = summary.dosing_session_at
        owner = named if named in found else max(before, default=None)
        if owner is not None:
            found[owner].append(summary.held_at)
    return found


def days_to_book(times: IntegrationTimes, site: Site, now: datetime) -> tuple[date, ...]:
    """The open days left before the deadline. None left: by another therapist, by video, or on a closed day."""
    first = local_time.day_of(max(times.due_at, now), site.time_zone)
    last = local_time.day_of(times.deadline_at - timedelta(microseconds=1), site.time_zone)
    return tuple(site.open_days(first, last))
