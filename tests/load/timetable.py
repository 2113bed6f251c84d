"""Calls at a fixed rate: their times are fixed beforehand, and each is counted late from its own."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
CALLERS = 16


def at_rate(rate: float, subjects: Sequence[T], call: Callable[[T], object]) -> list[float]:
    """Seconds from when each call was due to its answer. A failure of any raises."""
    began = time.monotonic() + 0.05

    def one(number: int) -> float:
        due = began + number / rate
        time.sleep(max(0.0, due - time.monotonic()))
        call(subjects[number])
        return time.monotonic() - due

    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(one, range(len(subjects))))


def as_fast(callers: int, subjects: Sequence[T], call: Callable[[T], object]) -> tuple[float, list[float]]:
    """So many callers, each with one call after another. Seconds for all, and for each."""

    def one(subject: T) -> float:
        began = time.monotonic()
        call(subject)
        return time.monotonic() - began

    began = time.monotonic()
    with ThreadPoolExecutor(callers) as pool:
        each = list(pool.map(one, subjects))
    return time.monotonic() - began, each
