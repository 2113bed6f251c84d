"""Content that special rules guard, each in a category of its own."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from tandem_care.categories import Category
from tandem_care.entry_kinds.content import Content, Name, Note, Words, entry_kind
from tandem_care.entry_kinds.monitoring import CheckFinding
from tandem_care.errors import Invalid


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


@entry_kind("misuse-check", Category.SUBSTANCE_USE)
@dataclass(frozen=True, slots=True, kw_only=True)
class MisuseCheck(Content):
    """Whether the medicine itself is being misused: about substance use, so never among the other checks."""

    finding: CheckFinding
    checked_at: datetime
    checked_by: Name
    note: Note | None = None
    next_due_on: date | None = None

    def agree(self) -> None:
        if self.finding is not CheckFinding.NO_CONCERN and self.note is None:
            raise Invalid("note", "say what was found")
