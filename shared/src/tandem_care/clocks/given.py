"""A dose, as far as clocks count from it."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from tandem_care import local_time
from tandem_care.entry_kinds import DosingSession


@dataclass(frozen=True, slots=True)
class Given:
    """Its days are those of the place where it was taken, so that every practice counts the same ones."""

    started_at: datetime
    ended_at: datetime
    time_zone: str

    @property
    def day(self) -> date:
        return local_time.day_of(self.started_at, self.time_zone)


def given(session: DosingSession) -> Given:
    """An unfinished session counts from its start."""
    return Given(session.started_at, session.ended_at or session.started_at, session.time_zone)


class Standing(StrEnum):
    """Where something stands that is due once."""

    NOT_YET = "not-yet"
    DUE = "due"
    OVERDUE = "overdue"
    DONE = "done"


def standing(opens_at: datetime, over_at: datetime, done: bool, now: datetime) -> Standing:
    if done:
        return Standing.DONE
    if now < opens_at:
        return Standing.NOT_YET
    return Standing.DUE if now < over_at else Standing.OVERDUE
