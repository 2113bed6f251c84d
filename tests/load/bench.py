"""What the core does under load, measured beside the bare floor in the same run. See docs/performance.md.

usage: python -m load.bench [--stack embedded|production] [--quick] [--rounds N] [--only FIGURE]...
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from load import command_figures, exchange_figures, growth_figures, idle_figures, plots
from load.figures import Figure
from load.network import NAMES, Ground, Side, Stack, Tandem, floor
from load.recorder import Order

WHERE = Path(".tandem/bench")
IN_MEMORY = {"tmpfs", "ramfs"}
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything; ``seconds`` is for what goes at a fixed rate."""

    rounds: int
    episodes: int
    seconds: float
    entries: int
    referrals: int
    reads: int
    entries_read: int
    practices: int
    largest: int


RECORD = Size(
    rounds=5,
    episodes=12,
    seconds=20,
    entries=5000,
    referrals=400,
    reads=500,
    entries_read=50,
    practices=10_000,
    largest=1_000_000,
)
QUICK = Size(
    rounds=1,
    episodes=6,
    seconds=1,
    entries=100,
    referrals=8,
    reads=24,
    entries_read=5,
    practices=20,
    largest=2000,
)


class Bench:
    """One run on one stack."""

    def __init__(self, ground: Ground, size: Size, tell: Tell) -> None:
        self.ground = ground
        self.size = size
        self.tell = tell
        self.tandem = Tandem(ground, ground.directory / "tandem", size.episodes)
        self.tell(f"network up and {size.episodes} patients shared")

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
        left = Figure("bytes", "Bytes that an entry leaves behind, indexes included")
        with self.sides() as sides:
            sizes = {side.name: exchange_figures.Sizes(side, self.ground.broker.bootstrap) for side in sides}
            sent = dict.fromkeys(sizes, 0)
            for number in range(self.size.rounds):
                for side in sides:
                    sent[side.name] += exchange_figures.propagation(side, latency, self.size.seconds)
                    sent[side.name] += exchange_figures.throughput(side, speed, self.size.entries)
                    self.tell(f"exchange, round {number + 1} of {self.size.rounds}: {side.name}")
            for name, looks in sizes.items():
                looks.note(left, sent[name])
        return [latency, speed, left]

    def rest(self) -> list[Figure]:
        figure = Figure("rest", "Propagation of entries that come by REST, a request each")
        with self.tandem.side_by_rest() as side:
            side.send(Order(20, 1, 20.0))
            for number in range(self.size.rounds):
                exchange_figures.propagation(side, figure, self.size.seconds)
                self.tell(f"rest, round {number + 1} of {self.size.rounds}")
        return [figure]

    def commands(self) -> list[Figure]:
        made = Figure("referrals", "Referrals: made at clinic A, delivered to clinic B")
        accepted = Figure("commands", "Commands: a referral is accepted at the hub, gRPC over TLS")
        for number in range(self.size.rounds):
            referral_ids = command_figures.referrals(self.tandem, made, self.size.referrals)
            command_figures.accept(self.ground, self.tandem, accepted, referral_ids)
            self.tell(f"commands, round {number + 1} of {self.size.rounds}")
        return [made, accepted]

    def reads(self) -> list[Figure]:
        figure = Figure("reads", "Reads: a care plan at clinic B, by REST")
        with self.tandem.side() as side:
            side.send(Order(self.size.episodes * self.size.entries_read, 100))
        for number in range(self.size.rounds):
            command_figures.reads(self.tandem, figure, self.size.reads)
            self.tell(f"reads, round {number + 1} of {self.size.rounds}")
        return [figure]

    def start(self) -> list[Figure]:
        figure = Figure("start", "Idle: memory, CPU, and starting anew, after the load of the figures before")
        for number in range(self.size.rounds):
            idle_figures.idle(self.tandem, figure, self.size.seconds)
            idle_figures.start(self.tandem, figure)
            self.tell(f"start, round {number + 1} of {self.size.rounds}")
        return [figure]

    def practices(self) -> list[Figure]:
        sizes = [*growth_figures.powers(10, self.size.practices)]
        return [growth_figures.practices(*self._grown(sizes))]

    def stored(self) -> list[Figure]:
        sizes = [*growth_figures.powers(1000, self.size.largest)]
        return [growth_figures.stored(*self._grown(sizes))]

    def _grown(self, sizes: list[int]) -> tuple[Ground, Tandem, list[int], int, int, Tell]:
        return self.ground, self.tandem, sizes, max(20, self.size.entries // 2), self.size.rounds, self.tell

    def close(self) -> None:
        self.tandem.close()


Measure = Callable[[Bench], list[Figure]]
GROUPS: tuple[dict[str, Measure], ...] = (
    {
        "reads": Bench.reads,
        "exchange": Bench.exchange,
        "rest": Bench.rest,
        "commands": Bench.commands,
        "start": Bench.start,
    },
    {"practices": Bench.practices},
    {"stored": Bench.stored},
)
"""Each group has a network and a broker of its own, because some leave much behind."""


def machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_before": os.getloadavg(),
    }


def run(stack: Stack, size: Size, only: Collection[str], where: Path, tell: Tell) -> Path:
    """Measure, and give the file with the figures, which grows with each group, since a whole run is long."""
    began, surroundings = time.monotonic(), machine()
    home = where if stack == "embedded" else Path(tempfile.gettempdir())
    surroundings["databases_on"] = _file_system(home)
    if surroundings["databases_on"] in IN_MEMORY:
        tell(f"{home} is in memory: a commit waits for no disk, and both sides look faster than they are")
    figures: list[Figure] = []
    file = where / f"{stack}.json"
    for group in GROUPS:
        wanted = [measure for name, measure in group.items() if not only or name in only]
        if not wanted:
            continue
        broker, found = _run_group(stack, size, wanted, where / f"{stack}-running", tell)
        figures += found
        result = {
            "stack": stack,
            "on": NAMES[stack],
            "broker": broker,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "took_s": round(time.monotonic() - began, 1),
            "size": asdict(size),
            "machine": surroundings,
            "figures": {figure.key: figure.to_json() for figure in figures},
        }
        file.write_text(json.dumps(result, indent=1) + "\n")
    _describe(stack, size, figures, where)
    return file


def _describe(stack: Stack, size: Size, figures: Sequence[Figure], where: Path) -> None:
    heading = f"### {NAMES[stack]}\n\nMedian of {size.rounds}; {os.cpu_count()} cores.\n\n"
    tables = "\n\n".join(figure.markdown() for figure in figures)
    (where / f"{stack}.md").write_text(f"{heading}{tables}\n", encoding="utf-8")
    drawings = where / stack
    drawings.mkdir(exist_ok=True)
    for figure in figures:
        plots.write(figure, drawings)
    say(f"\n{NAMES[stack]}, median of {size.rounds}\n")
    say("\n\n".join(figure.table() for figure in figures))


def _run_group(
    stack: Stack, size: Size, wanted: Sequence[Measure], directory: Path, tell: Tell
) -> tuple[str, list[Figure]]:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    with closing(Ground(stack, directory)) as ground, closing(Bench(ground, size, tell)) as bench:
        figures = [figure for measure in wanted for figure in measure(bench)]
        broker = ground.broker.version
    # Kept when something failed: the logs are in it.
    shutil.rmtree(directory, ignore_errors=True)
    return broker, figures


def _file_system(where: Path) -> str:
    resolved = where.resolve()
    mounts = [disk for disk in psutil.disk_partitions(all=True) if resolved.is_relative_to(disk.mountpoint)]
    return max(mounts, key=lambda disk: len(disk.mountpoint)).fstype


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="load.bench", description=__doc__)
    parser.add_argument("--stack", choices=list(NAMES), action="append", help="both, if none is named")
    parser.add_argument("--quick", action="store_true", help="one round of a few seconds each, to see it run")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--largest", type=int, help="stored entries up to which their cost is looked at")
    parser.add_argument("--practices", type=int, help="practices up to which their cost is looked at")
    parser.add_argument(
        "--only", choices=[name for group in GROUPS for name in group], action="append", default=[]
    )
    parser.add_argument(
        "--where", type=Path, default=WHERE, help="for the figures, and for the databases meanwhile"
    )
    given = parser.parse_args(arguments)
    chosen = QUICK if given.quick else RECORD
    size = replace(
        chosen,
        rounds=given.rounds or chosen.rounds,
        largest=given.largest or chosen.largest,
        practices=given.practices or chosen.practices,
    )
    began = time.monotonic()

    def tell(text: str) -> None:
        sys.stderr.write(f"bench {time.monotonic() - began:6.1f} s  {text}\n")

    stacks: list[Stack] = given.stack or list(NAMES)
    for stack in stacks:
        say(f"figures in {run(stack, size, given.only, given.where, tell)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
