"""When to send which scale around a course."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from tandem_care import local_time
from tandem_care.clocks.given import Given, Standing, standing
from tandem_care.pathways import Pathway, ScaleMoment, ScaleTime
from tandem_care.scales import ScaleCode

_BEFORE = timedelta(hours=1)
"""How long before the dose a scale of the same day is sent."""


@dataclass(frozen=True, slots=True)
class Ask:
    scale: ScaleCode
    moment: ScaleMoment
    number: int | None
    """Of the dose, or of the interval."""
    dose: int | None
    """Place of the dose in the list that it hangs on."""
    send_at: datetime
    over_at: datetime


def asks(pathway: Pathway, doses: Sequence[Given], begins_on: date, ends_on: date) -> tuple[Ask, ...]:
    """What to send, in order of time, for *doses* given or planned; a scale at most once a day."""
    if not doses:
        return ()
    found: dict[tuple[ScaleCode, date], Ask] = {}
    for moment in _FIRST_WINS:
        for rule in pathway.scales:
            if rule.moment is moment:
                for ask in _asks_of(rule, doses, begins_on, ends_on):
                    day = local_time.day_of(ask.send_at, doses[0].time_zone)
                    found.setdefault((ask.scale, day), ask)
    return tuple(sorted(found.values(), key=lambda ask: (ask.send_at, ask.scale)))


_FIRST_WINS = (
    ScaleMoment.BASELINE,
    ScaleMoment.BEFORE_DOSE,
    ScaleMoment.END,
    ScaleMoment.FOLLOW_UP,
    ScaleMoment.AFTER_DOSE,
    ScaleMoment.INTERVAL,
)


def _asks_of(rule: ScaleTime, doses: Sequence[Given], begins_on: date, ends_on: date) -> Iterable[Ask]:
    first, last = doses[0], doses[-1]
    match rule.moment:
        case ScaleMoment.BASELINE:
            yield _ask(rule, None, 0, _before(first, begins_on), first.started_at)
        case ScaleMoment.BEFORE_DOSE:
            for place, dose in enumerate(doses):
                send_at = _before(dose, dose.day - timedelta(days=rule.days))
                yield _ask(rule, place + 1, place, send_at, dose.started_at)
        case ScaleMoment.AFTER_DOSE:
            for place, dose in enumerate(doses):
                yield _on(rule, place + 1, place, dose, dose.day + timedelta(days=rule.days))
        case ScaleMoment.INTERVAL:
            for number in range(1, (last.day - first.day).days // rule.days + 1):
                yield _on(rule, number, None, first, first.day + timedelta(days=number * rule.days))
        case ScaleMoment.END:
            yield _on(rule, None, None, last, ends_on)
        case ScaleMoment.FOLLOW_UP:
            yield _on(rule, None, None, last, last.day + timedelta(days=rule.days))


def _before(dose: Given, day: date) -> datetime:
    """On *day* at the time of the dose, but an hour before the dose at the latest."""
    return min(local_time.instant(day, _at(dose), dose.time_zone), dose.started_at - _BEFORE)


def _on(rule: ScaleTime, number: int | None, place: int | None, dose: Given, day: date) -> Ask:
    over_at = local_time.end_of(day + timedelta(days=rule.open_days), dose.time_zone)
    return _ask(rule, number, place, local_time.instant(day, _at(dose), dose.time_zone), over_at)


def _ask(rule: ScaleTime, number: int | None, place: int | None, send_at: datetime, over_at: datetime) -> Ask:
    return Ask(rule.scale, rule.moment, number, place, send_at, over_at)


def _at(dose: Given) -> time:
    return local_time.wall(dose.started_at, dose.time_zone).time().replace(second=0, microsecond=0)


def scale_standing(
    ask: Ask, of_its_scale: Iterable[Ask], answered: Iterable[datetime], now: datetime
) -> Standing:
    """An answer belongs to the last asking before it, so a late one still counts, until the next is sent."""
    later = min((other.send_at for other in of_its_scale if other.send_at > ask.send_at), default=None)
    done = any(ask.send_at <= at <= now and (later is None or at < later) for at in answered)
    return standing(ask.send_at, ask.over_at, done, now)
