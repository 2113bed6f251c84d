"""Rating scales and the risk to a patient's safety."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from tandem_care import scales
from tandem_care.categories import Category
from tandem_care.codec import Between, Part
from tandem_care.entry_kinds.content import Code, Content, Name, Phone, Words, entry_kind
from tandem_care.errors import Invalid


class Respondent(StrEnum):
    PATIENT = "patient"
    CLINICIAN = "clinician"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemAnswer(Part):
    item: Code
    value: Annotated[int, Between(0, 100)]


@entry_kind("scale-score", Category.SCALE_SCORE)
@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleScore(Content):
    """Answers with the total and band that follow from them; ``scored`` makes one, a wrong sum is refused."""

    scale: scales.ScaleCode
    answers: tuple[ItemAnswer, ...]
    total: Annotated[int, Between(0, 1000)] | None = None
    band: Code | None = None
    missing: tuple[Code, ...] = ()
    risk_assessment_needed: bool = False
    taken_at: datetime
    respondent: Respondent = Respondent.PATIENT

    def agree(self) -> None:
        if len({answer.item for answer in self.answers}) != len(self.answers):
            raise Invalid("answers", "answers an item twice")
        found = self.score
        for field, expected in (
            ("total", found.total),
            ("band", found.band),
            ("missing", found.missing),
            ("risk_assessment_needed", found.risk_assessment_needed),
        ):
            if getattr(self, field) != expected:
                raise Invalid(field, "does not follow from the answers")

    @property
    def score(self) -> scales.Score:
        return scales.score(scales.SCALES[self.scale], {each.item: each.value for each in self.answers})

    @classmethod
    def scored(
        cls,
        scale: scales.Scale,
        answers: Mapping[str, int | None],
        taken_at: datetime,
        respondent: Respondent = Respondent.PATIENT,
    ) -> "ScaleScore":
        found = scales.score(scale, answers)
        return cls(
            scale=scale.code,
            answers=tuple(
                ItemAnswer(item=item.code, value=value)
                for item in scale.items
                if (value := answers.get(item.code)) is not None
            ),
            total=found.total,
            band=found.band,
            missing=found.missing,
            risk_assessment_needed=found.risk_assessment_needed,
            taken_at=taken_at,
            respondent=respondent,
        )


class RiskLevel(StrEnum):
    LOW = "low"
    MODERATE = "moderate"
    SEVERE = "severe"


class Course(StrEnum):
    NEW = "new"
    WORSE = "worse"
    STEADY = "steady"
    BETTER = "better"


@entry_kind("safety-risk", Category.SAFETY_RISK)
@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyRisk(Content):
    level: RiskLevel
    course: Course
    assessed_at: datetime
    assessed_by: Name
    summary: Words
    plan: Words | None = None
    safety_plan_in_place: bool = False


SAFETY_SIGNAL_TEXT: Final = "Contact the prescriber before changing medication."


@entry_kind("safety-signal", Category.SAFETY_SIGNAL)
@dataclass(frozen=True, slots=True, kw_only=True)
class SafetySignal(Content):
    """For a partner who may not see the reason: a fixed text and whom to call, and room for nothing else."""

    on_call_number: Phone

    @property
    def text(self) -> str:
        return f"{SAFETY_SIGNAL_TEXT} On call: {self.on_call_number}"
