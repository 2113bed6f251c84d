"""A medical emergency: the one disclosure of 42 CFR 2.51 that needs no consent, and the four facts that it must leave behind."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tandem_care.categories import EMERGENCY, Purpose
from tandem_care.errors import Invalid
from tandem_care.law.facts import Question


class EmergencyFact(StrEnum):
    """What 42 CFR 2.51(c) wants in the record, in the order of its paragraphs (1) to (4)."""

    RECIPIENT = "recipient"
    """Who received it, and with which facility."""
    DISCLOSER = "discloser"
    TIME = "time"
    NATURE = "nature"

    @property
    def section(self) -> str:
        return f"42 CFR 2.51(c)({list(EmergencyFact).index(self) + 1})"


def missing_facts(
    *, recipient: str, facility: str, discloser: str, at: datetime | None, nature: str
) -> tuple[EmergencyFact, ...]:
    """Which of the four facts a record does not have."""
    there = {
        EmergencyFact.RECIPIENT: bool(recipient.strip() and facility.strip()),
        EmergencyFact.DISCLOSER: bool(discloser.strip()),
        EmergencyFact.TIME: at is not None,
        EmergencyFact.NATURE: bool(nature.strip()),
    }
    return tuple(fact for fact, is_there in there.items() if not is_there)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyAccess:
    """A recorded emergency. 42 CFR 2.51 wants recipient and facility, discloser, time, nature: all four."""

    discloser: str
    recipient: str
    facility: str
    episode: str
    nature: str
    starts_at: datetime
    ends_at: datetime

    def __post_init__(self) -> None:
        for name in ("discloser", "recipient", "facility", "episode", "nature"):
            if not getattr(self, name).strip():
                raise Invalid(name, "must be recorded before emergency access opens")
        for name in ("starts_at", "ends_at"):
            at = getattr(self, name)
            if at is None:
                raise Invalid(name, "must be recorded before emergency access opens")
            if at.tzinfo is None:
                raise Invalid(name, "needs a time zone")
        if self.ends_at <= self.starts_at:
            raise Invalid("ends_at", "must be after starts_at")


def emergency_covers(emergency: EmergencyAccess, question: Question) -> bool:
    """Only to treat, only the emergency set of categories, in the named scope, while it lasts."""
    return (
        emergency.discloser == question.discloser
        and emergency.recipient == question.recipient
        and emergency.episode == question.episode
        and emergency.starts_at <= question.now < emergency.ends_at
        and question.purpose in Purpose.TREATMENT.covers
        and {question.category, *question.derived_from} <= EMERGENCY
    )
