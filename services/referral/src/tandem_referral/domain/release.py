"""Whether an entry is given to the episode's other practice: the decision, and nothing else."""

from dataclasses import dataclass
from enum import StrEnum

from tandem_care.permission import Decision


class Result(StrEnum):
    RELEASED = "released"
    WITHHELD = "withheld"
    WAITING_FOR_WRAP = "waiting-for-wrap"
    VOIDED = "voided"


TARGET_WITHHELD = "target-withheld"
"""An amendment is withheld with its target, or it would tell that there is one."""

PARTIES_CATCHING_UP = "parties-catching-up"
"""After a restart of the hub, until both practices have synced and replayed: a lost revocation may be among what they bring."""


@dataclass(frozen=True, slots=True)
class Outcome:
    result: Result
    rule: str
    permission_id: str = ""
    permission_version: int = 0


def outcome_of(decision: Decision, *, wrapped: bool, target_released: bool, caught_up: bool) -> Outcome:
    """Release = the hub permits, and a wrap for the recipient is present.

    target_released: of an amendment, whether what it amends was released; True for any other entry.
    """
    rule, permission, version = decision.rule.value, decision.permission_id or "", decision.version or 0
    if not decision.permitted:
        return Outcome(Result.WITHHELD, rule, permission, version)
    if not caught_up:
        return Outcome(Result.WITHHELD, PARTIES_CATCHING_UP)
    if not target_released:
        return Outcome(Result.WITHHELD, TARGET_WITHHELD)
    return Outcome(Result.RELEASED if wrapped else Result.WAITING_FOR_WRAP, rule, permission, version)
