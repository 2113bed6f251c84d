"""What the evaluation found."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from tandem_care import screening
from tandem_care.categories import Category
from tandem_care.codec import Part
from tandem_care.entry_kinds.content import Code, Content, Line, Name, Note, Words, after, entry_kind
from tandem_care.entry_kinds.medication import Drug
from tandem_care.errors import Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreeningReason(Part):
    code: Code
    reason: Note

    def agree(self) -> None:
        line = screening.CHECKLIST.get(self.code)
        if line is None:
            raise Invalid("code", "is not on the checklist")
        if line.substance_use:
            raise Invalid("code", "belongs in an entry of kind substance-use-summary")


@entry_kind("screening-result", Category.SCREENING_RESULT)
@dataclass(frozen=True, slots=True, kw_only=True)
class ScreeningResult(Content):
    """The outcome of the evaluation. What concerns substance use goes into an entry of its own category."""

    outcome: screening.Outcome
    reasons: tuple[ScreeningReason, ...] = ()
    conditions: tuple[Note, ...] = ()
    evaluated_at: datetime
    expires_at: datetime
    evaluated_by: Name

    def agree(self) -> None:
        after("expires_at", self.expires_at, self.evaluated_at, "evaluated_at")
        if self.outcome is screening.Outcome.ELIGIBLE_WITH_CONDITIONS and not self.conditions:
            raise Invalid("conditions", "name at least one condition")


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis(Part):
    """``system`` names the code system, such as icd-10-cm."""

    system: Code
    code: Code
    text: Line
    primary: bool = False


@entry_kind("diagnosis-summary", Category.DIAGNOSIS_SUMMARY)
@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisSummary(Content):
    diagnoses: tuple[Diagnosis, ...]
    stated_on: date
    stated_by: Name
    summary: Words | None = None

    def agree(self) -> None:
        if not self.diagnoses:
            raise Invalid("diagnoses", "name at least one")


class ResultFlag(StrEnum):
    NORMAL = "normal"
    LOW = "low"
    HIGH = "high"
    ABNORMAL = "abnormal"


@entry_kind("lab-result", Category.LAB_RESULT)
@dataclass(frozen=True, slots=True, kw_only=True)
class LabResult(Content):
    test: Name
    code: Code | None = None
    value: Name
    unit: Name | None = None
    reference_range: Name | None = None
    flag: ResultFlag | None = None
    collected_at: datetime


class ConsentPoint(StrEnum):
    """What a patient is told before agreeing to be treated."""

    EXPERIMENTAL = "experimental"
    OFF_LABEL = "off-label"
    RISKS = "risks"
    LIMITS = "limits"
    ALTERNATIVES = "alternatives"


@entry_kind("treatment-consent", Category.TREATMENT_PLAN)
@dataclass(frozen=True, slots=True, kw_only=True)
class TreatmentConsent(Content):
    """The patient's agreement to be treated: a record of its own, and no permission to share anything."""

    drug: Drug
    explained: tuple[ConsentPoint, ...]
    signed_at: datetime
    signed_by: Name
    taken_by: Name
    expires_at: datetime | None = None
    withdrawn_at: datetime | None = None

    def agree(self) -> None:
        after("expires_at", self.expires_at, self.signed_at, "signed_at")
        after("withdrawn_at", self.withdrawn_at, self.signed_at, "signed_at")
        if len(set(self.explained)) != len(self.explained):
            raise Invalid("explained", "names a point twice")
        for needed in (ConsentPoint.RISKS, ConsentPoint.LIMITS):
            if needed not in self.explained:
                raise Invalid("explained", f"must include {needed}")

    def in_force(self, at: datetime) -> bool:
        over = self.expires_at is not None and self.expires_at <= at
        withdrawn = self.withdrawn_at is not None and self.withdrawn_at <= at
        return self.signed_at <= at and not over and not withdrawn
