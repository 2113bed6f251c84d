"""Two practices that have agreed to work together."""

from dataclasses import dataclass
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


@dataclass(slots=True, kw_only=True)
class Partnership:
    """Nothing is released while it is not active.

    Either side may suspend it, and both may at once: it is active again when nobody suspends it any more.
    """

    id: str
    proposer: str
    partner: str
    state: PartnershipState = PartnershipState.PROPOSED
    suspended_by: frozenset[str] = frozenset()
    version: int = 1

    @property
    def sides(self) -> tuple[str, str]:
        return self.proposer, self.partner

    def other(self, side: str) -> str:
        return self.partner if side == self.proposer else self.proposer

    def confirm(self, by: str, version: int) -> None:
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
        self._become(PartnershipState.ACTIVE)

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
