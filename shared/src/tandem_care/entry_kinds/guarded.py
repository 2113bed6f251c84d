"""Content that special rules guard, each in a category of its own."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tandem_care.categories import Category
from tandem_care.entry_kinds.content import Content, Name, Words, entry_kind


@entry_kind("substance-use-summary", Category.SUBSTANCE_USE)
@dataclass(frozen=True, slots=True, kw_only=True)
class SubstanceUseSummary(Content):
    """Diagnosis, status and plan in summary (42 CFR Part 2); never the notes of a counselling session."""

    summary: Words
    in_treatment: bool
    stated_at: datetime
    stated_by: Name


class SensitiveTopic(StrEnum):
    HIV = "hiv"
    SEXUAL_HEALTH = "sexual-health"
    VIOLENCE = "violence"
    GENETIC = "genetic"
    PERSONALITY = "personality"


@entry_kind("sensitive-summary", Category.OTHER_SENSITIVE)
@dataclass(frozen=True, slots=True, kw_only=True)
class SensitiveSummary(Content):
    topic: SensitiveTopic
    summary: Words
    stated_at: datetime
    stated_by: Name
