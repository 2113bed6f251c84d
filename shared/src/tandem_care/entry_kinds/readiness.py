"""What whoever is there finds before a dose, and what long holds: facts that guards ask for."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated

from tandem_care.categories import Category
from tandem_care.codec import Between
from tandem_care.entry_kinds.content import Code, Content, Name, Note, after, entry_kind
from tandem_care.entry_kinds.dosing import Attendant
from tandem_care.errors import Invalid

Count = Annotated[int, Between(0, 1000)]


@entry_kind("session-check", Category.MEDICATION_MONITORING)
@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCheck(Content):
    """What was asked and seen on the day of a dose, before it. What was not asked is left out."""

    checked_at: datetime
    last_food_at: datetime | None = None
    last_liquid_at: datetime | None = None
    attendants: tuple[Attendant, ...] = ()
    prescriber_on_site: Name | None = None
    video_therapist: Name | None = None
    checked_by: Name

    def agree(self) -> None:
        after("checked_at", self.checked_at, self.last_food_at, "last_food_at")
        after("checked_at", self.checked_at, self.last_liquid_at, "last_liquid_at")


@entry_kind("supply-count", Category.MEDICATION_MONITORING)
@dataclass(frozen=True, slots=True, kw_only=True)
class SupplyCounted(Content):
    """Doses counted at the patient's home, and how many there should be."""

    counted_at: datetime
    found: Count
    expected: Count
    on_video: bool = False
    counted_by: Name


@entry_kind("medication-pause", Category.MEDICATION_HOLD_INSTRUCTION)
@dataclass(frozen=True, slots=True, kw_only=True)
class MedicationPause(Content):
    """What the patient says was paused as told; or a clinician's word that nothing needs to be."""

    asked_at: datetime
    paused: tuple[Name, ...] = ()
    none_needed: bool = False
    asked_by: Name

    def agree(self) -> None:
        if self.none_needed == bool(self.paused):
            raise Invalid("none_needed", "either name what was paused or say that nothing needs to be")


@entry_kind("lab-review", Category.LAB_RESULT)
@dataclass(frozen=True, slots=True, kw_only=True)
class LabReview(Content):
    """Which ordered results have not been seen yet; none are outstanding where none is named."""

    reviewed_at: datetime
    outstanding: tuple[Name, ...] = ()
    note: Note | None = None
    reviewed_by: Name


@entry_kind("certified-setting", Category.MEDICATION_MONITORING)
@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedSetting(Content):
    """That the setting in which the dose is given is certified by a safety programme (SPRAVATO REMS)."""

    program: Code
    setting: Name
    certified_on: date
    ended_on: date | None = None
    recorded_by: Name

    def agree(self) -> None:
        after("ended_on", self.ended_on, self.certified_on, "certified_on")

    def in_force(self, day: date) -> bool:
        return self.certified_on <= day and (self.ended_on is None or day < self.ended_on)
