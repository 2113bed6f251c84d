"""Two practices that have agreed to work together."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from tandem_platform.errors import Code, Refusal


class PartnershipState(StrEnum):
    PROPOSED = "proposed"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    ENDED = "ended"


class PartnershipMoveNotAllowed(Refusal):
    def __init__(self, state: PartnershipState, message: str, way_out: str) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "PARTNERSHIP_MOVE_NOT_ALLOWED",
            message,
            way_out=way_out,
            metadata={"state": state},
        )


class StalePartnership(Refusal):
    def __init__(self, version: int) -> None:
        super().__init__(
            Code.ABORTED,
            "STALE_VERSION",
            "the partnership has changed since",
            field="version",
            way_out="read the partnership again and repeat the command with its present version",
            metadata={"version": str(version)},
        )


class TermsDiffer(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "TERMS_DIFFER",
            "these are not the terms that were proposed",
            field="terms_hash",
            way_out="compare the texts with your partner, and accept the one that was proposed or propose another",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A text that two practices agree to, known by its digest. Proposing is accepting."""

    number: int
    text_hash: bytes
    proposed_by: str
    proposed_at: datetime
    accepted_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Partnership:
    """Nothing is released while it is not active.

    Either side may suspend it, and both may at once: it is active again when nobody suspends it any more.
    terms: in force, accepted by both sides. proposed_terms: wait for the side that did not propose them.
    """

    id: str
    proposer: str
    partner: str
    state: PartnershipState = PartnershipState.PROPOSED
    suspended_by: frozenset[str] = frozenset()
    terms: Terms | None = None
    proposed_terms: Terms | None = None
    version: int = 1

    @property
    def sides(self) -> tuple[str, str]:
        return self.proposer, self.partner

    def other(self, side: str) -> str:
        return self.partner if side == self.proposer else self.proposer

    def confirm(self, by: str, version: int, text_hash: bytes, now: datetime) -> None:
        """Repeating it changes nothing."""
        if self.state is PartnershipState.ACTIVE and by == self.partner:
            return
        self._expect(version)
        if self.state is not PartnershipState.PROPOSED:
            raise PartnershipMoveNotAllowed(self.state, "the partnership is not waiting for an answer", "")
        if by != self.partner:
            raise PartnershipMoveNotAllowed(
                self.state, "the practice that was asked confirms", "wait until the partner has confirmed"
            )
        self._accept(text_hash, now)
        self._become(PartnershipState.ACTIVE)

    def propose_terms(self, by: str, version: int, text_hash: bytes, now: datetime) -> None:
        """In the place of terms that wait, whoever proposed them. Repeating it changes nothing."""
        waiting = self.proposed_terms
        if waiting is not None and (waiting.proposed_by, waiting.text_hash) == (by, text_hash):
            return
        self._expect(version)
        if self.state not in (PartnershipState.ACTIVE, PartnershipState.SUSPENDED):
            raise PartnershipMoveNotAllowed(
                self.state, "only a confirmed partnership gets other terms", "confirm the partnership first"
            )
        number = max(each.number for each in (self.terms, waiting) if each is not None) + 1
        self.proposed_terms = Terms(number=number, text_hash=text_hash, proposed_by=by, proposed_at=now)
        self.version += 1

    def accept_terms(self, by: str, version: int, text_hash: bytes, now: datetime) -> None:
        """Repeating it changes nothing."""
        if self.proposed_terms is None and self.terms is not None and self.terms.text_hash == text_hash:
            return
        self._expect(version)
        if self.proposed_terms is None or self.state is PartnershipState.PROPOSED:
            raise PartnershipMoveNotAllowed(self.state, "no other terms were proposed", "")
        if self.proposed_terms.proposed_by == by:
            raise PartnershipMoveNotAllowed(
                self.state, "the other side accepts", "wait until the partner has accepted"
            )
        self._accept(text_hash, now)
        self.version += 1

    def _accept(self, text_hash: bytes, now: datetime) -> None:
        if self.proposed_terms is None or self.proposed_terms.text_hash != text_hash:
            raise TermsDiffer
        self.terms, self.proposed_terms = replace(self.proposed_terms, accepted_at=now), None

    def suspend(self, by: str) -> None:
        """Repeating it changes nothing. Stopping is never too late: it needs no version."""
        if by in self.suspended_by:
            return
        if self.state not in (PartnershipState.ACTIVE, PartnershipState.SUSPENDED):
            raise PartnershipMoveNotAllowed(
                self.state, "only an active partnership is suspended", "confirm the partnership first"
            )
        self.suspended_by |= {by}
        self._become(PartnershipState.SUSPENDED)

    def resume(self, by: str, version: int) -> None:
        """Repeating it changes nothing."""
        if self.state is PartnershipState.ACTIVE:
            return
        self._expect(version)
        if by not in self.suspended_by:
            raise PartnershipMoveNotAllowed(
                self.state, "the side that suspended resumes", "ask the partner to resume the partnership"
            )
        self.suspended_by -= {by}
        self._become(PartnershipState.SUSPENDED if self.suspended_by else PartnershipState.ACTIVE)

    def _expect(self, version: int) -> None:
        if version != self.version:
            raise StalePartnership(self.version)

    def _become(self, state: PartnershipState) -> None:
        self.state = state
        self.version += 1
