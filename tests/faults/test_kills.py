"""Kills under load, fifty in the long form: nothing lost, nothing doubled, order kept, nothing released without permission."""

import json
import os
import random
import time
from collections import Counter

from faults.checker import Verdict, check
from faults.field import PERMITTED, WITHHELD, Field, Load, until
from faults.transactions import kill, revive

from tandem_ops.network.members import database_url

KILLS = 50 if os.environ.get("TANDEM_LONG") else 12
KINDS = ("hub", "juniper", "riverbend", "broker")
BETWEEN = 0.8
"""Seconds of load between a process serving again and the next kill."""


def test_kills_under_load_lose_nothing_and_double_nothing(a_field: Field) -> None:
    load = Load(a_field, a_field.share(10), rate=120)
    load.start()
    chance = random.Random(20261122)
    plan = [KINDS[number % len(KINDS)] for number in range(KILLS)]
    chance.shuffle(plan)
    killed: Counter[str] = Counter()
    with_transaction, between = 0, []
    for kind in plan:
        between.append(_acknowledged_within(a_field, BETWEEN))
        with_transaction += _kill(a_field, kind)
        killed[kind] += 1
    load.stop()
    verdict = _settled(a_field)
    rate = sum(between) / (BETWEEN * len(between))
    figures = {
        "kills": dict(killed),
        "with a transaction open": with_transaction,
        "acknowledged a second between kills": round(rate, 1),
        "verdict": str(verdict),
    }
    print(json.dumps(figures))  # noqa: T201 - the figures are what a long run is for
    assert verdict.clean, (
        verdict.lost[:5],
        verdict.doubled[:5],
        verdict.out_of_order[:5],
        verdict.without_permission[:5],
        verdict.given_up[:5],
    )
    assert verdict.permitted > 10 * KILLS
    assert min(killed.values()) >= KILLS // 10
    assert with_transaction >= KILLS * 2 // 5
    assert rate >= 50


def test_the_checker_finds_each_fault_that_it_looks_for(a_field: Field) -> None:
    """A checker that cannot fail proves nothing: each fault is planted in a copy of a clean ledger."""
    load = Load(a_field, a_field.share(2), rate=40)
    load.start()
    until(lambda: a_field.ledger.acknowledged > 40, "forty entries are acknowledged")
    load.stop()
    assert _settled(a_field).clean
    lines = [json.loads(line) for line in a_field.ledger.path.read_text().splitlines()]
    permitted = [line for line in lines if line["category"] == PERMITTED and line["writer"] == 0]
    withheld = [line for line in lines if line["category"] == WITHHELD]
    lost = {**permitted[-1], "entry_id": "ent_nowhere", "number": 10_000}
    doubled = {**permitted[-1], "number": 10_001}
    swapped = [
        {**permitted[0], "number": permitted[1]["number"]},
        {**permitted[1], "number": permitted[0]["number"]},
    ]
    released = {**permitted[2], "category": WITHHELD}
    assert _checked(a_field, [*lines, lost]).lost
    assert _checked(a_field, [*lines, doubled]).doubled
    assert _checked(a_field, [line for line in lines if line not in permitted[:2]] + swapped).out_of_order
    assert _checked(a_field, [*lines, released]).without_permission
    assert not _checked(a_field, [line for line in lines if line not in withheld]).without_permission
    revoked = {"op": "revoked", "episode": permitted[0]["episode"], "at": permitted[3]["asked_at"]}
    after = [line["text"] for line in permitted[4:]]
    assert _checked(a_field, [*lines, revoked]).without_permission == after
    assert _checked(a_field, [*lines, {**revoked, "op": "to-be-revoked"}]).clean
    assert _checked(a_field, [*lines, lost, {"op": "may-be-gone", "entry_ids": ["ent_nowhere"]}]).clean
    assert _checked(a_field, [*lines, lost, {"op": "may-be-gone", "entry_ids": ["ent_elsewhere"]}]).lost


def _checked(field: Field, lines: list[dict[str, object]]) -> Verdict:
    path = field.directory / "altered.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return _verdict(field, path)


def _verdict(field: Field, ledger: object = None) -> Verdict:
    network = field.network
    return check(
        ledger or field.ledger.path,  # type: ignore[arg-type]
        database_url(network.plan, network.layout, "riverbend"),
        database_url(network.plan, network.layout, "hub"),
        "prac_riverbend",
        PERMITTED,
    )


def _settled(field: Field, seconds: float = 60) -> Verdict:
    """The verdict once everything has arrived, or the last one if it does not."""
    deadline = time.monotonic() + seconds
    while True:
        verdict = _verdict(field)
        if not verdict.lost or time.monotonic() > deadline:
            return verdict
        time.sleep(0.2)


def _acknowledged_within(field: Field, seconds: float) -> int:
    before = field.ledger.acknowledged
    time.sleep(seconds)
    return field.ledger.acknowledged - before


def _kill(field: Field, kind: str) -> bool:
    """Kill a process and start it again; whether it had a write transaction open."""
    if kind == "broker":
        field.broker.kill()
        field.broker.start()
        return False
    in_transaction = kill(field, kind)
    revive(field.member(kind))
    return in_transaction
