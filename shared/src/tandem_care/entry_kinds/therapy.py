"""Goals, and the summaries of preparation and integration: never the notes of a session."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated

from tandem_care.categories import Category
from tandem_care.codec import Between
from tandem_care.entry_kinds.content import (
    Code,
    Content,
    Minutes,
    Name,
    Note,
    Sessions,
    Version,
    Words,
    after,
    entry_kind,
)
from tandem_care.errors import Invalid


@entry_kind("treatment-plan", Category.TREATMENT_PLAN, version=2)
@dataclass(frozen=True, slots=True, kw_only=True)
class TreatmentPlan(Content):
    pathway: Code
    pathway_version: Version | None = None
    goals: tuple[Note, ...]
    intentions: tuple[Note, ...] = ()
    sessions_planned: Sessions | None = None
    starts_on: date | None = None
    agreed_at: datetime
    agreed_by: Name

    def agree(self) -> None:
        if not self.goals:
            raise Invalid("goals", "name at least one goal")


class Readiness(StrEnum):
    READY = "ready"
    READY_WITH_CONDITIONS = "ready-with-conditions"
    NOT_YET = "not-yet"


@entry_kind("preparation-summary", Category.PROGRESS_SUMMARY)
@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationSummary(Content):
    """A summary of the preparation. The therapist feeds back on the dose; the prescriber decides."""

    held_at: datetime
    readiness: Readiness
    summary: Words
    dose_feedback: Note | None = None
    written_by: Name


class IntegrationKind(StrEnum):
    SAME_DAY_DEBRIEF = "same-day-debrief"
    INTEGRATION = "integration"


@entry_kind("integration-summary", Category.PROGRESS_SUMMARY)
@dataclass(frozen=True, slots=True, kw_only=True)
class IntegrationSummary(Content):
    held_at: datetime
    session: IntegrationKind
    dosing_session_at: datetime | None = None
    summary: Words
    functional_status: Note | None = None
    dose_feedback: Note | None = None
    next_steps: Note | None = None
    written_by: Name


@entry_kind("homework-practice", Category.HOMEWORK_PRACTICE)
@dataclass(frozen=True, slots=True, kw_only=True)
class HomeworkPractice(Content):
    practice: Note
    given_at: datetime
    until: date | None = None


@entry_kind("modality-frequency", Category.MODALITY_FREQUENCY)
@dataclass(frozen=True, slots=True, kw_only=True)
class ModalityFrequency(Content):
    """For example cbt, once every 7 days."""

    modality: Name
    every_days: Annotated[int, Between(1, 365)]
    session_minutes: Minutes | None = None
    starts_on: date


class SessionKind(StrEnum):
    CONSULTATION = "consultation"
    MEDICAL_EVALUATION = "medical-evaluation"
    PREPARATION = "preparation"
    DOSING = "dosing"
    INTEGRATION = "integration"
    PSYCHOTHERAPY = "psychotherapy"
    FOLLOW_UP = "follow-up"


@entry_kind("session-times", Category.SESSION_TIMES, version=2)
@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTimes(Content):
    """Start and stop, which 45 CFR 164.501 keeps apart from psychotherapy notes."""

    session: SessionKind
    started_at: datetime
    ended_at: datetime
    session_number: Sessions | None = None
    sessions_planned: Sessions | None = None
    item: Code | None = None
    """Which item of the course's plan was held."""

    def agree(self) -> None:
        after("ended_at", self.ended_at, self.started_at, "started_at")
