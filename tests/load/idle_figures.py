"""A network that has nothing to do: its memory, what CPU it takes all the same, and how soon its members start."""

import time

from load.figures import Figure
from load.network import Tandem
from load.resources import Cpu, cpu, memory, spent

_NOT_ITS_OWN = ("floor", "recorder")


def idle(tandem: Tandem, figure: Figure, seconds: float) -> None:
    """A round, after other figures have loaded the network."""
    before = cpu()
    time.sleep(seconds)
    for member, used in sorted(spent(before).items()):
        if member not in _NOT_ITS_OWN:
            figure.add("tandem", f"idle CPU of {member}", "ms/s", 1000 * _total(used) / seconds)
    for member, megabytes in sorted(memory().items()):
        if member not in _NOT_ITS_OWN:
            figure.add("tandem", f"memory of {member}", "MB", megabytes)


def start(tandem: Tandem, figure: Figure) -> None:
    """A round of each member's start, one after another, from nothing until it listens; its database is there."""
    for process in tandem.network.members():
        process.stop()
        began = time.monotonic()
        process.start()
        process.await_ready(60)
        figure.add("tandem", f"start of {process.name}", "s", time.monotonic() - began)


def _total(used: Cpu) -> float:
    return used.user + used.system
