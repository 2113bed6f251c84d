"""When bladder, memory, misuse and the rest are to be checked in long use."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from tandem_care import local_time
from tandem_care.clocks.given import Given, Standing, standing
from tandem_care.pathways import CheckRule

_SOON = timedelta(days=14)
"""A check shows as due so long before it is overdue."""


@dataclass(frozen=True, slots=True)
class CheckDue:
    subject: str
    on: date
    opens_at: datetime
    over_at: datetime
    by_doses: bool
    """Whether the number of doses brought it forward."""

    def standing(self, now: datetime) -> Standing:
        return standing(self.opens_at, self.over_at, False, now)


def next_check(rule: CheckRule, doses: Sequence[Given], checked: Sequence[datetime]) -> CheckDue | None:
    """The next check after those already done; None before the first dose. Days are those of the last dose."""
    if not doses:
        return None
    in_order = sorted(doses, key=lambda dose: dose.started_at)
    zone = in_order[-1].time_zone
    last = max(checked, default=None)
    base = in_order[0].day if last is None else local_time.day_of(last, zone)
    on, by_doses = base + timedelta(days=rule.every_days), False
    since = [dose for dose in in_order if last is None or dose.started_at > last]
    if rule.every_doses is not None and len(since) >= rule.every_doses:
        reached = since[rule.every_doses - 1].day
        if reached < on:
            on, by_doses = reached, True
    over_at = local_time.end_of(on, zone)
    return CheckDue(rule.subject, on, over_at - _SOON, over_at, by_doses)
