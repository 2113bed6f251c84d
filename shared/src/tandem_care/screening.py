"""The contraindication checklist and what follows from it. Decision support: the clinician decides.

Nothing on the list stops a patient by itself.
Each finding gets a clinician's decision and reason, and the result is the most cautious of these decisions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tandem_care.errors import Invalid


class Outcome(StrEnum):
    ELIGIBLE = "eligible"
    ELIGIBLE_WITH_CONDITIONS = "eligible-with-conditions"
    NOT_ELIGIBLE = "not-eligible"


class Finding(StrEnum):
    ABSENT = "absent"
    PRESENT = "present"
    UNKNOWN = "unknown"


class Judgement(StrEnum):
    """What the clinician decides about one finding, from the least to the most cautious."""

    PROCEED = "proceed"
    PROCEED_WITH_CONDITIONS = "proceed-with-conditions"
    DO_NOT_PROCEED = "do-not-proceed"


@dataclass(frozen=True, slots=True)
class Contraindication:
    code: str
    question: str
    guidance: str
    opens_risk_pathway: bool = False
    substance_use: bool = False
    """What is found here belongs to the category substance-use (42 CFR Part 2)."""


CHECKLIST: Final[Mapping[str, Contraindication]] = MappingProxyType(
    {
        each.code: each
        for each in (
            Contraindication(
                "psychosis", "Psychosis, now or in history", "Named by published KAP protocols."
            ),
            Contraindication("mania", "Mania, now or in history", "Bipolar depression is treated with care."),
            Contraindication(
                "uncontrolled-blood-pressure",
                "Uncontrolled blood pressure",
                "Ketamine raises blood pressure.",
            ),
            Contraindication(
                "cardiovascular-condition",
                "Unstable or severe heart or vessel disease",
                "Ask for a cardiac opinion.",
            ),
            Contraindication(
                "substance-use-disorder",
                "Substance use disorder, active or past",
                "Disqualifies in some protocols, is an indication in others: judge with supervision.",
                substance_use=True,
            ),
            Contraindication(
                "pregnancy-breast-feeding", "Pregnancy or breast-feeding", "From public NHS and trial lists."
            ),
            Contraindication(
                "raised-intracranial-pressure",
                "Raised intracranial pressure",
                "From public NHS and trial lists.",
            ),
            Contraindication(
                "raised-intraocular-pressure",
                "Raised intraocular pressure",
                "From public NHS and trial lists.",
            ),
            Contraindication("recent-seizure", "Recent seizures", "From public NHS and trial lists."),
            Contraindication("ketamine-allergy", "Allergy to ketamine", "From public NHS and trial lists."),
            Contraindication(
                "recent-suicidal-intent",
                "Recent suicidal intent",
                "Opens the risk pathway; never a silent exclusion.",
                opens_risk_pathway=True,
            ),
        )
    }
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of the checklist. Anything but an absent finding needs a clinician's judgement and reason."""

    code: str
    finding: Finding
    judgement: Judgement | None = None
    reason: str = ""
    condition: str = ""

    def __post_init__(self) -> None:
        if self.code not in CHECKLIST:
            raise Invalid("code", "is not on the checklist")
        if self.finding is Finding.ABSENT:
            return
        if self.judgement is None:
            raise Invalid("judgement", "a finding that is present or unknown needs a decision")
        if not self.reason.strip():
            raise Invalid("reason", "a decision needs a reason")
        if self.judgement is Judgement.PROCEED_WITH_CONDITIONS and not self.condition.strip():
            raise Invalid("condition", "say under which condition to proceed")


@dataclass(frozen=True, slots=True)
class Rules:
    """Settings of a practice."""

    valid_for: timedelta = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Screening:
    """``outcome`` is None while a line of the checklist is unanswered."""

    outcome: Outcome | None
    missing: tuple[str, ...]
    reasons: tuple[tuple[str, str], ...]
    """Code and reason of every line that was not simply absent."""
    conditions: tuple[str, ...]
    risk_pathway: bool
    substance_use: bool
    screened_at: datetime
    expires_at: datetime

    def is_current(self, now: datetime) -> bool:
        return self.outcome is not None and now < self.expires_at


_OUTCOME: Final = {
    Judgement.PROCEED: Outcome.ELIGIBLE,
    Judgement.PROCEED_WITH_CONDITIONS: Outcome.ELIGIBLE_WITH_CONDITIONS,
    Judgement.DO_NOT_PROCEED: Outcome.NOT_ELIGIBLE,
}


def screen(answers: Sequence[Answer], at: datetime, rules: Rules | None = None) -> Screening:
    """The result of a checklist. The risk pathway opens even while lines are missing."""
    by_code = {answer.code: answer for answer in answers}
    if len(by_code) != len(answers):
        raise Invalid("answers", "holds a line twice")
    if at.tzinfo is None:
        raise Invalid("at", "needs a time zone")
    missing = tuple(code for code in CHECKLIST if code not in by_code)
    open_lines = [
        by_code[code] for code in CHECKLIST if code in by_code and by_code[code].finding is not Finding.ABSENT
    ]
    caution = list(Judgement)
    worst = max(
        (line.judgement for line in open_lines if line.judgement is not None),
        key=caution.index,
        default=Judgement.PROCEED,
    )
    return Screening(
        outcome=None if missing else _OUTCOME[worst],
        missing=missing,
        reasons=tuple((line.code, line.reason) for line in open_lines),
        conditions=tuple(
            line.condition for line in open_lines if line.judgement is Judgement.PROCEED_WITH_CONDITIONS
        ),
        risk_pathway=any(CHECKLIST[line.code].opens_risk_pathway for line in open_lines),
        substance_use=any(CHECKLIST[line.code].substance_use for line in open_lines),
        screened_at=at,
        expires_at=at + (rules or Rules()).valid_for,
    )
