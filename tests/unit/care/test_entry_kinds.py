"""Every kind of entry reads back what it wrote, and refuses what it should."""

import json
from dataclasses import MISSING, fields, is_dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.care_examples import NINE, a_dosing_session, a_phq9, a_prescription, one_of_every_kind
from tandem_care import entry_kinds as kinds
from tandem_care import scales, screening
from tandem_care.categories import Category
from tandem_care.codec import MOST_BYTES
from tandem_care.entry_kinds import KINDS, from_input, from_json, to_json
from tandem_care.errors import Invalid

EXAMPLES = one_of_every_kind()
every_kind = pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)


def test_there_is_an_example_of_every_kind():
    assert EXAMPLES.keys() == KINDS.keys()


def test_every_category_has_a_kind_and_every_kind_one_category():
    assert {cls.category for cls in KINDS.values()} == set(Category)


@every_kind
def test_content_survives_the_journey(example):
    assert from_json(to_json(example)) == example
    assert from_json(to_json(example).encode()) == example


@every_kind
def test_equal_content_gives_equal_text(example):
    again = from_json(to_json(example))
    assert to_json(again) == to_json(example)


def test_the_document_says_its_kind_and_version():
    document = json.loads(to_json(EXAMPLES["safety-signal"]))
    assert document == {
        "kind": "safety-signal",
        "version": 1,
        "content": {"on_call_number": "+1 303 555 0199"},
    }


@every_kind
def test_an_unknown_field_is_refused_on_input_and_in_a_known_version(example):
    content = example.to_fields() | {"mood_colour": "blue"}
    with pytest.raises(Invalid) as refusal:
        from_input(example.kind, content)
    assert refusal.value.field == "mood_colour"
    document = {"kind": example.kind, "version": example.version, "content": content}
    with pytest.raises(Invalid) as refusal:
        from_json(json.dumps(document))
    assert refusal.value.field == "content.mood_colour"


@every_kind
def test_what_a_later_version_added_is_passed_over(example):
    later = {
        "kind": example.kind,
        "version": example.version + 1,
        "content": with_unknown_everywhere(example.to_fields()),
    }
    assert from_json(json.dumps(later)) == example


def with_unknown_everywhere(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: with_unknown_everywhere(each) for name, each in value.items()} | {"added_later": 1}
    if isinstance(value, list):
        return [with_unknown_everywhere(each) for each in value]
    return value


@every_kind
def test_every_required_field_is_asked_for_by_name(example):
    complete = example.to_fields()
    required = [each.name for each in fields(example) if each.default is MISSING]
    assert required
    for name in required:
        with pytest.raises(Invalid) as refusal:
            from_input(example.kind, {key: value for key, value in complete.items() if key != name})
        assert (refusal.value.field, refusal.value.message) == (name, "is required")


_WRONG: list[Any] = [
    None,
    True,
    7,
    -1,
    10**30,
    1.5,
    "",
    " ",
    "\x00",
    "\ud800",
    "x" * 9000,
    [],
    [[]],
    {},
    {"a": 1},
    ["x"] * 500,
]


@every_kind
def test_a_field_of_the_wrong_kind_is_refused_by_name_and_never_otherwise(example):
    faults = []
    for path in paths(example.to_fields()):
        for wrong in _WRONG:
            broken = changed(example.to_fields(), path, wrong)
            try:
                made = from_input(example.kind, broken)
            except Invalid as refusal:
                faults.append(refusal)
            else:
                assert from_json(to_json(made)) == made
    assert all(fault.field and "x" * 20 not in str(fault) for fault in faults)
    assert len(faults) > 10


def paths(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    return [path for key, each in inside for path in [(*before, key), *paths(each, (*before, key))]]


def changed(value: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = wrong if len(path) == 1 else changed(value[path[0]], path[1:], wrong)
    return copy


@given(st.text() | st.binary())
def test_whatever_arrives_is_read_or_refused(document):
    with pytest.raises(Invalid):
        from_json(document)


@pytest.mark.parametrize(
    "document",
    [
        '{"kind":"message"}',
        '{"kind":"message","version":1,"content":{},"more":1}',
        '{"kind":"psychotherapy-note","version":1,"content":{}}',
        '{"kind":["message"],"version":1,"content":{}}',
        '{"kind":"message","version":0,"content":{"author":"a","text":"b"}}',
        '{"kind":"message","version":true,"content":{"author":"a","text":"b"}}',
        '{"kind":"message","version":1,"content":[]}',
        '{"kind":"message","version":1,"content":{"author":"a","text":"b","text":"c"}}',
        '{"kind":"message","version":NaN,"content":{}}',
        "[" * 200_000,
        '{"kind":"message","version":1,"content":{"author":"a","text":"\\ud83d"}}',
        '{"kind":"message","version":1,"content":{"author":"a","text":"' + "b" * MOST_BYTES + '"}}',
        "[]",
        "null",
    ],
)
def test_a_malformed_document_is_refused(document):
    with pytest.raises(Invalid):
        from_json(document)


def test_a_fault_deep_inside_is_named_with_its_path():
    content = a_dosing_session().to_fields()
    content["blood_pressure"][1]["systolic"] = 900
    with pytest.raises(Invalid) as refusal:
        from_input("dosing-session", content)
    assert refusal.value.field == "blood_pressure[1].systolic"
    assert "900" not in str(refusal.value)


def test_no_kind_holds_psychotherapy_or_counselling_notes():
    for kind in ("psychotherapy-note", "SUD-counselling-note", "process-note"):
        with pytest.raises(Invalid, match="not a kind"):
            from_input(kind, {"text": "x"})


def test_no_field_of_any_kind_is_named_for_session_notes():
    def names(cls: Any) -> list[str]:
        return [each.name for each in fields(cls)] if is_dataclass(cls) else []

    forbidden = {"psychotherapy_note", "process_note", "session_note", "session_notes", "transcript"}
    assert not forbidden & {name for cls in KINDS.values() for name in names(cls)}


def test_the_sender_can_be_shown_all_free_text():
    assert dict(a_dosing_session().free_text()) == {
        "effects[1].note": "settled by itself",
        "note": "Calm throughout.",
    }
    assert list(EXAMPLES["safety-signal"].free_text()) == []


def test_a_safety_signal_has_room_for_nothing_but_the_number():
    signal = kinds.SafetySignal(on_call_number="+1 303 555 0199")
    assert signal.text == "Contact the prescriber before changing medication. On call: +1 303 555 0199"
    with pytest.raises(Invalid):
        kinds.SafetySignal(on_call_number="ask about the overdose")


def test_doses_do_not_pass_through_floating_point():
    content = a_prescription().to_fields()
    content["dose"]["amount"] = "0.1"
    made = from_input("prescription", content)
    assert isinstance(made, kinds.Prescription)
    assert made.dose.amount == Decimal("0.1")
    content["dose"]["amount"] = 0.1
    with pytest.raises(Invalid) as refusal:
        from_input("prescription", content)
    assert refusal.value.field == "dose.amount"
    for impossible in ("0", "-1", "NaN", "Infinity", "1e9", "0.00000001", "1" * 30):
        content["dose"]["amount"] = impossible
        with pytest.raises(Invalid):
            from_input("prescription", content)


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"place": kinds.Place.HOME}, "place"), ({"route": kinds.Route.INTRAVENOUS}, "route")],
)
def test_esketamine_is_prescribed_for_the_clinic_and_the_nose_only(changes, field):
    rems: dict[str, Any] = {
        "drug": kinds.Drug.ESKETAMINE,
        "route": kinds.Route.INTRANASAL,
        "place": kinds.Place.CLINIC,
    }
    a_prescription(**rems)
    with pytest.raises(Invalid) as refusal:
        a_prescription(**(rems | changes))
    assert refusal.value.field == field


def test_a_dose_that_was_given_can_be_recorded_wherever_it_was_given():
    a_dosing_session(drug=kinds.Drug.ESKETAMINE, route=kinds.Route.INTRANASAL, place=kinds.Place.HOME)


def test_no_driving_for_a_day_after_racemic_ketamine():
    session = a_dosing_session()
    ended = NINE + timedelta(minutes=75)
    assert session.no_driving == kinds.DrivingProhibition(ended + timedelta(hours=24), False)
    longer = a_dosing_session(rest_hours=36)
    assert longer.no_driving.until == ended + timedelta(hours=36)
    with pytest.raises(Invalid):
        a_dosing_session(rest_hours=12)


def test_no_driving_before_the_next_day_and_sleep_after_esketamine():
    # 23:30 in Denver on 7 March 2026; the clocks go forward in the night that follows.
    ended = datetime(2026, 3, 8, 6, 30, tzinfo=UTC)
    session = a_dosing_session(
        drug=kinds.Drug.ESKETAMINE,
        route=kinds.Route.INTRANASAL,
        started_at=ended - timedelta(hours=2),
        ended_at=ended,
        discharged_at=None,
    )
    assert session.no_driving == kinds.DrivingProhibition(datetime(2026, 3, 8, 7, 0, tzinfo=UTC), True)


def test_an_unfinished_session_counts_from_its_start():
    session = a_dosing_session(ended_at=None, discharged_at=None)
    assert session.no_driving.until == session.started_at + timedelta(hours=24)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ended_at": NINE - timedelta(minutes=1)}, "ended_at"),
        ({"discharged_at": NINE + timedelta(minutes=1)}, "discharged_at"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"session_number": 7}, "session_number"),
        ({"started_at": datetime(2026, 3, 2, 9)}, "started_at"),  # noqa: DTZ001
    ],
)
def test_a_session_that_contradicts_itself_is_refused(changes, field):
    with pytest.raises(Invalid) as refusal:
        a_dosing_session(**changes)
    assert refusal.value.field == field


def test_a_score_must_follow_from_its_answers():
    honest = a_phq9(total=18)
    assert (honest.total, honest.band) == (18, "moderately-severe")
    assert honest.risk_assessment_needed
    for lie in ({"total": 12}, {"band": "mild"}, {"risk_assessment_needed": False}, {"missing": ("3",)}):
        with pytest.raises(Invalid, match="does not follow"):
            replace(honest, **lie)


def test_an_incomplete_scale_travels_without_a_total():
    partial = kinds.ScaleScore.scored(scales.PHQ9, {"1": 2, "9": 1, "2": None}, NINE)
    assert partial.total is None
    assert partial.band is None
    assert partial.risk_assessment_needed
    assert from_json(to_json(partial)) == partial


def test_the_cssrs_travels_with_its_level():
    found = kinds.ScaleScore.scored(scales.CSSRS, {"1": 1, "2": 0, "6": 0}, NINE, kinds.Respondent.CLINICIAN)
    assert (found.total, found.band) == (None, "low")
    assert from_json(to_json(found)) == found


def test_substance_use_does_not_ride_in_a_screening_result():
    with pytest.raises(Invalid, match="substance-use-summary"):
        kinds.ScreeningReason(code="substance-use-disorder", reason="x")


def test_eligible_with_conditions_names_them():
    with pytest.raises(Invalid) as refusal:
        kinds.ScreeningResult(
            outcome=screening.Outcome.ELIGIBLE_WITH_CONDITIONS,
            evaluated_at=NINE,
            expires_at=NINE + timedelta(days=1),
            evaluated_by="Dr. Imani Wells",
        )
    assert refusal.value.field == "conditions"


def test_an_empty_medication_list_means_none_only_where_that_was_said():
    with pytest.raises(Invalid) as refusal:
        kinds.MedicationList(no_known_allergies=True, reviewed_at=NINE, reviewed_by="Noor Haddad")
    assert refusal.value.field == "no_medication"


def test_a_guard_met_by_word_or_overridden_has_a_reason_and_a_name():
    with pytest.raises(Invalid):
        kinds.Guard(code="ride", state=kinds.GuardState.OVERRIDDEN, reason="late")


def test_times_travel_in_utc_whatever_their_offset():
    there = NINE.astimezone(timezone(timedelta(hours=-7)))
    assert to_json(a_phq9(taken_at=there)) == to_json(a_phq9(taken_at=NINE))


def test_an_unknown_field_name_that_is_not_plain_is_not_repeated():
    with pytest.raises(Invalid) as refusal:
        from_input("message", {"author": "a", "text": "b", "Maria Alvarez": 1})
    assert "Maria" not in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "changes", "field"),
    [
        ("treatment-consent", {"explained": (kinds.ConsentPoint.RISKS,)}, "explained"),
        ("treatment-consent", {"explained": (*kinds.ConsentPoint, kinds.ConsentPoint.RISKS)}, "explained"),
        ("treatment-consent", {"expires_at": NINE - timedelta(days=1)}, "expires_at"),
        ("treatment-consent", {"withdrawn_at": NINE - timedelta(days=1)}, "withdrawn_at"),
        ("rems-enrolment", {"ended_on": date(2026, 3, 1)}, "ended_on"),
        ("monitoring-form", {"submitted_at": NINE - timedelta(minutes=1)}, "submitted_at"),
        ("maintenance-check", {"note": None}, "note"),
        ("misuse-check", {"finding": kinds.CheckFinding.STOP, "note": None}, "note"),
        ("dose-feedback", {"note": None}, "note"),
        ("dose-feedback", {"given_at": NINE - timedelta(minutes=1)}, "given_at"),
        ("dose-decision", {"decided_at": NINE - timedelta(minutes=1)}, "decided_at"),
        ("dosing-start", {"time_zone": "Mars/Olympus"}, "time_zone"),
        ("dosing-start", {"guards": 2 * (kinds.Guard(code="ride", state=kinds.GuardState.MET),)}, "guards"),
    ],
)
def test_what_contradicts_itself_is_refused_by_field(kind, changes, field):
    example: Any = EXAMPLES[kind]
    with pytest.raises(Invalid) as refusal:
        replace(example, **changes)
    assert refusal.value.field == field


def test_consent_to_treatment_is_in_force_from_signature_to_end_or_withdrawal():
    consent = EXAMPLES["treatment-consent"]
    assert isinstance(consent, kinds.TreatmentConsent)
    assert consent.expires_at is not None
    moment = timedelta(microseconds=1)
    assert not consent.in_force(NINE - moment)
    assert consent.in_force(NINE)
    assert consent.in_force(consent.expires_at - moment)
    assert not consent.in_force(consent.expires_at)
    withdrawn = replace(consent, withdrawn_at=NINE + moment)
    assert withdrawn.in_force(NINE)
    assert not withdrawn.in_force(NINE + moment)


def test_misuse_is_checked_in_the_category_of_substance_use():
    assert KINDS["misuse-check"].category is Category.SUBSTANCE_USE
    assert "misuse" not in set(kinds.CheckSubject)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"at": "24:00"}, "at"),
        ({"at": "9:00"}, "at"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"latest_at": NINE - timedelta(days=1)}, "latest_at"),
    ],
)
def test_a_planned_item_has_a_time_on_the_wall_of_a_place(changes, field):
    plan = EXAMPLES["course-plan"]
    assert isinstance(plan, kinds.CoursePlan)
    with pytest.raises(Invalid) as refusal:
        replace(plan.items[0], **changes)
    assert refusal.value.field == field
    with pytest.raises(Invalid, match="twice"):
        replace(plan, items=2 * plan.items)
