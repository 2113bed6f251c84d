"""Percentiles, exact: a round has thousands of samples at most, so all are kept and sorted."""

import math
from collections.abc import Sequence
from statistics import median

__all__ = ["curve", "median", "percentile"]


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that so many percent of all do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def curve(samples: Sequence[float]) -> list[tuple[float, float]]:
    """Percent and sample, denser towards the end, which is what a tail is looked at for."""
    percents = [*range(0, 90, 5), *range(90, 99), 99.0, 99.5, 99.9, 100.0]
    return [(float(percent), percentile(samples, percent)) for percent in percents]
