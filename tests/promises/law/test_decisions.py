"""The engine against the table: every combination of facts, every rule in its place, every answer explained."""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, islice, product

import pytest
from conftest import SAID
from promises.law.cases import NOW, Cases, Given, a_permit, a_question, emergency
from promises.law.table import Box, Cell, read

from tandem_care.categories import Category
from tandem_care.law.rules import CLAUSES, Case, Clause
from tandem_care.permission import KEPT_BACK, Decision, Law, Rule, decide, needs_redisclosure_notice

TABLE = read("decisions.toml")
AXES = list(TABLE.axes)
CASES = Cases(TABLE.beside["kinds"])
CATEGORY, EMERGENCY = AXES.index("category"), AXES.index("emergency")
MAKES_NO_RECORD = frozenset({"no-recipient", "no-discloser", "no-time", "no-nature"})

LONG = bool(os.environ.get("TANDEM_LONG"))
STEP = 1 if LONG else 17
"""In a short run, every so many combinations of a cell: a prime that divides no axis, so that all values come up."""


def told_apart(box: Box) -> Box:
    """The box without the emergencies that are to the engine as none."""
    return tuple(
        values - MAKES_NO_RECORD if place == EMERGENCY else values for place, values in enumerate(box)
    )


def test_the_kinds_hold_every_category_once() -> None:
    known = [
        code
        for kind in ("ordinary", "emergency-set", "part2", "other-sensitive")
        for code in TABLE.beside["kinds"][kind]
    ]
    assert sorted(known) == sorted(category.value for category in Category)


@pytest.mark.parametrize("fact", sorted(MAKES_NO_RECORD))
def test_an_emergency_without_one_of_its_four_facts_is_as_none(fact: str) -> None:
    """No record of it can be made, so that the engine is asked what it is asked without one; and the table says the same."""
    assert emergency(fact) is None
    for cell in TABLE.cells:
        assert (fact in cell.box[EMERGENCY]) == ("none" in cell.box[EMERGENCY])


@pytest.mark.parametrize("category", TABLE.axes["category"])
def test_the_engine_decides_as_the_table_says(
    category: str, record_property: Callable[[str, object], None]
) -> None:
    run = whole = 0
    for cell in TABLE.cells:
        box = told_apart(cell.box)
        part = Cell(
            cell.row, cell.outcome, (*box[:CATEGORY], box[CATEGORY] & {category}, *box[CATEGORY + 1 :])
        )
        whole += part.size
        expected = (cell.outcome.release, cell.outcome.rule)
        for values in islice(part.combinations(), run % STEP, None, STEP):
            decision = CASES.of(TABLE.facts(values), run).put_to(decide)
            assert (decision.permitted, decision.rule) == expected, (TABLE.facts(values), run)
            run += 1
    record_property(SAID, f"decisions.toml, {category}: {run:,} of {whole:,} combinations put to the engine")


# Each rule in its place


def witnesses(rules: Sequence[Rule], dice: random.Random) -> Iterator[tuple[Cell, Given]]:
    """Combinations that the table has one of these rules decide, each from all over its cells."""
    cells = [cell for cell in TABLE.cells if cell.outcome.rule in rules]
    for _ in range(max(40, 12_000 // len(cells))):
        for cell in cells:
            values = tuple(dice.choice(sorted(allowed)) for allowed in told_apart(cell.box))
            yield cell, CASES.of(TABLE.facts(values), dice.randrange(1_000))


def departs(law: Law, cell: Cell, given: Given) -> bool:
    found: Decision = given.put_to(law.decide)
    return (found.permitted, found.rule) != (cell.outcome.release, cell.outcome.rule)


def test_any_two_rules_swapped_answer_otherwise_than_the_table(
    record_property: Callable[[str, object], None],
) -> None:
    dice = random.Random(2031)
    unseen = []
    for left, right in combinations(range(len(CLAUSES)), 2):
        order = list(CLAUSES)
        order[left], order[right] = order[right], order[left]
        law = Law(order)
        overtaken = [clause.rule for clause in CLAUSES[left:right]]
        if not any(departs(law, cell, given) for cell, given in witnesses(overtaken, dice)):
            unseen.append((CLAUSES[left], CLAUSES[right]))
    pairs = len(CLAUSES) * (len(CLAUSES) - 1) // 2
    record_property(SAID, f"decisions.toml: {pairs - len(unseen)} of {pairs} swaps of two rules are seen")
    for one, other in unseen:
        assert never_both(one, other), (
            f"{one.rule} and {other.rule} meet, and the table does not say which is first"
        )
    assert len(unseen) == 3


def never_both(one: Clause, other: Clause) -> bool:
    """Whether no permission and no question are met by both rules."""
    return not any(
        one.applies(case, permit) and other.applies(case, permit) for case, permit in permits_and_cases()
    )


def permits_and_cases() -> Iterator[tuple[Case, object]]:
    """Every kind of permit before every kind of question: with a permit there is no lack of one."""
    for basis, period, state, named, category, program, authored, allowed, turn in product(
        TABLE.axes["basis"],
        TABLE.axes["period"],
        TABLE.axes["state"],
        (True, False),
        ("scale-score", "safety-risk", "substance-use", "other-sensitive"),
        (True, False),
        TABLE.axes["authored"],
        (True, False),
        (0, 1, 5),
    ):
        permit = a_permit(True, category, named, "treatment-named", basis, period, state, turn)
        question = a_question(category, "treatment-named", authored, program, "none", turn)
        yield Case(question, True, True, allowed, None, has_permits=True), permit


def test_rules_that_can_meet_are_not_taken_for_disjoint() -> None:
    by_rule = {clause.rule: clause for clause in CLAUSES}
    assert not never_both(by_rule[Rule.REVOKED], by_rule[Rule.EXPIRED])


def test_what_is_not_asked_of_a_plain_permit_has_nothing_to_say_about_it() -> None:
    left_out = [clause for clause in CLAUSES if clause.passes_plain]
    plain = 0
    for case, permit in permits_and_cases():
        if permit.is_plain:  # type: ignore[attr-defined]
            plain += 1
            assert not any(clause.applies(case, permit) for clause in left_out)
    assert plain > 100
    assert left_out


# What is said of it


@pytest.mark.parametrize("row", range(1, TABLE.rows + 1))
def test_every_answer_names_its_rule_and_its_permission_with_its_version(row: int) -> None:
    names = TABLE.beside["names"]
    seen = set()
    for cell in (cell for cell in TABLE.cells if cell.row == row):
        for turn, values in enumerate(
            islice(Cell(row, cell.outcome, told_apart(cell.box)).combinations(), 0, None, 977)
        ):
            given = CASES.of(TABLE.facts(values), turn)
            decision = given.put_to(decide)
            said = decision.explain()
            assert said.startswith("Released:" if cell.outcome.release else "Withheld:")
            assert f"Rule {cell.outcome.rule};" in said
            if cell.outcome.rule in names["none"]:
                assert "no permission." in said
            elif cell.outcome.rule in names["asked"]:
                assert "permission perm_1, version 3." in said
            else:
                assert cell.outcome.rule in names["keeping-back"]
                assert "permission perm_9" in said
                assert ", version 1." in said
            for element in given.permissions[0].lacking if decision.rule is Rule.FORM_DEFICIENT else ():
                assert f"{element} ({element.section})" in said
            seen.add(cell.outcome.rule)
    assert seen


def test_every_rule_of_the_engine_decides_somewhere_in_the_table() -> None:
    assert {cell.outcome.rule for cell in TABLE.cells} == {rule.value for rule in Rule}
    assert sorted(clause.rule for clause in CLAUSES) == sorted(Rule)
    assert set(TABLE.beside["names"]["keeping-back"]) == KEPT_BACK


def test_the_notice_rides_with_what_the_table_says() -> None:
    for cell in TABLE.cells:
        if cell.outcome.notice is None:
            continue
        for values in islice(Cell(cell.row, cell.outcome, told_apart(cell.box)).combinations(), 0, None, 31):
            question = CASES.of(TABLE.facts(values)).question
            due = needs_redisclosure_notice({question.category, *question.derived_from}, question.part2)
            assert due == cell.outcome.notice


def test_the_hour_of_the_hub_is_the_one_that_counts() -> None:
    assert {CASES.of(TABLE.facts(next(cell.combinations()))).question.now for cell in TABLE.cells} == {NOW}
