"""Random interleavings of people's work and machines' faults, each the same whenever it is run with the same seed.

``python -m faults.schedules SEED [STEPS]`` runs one of them and says what happened.
"""

import argparse
import logging
import random
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from faults.course import STEPS, Course
from faults.digest import digest_of
from faults.effects import Effects
from faults.found import FIFTY
from faults.restores import Backups
from faults.scene import Scene
from faults.stage import Ids, Stage, a_stage

from support.staged import SCRATCH, a_place


@dataclass
class Outcome:
    """What a schedule did.

    digest: of what all databases hold in the end, but for what is random by its nature: keys, and what they made.
    broken: the promise that did not hold, or empty.
    """

    seed: int
    effects: Effects
    worked: dict[str, int]
    digest: str = ""
    broken: str = ""
    trail: list[str] = field(default_factory=list)


def run_schedule(seed: int, steps: int = STEPS, stage: Stage | None = None) -> Outcome:
    """Run it to its end, or to the first promise that is broken. Without a *stage* one is built, which takes a second."""
    with ExitStack() as ending:
        if stage is None:
            stage = a_stage(ending.enter_context(a_place(None)))
        copy_of = ending.enter_context(stage.place.copies())
        directory = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="tandem-", dir=SCRATCH)))
        ending.enter_context(Ids(seed))
        network = stage.start.continued(copy_of)
        ending.callback(network.close)
        shares = [share.copied() for share in stage.shares]
        network.chance.seed(seed + 1)
        scene = Scene(network, shares, random.Random(seed))
        course = Course(scene, Backups(network, network.knowing, directory))
        outcome = Outcome(seed, network.effects, course.worked, trail=scene.trail)
        try:
            network.settle()
            course.run(steps)
            network.look()
            outcome.digest = digest_of(network)
        except AssertionError as broken:
            outcome.broken = str(broken)
        except Exception as fault:  # noqa: BLE001 - a fault of the product's that nobody injected is a finding, too
            outcome.broken = f"{type(fault).__name__}: {fault}"
            outcome.trail += traceback.format_exc().splitlines()
        return outcome


@contextmanager
def standing() -> Iterator[Stage]:
    with a_place(None) as place:
        yield a_stage(place)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m faults.schedules", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("steps", type=int, nargs="?", default=STEPS)
    parser.add_argument("--through", type=int, default=None, help="the last seed of several")
    parser.add_argument("--fifty", action="store_true", help="those that notice mutants, instead of seeds")
    parser.add_argument(
        "--until-broken", action="store_true", help="end with the first that breaks a promise"
    )
    asked = parser.parse_args(arguments)
    # What a fault makes the services log says nothing here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    failed = 0
    effects = Effects()
    with standing() as stage:
        for seed in FIFTY if asked.fifty else range(asked.seed, (asked.through or asked.seed) + 1):
            outcome = run_schedule(seed, asked.steps, stage)
            effects.update(outcome.effects)
            if outcome.broken:
                failed += 1
                sys.stdout.write(f"{seed}: {outcome.broken}\n")
                sys.stdout.flush()
                if asked.until_broken:
                    break
            if asked.through is None and not asked.fifty:
                sys.stdout.write("\n".join([*outcome.trail, f"digest {outcome.digest}"]) + "\n")
    sys.stdout.write(f"{effects.table()}\n{failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
