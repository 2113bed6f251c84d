"""Whether a dosing session may be cleared and started. Decision support; the clinician decides."""

from tandem_care.guards.assessing import assess
from tandem_care.guards.clearance import NotCleared, Word, ready_to_start, sign, start
from tandem_care.guards.facts import Facts, Session, SupplyCount, session_of
from tandem_care.guards.findings import Finding, State

__all__ = [
    "Facts",
    "Finding",
    "NotCleared",
    "Session",
    "State",
    "SupplyCount",
    "Word",
    "assess",
    "ready_to_start",
    "session_of",
    "sign",
    "start",
]
