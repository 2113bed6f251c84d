"""Risk to a patient's safety: what scales and assessments say of it, and who learns of it how soon.

New, worse or severe answers interrupt whoever is on duty; steady low ones go to the worklist.
A partner who may not see the reason gets the safety signal, and only where the risk interrupts.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from tandem_care import scales
from tandem_care.entry_kinds import Course, RiskLevel, SafetyRisk, ScaleScore

_ORDER: Final = list(RiskLevel)


@dataclass(frozen=True, slots=True)
class Risk:
    """``level`` is None where nothing pointed to a risk."""

    level: RiskLevel | None
    at: datetime
    scale: scales.ScaleCode | None = None
    """None for a clinician's assessment."""
    complete: bool = True
    """False while a screen leaves open how far it goes: the level is then the least that it can be."""
    course: Course | None = None
    """As a clinician judged it; otherwise it follows from the risk before."""


def risk_in(score: ScaleScore) -> Risk | None:
    """What a scale says of risk; None where it says nothing, or leaves open what it asks."""
    level = scales.risk_level(scales.SCALES[score.scale], {each.item: each.value for each in score.answers})
    if level is None:
        return None
    return Risk(
        None if level == scales.NO_RISK else RiskLevel(level),
        score.taken_at,
        score.scale,
        complete=not score.missing,
    )


def risk_of(assessment: SafetyRisk) -> Risk:
    return Risk(assessment.level, assessment.assessed_at, course=assessment.course)


def course_of(before: Risk | None, now: Risk) -> Course | None:
    """How the risk went on; None where there is none and was none."""
    if now.course is not None:
        return now.course
    was = None if before is None else before.level
    if now.level is None:
        return None if was is None else Course.BETTER
    if was is None:
        return Course.NEW
    step = _ORDER.index(now.level) - _ORDER.index(was)
    return Course.STEADY if step == 0 else Course.WORSE if step > 0 else Course.BETTER


class Attention(StrEnum):
    NONE = "none"
    WORKLIST = "worklist"
    INTERRUPT = "interrupt"


class PartnerLearns(StrEnum):
    NOTHING = "nothing"
    SAFETY_SIGNAL = "safety-signal"
    CONTENT = "content"


@dataclass(frozen=True, slots=True)
class RiskRules:
    """A setting of each practice: from which level on a risk interrupts even if it is steady or better."""

    interrupts_from: RiskLevel = RiskLevel.SEVERE


@dataclass(frozen=True, slots=True)
class Routing:
    level: RiskLevel | None
    course: Course | None
    attention: Attention
    partner: PartnerLearns


def route(before: Risk | None, now: Risk, may_share: bool, rules: RiskRules | None = None) -> Routing:
    """Who learns of *now*. *may_share* says whether the partner may see the entry itself."""
    rules = rules or RiskRules()
    course = course_of(before, now)
    attention = Attention.NONE
    if now.level is not None:
        high = _ORDER.index(now.level) >= _ORDER.index(rules.interrupts_from)
        urgent = high or course in (Course.NEW, Course.WORSE)
        attention = Attention.INTERRUPT if urgent else Attention.WORKLIST
    partner = PartnerLearns.NOTHING
    if may_share:
        partner = PartnerLearns.CONTENT
    elif attention is Attention.INTERRUPT:
        partner = PartnerLearns.SAFETY_SIGNAL
    return Routing(now.level, course, attention, partner)
