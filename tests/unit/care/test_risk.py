"""New, worse or severe answers interrupt; steady low ones wait; who may not see the reason gets the signal."""

from datetime import timedelta

import pytest

from support.care_examples import NINE, a_phq9
from tandem_care.entry_kinds import Course, RiskLevel, SafetyRisk, ScaleScore
from tandem_care.risk import (
    Attention,
    PartnerLearns,
    Risk,
    RiskRules,
    course_of,
    risk_in,
    risk_of,
    route,
)
from tandem_care.scales import CSSRS, GAD7, PHQ9

LOW, MODERATE, SEVERE = RiskLevel.LOW, RiskLevel.MODERATE, RiskLevel.SEVERE
BEFORE = NINE - timedelta(days=7)


@pytest.mark.parametrize(
    ("before", "now", "course", "attention"),
    [
        (None, None, None, Attention.NONE),
        (None, LOW, Course.NEW, Attention.INTERRUPT),
        (LOW, LOW, Course.STEADY, Attention.WORKLIST),
        (LOW, MODERATE, Course.WORSE, Attention.INTERRUPT),
        (MODERATE, MODERATE, Course.STEADY, Attention.WORKLIST),
        (MODERATE, LOW, Course.BETTER, Attention.WORKLIST),
        (SEVERE, SEVERE, Course.STEADY, Attention.INTERRUPT),
        (LOW, None, Course.BETTER, Attention.NONE),
    ],
)
def test_what_interrupts_and_what_waits(before, now, course, attention):
    found = route(Risk(before, BEFORE), Risk(now, NINE), may_share=True)
    assert (found.course, found.attention, found.partner) == (course, attention, PartnerLearns.CONTENT)


def test_a_first_answer_is_new():
    assert course_of(None, Risk(LOW, NINE)) is Course.NEW
    assert route(None, Risk(LOW, NINE), may_share=True).attention is Attention.INTERRUPT


@pytest.mark.parametrize(
    ("before", "now", "partner"),
    [
        (None, LOW, PartnerLearns.SAFETY_SIGNAL),
        (SEVERE, SEVERE, PartnerLearns.SAFETY_SIGNAL),
        (LOW, LOW, PartnerLearns.NOTHING),
        (None, None, PartnerLearns.NOTHING),
    ],
)
def test_without_permission_only_the_safety_signal_goes(before, now, partner):
    assert route(Risk(before, BEFORE), Risk(now, NINE), may_share=False).partner is partner


def test_a_practice_may_let_steady_risk_interrupt_from_a_lower_level():
    rules = RiskRules(interrupts_from=MODERATE)
    steady = Risk(MODERATE, NINE)
    assert route(Risk(MODERATE, BEFORE), steady, may_share=True, rules=rules).attention is Attention.INTERRUPT
    assert route(Risk(LOW, BEFORE), Risk(LOW, NINE), True, rules).attention is Attention.WORKLIST


def test_item_9_of_the_phq9_points_to_a_risk_and_a_gad7_says_nothing():
    assert risk_in(ScaleScore.scored(PHQ9, {"9": 3}, NINE)) == Risk(SEVERE, NINE, PHQ9.code, complete=False)
    assert risk_in(a_phq9(total=0)) == Risk(None, NINE, PHQ9.code)
    assert risk_in(ScaleScore.scored(GAD7, {"1": 3}, NINE)) is None


def test_an_incomplete_screen_says_what_it_can_and_that_it_is_incomplete():
    found = risk_in(ScaleScore.scored(CSSRS, {"2": 1}, NINE))
    assert found == Risk(LOW, NINE, CSSRS.code, complete=False)
    assert risk_in(ScaleScore.scored(CSSRS, {"1": 0}, NINE)) is None


def test_a_clinician_judges_the_course_of_an_assessment():
    assessed = SafetyRisk(
        level=LOW, course=Course.WORSE, assessed_at=NINE, assessed_by="Lena Fischer", summary="Restless."
    )
    found = route(Risk(MODERATE, BEFORE), risk_of(assessed), may_share=True)
    assert (found.course, found.attention) == (Course.WORSE, Attention.INTERRUPT)
