"""What the story expects, checked against what the practices' public APIs say, until a deadline."""

import json
import time
from collections.abc import Callable
from typing import TypeVar

from tandem_ops.reach import ClinicAway

T = TypeVar("T")

DEADLINE = 30.0
"""Seconds within which what should happen must be seen. Two orders of magnitude above the usual."""

_PAUSE = 0.05


class ExpectationFailed(Exception):
    """Says which expectation, and what was seen instead."""

    def __init__(self, expectation: str, seen: object) -> None:
        super().__init__(f"expected: {expectation}\nseen:     {_shown(seen)}")
        self.expectation = expectation
        self.seen = seen


def eventually(
    expectation: str, probe: Callable[[], T], holds: Callable[[T], bool], within: float = DEADLINE
) -> T:
    """What *probe* gave when it first held. A practice that does not answer counts as not yet."""
    deadline = time.monotonic() + within
    seen: T | str = "nothing"
    while True:
        try:
            seen = found = probe()
            if holds(found):
                return found
        except ClinicAway as away:
            seen = str(away)
        if time.monotonic() >= deadline:
            raise ExpectationFailed(f"{expectation} (within {within:g} s)", seen)
        time.sleep(_PAUSE)


def expect(expectation: str, holds: bool, seen: object) -> None:
    if not holds:
        raise ExpectationFailed(expectation, seen)


def _shown(seen: object) -> str:
    text = seen if isinstance(seen, str) else json.dumps(seen, default=str, ensure_ascii=False)
    return text if len(text) <= 1500 else text[:1500] + " …"
