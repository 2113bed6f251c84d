"""The categories that entries carry and that permissions name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tandem_care.errors import Invalid


class Category(StrEnum):
    IDENTITY_CONTACT = "identity-contact"
    REFERRAL_STATUS = "referral-status"
    APPOINTMENT = "appointment"
    LOGISTICS = "logistics"
    DIAGNOSIS_SUMMARY = "diagnosis-summary"
    SCREENING_RESULT = "screening-result"
    MEDICATION_PRESCRIPTION = "medication-prescription"
    MEDICATION_MONITORING = "medication-monitoring"
    SCALE_SCORE = "scale-score"
    TREATMENT_PLAN = "treatment-plan"
    MEDICATION_LIST_ALLERGIES = "medication-list-allergies"
    MEDICATION_HOLD_INSTRUCTION = "medication-hold-instruction"
    LAB_RESULT = "lab-result"
    HOMEWORK_PRACTICE = "homework-practice"
    COVERAGE_PAYMENT = "coverage-payment"
    SESSION_TIMES = "session-times"
    MODALITY_FREQUENCY = "modality-frequency"
    PROGRESS_SUMMARY = "progress-summary"
    SAFETY_RISK = "safety-risk"
    SAFETY_SIGNAL = "safety-signal"
    ADVERSE_EVENT = "adverse-event"
    SUBSTANCE_USE = "substance-use"
    OTHER_SENSITIVE = "other-sensitive"
    MESSAGE = "message"


NEVER_CARRIED: Final = frozenset({"psychotherapy-note", "SUD-counselling-note"})
"""Notes that stay where they were written (45 CFR 164.501; 42 CFR 2.11). No category or kind holds them."""


class Sensitivity(StrEnum):
    """HL7 Confidentiality, from the least to the most guarded."""

    NORMAL = "normal"
    RESTRICTED = "restricted"
    VERY_RESTRICTED = "very-restricted"

    @property
    def hl7_code(self) -> str:
        return {"normal": "N", "restricted": "R", "very-restricted": "V"}[self.value]


@dataclass(frozen=True, slots=True)
class CategoryFacts:
    summary: str
    """What a patient reads next to the box that they tick (42 CFR 2.31: described meaningfully)."""
    sensitivity: Sensitivity
    ds4p: tuple[str, ...] = ()
    """HL7 DS4P sensitivity and policy codes, where one exists."""
    part2: bool = False
    emergency: bool = False
    """Wrapped for the partner from the start, so that emergency access works with the source off line."""
    treatment_relationship: bool = True
    """Whether 45 CFR 164.506 may stand in for a signature."""
    referral_base: bool = False
    """Needed both ways by every referral."""


_PSY = ("PSY",)

FACTS: Final[Mapping[Category, CategoryFacts]] = MappingProxyType(
    {
        Category.IDENTITY_CONTACT: CategoryFacts(
            "Your name, date of birth and how to reach you", Sensitivity.NORMAL, referral_base=True
        ),
        Category.REFERRAL_STATUS: CategoryFacts(
            "That you were referred, and how far the referral has come",
            Sensitivity.NORMAL,
            referral_base=True,
        ),
        Category.APPOINTMENT: CategoryFacts("Your appointments", Sensitivity.NORMAL),
        Category.LOGISTICS: CategoryFacts("Your ride, support person and fasting", Sensitivity.NORMAL),
        Category.DIAGNOSIS_SUMMARY: CategoryFacts(
            "A summary of your diagnoses", Sensitivity.RESTRICTED, _PSY
        ),
        Category.SCREENING_RESULT: CategoryFacts(
            "Whether you are eligible for this treatment", Sensitivity.RESTRICTED, _PSY
        ),
        Category.MEDICATION_PRESCRIPTION: CategoryFacts(
            "What was prescribed for this treatment", Sensitivity.RESTRICTED, _PSY, emergency=True
        ),
        Category.MEDICATION_MONITORING: CategoryFacts(
            "Doses, dosing sessions and vital signs", Sensitivity.RESTRICTED, _PSY, emergency=True
        ),
        Category.SCALE_SCORE: CategoryFacts(
            "Answers and scores of questionnaires", Sensitivity.RESTRICTED, _PSY
        ),
        Category.TREATMENT_PLAN: CategoryFacts(
            "Goals, intentions and the planned course", Sensitivity.RESTRICTED, _PSY
        ),
        Category.MEDICATION_LIST_ALLERGIES: CategoryFacts(
            "Your other medication and your allergies", Sensitivity.RESTRICTED, emergency=True
        ),
        Category.MEDICATION_HOLD_INSTRUCTION: CategoryFacts(
            "Medication to pause before a session", Sensitivity.RESTRICTED, emergency=True
        ),
        Category.LAB_RESULT: CategoryFacts("Laboratory results", Sensitivity.RESTRICTED),
        Category.HOMEWORK_PRACTICE: CategoryFacts(
            "Exercises to do between sessions", Sensitivity.RESTRICTED, _PSY
        ),
        Category.COVERAGE_PAYMENT: CategoryFacts("Insurance and payment", Sensitivity.NORMAL),
        Category.SESSION_TIMES: CategoryFacts("When sessions began and ended", Sensitivity.NORMAL),
        Category.MODALITY_FREQUENCY: CategoryFacts(
            "Which kind of therapy, and how often", Sensitivity.RESTRICTED, _PSY
        ),
        Category.PROGRESS_SUMMARY: CategoryFacts(
            "Summaries of preparation, integration and progress", Sensitivity.RESTRICTED, _PSY
        ),
        Category.SAFETY_RISK: CategoryFacts(
            "Assessments of risk to your safety", Sensitivity.RESTRICTED, _PSY, emergency=True
        ),
        Category.SAFETY_SIGNAL: CategoryFacts(
            "A note to call the prescriber before changing medication, without the reason",
            Sensitivity.NORMAL,
            emergency=True,
        ),
        Category.ADVERSE_EVENT: CategoryFacts(
            "Unwanted effects of treatment", Sensitivity.RESTRICTED, _PSY, emergency=True
        ),
        Category.SUBSTANCE_USE: CategoryFacts(
            "Alcohol and drug use, and its treatment",
            Sensitivity.VERY_RESTRICTED,
            ("42CFRPart2", "ETHUD"),
            part2=True,
            treatment_relationship=False,
        ),
        Category.OTHER_SENSITIVE: CategoryFacts(
            "HIV, sexual health, violence, genetic or personality findings",
            Sensitivity.VERY_RESTRICTED,
            ("HIV", "SDV"),
            treatment_relationship=False,
        ),
        Category.MESSAGE: CategoryFacts("Messages between your practices", Sensitivity.RESTRICTED, _PSY),
    }
)


def _where(flag: str) -> frozenset[Category]:
    return frozenset(category for category, facts in FACTS.items() if getattr(facts, flag))


EMERGENCY: Final = _where("emergency")
PART2: Final = _where("part2")
TREATMENT_RELATIONSHIP: Final = _where("treatment_relationship")
REFERRAL_BASE: Final = _where("referral_base")


class Purpose(StrEnum):
    """Why information is disclosed, in the words of 45 CFR 164.501 and 42 CFR 2.31."""

    TREATMENT = "treatment"
    PAYMENT = "payment"
    OPERATIONS = "operations"
    CARE_COORDINATION = "care-coordination"
    TREATMENT_PAYMENT_OPERATIONS = "treatment-payment-operations"
    """One consent for all future treatment, payment and operations (42 CFR 2.31, 2024 rule)."""

    @property
    def covers(self) -> "frozenset[Purpose]":
        """45 CFR 164.501 counts coordination of care between providers as treatment."""
        return _COVERED.get(self, frozenset({self}))


_COVERED: Final[Mapping[Purpose, frozenset[Purpose]]] = MappingProxyType(
    {
        Purpose.TREATMENT: frozenset({Purpose.TREATMENT, Purpose.CARE_COORDINATION}),
        Purpose.TREATMENT_PAYMENT_OPERATIONS: frozenset(Purpose),
    }
)


class Basis(StrEnum):
    """What a permission rests on, from the firmest to the least firm."""

    WRITTEN = "written"
    VERBAL = "verbal-attested"
    TREATMENT_RELATIONSHIP = "treatment-relationship"


class Effect(StrEnum):
    PERMIT = "permit"
    DENY = "deny"


def category_of(code: str, field: str = "category") -> Category:
    """The category with this code. Raises Invalid for a code that is unknown, or that is never carried."""
    if code in NEVER_CARRIED:
        raise Invalid(
            field, "psychotherapy and SUD counselling notes are never carried; send a summary instead"
        )
    try:
        return Category(code)
    except ValueError:
        raise Invalid(field, "is not a category") from None


def most_sensitive(categories: Iterable[Category]) -> Sensitivity:
    """The label of something made from *categories*."""
    order = list(Sensitivity)
    return max((FACTS[category].sensitivity for category in categories), key=order.index, default=order[0])
