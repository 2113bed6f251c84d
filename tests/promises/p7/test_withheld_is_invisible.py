"""P7: two runs that differ by what was withheld from Riverbend alone look the same to Riverbend, to the byte.

Both are given the same ids, sealed bytes, clock and acts of everybody, so that everything is compared exactly,
but digests of what the hub draws at random (renamed in order of appearance) and page tokens (by length).
"""

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from promises.p7.probes import probe_everything
from promises.p7.script import VARIANTS, Author, Script
from promises.p7.world import JUNIPER, Copies, Prepared, World

from support.observation import first_difference, methods_of_practices

CHUNKS = 25
LONG = os.environ.get("TANDEM_LONG") == "1"


def scripts_of(chunk: int, stack: str) -> range:
    """Seeds: on SQLite 5 scripts a chunk, 500 pairs in all; on PostgreSQL, where a copy costs more, one; when long, five times as many."""
    each = (5 if stack == "embedded" else 1) * (5 if LONG else 1)
    return range(chunk * 1000, chunk * 1000 + each)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_what_is_withheld_makes_no_difference(
    copies: Copies, prepared: Prepared, stack: str, chunk: int
) -> None:
    for seed in scripts_of(chunk, stack):
        script = Author(prepared, seed).script()
        without = copies.run(script.without())
        for variant in range(VARIANTS):
            difference = first_difference(copies.run(script.variant(variant)), without)
            assert difference is None, _told(script, variant, difference)


def _told(script: Script, variant: int, difference: str) -> str:
    return f"seed {script.seed}, variant {variant}: {difference}\n{script.told(variant)}"


def _variants(prepared: Prepared, seeds: range) -> Iterator[tuple[Script, int]]:
    for seed in seeds:
        script = Author(prepared, seed).script()
        for variant in range(VARIANTS):
            yield script, variant


def test_the_scripts_hold_every_kind_of_withholding(prepared: Prepared) -> None:
    drawn = {
        step.name
        for script, variant in _variants(prepared, range(40))
        for steps in script.between[variant].values()
        for step in steps
    }
    assert drawn >= {
        "category not named",
        "before the history",
        "before the permission, which opens no history",
        "referral over",
        "no permission in this episode",
        "for another partner",
        "derived from what is not permitted",
        "the source gives no wrap",
        "denied",
        "revoked or held",
        "expired",
        "amends what is withheld",
        "a late wrap that opens nothing",
        "denial",
        "denial for a time",
        "denial lifted",
        "permission for another partner",
        "move of another partner's referral",
    }


def test_the_hub_withheld_for_every_reason(copies: Copies, prepared: Prepared) -> None:
    """Else the pairs would be equal because nothing was withheld."""
    reasons: set[str] = set()

    def then_juniper_looks(script: Script, variant: int, world: World) -> None:
        script.variant(variant)(world)
        world[JUNIPER].syncs()
        after = 0
        while records := world[JUNIPER].asks("ListAuditRecords", after_number=after, page_size=200).records:
            after = records[-1].number
            reasons.update(
                record.rule for record in records if record.action in ("withheld", "waiting-for-wrap")
            )

    wanted = {
        "denied",
        "category-not-named",
        "before-history",
        "referral-not-live",
        "revoked",
        "held",
        "expired",
        "target-withheld",
        "permitted",
        "parties-catching-up",
    }
    for script, variant in _variants(prepared, range(5000, 5040)):
        copies.run(partial(then_juniper_looks, script, variant))
        if reasons >= wanted:
            return
    assert reasons >= wanted


def test_the_watcher_calls_every_rpc_that_a_practice_may_call(copies: Copies) -> None:
    called: set[str] = set()

    def play(world: World) -> None:
        world[JUNIPER].syncs()
        world.watcher.syncs()
        world.works()
        world.watcher.reads()
        world.watcher.acknowledges()
        probe_everything(world, [], 2, 1)

    seen: list[tuple[str, Any]] = copies.run(play)
    called = {name.removesuffix(" refused") for name, _ in seen}
    assert called - {"Kafka"} == {method.full_name for method in methods_of_practices()}
