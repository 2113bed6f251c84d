"""What the core does under load, measured beside the bare floor in the same run. See docs/performance.md.

usage: python -m load.bench [--stack embedded|production] [--quick] [--rounds N] [--only FIGURE]...
"""

import argparse
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from load import exchange_figures
from load.figures import Figure
from load.network import EPISODES, NAMES, Ground, Side, Stack, Tandem, floor
from load.recorder import Order

WHERE = Path(".tandem/bench")


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything; ``seconds`` is for what goes at a fixed rate."""

    rounds: int
    seconds: float
    entries: int
    largest: int


RECORD = Size(rounds=5, seconds=20, entries=5000, largest=100_000)
QUICK = Size(rounds=1, seconds=2, entries=200, largest=1000)


class Bench:
    """One run on one stack."""

    def __init__(self, ground: Ground, size: Size, tell: Callable[[str], None]) -> None:
        self.ground = ground
        self.size = size
        self.tell = tell
        self.tandem = Tandem(ground, ground.directory / "tandem")
        self.tell(f"network up and {EPISODES} patients shared")

    @contextmanager
    def sides(self) -> Iterator[list[Side]]:
        """Both, warm."""
        with self.tandem.side() as ours, floor(self.ground) as bare:
            for side in (ours, bare):
                side.send(Order(100, 10))
            yield [ours, bare]

    def exchange(self) -> list[Figure]:
        latency = Figure("propagation", "Propagation: committed at clinic A, visible at clinic B")
        speed = Figure("throughput", f"Throughput: clinic, hub, clinic; {exchange_figures.TOGETHER} together")
        with self.sides() as sides:
            for number in range(self.size.rounds):
                for side in sides:
                    exchange_figures.propagation(side, latency, self.size.seconds)
                    exchange_figures.throughput(side, speed, self.size.entries)
                    self.tell(f"exchange, round {number + 1} of {self.size.rounds}: {side.name}")
        return [latency, speed]

    def close(self) -> None:
        self.tandem.close()


GROUPS: dict[str, Callable[[Bench], list[Figure]]] = {"exchange": Bench.exchange}


def machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_before": os.getloadavg(),
    }


def run(stack: Stack, size: Size, only: Sequence[str], where: Path, tell: Callable[[str], None]) -> Path:
    """Measure, and give the file with the figures."""
    directory = where / f"{stack}-running"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    began, surroundings = time.monotonic(), machine()
    ground = Ground(stack, directory)
    figures: list[Figure] = []
    try:
        bench = Bench(ground, size, tell)
        try:
            for name in only or GROUPS:
                figures += GROUPS[name](bench)
        finally:
            bench.close()
    finally:
        ground.close()
    result = {
        "stack": stack,
        "on": NAMES[stack],
        "broker": ground.broker.version,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "took_s": round(time.monotonic() - began, 1),
        "rounds": size.rounds,
        "machine": surroundings,
        "figures": {figure.key: figure.to_json() for figure in figures},
    }
    shutil.rmtree(directory, ignore_errors=True)
    file = where / f"{stack}.json"
    file.write_text(json.dumps(result, indent=1) + "\n")
    say(f"\n{NAMES[stack]}, median of {size.rounds}\n")
    say("\n\n".join(figure.table() for figure in figures))
    return file


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="load.bench", description=__doc__)
    parser.add_argument("--stack", choices=list(NAMES), action="append", help="both, if none is named")
    parser.add_argument("--quick", action="store_true", help="one round of a few seconds each, to see it run")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", choices=list(GROUPS), action="append", default=[])
    parser.add_argument(
        "--where", type=Path, default=WHERE, help="for the figures, and for the databases meanwhile"
    )
    given = parser.parse_args(arguments)
    chosen = QUICK if given.quick else RECORD
    size = Size(given.rounds or chosen.rounds, chosen.seconds, chosen.entries, chosen.largest)
    began = time.monotonic()

    def tell(text: str) -> None:
        sys.stderr.write(f"bench {time.monotonic() - began:6.1f} s  {text}\n")

    stacks: list[Stack] = given.stack or list(NAMES)
    for stack in stacks:
        say(f"figures in {run(stack, size, given.only, given.where, tell)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
