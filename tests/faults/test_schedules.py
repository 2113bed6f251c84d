"""Whatever fails, and whoever lies, the promises hold: seeded schedules of work and faults on a simulated network."""

import os
import sys
from collections.abc import Iterator

import pytest
from faults.course import STEPS
from faults.effects import HOSTILE, KINDS, Effects
from faults.found import FOUND
from faults.schedules import run_schedule
from faults.stage import Stage, a_stage

from support.staged import a_place

LONG = bool(os.environ.get("TANDEM_LONG"))
SEEDS = range(1000, 2000) if LONG else range(1000, 1030)
AT_LEAST = 10
"""Effects of each kind in the long form."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with a_place(None) as place:
        yield a_stage(place)


def _replay(seed: int) -> str:
    return f"PYTHONPATH=tests python -m faults.schedules {seed}"


def test_the_promises_hold_on_every_schedule(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    effects = Effects()
    broken: list[str] = []
    worked = 0
    for seed in SEEDS:
        outcome = run_schedule(seed, STEPS, stage)
        effects.update(outcome.effects)
        worked += sum(outcome.worked.values())
        if outcome.broken:
            broken.append(f"{outcome.broken}\n    {_replay(seed)}")
            if len(broken) >= 10:
                break
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(SEEDS)} schedules, {worked} works of people, {effects.total()} effects of faults\n"
        )
        sys.stdout.write(f"{effects.table()}\n")
    assert not broken, "\n".join(broken)
    if LONG:
        rare = {kind: effects[kind] for kind in (*KINDS, *HOSTILE) if effects[kind] < AT_LEAST}
        assert not rare, f"these had too little effect to say anything: {rare}"


@pytest.mark.parametrize("seed", sorted(FOUND), ids=str)
def test_what_was_found_once_is_not_found_again(stage: Stage, seed: int) -> None:
    outcome = run_schedule(seed, STEPS, stage)
    assert not outcome.broken, f"{outcome.broken}\n{FOUND[seed]}\n{_replay(seed)}"


def test_the_same_seed_is_the_same_run(stage: Stage) -> None:
    """Everything that the databases say, every effect and every turn; on a stage that was built anew, too."""
    first = run_schedule(SEEDS[0], STEPS, stage)
    again = run_schedule(SEEDS[0], STEPS, stage)
    elsewhere = run_schedule(SEEDS[0], STEPS)
    assert first.digest
    assert (first.digest, first.trail) == (again.digest, again.trail) == (elsewhere.digest, elsewhere.trail)
    assert run_schedule(SEEDS[1], STEPS, stage).digest != first.digest
