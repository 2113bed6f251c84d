"""What a change in score means. Decision support; the clinician decides."""

from dataclasses import dataclass

from tandem_care.errors import Invalid
from tandem_care.scales.instruments import Scale, Thresholds


@dataclass(frozen=True, slots=True)
class Change:
    """From one total to a later one. None where the thresholds do not define it."""

    drop: int
    """Points of improvement; negative when worse."""
    response: bool | None
    remission: bool | None
    important: bool | None
    reliable: bool | None
    provisional: bool | None
    """Whether the later total reaches the lowest published cut score."""
    source: str | None


def change(scale: Scale, before: int, after: int, thresholds: Thresholds | None = None) -> Change:
    """By *thresholds*, or those that are the default of *scale*."""
    for field, total in (("before", before), ("after", after)):
        if scale.highest_total is None or not 0 <= total <= scale.highest_total:
            raise Invalid(field, f"is not a total of {scale.title}")
    if thresholds is None and scale.thresholds:
        thresholds = scale.thresholds[0]
    drop = before - after
    percent = None if thresholds is None else thresholds.response_percent
    below = None if thresholds is None else thresholds.remission_below
    important = None if thresholds is None else thresholds.smallest_important
    reliable = None if thresholds is None else thresholds.reliable
    return Change(
        drop=drop,
        response=None if percent is None or before == 0 else 100 * drop >= percent * before,
        remission=None if below is None else after < below,
        important=None if important is None else abs(drop) >= important,
        reliable=None if reliable is None else abs(drop) >= reliable,
        provisional=None if scale.provisional_cut is None else after >= scale.provisional_cut.lowest,
        source=None if thresholds is None else thresholds.source,
    )
