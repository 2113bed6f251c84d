"""Whether an entry may be disclosed: the one algebra that hub and clinics both use.

Deny wins over permit; a permission that is revoked, held or over permits nothing; what is left is the union
of the permits. Everything not permitted is refused. The rules themselves stand in ``tandem_care.law``.
"""

from collections.abc import Iterable
from typing import Final

from tandem_care.categories import PART2
from tandem_care.law.decision import Decision, Law, decide
from tandem_care.law.emergency import EmergencyAccess, emergency_covers
from tandem_care.law.facts import Permission, PermissionState, Question
from tandem_care.law.rules import KEPT_BACK, SENTENCES, Rule

__all__ = [
    "KEPT_BACK",
    "REDISCLOSURE_NOTICE",
    "SENTENCES",
    "Decision",
    "EmergencyAccess",
    "Law",
    "Permission",
    "PermissionState",
    "Question",
    "Rule",
    "decide",
    "emergency_covers",
    "needs_redisclosure_notice",
]

REDISCLOSURE_NOTICE: Final = "42 CFR part 2 prohibits unauthorized use or disclosure of these records."
"""The short form of the notice, 42 CFR 2.32(a)(2)."""


def needs_redisclosure_notice(categories: Iterable[str], part2: bool) -> bool:
    """Whether the notice of 42 CFR 2.32 must ride with a disclosure."""
    return part2 or not PART2.isdisjoint(categories)
