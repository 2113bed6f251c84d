"""A model of the exchange at sizes that no one machine shows: queues in front of processes, calibrated by the bench.

usage: python -m load.model .tandem/bench/production.json

An entry passes clinic A, the broker, the hub, the broker again and clinic B. A station takes what waits for it, up to a batch, and
is busy for a fixed time and a time for each entry. Both come from CPU that was measured, at one entry a transaction and at
many. What the model assumes is printed with its answers; where measurement reaches, so is what it would have predicted.
"""

import heapq
import json
import math
import random
import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from load.timings import percentile

TOGETHER, RATE = 100, 100.0
PRACTICES = (100, 10_000, 1_000_000)
ENTRIES_PER_PRACTICE_AND_DAY = 200
HOURS_PER_DAY = 8
PEAK = 3.0
PRACTICES_PER_CLUSTER = 5_000
BROKERS_PER_CLUSTER = 3
CORES_PER_BROKER = 4
DATABASE_CORES = 8
BUSY_AT_MOST = 0.6
HOP = 0.0005
SIMULATED_SECONDS = 20.0

ASSUMPTIONS = f"""Assumptions
  A practice sends {ENTRIES_PER_PRACTICE_AND_DAY} entries on a working day of {HOURS_PER_DAY} hours;
  the busiest minutes carry {PEAK:g} times the mean. A clinic has a machine of its own.
  A cluster serves at most {PRACTICES_PER_CLUSTER:,} practices, two partitions each; clusters share nothing.
  A cluster has {BROKERS_PER_CLUSTER} brokers of {CORES_PER_BROKER} cores, replication 3 (three times the measured CPU),
  and a database server of {DATABASE_CORES} cores.
  Uplinks are spread evenly over the hub's workers, each a process on a core; none is busy for more than {BUSY_AT_MOST:.0%}.
  Of the measured CPU of the database server each member has a third; with SQLite it is in the member's own process.
  The machines are as fast as the measured one. A network hop takes {1000 * HOP:g} ms; waits for disks are not modelled.
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of CPU: for a transaction, and for each entry in it."""

    fixed: float
    each: float

    def of(self, entries: int) -> float:
        return self.fixed + self.each * entries

    def plus(self, other: "Cost", times: float = 1.0) -> "Cost":
        return Cost(self.fixed + other.fixed * times, self.each + other.each * times)


def calibrated(figures: Mapping[str, Any], member: str) -> Cost:
    """From the same work done one by one and done many together, without what the member takes when it idles."""
    alone, together = (
        _sum(figures[key], f"CPU of {member}, user", f"CPU of {member}, system") / 1000
        for key in ("propagation", "throughput")
    )
    alone = max(together, alone - _sum(figures["start"], f"idle CPU of {member}") / 1000 / RATE)
    fixed = (alone - together) / (1 - 1 / TOGETHER)
    return Cost(fixed, max(0.0, together - fixed / TOGETHER))


def _sum(figure: Mapping[str, Any], *names: str) -> float:
    return sum((row["tandem"] for row in figure["rows"] if row["name"] in names), 0.0)


@dataclass
class Station:
    name: str
    cost: Cost
    servers: int
    most: int = 500
    waiting: deque[tuple[float, int]] = field(default_factory=deque)
    busy: int = 0
    worked: float = 0.0

    def take(self) -> list[int]:
        """The jobs of the next batch."""
        return [self.waiting.popleft()[1] for _ in range(min(self.most, len(self.waiting)))]


def simulate(arrivals: Iterable[float], stations: Sequence[Station], cores: int | None = None) -> list[float]:
    """Seconds from arrival to the end of the last station, for each entry; *cores*: of the one machine that has them all."""
    order = count()
    events: list[tuple[float, int, int, list[int], bool]] = []
    began: list[float] = []
    for number, at in enumerate(arrivals):
        began.append(at)
        heapq.heappush(events, (at, next(order), 0, [number], False))
    ended = [math.inf] * len(began)
    while events:
        now, _, place, jobs, done = heapq.heappop(events)
        if done:
            stations[place].busy -= 1
            place += 1
            if place < len(stations):
                heapq.heappush(events, (now + HOP, next(order), place, jobs, False))
            for job in jobs if place == len(stations) else ():
                ended[job] = now
        else:
            stations[place].waiting.extend((now, job) for job in jobs)
        running = sum(each.busy for each in stations)
        # Whoever has waited longest has the next free core.
        for _, turn in sorted((each.waiting[0][0], at) for at, each in enumerate(stations) if each.waiting):
            chosen = stations[turn]
            while chosen.waiting and chosen.busy < chosen.servers and (cores is None or running < cores):
                taken = chosen.take()
                needs = chosen.cost.of(len(taken))
                chosen.busy += 1
                running += 1
                chosen.worked += needs
                heapq.heappush(events, (now + needs, next(order), turn, taken, True))
    return [end - start for start, end in zip(began, ended, strict=True)]


@dataclass(frozen=True)
class Costs:
    clinic_a: Cost
    broker: Cost
    hub: Cost
    clinic_b: Cost
    database: Cost

    @classmethod
    def measured(cls, figures: Mapping[str, Any]) -> "Costs":
        recorder = calibrated(figures, "recorder")
        a, broker, hub, b, database = (
            calibrated(figures, member) for member in ("clinic A", "broker", "hub", "clinic B", "database")
        )
        return cls(a.plus(recorder), broker, hub, b, database)


def check(costs: Costs, measured: Mapping[str, Any]) -> str:
    """The measured configuration: all on one machine's cores, a backlog of entries."""
    entries, cores = measured["size"]["entries"], measured["machine"]["cores"]
    third, half = 1 / 3, 0.5
    stations = [
        Station("clinic A", costs.clinic_a.plus(costs.database, third), 1, TOGETHER),
        Station("broker", Cost(costs.broker.fixed * half, costs.broker.each * half), cores),
        Station("hub", costs.hub.plus(costs.database, third), 1),
        Station("broker", Cost(costs.broker.fixed * half, costs.broker.each * half), cores),
        Station("clinic B", costs.clinic_b.plus(costs.database, third), 1),
    ]
    predicted = entries / max(simulate([0.0] * entries, stations, cores))
    rows = {row["name"]: row["tandem"] for row in measured["figures"]["throughput"]["rows"]}
    seen = rows["entries at the partner"]
    return (
        f"Checked where measurement reaches ({measured['on']}, {cores} cores, backlog of {entries:,})\n"
        f"  predicted {predicted:,.0f}/s, measured {seen:,.0f}/s, predicted over measured {predicted / seen:.2f}"
    )


def scaled(costs: Costs, practices: int, seed: int = 1) -> str:
    """One cluster of as many as it takes: they share nothing."""
    clusters = math.ceil(practices / PRACTICES_PER_CLUSTER)
    per_cluster = math.ceil(practices / clusters)
    rate = per_cluster * ENTRIES_PER_PRACTICE_AND_DAY * PEAK / (HOURS_PER_DAY * 3600)
    database = Cost(costs.database.fixed / 3, costs.database.each / 3)
    alone = costs.hub.of(1)
    workers = max(1, math.ceil(rate * alone / BUSY_AT_MOST))
    broker = Cost(costs.broker.fixed * 1.5, costs.broker.each * 1.5)
    stations = [
        # A clinic's own machine: entries of one practice hardly ever meet there.
        Station("clinic A", costs.clinic_a.plus(database), per_cluster, 1),
        Station("brokers", broker, BROKERS_PER_CLUSTER * CORES_PER_BROKER),
        Station("hub", costs.hub, workers, 1),
        Station("database", database, DATABASE_CORES, 1),
        Station("brokers", broker, BROKERS_PER_CLUSTER * CORES_PER_BROKER),
        Station("clinic B", costs.clinic_b.plus(database), per_cluster, 1),
    ]
    draw, arrivals, now = random.Random(seed), [], 0.0
    seconds = max(SIMULATED_SECONDS, 200 / rate)
    while now < seconds:
        now += draw.expovariate(rate)
        arrivals.append(now)
    taken = [1000 * each for each in simulate(arrivals, stations)]
    used = {each.name: each.worked / now / each.servers for each in stations}
    return (
        f"  {practices:>9,} {rate * clusters:>10,.1f} {clusters:>9,} {clusters * BROKERS_PER_CLUSTER:>8,}"
        f" {2 * practices:>10,} {clusters * workers:>8,} {used['hub']:>6.0%} {used['database']:>9.1%}"
        f" {used['brokers']:>8.1%} {percentile(taken, 50):>8.1f} {percentile(taken, 99):>8.1f}"
    )


def main(file: str) -> None:
    measured = json.loads(Path(file).read_text())
    costs = Costs.measured(measured["figures"])
    lines = [ASSUMPTIONS, check(costs, measured), "", "Predicted at the busiest"]
    lines.append(
        f"  {'practices':>9} {'entries/s':>10} {'clusters':>9} {'brokers':>8} {'partitions':>10} {'workers':>8}"
        f" {'hub':>6} {'database':>9} {'brokers':>8} {'p50, ms':>8} {'p99, ms':>8}"
    )
    lines += [*(scaled(costs, practices) for practices in PRACTICES), ""]
    sys.stdout.write("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1])
