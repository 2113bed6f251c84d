"""What can stand in the way of a referral's next move."""

from collections.abc import Sequence

from tandem_care.lifecycle import Move, State
from tandem_platform.errors import Code, Refusal


class NotYours(Refusal):
    """The referral is somebody else's, which must look exactly as if there were none."""

    def __init__(self) -> None:
        super().__init__(Code.NOT_FOUND, "REFERRAL_NOT_FOUND", "There is no such referral.")


class ReferralClosed(Refusal):
    def __init__(self, state: State, moves: Sequence[Move]) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "REFERRAL_CLOSED",
            f"The referral is {state.value}, which is final.",
            way_out="Undo it." if Move.UNDO in moves else "Make a new referral that replaces this one.",
            metadata={"state": state.value, "moves": ",".join(moves)},
        )
        self.moves = tuple(moves)


class MoveNotAllowed(Refusal):
    def __init__(self, move: Move, state: State, moves: Sequence[Move]) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "MOVE_NOT_ALLOWED",
            f"While the referral is {state.value}, you cannot {move.value} it.",
            way_out=f"You may: {', '.join(moves)}." if moves else "It is the other practice's turn.",
            metadata={"state": state.value, "moves": ",".join(moves)},
        )
        self.moves = tuple(moves)


class StaleVersion(Refusal):
    def __init__(self, current: int) -> None:
        super().__init__(
            Code.ABORTED,
            "STALE_VERSION",
            "The referral has changed since you saw it.",
            field="version",
            way_out="Read it again, then decide.",
            metadata={"version": str(current)},
        )


class ReasonNotAllowed(Refusal):
    def __init__(self, message: str) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT, "REASON_NOT_ALLOWED", f"The reason {message}.", field="reason"
        )


class OutcomeNotAllowed(Refusal):
    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT,
            "OUTCOME_NOT_ALLOWED",
            "The outcome does not belong to this kind of referral.",
            field="outcome",
            way_out=f"Give one of: {', '.join(allowed)}.",
        )


class SamePractice(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT,
            "SAME_PRACTICE",
            "A practice does not refer to itself.",
            field="recipient_practice_id",
            way_out="Care within one practice needs no referral.",
        )


class ReferralStillOpen(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "REFERRAL_STILL_OPEN",
            "The referral to be replaced is not over.",
            field="replaces_referral_id",
            way_out="Cancel it first.",
        )


class AlreadyReplaced(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "ALREADY_REPLACED",
            "Another referral already replaces that one.",
            field="replaces_referral_id",
            way_out="Name the referral that replaced it.",
        )


class ReferralNotCompleted(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "REFERRAL_NOT_COMPLETED",
            "Only a completed referral is continued.",
            field="continues_referral_id",
            way_out="Complete it first, or refer without naming it.",
        )
