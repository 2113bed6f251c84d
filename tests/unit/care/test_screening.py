"""Screening decides nothing by itself, and forgets no reason."""

from datetime import UTC, datetime, timedelta

import pytest

from tandem_care.errors import Invalid
from tandem_care.screening import CHECKLIST, Answer, Finding, Judgement, Outcome, Rules, screen

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def a_checklist(**changes: Answer) -> list[Answer]:
    clean = {code: Answer(code, Finding.ABSENT) for code in CHECKLIST}
    return list((clean | {answer.code: answer for answer in changes.values()}).values())


def judged(code: str, judgement: Judgement, finding: Finding = Finding.PRESENT) -> Answer:
    return Answer(code, finding, judgement, "seen by a cardiologist", "weekly readings")


def test_a_clean_checklist_is_eligible_until_it_expires():
    found = screen(a_checklist(), NOW, Rules(valid_for=timedelta(days=30)))
    assert found.outcome is Outcome.ELIGIBLE
    assert found.reasons == ()
    assert found.is_current(NOW + timedelta(days=29))
    assert not found.is_current(NOW + timedelta(days=30))


@pytest.mark.parametrize("code", CHECKLIST)
def test_nothing_on_the_list_stops_a_patient_by_itself(code):
    assert screen(a_checklist(a=judged(code, Judgement.PROCEED)), NOW).outcome is Outcome.ELIGIBLE


def test_the_most_cautious_decision_is_the_result():
    with_conditions = judged("uncontrolled-blood-pressure", Judgement.PROCEED_WITH_CONDITIONS)
    found = screen(a_checklist(a=judged("mania", Judgement.PROCEED), b=with_conditions), NOW)
    assert found.outcome is Outcome.ELIGIBLE_WITH_CONDITIONS
    assert found.conditions == ("weekly readings",)
    assert {code for code, _ in found.reasons} == {"mania", "uncontrolled-blood-pressure"}

    stopped = screen(a_checklist(a=with_conditions, b=judged("psychosis", Judgement.DO_NOT_PROCEED)), NOW)
    assert stopped.outcome is Outcome.NOT_ELIGIBLE


def test_an_unfinished_checklist_has_no_result():
    found = screen([Answer("mania", Finding.ABSENT)], NOW)
    assert found.outcome is None
    assert len(found.missing) == len(CHECKLIST) - 1
    assert not found.is_current(NOW)


def test_recent_suicidal_intent_opens_the_risk_pathway_even_on_an_unfinished_list():
    found = screen([judged("recent-suicidal-intent", Judgement.PROCEED_WITH_CONDITIONS)], NOW)
    assert found.outcome is None
    assert found.risk_pathway


def test_a_finding_about_substance_use_is_marked_for_its_own_category():
    assert screen(a_checklist(a=judged("substance-use-disorder", Judgement.PROCEED)), NOW).substance_use
    assert not screen(a_checklist(), NOW).substance_use


def test_an_unknown_finding_needs_a_decision_like_a_present_one():
    with pytest.raises(Invalid) as refusal:
        Answer("psychosis", Finding.UNKNOWN)
    assert refusal.value.field == "judgement"


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        (("gout", Finding.ABSENT), "code"),
        (("psychosis", Finding.PRESENT, Judgement.PROCEED, "  "), "reason"),
        (("psychosis", Finding.PRESENT, Judgement.PROCEED_WITH_CONDITIONS, "stable"), "condition"),
    ],
)
def test_a_line_says_which_field_is_at_fault(fields, at_fault):
    with pytest.raises(Invalid) as refusal:
        Answer(*fields)
    assert refusal.value.field == at_fault


def test_a_line_is_answered_once():
    with pytest.raises(Invalid, match="twice"):
        screen([Answer("mania", Finding.ABSENT), Answer("mania", Finding.ABSENT)], NOW)
