"""Watching a running network: what falls is started again, until it falls too often."""

import signal
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tandem_ops.console import Exit, Stop
from tandem_ops.network.network import Network, Tell

_PERIOD = 0.5
_MOST_FALLS = 5
_WITHIN = 60.0


class Interruptions:
    """Ctrl-C or SIGTERM once: drain. Twice: end everything now."""

    def __init__(self) -> None:
        self.drain = threading.Event()
        self.force = threading.Event()

    def note(self, _signal: int, _frame: FrameType | None) -> None:
        (self.force if self.drain.is_set() else self.drain).set()


@contextmanager
def interruptions() -> Iterator[Interruptions]:
    """Takes the process's signals for the length of the block."""
    noted = Interruptions()
    former = {number: signal.signal(number, noted.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def supervise(network: Network, noted: Interruptions, tell: Tell) -> None:
    """Until interrupted. Raises Stop where a member falls again and again."""
    falls: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_MOST_FALLS))
    while not noted.drain.wait(_PERIOD):
        for name in network.revive():
            tell(f"{name} had ended and was started again; its log says why")
            times = falls[name]
            times.append(time.monotonic())
            if len(times) == _MOST_FALLS and times[-1] - times[0] < _WITHIN:
                raise Stop(
                    Exit.FINDING,
                    f"{name} ended {_MOST_FALLS} times within a minute",
                    f"read its log in {network.layout.logs}",
                )


def end(network: Network, noted: Interruptions, tell: Tell) -> None:
    """Drain; a second interruption meanwhile ends everything at once."""
    tell("draining: clinics, then the hub, then the broker (again to end at once)")
    done = threading.Event()

    def drain() -> None:
        for name in network.drain():
            tell(f"{name} did not end in time and was killed")
        done.set()

    drainer = threading.Thread(target=drain, name="drain", daemon=True)
    drainer.start()
    while not done.wait(0.1):
        if noted.force.is_set():
            network.kill()
            tell("ended at once")
            return
    tell("all ended")
