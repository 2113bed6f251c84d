"""Whether doses lie too close together for the pathway. Days are those of the place where each is taken."""

from collections.abc import Sequence
from datetime import date

from tandem_care.pathways import Limit, Pathway


def limit_broken(limits: Sequence[Limit], others: Sequence[date], day: date) -> Limit | None:
    """The limit that a dose on *day* would break beside *others*, whether those lie before or after it."""
    days = sorted([*others, day])
    for limit in limits:
        for first, last in zip(days, days[limit.doses :], strict=False):
            if first <= day <= last and (last - first).days < limit.days:
                return limit
    return None


def too_dense(
    pathway: Pathway, phase: str, in_phase: Sequence[date], earlier: Sequence[date], day: date
) -> Limit | None:
    """The limit that a dose of *phase* on *day* would break beside the doses *in_phase* and those *earlier*.

    The first phase counts every dose, also of a course before. A later phase counts its own under its limits,
    and all under the limits of the phase before, so that its first dose need not wait as if it were its second.
    """
    place = [each.code for each in pathway.phases].index(pathway.phase(phase).code)
    everything = [*earlier, *in_phase]
    own = pathway.phases[place].densest
    broken = limit_broken(own, in_phase if place else everything, day)
    if broken is None and place:
        broken = limit_broken(pathway.phases[place - 1].densest, everything, day)
    return broken


def in_words(limit: Limit) -> str:
    doses = "one dose" if limit.doses == 1 else f"{limit.doses} doses"
    return f"at most {doses} in {limit.days} days" if limit.days > 1 else f"at most {doses} a day"
