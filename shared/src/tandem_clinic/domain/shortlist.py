"""Practices that are considered for a patient."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Standing(StrEnum):
    TO_ASK = "to-ask"
    ASKED = "asked"
    NO_ROOM = "no-room"
    RULED_OUT = "ruled-out"
    CHOSEN = "chosen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortlisted:
    """Name and telephone as they were when it was put there, so that the list is of use without the hub.

    place: the patient's own order, from 1; 0 where it was not asked. reasons: why, in words.
    """

    practice_id: str
    display_name: str
    contact_phone: str
    place: int
    standing: Standing
    reasons: tuple[str, ...]
    note: str
    added_by: str
    added_at: datetime
