"""A course under way: its plan read together with what was recorded, as far as one practice may see it."""

from tandem_care.courses.following import Followed, Stand, follow, with_doses
from tandem_care.courses.gathering import (
    Part,
    doses_on_record,
    facts_on_record,
    inputs_of,
    newest_risk,
    recorded_elsewhere,
)
from tandem_care.courses.record import Noted, Record

__all__ = [
    "Followed",
    "Noted",
    "Part",
    "Record",
    "Stand",
    "doses_on_record",
    "facts_on_record",
    "follow",
    "inputs_of",
    "newest_risk",
    "recorded_elsewhere",
    "with_doses",
]
