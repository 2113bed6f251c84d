"""A dose as it was given, what was measured around it, and what went wrong."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from tandem_care import local_time
from tandem_care.categories import Category
from tandem_care.codec import Between, Part
from tandem_care.entry_kinds.content import (
    Content,
    Line,
    Name,
    Note,
    Phone,
    Sessions,
    Zone,
    after,
    entry_kind,
    known_zone,
)
from tandem_care.entry_kinds.medication import Dose, Drug, Place, Route
from tandem_care.errors import Invalid


class VitalsMoment(StrEnum):
    BEFORE = "before"
    AT_40_MINUTES = "at-40-minutes"
    BEFORE_LEAVING = "before-leaving"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class BloodPressure(Part):
    moment: VitalsMoment
    taken_at: datetime
    systolic: Annotated[int, Between(40, 300)]
    diastolic: Annotated[int, Between(20, 200)]

    def agree(self) -> None:
        if self.diastolic >= self.systolic:
            raise Invalid("diastolic", "must be below systolic")


@dataclass(frozen=True, slots=True, kw_only=True)
class OxygenSaturation(Part):
    taken_at: datetime
    percent: Annotated[int, Between(30, 100)]


class Effect(StrEnum):
    SEDATION = "sedation"
    DISSOCIATION = "dissociation"
    NAUSEA = "nausea"
    VOMITING = "vomiting"
    HEADACHE = "headache"
    ANXIETY = "anxiety"
    RESPIRATORY_DEPRESSION = "respiratory-depression"
    OTHER = "other"


class Grade(StrEnum):
    NONE = "none"
    MILD = "mild"
    MODERATE = "moderate"
    SEVERE = "severe"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedEffect(Part):
    effect: Effect
    grade: Grade
    observed_at: datetime | None = None
    resolved_at: datetime | None = None
    note: Note | None = None

    def agree(self) -> None:
        after("resolved_at", self.resolved_at, self.observed_at, "observed_at")
        if self.effect is Effect.OTHER and self.note is None:
            raise Invalid("note", "say which effect")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendant(Part):
    name: Name
    role: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Ride(Part):
    driver: Name
    phone: Phone | None = None


@dataclass(frozen=True, slots=True)
class DrivingProhibition:
    """No driving before this time and, where ``after_sleep`` is set, not before a night's sleep either."""

    until: datetime
    after_sleep: bool


@entry_kind("dosing-session", Category.MEDICATION_MONITORING)
@dataclass(frozen=True, slots=True, kw_only=True)
class DosingSession(Content):
    """A dose as it was given. Whatever happened can be recorded: only the impossible is refused.

    ``rest_hours`` is the rule of the pathway for racemic ketamine: no driving, signing or demanding work
    for at least 24 hours.
    """

    drug: Drug
    route: Route
    dose: Dose
    lot: Name | None = None
    place: Place
    started_at: datetime
    ended_at: datetime | None = None
    discharged_at: datetime | None = None
    time_zone: Zone
    rest_hours: Annotated[int, Between(24, 168)] = 24
    session_number: Sessions | None = None
    sessions_planned: Sessions | None = None
    blood_pressure: tuple[BloodPressure, ...] = ()
    oxygen_saturation: tuple[OxygenSaturation, ...] = ()
    effects: tuple[ObservedEffect, ...] = ()
    attendants: tuple[Attendant, ...] = ()
    ride: Ride | None = None
    logged_by: Name
    note: Note | None = None

    def agree(self) -> None:
        known_zone("time_zone", self.time_zone)
        after("ended_at", self.ended_at, self.started_at, "started_at")
        after("discharged_at", self.discharged_at, self.ended_at or self.started_at, "the end of the session")
        if self.session_number and self.sessions_planned and self.session_number > self.sessions_planned:
            raise Invalid("session_number", "must not exceed sessions_planned")

    @property
    def no_driving(self) -> DrivingProhibition:
        """Racemic ketamine: ``rest_hours`` from the end. Esketamine: the next day, after sleep (label)."""
        ended_at = self.ended_at or self.started_at
        if self.drug is Drug.RACEMIC_KETAMINE:
            return DrivingProhibition(ended_at + timedelta(hours=self.rest_hours), after_sleep=False)
        today = local_time.day_of(ended_at, self.time_zone)
        return DrivingProhibition(local_time.end_of(today, self.time_zone), after_sleep=True)


@entry_kind("vitals", Category.MEDICATION_MONITORING)
@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals(Content):
    """Readings outside a dosing session, or by the patient at home."""

    blood_pressure: tuple[BloodPressure, ...] = ()
    oxygen_saturation: tuple[OxygenSaturation, ...] = ()
    self_read: bool = False
    logged_by: Name

    def agree(self) -> None:
        if not self.blood_pressure and not self.oxygen_saturation:
            raise Invalid("blood_pressure", "record at least one reading")


class AdverseGrade(StrEnum):
    """Grades of the Common Terminology Criteria for Adverse Events (CTCAE)."""

    MILD = "mild"
    MODERATE = "moderate"
    SEVERE = "severe"
    LIFE_THREATENING = "life-threatening"
    FATAL = "fatal"


@entry_kind("adverse-event", Category.ADVERSE_EVENT)
@dataclass(frozen=True, slots=True, kw_only=True)
class AdverseEvent(Content):
    event: Line
    grade: AdverseGrade
    began_at: datetime
    resolved_at: datetime | None = None
    after_dosing_at: datetime | None = None
    action: Note
    outcome: Note | None = None
    reported_by: Name

    def agree(self) -> None:
        after("resolved_at", self.resolved_at, self.began_at, "began_at")
