"""The hub's time for decisions: it never runs backwards, and it does not believe a jump."""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from tandem_platform.clock import Clock
from tandem_platform.errors import Code, Refusal
from tandem_platform.storage import Transaction
from tandem_referral.store import sync

LARGEST_JUMP = timedelta(minutes=5)


class ClockJumped(Refusal):
    """The machine's clock moved by more than five minutes against its own ticking: nothing is decided until it is set right."""

    def __init__(self) -> None:
        super().__init__(
            Code.UNAVAILABLE,
            "CLOCK_JUMPED",
            "the hub's clock has jumped; no decision depends on it until an operator has looked",
            way_out="set the hub's clock right and restart the hub",
        )


class HubTime:
    """The larger of the clock and the highest time that was ever decided with. Thread-safe.

    *ticking* gives seconds that only ever pass, such as time.monotonic; against it a jump of the clock shows.
    A simulated clock passes none: there time is what the simulation says.
    """

    def __init__(self, clock: Clock, ticking: Callable[[], float] | None = time.monotonic) -> None:
        self._clock = clock
        self._ticking = ticking
        self._lock = threading.Lock()
        self._started_at = clock.now()
        self._started_ticking = ticking() if ticking else 0.0
        self._high_water: datetime | None = None

    def decision_time(self, tx: Transaction) -> datetime:
        """Raises ClockJumped."""
        now = self._checked(self._clock.now())
        with self._lock:
            if self._high_water is None:
                self._high_water = sync.high_water(tx) or now
            self._high_water = max(self._high_water, now)
            return self._high_water

    def remember(self, tx: Transaction) -> None:
        """Store the highest time, for the next run and for the hub's other processes."""
        sync.raise_high_water(tx, self.decision_time(tx))
        stored = sync.high_water(tx)
        with self._lock:
            if stored is not None and self._high_water is not None:
                self._high_water = max(self._high_water, stored)

    def _checked(self, now: datetime) -> datetime:
        if self._ticking is not None:
            expected = self._started_at + timedelta(seconds=self._ticking() - self._started_ticking)
            if abs(now - expected) > LARGEST_JUMP:
                raise ClockJumped
        return now
