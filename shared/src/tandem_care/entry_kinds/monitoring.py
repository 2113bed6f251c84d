"""What follows doses over days and months: forms, checks, and the word of the therapist on the dose."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from tandem_care.categories import Category
from tandem_care.entry_kinds.content import Code, Content, Name, Note, after, entry_kind
from tandem_care.entry_kinds.medication import Dose
from tandem_care.errors import Invalid


@entry_kind("monitoring-form", Category.MEDICATION_MONITORING)
@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringForm(Content):
    """That the form of a safety programme was sent for one session; the form itself goes to the programme."""

    form: Code
    dosing_session_at: datetime
    submitted_at: datetime
    submitted_by: Name
    reference: Name | None = None

    def agree(self) -> None:
        after("submitted_at", self.submitted_at, self.dosing_session_at, "dosing_session_at")


class CheckSubject(StrEnum):
    """What long and frequent use may harm; misuse has a kind of its own, in its own category."""

    BLADDER = "bladder"
    MEMORY = "memory"
    BLOOD_PRESSURE = "blood-pressure"
    LIVER = "liver"


class CheckFinding(StrEnum):
    NO_CONCERN = "no-concern"
    CONCERN = "concern"
    STOP = "stop"
    """The clinician advises to stop until it is looked into."""


@entry_kind("maintenance-check", Category.MEDICATION_MONITORING)
@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceCheck(Content):
    subject: CheckSubject
    finding: CheckFinding
    checked_at: datetime
    checked_by: Name
    note: Note | None = None
    next_due_on: date | None = None

    def agree(self) -> None:
        if self.finding is not CheckFinding.NO_CONCERN and self.note is None:
            raise Invalid("note", "say what was found")


class DoseWish(StrEnum):
    LOWER = "lower"
    KEEP = "keep"
    HIGHER = "higher"


@entry_kind("dose-feedback", Category.PROGRESS_SUMMARY)
@dataclass(frozen=True, slots=True, kw_only=True)
class DoseFeedback(Content):
    """How far a dose left room for introspection and dialogue. The therapist says it, the prescriber decides."""

    dosing_session_at: datetime
    wish: DoseWish
    dialogue_possible: bool | None = None
    note: Note | None = None
    given_at: datetime
    given_by: Name

    def agree(self) -> None:
        after("given_at", self.given_at, self.dosing_session_at, "dosing_session_at")
        if self.wish is not DoseWish.KEEP and self.note is None:
            raise Invalid("note", "say why another dose is suggested")


@entry_kind("dose-decision", Category.MEDICATION_PRESCRIPTION)
@dataclass(frozen=True, slots=True, kw_only=True)
class DoseDecision(Content):
    """The prescriber's answer to feedback on a dose: what the next one shall be."""

    dosing_session_at: datetime
    decision: DoseWish
    next_dose: Dose
    reason: Note
    decided_at: datetime
    decided_by: Name

    def agree(self) -> None:
        after("decided_at", self.decided_at, self.dosing_session_at, "dosing_session_at")
