"""What a guard finds: that it passes, that it blocks, or that a named person must vouch for it."""

from dataclasses import dataclass
from enum import StrEnum

from tandem_care.pathways import NOTICE, GuardCode, Stage


class State(StrEnum):
    PASSES = "passes"
    BLOCKS = "blocks"
    NEEDS_ATTESTATION = "needs-attestation"


@dataclass(frozen=True, slots=True)
class Verdict:
    state: State
    reason: str
    way_out: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    guard: GuardCode
    stage: Stage
    state: State
    reason: str
    way_out: str
    never_overridden: str | None = None
    """The source that forbids an override."""

    @property
    def notice(self) -> str:
        return NOTICE


def passes(reason: str) -> Verdict:
    return Verdict(State.PASSES, reason)


def blocks(reason: str, way_out: str) -> Verdict:
    return Verdict(State.BLOCKS, reason, way_out)


def attest(reason: str, way_out: str) -> Verdict:
    return Verdict(State.NEEDS_ATTESTATION, reason, way_out)
