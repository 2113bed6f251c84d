"""What was prescribed, what else the patient takes, and what to pause."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from tandem_care.categories import Category
from tandem_care.codec import Between, Part
from tandem_care.entry_kinds.content import Code, Content, Line, Name, Note, Sessions, after, entry_kind
from tandem_care.errors import Invalid


class Drug(StrEnum):
    RACEMIC_KETAMINE = "racemic-ketamine"
    ESKETAMINE = "esketamine"


class Route(StrEnum):
    INTRAVENOUS = "iv"
    INTRAMUSCULAR = "im"
    SUBLINGUAL = "sublingual"
    ORAL_LOZENGE = "oral-lozenge"
    RAPID_DISSOLVE_TABLET = "rapid-dissolve-tablet"
    INTRANASAL = "intranasal"


class DoseUnit(StrEnum):
    MG = "mg"
    MG_PER_KG = "mg/kg"


class Place(StrEnum):
    CLINIC = "clinic"
    THERAPIST_OFFICE = "therapist-office"
    HOME = "home"
    RETREAT = "retreat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dose(Part):
    amount: Annotated[Decimal, Between(0, 5000)]
    unit: DoseUnit


@entry_kind("prescription", Category.MEDICATION_PRESCRIPTION)
@dataclass(frozen=True, slots=True, kw_only=True)
class Prescription(Content):
    """Esketamine is given by nose in a certified setting and never dispensed for home (REMS)."""

    drug: Drug
    route: Route
    dose: Dose
    directions: Note
    place: Place
    sessions: Sessions | None = None
    supply_count: Annotated[int, Between(0, 1000)] | None = None
    prescribed_at: datetime
    expires_at: datetime
    prescribed_by: Name
    stopped_at: datetime | None = None

    def agree(self) -> None:
        after("expires_at", self.expires_at, self.prescribed_at, "prescribed_at")
        after("stopped_at", self.stopped_at, self.prescribed_at, "prescribed_at")
        if self.drug is Drug.ESKETAMINE:
            if self.place is not Place.CLINIC:
                raise Invalid("place", "esketamine is only given in a certified clinic (REMS)")
            if self.route is not Route.INTRANASAL:
                raise Invalid("route", "esketamine is only given by nose")


@dataclass(frozen=True, slots=True, kw_only=True)
class Medication(Part):
    name: Name
    dose: Name | None = None
    schedule: Name | None = None
    since: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Allergy(Part):
    substance: Name
    reaction: Line | None = None


@entry_kind("medication-list", Category.MEDICATION_LIST_ALLERGIES)
@dataclass(frozen=True, slots=True, kw_only=True)
class MedicationList(Content):
    """An empty list means "none" only where that was said: ``no_medication``, ``no_known_allergies``."""

    medications: tuple[Medication, ...] = ()
    no_medication: bool = False
    allergies: tuple[Allergy, ...] = ()
    no_known_allergies: bool = False
    reviewed_at: datetime
    reviewed_by: Name

    def agree(self) -> None:
        if self.no_medication == bool(self.medications):
            raise Invalid("no_medication", "either list the medication or say that there is none")
        if self.no_known_allergies == bool(self.allergies):
            raise Invalid("no_known_allergies", "either list the allergies or say that none are known")


@entry_kind("medication-hold-instruction", Category.MEDICATION_HOLD_INSTRUCTION)
@dataclass(frozen=True, slots=True, kw_only=True)
class MedicationHoldInstruction(Content):
    medication: Name
    hold_from: datetime
    resume_at: datetime | None = None
    instruction: Note
    ordered_by: Name

    def agree(self) -> None:
        after("resume_at", self.resume_at, self.hold_from, "hold_from")


@entry_kind("rems-enrolment", Category.MEDICATION_MONITORING)
@dataclass(frozen=True, slots=True, kw_only=True)
class RemsEnrolment(Content):
    """That the patient is enrolled in the safety programme of a drug (SPRAVATO REMS: before the first dose)."""

    program: Code
    enrolled_on: date
    ended_on: date | None = None
    recorded_by: Name

    def agree(self) -> None:
        after("ended_on", self.ended_on, self.enrolled_on, "enrolled_on")

    def in_force(self, day: date) -> bool:
        return self.enrolled_on <= day and (self.ended_on is None or day < self.ended_on)
