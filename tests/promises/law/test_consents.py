"""Forms and signatures against their tables; minors by state and date."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from itertools import product
from typing import Any

import pytest
from conftest import SAID
from promises.law.table import read

from tandem_care.categories import Purpose
from tandem_care.entry_kinds import Representative
from tandem_care.errors import Invalid
from tandem_care.law.elements import Element, lacking
from tandem_care.law.emergency import EmergencyFact, missing_facts
from tandem_care.law.minors import OTHER, SHIPPED, Care, read_rules, rule_of
from tandem_care.law.signers import Capacity, SignatureFault, SignedBy, authority_ends_on, signature_fault

FORMS, SIGNERS = read("forms.toml"), read("signers.toml")
WORDS = {"words": "as it should be", "nothing": " ", "none": " None "}
SIGNED_ON = date(2026, 3, 1)
DAY = timedelta(days=1)


# What a form must say


def test_the_elements_are_those_of_the_table_with_their_paragraphs() -> None:
    assert [element.value for element in Element] == list(FORMS.axes["element"])
    for element in Element:
        assert element.section == f"42 CFR {FORMS.beside['sections'][element.value]}"


@pytest.mark.parametrize("purpose", Purpose)
def test_each_element_is_lacking_where_the_table_says_so(purpose: Purpose) -> None:
    for element, stated in product(Element, WORDS):
        said = dict.fromkeys(Element, "as it should be") | {element: WORDS[stated]}
        expected = FORMS.at((element.value, stated, purpose.value)).rule
        assert lacking(said, purpose) == ((element,) if expected == "lacking" else ())


def test_all_elements_that_are_lacking_are_named_whatever_else_is(
    record_property: Callable[[str, object], None],
) -> None:
    elements = list(Element)
    for bits in range(2 ** len(elements)):
        there = {element for place, element in enumerate(elements) if bits >> place & 1}
        said = dict.fromkeys(there, "as it should be")
        assert set(lacking(said, Purpose.TREATMENT)) == set(elements) - there
    record_property(SAID, f"forms.toml: {2 ** len(elements):,} forms, each with other elements lacking")


# Whose signature counts


def a_representative(since: date, until: date | None = None) -> Representative:
    return Representative(
        name="Sam Rivera", relation="aunt", authority="guardian", valid_from=since, valid_until=until
    )


REPRESENTATIVES: Mapping[str, Sequence[Representative | None]] = {
    "in-force": [a_representative(SIGNED_ON), a_representative(SIGNED_ON - DAY, SIGNED_ON)],
    "not-yet": [a_representative(SIGNED_ON + DAY)],
    "ended": [a_representative(SIGNED_ON - 2 * DAY, SIGNED_ON - DAY)],
    "not-stated": [None],
}


def test_signatures_count_as_the_table_says(record_property: Callable[[str, object], None]) -> None:
    run = 0
    for cell in SIGNERS.cells:
        for values in cell.combinations():
            facts = SIGNERS.facts(values)
            for representative in REPRESENTATIVES[facts["authority"]]:
                fault = signature_fault(
                    Capacity(facts["patient"]),
                    SignedBy(facts["signed_by"]),
                    representative,
                    SIGNED_ON,
                    part2=facts["records"] == "part2",
                )
                assert (fault or "valid") == cell.outcome.rule, facts
                run += 1
    record_property(SAID, f"signers.toml: {run} signatures judged")


def test_the_faults_and_capacities_are_those_of_the_table() -> None:
    assert {cell.outcome.rule for cell in SIGNERS.cells} == {"valid", *SignatureFault}
    assert set(SIGNERS.axes["patient"]) == set(Capacity)
    assert set(SIGNERS.axes["signed_by"]) == set(SignedBy)


OF_AGE = date(2027, 6, 1)
UNTIL_2028 = a_representative(SIGNED_ON, date(2028, 12, 31))
WITHOUT_END = a_representative(SIGNED_ON)


@pytest.mark.parametrize(
    ("capacity", "signed_by", "representative", "ends_on"),
    [
        (Capacity.ADULT, SignedBy.PATIENT, None, None),
        (Capacity.ADULT, SignedBy.BOTH, UNTIL_2028, None),
        (Capacity.ADULT, SignedBy.REPRESENTATIVE, UNTIL_2028, date(2029, 1, 1)),
        (Capacity.MINOR_ACTING_ALONE, SignedBy.PATIENT, None, None),
        (Capacity.MINOR, SignedBy.REPRESENTATIVE, WITHOUT_END, OF_AGE),
        (Capacity.MINOR, SignedBy.BOTH, UNTIL_2028, OF_AGE),
        (
            Capacity.MINOR,
            SignedBy.REPRESENTATIVE,
            a_representative(SIGNED_ON, date(2026, 12, 31)),
            date(2027, 1, 1),
        ),
        (Capacity.ADJUDICATED_INCAPABLE, SignedBy.REPRESENTATIVE, WITHOUT_END, None),
        (Capacity.ADJUDICATED_INCAPABLE, SignedBy.BOTH, UNTIL_2028, date(2029, 1, 1)),
    ],
)
def test_what_another_signed_ends_with_the_authority_and_at_majority(
    capacity: Capacity, signed_by: SignedBy, representative: Representative | None, ends_on: date | None
) -> None:
    assert authority_ends_on(capacity, signed_by, representative, OF_AGE) == ends_on


# Minors


@pytest.mark.parametrize(
    ("state", "on", "care", "years", "capacity"),
    [
        ("other", date(2026, 3, 1), Care.MENTAL_HEALTH, 17, Capacity.MINOR),
        ("other", date(2026, 3, 1), Care.SUBSTANCE_USE, 18, Capacity.ADULT),
        ("NV", date(2026, 3, 1), Care.MENTAL_HEALTH, 17, Capacity.MINOR),
        ("AL", date(2025, 9, 30), Care.MENTAL_HEALTH, 14, Capacity.MINOR_ACTING_ALONE),
        ("AL", date(2025, 10, 1), Care.MENTAL_HEALTH, 15, Capacity.MINOR),
        ("AL", date(2025, 10, 1), Care.MENTAL_HEALTH, 16, Capacity.MINOR_ACTING_ALONE),
        ("AL", date(2025, 10, 1), Care.SUBSTANCE_USE, 11, Capacity.MINOR_ACTING_ALONE),
        ("AL", date(2026, 3, 1), Care.MENTAL_HEALTH, 18, Capacity.MINOR_ACTING_ALONE),
        ("AL", date(2026, 3, 1), Care.MENTAL_HEALTH, 19, Capacity.ADULT),
        ("CA", date(2026, 3, 1), Care.MENTAL_HEALTH, 11, Capacity.MINOR),
        ("CA", date(2026, 3, 1), Care.MENTAL_HEALTH, 12, Capacity.MINOR_ACTING_ALONE),
        ("IL", date(2026, 3, 1), Care.SUBSTANCE_USE, 12, Capacity.MINOR_ACTING_ALONE),
        ("OR", date(2026, 3, 1), Care.MENTAL_HEALTH, 13, Capacity.MINOR),
        ("OR", date(2026, 3, 1), Care.MENTAL_HEALTH, 14, Capacity.MINOR_ACTING_ALONE),
        ("WA", date(2026, 3, 1), Care.SUBSTANCE_USE, 13, Capacity.MINOR_ACTING_ALONE),
        ("WA", date(2026, 3, 1), Care.MENTAL_HEALTH, 18, Capacity.ADULT),
    ],
)
def test_what_a_minor_may_do_alone_is_a_matter_of_state_date_and_age(
    state: str, on: date, care: Care, years: int, capacity: Capacity
) -> None:
    rule = rule_of(state, on)
    birthday = on.replace(year=on.year - years)
    assert rule.capacity(birthday, on, care) is capacity
    a_day_short = rule.capacity(birthday + DAY, on, care)
    assert a_day_short is rule.capacity(birthday.replace(year=birthday.year + 1), on, care)


def test_a_leapling_comes_of_age_on_the_first_of_march() -> None:
    rule = rule_of(OTHER, SIGNED_ON)
    assert rule.comes_of_age(date(2008, 2, 29)) == date(2026, 3, 1)
    assert rule.capacity(date(2008, 2, 29), date(2026, 2, 28), Care.MENTAL_HEALTH) is Capacity.MINOR


def test_every_state_rule_says_where_it_is_written() -> None:
    assert {rule.state for rule in SHIPPED} == {OTHER, "AL", "CA", "IL", "OR", "WA"}
    assert all(rule.sources for rule in SHIPPED)


def test_a_rule_holds_on_its_days() -> None:
    assert rule_of("AL", date(2020, 1, 1)).until == date(2025, 9, 30)
    lapsed = [rule for rule in SHIPPED if rule.until is not None or rule.state == OTHER]
    assert rule_of("AL", date(2026, 1, 1), lapsed).state == OTHER


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ('rules = [{state = "CA", majority = 18, since = 2024-01-01, sources = ["x"]}]', "rules"),
        (
            """
            [[rules]]
            state = "other"
            majority = 18
            since = 2024-01-01
            sources = ["x"]
            [[rules]]
            state = "other"
            majority = 19
            since = 2025-01-01
            sources = ["x"]
            """,
            "rules",
        ),
        ('rules = [{state = "other", majority = 18, since = 2024-01-01, sources = []}]', "sources"),
        (
            'rules = [{state = "other", majority = 18, since = 2024-01-02, until = 2024-01-01, sources = ["x"]}]',
            "until",
        ),
    ],
)
def test_a_list_of_state_rules_that_contradicts_itself_is_refused(written: str, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        read_rules(written)
    assert refusal.value.field == field


# The four facts of an emergency


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"recipient": " "}, EmergencyFact.RECIPIENT),
        ({"facility": ""}, EmergencyFact.RECIPIENT),
        ({"discloser": ""}, EmergencyFact.DISCLOSER),
        ({"at": None}, EmergencyFact.TIME),
        ({"nature": ""}, EmergencyFact.NATURE),
    ],
)
def test_the_fact_that_an_emergency_lacks_is_named(change: Mapping[str, Any], fact: EmergencyFact) -> None:
    recorded: dict[str, Any] = {
        "recipient": "Dr Park",
        "facility": "Riverbend",
        "discloser": "Nurse Lee",
        "at": SIGNED_ON,
        "nature": "unresponsive",
    }
    assert missing_facts(**recorded) == ()
    assert missing_facts(**{**recorded, **change}) == (fact,)
    assert fact.section == f"42 CFR 2.51(c)({list(EmergencyFact).index(fact) + 1})"
