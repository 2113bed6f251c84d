"""Whatever fails of real processes, one after another and two at once, no promise is broken: seeded schedules under load."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from faults.real_effects import RealEffects, Stack, kinds
from faults.real_faults import FAULTS
from faults.real_schedules import plan_of, replay, run_seed

LONG = bool(os.environ.get("TANDEM_LONG"))
SEEDS: dict[Stack, Sequence[int]] = (
    {"embedded": range(40), "production": range(40)} if LONG else {"embedded": (1, 15), "production": (11,)}
)
"""The short form has those between which many kinds are spread, and which do not take long."""
AT_LEAST, AT_LEAST_RESTORED = 4, 2
"""Effects of each kind in the long form; a restore comes once in some schedules only."""


@pytest.mark.timeout(3600 if LONG else 300)
def test_no_promise_is_broken_on_real_processes(
    stack: Stack, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    server = request.getfixturevalue("postgres") if stack == "production" else None
    effects, broken, acknowledged = RealEffects(), [], 0
    for seed in SEEDS[stack]:
        outcome, seen = run_seed(seed, tmp_path / str(seed), server)
        effects.update(seen)
        acknowledged += outcome.verdict.acknowledged
        if outcome.broken:
            broken.append(f"seed {seed}: {outcome.broken}\n    {replay(seed, stack)}")
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(SEEDS[stack])} schedules on real processes, {acknowledged} entries acknowledged,"
            f" {effects.total()} effects of faults\n{effects.table(stack)}\n"
        )
    assert not broken, "\n".join(broken)
    assert effects.total() >= 5 * len(SEEDS[stack]), "the faults had too little effect to say anything"
    if LONG:
        wanted = {
            kind: AT_LEAST_RESTORED if kind.endswith("-restored") else AT_LEAST for kind in kinds(stack)
        }
        rare = {kind: effects[kind] for kind, times in wanted.items() if effects[kind] < times}
        assert not rare, f"these had too little effect to say anything: {rare}"


@pytest.mark.parametrize("stack_of_plan", ["embedded", "production"])
def test_a_seed_is_a_plan_and_forty_have_every_kind_in_them(stack_of_plan: Stack) -> None:
    plans = [plan_of(seed, stack_of_plan) for seed in range(40)]
    assert plans == [plan_of(seed, stack_of_plan) for seed in range(40)]
    assert len({str(plan) for plan in plans}) == 40
    planned = {kind for plan in plans for turn in plan.turns for kind in turn.kinds}
    assert planned == set(kinds(stack_of_plan)) <= set(FAULTS)
