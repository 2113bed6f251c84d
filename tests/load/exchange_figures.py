"""An entry's way from clinic to clinic: how long it takes, how many go, what one costs."""

import time

from load.arrivals import Journey
from load.figures import Figure
from load.network import Side
from load.recorder import Order
from load.resources import Cpu, cpu, spent
from load.timings import curve, percentile

TOGETHER = 100
RATE = 100.0


def propagation(side: Side, figure: Figure, seconds: float, rate: float = RATE) -> None:
    """A round at a fixed rate. The timetable is fixed beforehand, and an entry is late from the time that it gives."""
    journeys = side.send(Order(max(1, round(rate * seconds)), 1, rate))
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


def _start(journey: Journey, since: str) -> float:
    return journey.due if since == "due" else journey.committed


def throughput(side: Side, figure: Figure, entries: int) -> float:
    """A round as fast as it goes, many entries in a transaction. Gives seconds for each entry."""
    before, began = cpu(), time.monotonic()
    journeys = side.send(Order(entries, TOGETHER))
    took = max(each.visible for each in journeys) - began
    used = spent(before)
    figure.add(side.name, "entries at the partner", "1/s", entries / took)
    figure.add(
        side.name,
        "entries committed at the source",
        "1/s",
        entries / (max(each.committed for each in journeys) - began),
    )
    total = sum((each for each in used.values()), Cpu())
    figure.add(side.name, "CPU, all processes", "ms/entry", 1000 * (total.user + total.system) / entries)
    figure.add(side.name, "cores in use", "", (total.user + total.system) / took)
    outside = {"broker", "database"} & {*used}
    parts = {member: used[member] for member in outside}
    parts["own processes"] = sum((each for member, each in used.items() if member not in outside), Cpu())
    if side.name == "tandem":
        parts |= {member: each for member, each in used.items() if member != "floor"}
    for member, each in sorted(parts.items()):
        figure.add(side.name, f"CPU of {member}, user", "ms/entry", 1000 * each.user / entries)
        figure.add(side.name, f"CPU of {member}, system", "ms/entry", 1000 * each.system / entries)
    return took / entries
