"""Psychotherapy notes: the therapist's own, and nobody else's."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tandem_care.errors import Invalid

LONGEST: Final = 50_000


@dataclass(frozen=True, slots=True)
class PsychotherapyNote:
    """45 CFR 164.501: by whom it was written, about a session, kept apart. 164.508: read by its author."""

    note_id: str
    patient_id: str
    author_id: str
    text: str
    session_at: datetime | None
    written_at: datetime


def check_text(text: str) -> None:
    if not text.strip():
        raise Invalid("text", "must not be empty")
    if len(text) > LONGEST:
        raise Invalid("text", f"must be at most {LONGEST} characters")
