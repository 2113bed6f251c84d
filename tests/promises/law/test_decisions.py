"""The engine against the table: every combination of facts, every rule in its place, every answer explained."""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import pytest
from conftest import SAID
from promises.law.cases import Cases, emergency
from promises.law.table import Cell, Table, read

from tandem_care.categories import Category
from tandem_care.law.rules import CLAUSES, Clause
from tandem_care.permission import SENTENCES, Law, Rule, decide, needs_redisclosure_notice

TABLE = read("decisions.toml")
KINDS = TABLE.beside["kinds"]
MAKES_NO_RECORD = ("no-recipient", "no-discloser", "no-time", "no-nature")
CATEGORY, EMERGENCY = (list(TABLE.axes).index(axis) for axis in ("category", "emergency"))
EXCEPTION, BASIS = (list(TABLE.axes).index(axis) for axis in ("exception", "basis"))


def test_the_kinds_hold_every_category_once() -> None:
    known = [code for kind in ("ordinary", "emergency-set", "part2", "other-sensitive") for code in KINDS[kind]]
    assert sorted(known) == sorted(category.value for category in Category)


@pytest.mark.parametrize("fact", MAKES_NO_RECORD)
def test_an_emergency_without_its_four_facts_is_as_none(fact: str) -> None:
    """No record of it can be made, so that the engine is asked what it is asked without one; and the table says the same."""
    assert emergency(fact) is None
    for cell in TABLE.cells:
        assert (fact in cell.box[EMERGENCY]) == ("none" in cell.box[EMERGENCY])


def told_apart(box: Sequence[frozenset[str]]) -> tuple[frozenset[str], ...]:
    """The box without the emergencies that are as none."""
    return tuple(
        values - set(MAKES_NO_RECORD) if place == EMERGENCY else values for place, values in enumerate(box)
    )


@pytest.mark.parametrize("exception", TABLE.axes["exception"])
@pytest.mark.parametrize("category", TABLE.axes["category"])
def test_the_engine_decides_as_the_table_says(
    category: str, exception: str, record_property: Callable[[str, object], None]
) -> None:
    cases = Cases(KINDS)
    axes = list(TABLE.axes)
    run = 0
    for cell in TABLE.cells:
        if category not in cell.box[CATEGORY] or exception not in cell.box[EXCEPTION]:
            continue
        box = list(told_apart(cell.box))
        box[CATEGORY], box[EXCEPTION] = frozenset({category}), frozenset({exception})
        expected = (cell.outcome.release, cell.outcome.rule)
        for values in Cell(cell.row, cell.outcome, tuple(box)).combinations():
            given = cases.of(dict(zip(axes, values, strict=True)), run)
            decision = given.put_to(decide)
            run += 1
            assert (decision.permitted, decision.rule) == expected, (TABLE.facts(values), run - 1)
    record_property(SAID, f"decisions.toml: {run:,} combinations put to the engine ({category}, {exception})")
