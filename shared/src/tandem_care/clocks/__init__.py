"""What falls due around doses, and when: pure functions of what happened and of the time it is now."""

from tandem_care.clocks.feedback import awaiting_decision
from tandem_care.clocks.forms import form_due_by, form_standing
from tandem_care.clocks.given import Given, Standing, given, standing
from tandem_care.clocks.integration import (
    IntegrationStanding,
    IntegrationTimes,
    days_to_book,
    debrief_standing,
    held_after,
    integration_standing,
    integration_times,
)
from tandem_care.clocks.maintenance import CheckDue, next_check
from tandem_care.clocks.observation import Observation, Waiting, observation
from tandem_care.clocks.scale_times import Ask, asks, scale_standing

__all__ = [
    "Ask",
    "CheckDue",
    "Given",
    "IntegrationStanding",
    "IntegrationTimes",
    "Observation",
    "Standing",
    "Waiting",
    "asks",
    "awaiting_decision",
    "days_to_book",
    "debrief_standing",
    "form_due_by",
    "form_standing",
    "given",
    "held_after",
    "integration_standing",
    "integration_times",
    "next_check",
    "observation",
    "scale_standing",
    "standing",
]
