"""An entry's way from clinic to clinic: how long it takes, how many go, what one costs."""

import time
from collections.abc import Mapping

from load.arrivals import Journey
from load.figures import Figure
from load.network import Side
from load.recorder import Order
from load.resources import Cpu, cpu, record_bytes, spent, stored_bytes
from load.timings import curve, percentile

TOGETHER = 100
RATE = 100.0


def propagation(side: Side, figure: Figure, seconds: float, rate: float = RATE) -> int:
    """A round at a fixed rate. The timetable is fixed beforehand, and an entry is late from the time that it gives.

    Gives the number of entries.
    """
    before = cpu()
    journeys = side.send(Order(max(1, round(rate * seconds)), 1, rate))
    used = spent(before)
    for since in ("due", "commit"):
        taken = [1000 * (each.visible - _start(each, since)) for each in journeys]
        for name, value in (
            ("p50", percentile(taken, 50)),
            ("p99", percentile(taken, 99)),
            ("max", max(taken)),
        ):
            figure.add(side.name, f"{name} at {rate:g}/s, from {since}", "ms", value)
        if since == "due":
            # The last round's, which is enough for the shape.
            figure.curves[side.name] = curve(taken)
    figure.axes = ("percent of entries", "ms")
    _note_cpu(side, figure, used, len(journeys))
    return len(journeys)


def _start(journey: Journey, since: str) -> float:
    return journey.due if since == "due" else journey.committed


def throughput(side: Side, figure: Figure, entries: int) -> int:
    """A round as fast as it goes, many entries in a transaction. Gives their number."""
    before, began = cpu(), time.monotonic()
    journeys = side.send(Order(entries, TOGETHER))
    took = max(each.visible for each in journeys) - began
    committing = max(each.committed for each in journeys) - began
    figure.add(side.name, "entries at the partner", "1/s", entries / took)
    figure.add(side.name, "entries committed at the source", "1/s", entries / committing)
    total = _note_cpu(side, figure, spent(before), entries)
    figure.add(side.name, "cores in use", "mean", total / took)
    return entries


def _note_cpu(side: Side, figure: Figure, used: Mapping[str, Cpu], entries: int) -> float:
    """By member; "own processes" are all but broker and database. Gives the seconds of all."""
    other = {"floor"} if side.name != "floor" else {*used} - {"floor", "broker", "database"}
    used = {member: each for member, each in used.items() if member not in other}
    outside = {"broker", "database"} & {*used}
    parts = {member: used[member] for member in outside}
    parts["own processes"] = sum((each for member, each in used.items() if member not in outside), Cpu())
    total = sum((each.user + each.system for each in parts.values()), 0.0)
    figure.add(side.name, "CPU, all processes", "ms/entry", 1000 * total / entries)
    if side.name != "floor":
        parts |= used
    for member, each in sorted(parts.items()):
        figure.add(side.name, f"CPU of {member}, user", "ms/entry", 1000 * each.user / entries)
        figure.add(side.name, f"CPU of {member}, system", "ms/entry", 1000 * each.system / entries)
    return total


class Sizes:
    """Bytes that entries leave behind, between two looks."""

    def __init__(self, side: Side, bootstrap: str) -> None:
        self._side = side
        self._bootstrap = bootstrap
        self._before = self._now()

    def _now(self) -> dict[str, int]:
        return {name: stored_bytes(url) for name, url in self._side.databases.items()}

    def note(self, figure: Figure, entries: int) -> None:
        for name, size in self._now().items():
            figure.add(
                self._side.name, f"database of {name}", "bytes/entry", (size - self._before[name]) / entries
            )
        for name, topic in self._side.topics.items():
            size_of_record = record_bytes(self._bootstrap, topic, last=min(entries, 200))
            figure.add(self._side.name, f"Kafka record, {name}", "bytes", size_of_record)
