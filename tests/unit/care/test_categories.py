"""Categories agree with the contract, and each is described for patients."""

from pathlib import Path

import pytest

from tandem.common.v1 import common_pb2
from tandem_care import categories, entry_kinds
from tandem_care.categories import FACTS, NEVER_CARRIED, Category, Purpose, Sensitivity
from tandem_care.errors import Invalid


def test_every_category_has_its_facts():
    assert set(FACTS) == set(Category)
    assert len(Category) == 24


def test_the_contracts_name_the_same_categories():
    in_contracts = {name.removeprefix("CATEGORY_") for name in common_pb2.Category.keys()}  # noqa: SIM118
    assert in_contracts - {"UNSPECIFIED"} == set(Category.__members__)


def test_psychotherapy_and_sud_counselling_notes_are_no_category():
    for code in NEVER_CARRIED:
        with pytest.raises(Invalid, match="never carried") as refusal:
            categories.category_of(code)
        assert refusal.value.field == "category"


def test_no_wire_name_or_class_of_the_knowledge_package_holds_a_psychotherapy_note():
    for name in [*entry_kinds.KINDS, *(cls.__name__ for cls in entry_kinds.KINDS.values())]:
        folded = name.lower().replace("-", "").replace("_", "")
        assert "psychotherapynote" not in folded
        assert "processnote" not in folded
        assert "counselling" not in folded
        assert "counseling" not in folded


def test_an_unknown_category_is_refused_without_repeating_it():
    with pytest.raises(Invalid) as refusal:
        categories.category_of("Maria Alvarez")
    assert "Maria" not in str(refusal.value)


def test_the_emergency_set_is_safety_medication_and_dosing():
    emergency = {
        Category.SAFETY_RISK,
        Category.SAFETY_SIGNAL,
        Category.MEDICATION_PRESCRIPTION,
        Category.MEDICATION_MONITORING,
        Category.MEDICATION_LIST_ALLERGIES,
        Category.MEDICATION_HOLD_INSTRUCTION,
        Category.ADVERSE_EVENT,
    }
    assert emergency == categories.EMERGENCY


def test_a_treatment_relationship_never_covers_part_2_or_other_sensitive():
    assert set(Category) - categories.TREATMENT_RELATIONSHIP == {
        Category.SUBSTANCE_USE,
        Category.OTHER_SENSITIVE,
    }
    assert {Category.SUBSTANCE_USE} == categories.PART2


def test_a_referral_rests_on_identity_and_status():
    assert {Category.IDENTITY_CONTACT, Category.REFERRAL_STATUS} == categories.REFERRAL_BASE


def test_what_is_made_from_several_categories_is_as_sensitive_as_the_most_sensitive():
    assert categories.most_sensitive(
        [Category.APPOINTMENT, Category.SUBSTANCE_USE, Category.SCALE_SCORE]
    ) is (Sensitivity.VERY_RESTRICTED)
    assert categories.most_sensitive([]) is Sensitivity.NORMAL
    assert [each.hl7_code for each in Sensitivity] == ["N", "R", "V"]


def test_treatment_includes_coordination_of_care_and_nothing_more():
    assert Purpose.TREATMENT.covers == {Purpose.TREATMENT, Purpose.CARE_COORDINATION}
    assert Purpose.PAYMENT.covers == {Purpose.PAYMENT}
    assert Purpose.TREATMENT_PAYMENT_OPERATIONS.covers == set(Purpose)


def test_the_knowledge_package_reaches_nothing_but_the_standard_library():
    import sys

    package = Path(categories.__file__).parent
    for module in package.rglob("*.py"):
        for line in module.read_text().splitlines():
            if line.startswith(("import ", "from ")):
                root = line.split()[1].split(".")[0]
                assert root == "tandem_care" or root in sys.stdlib_module_names, f"{module.name}: {line}"
