"""Where a referral stands, and where each move takes it: one set of rules for the hub and for a clinic's forecast."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from tandem_care.lifecycle import STEPS, UNDO_WINDOW, Move, Party, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The state, and what of the past the next move depends on.

    cancel_from: where a refused cancellation returns to. closed_from: where an undo does.
    moved_by, moved_at: whose the last move was, and when: only who set a final state takes it back.
    """

    state: State
    cancel_from: State | None = None
    closed_from: State | None = None
    moved_by: Party | None = None
    moved_at: datetime

    def moves(self, by: Party, at: datetime) -> list[Move]:
        """What changes the state and is *by*'s to do. The clock's expiry is here whether or not it is due."""
        allowed = [move for move, step in STEPS.items() if step.by is by and self.state in step.sources]
        if self._can_be_undone(by, at):
            allowed.append(Move.UNDO)
        return allowed

    def after(self, move: Move, by: Party, at: datetime) -> "Place":
        """Where *move*, one of those allowed, leads."""
        to = self._destination(move)
        closed_from = self.state if to.is_final else None
        cancel_from = None
        if move is Move.REQUEST_CANCEL:
            cancel_from = self.state
        elif State.CANCEL_REQUESTED in (to, closed_from):
            cancel_from = self.cancel_from
        return Place(state=to, cancel_from=cancel_from, closed_from=closed_from, moved_by=by, moved_at=at)

    def forecast(self, moves: Collection[tuple[Move, datetime]], by: Party) -> tuple["Place", int]:
        """The place after *by*'s queued *moves*, and how many of them will count. One that was outrun moves nothing."""
        place, counted = self, 0
        for move, at in moves:
            if move in place.moves(by, at):
                place, counted = place.after(move, by, at), counted + 1
        return place, counted

    def _destination(self, move: Move) -> State:
        if move is Move.UNDO and self.closed_from is not None:
            return self.closed_from
        return STEPS[move].to or self.cancel_from or State.IN_PROGRESS

    def _can_be_undone(self, by: Party, at: datetime) -> bool:
        # A clinic's clock may be behind the hub's, which said when it moved: that is within the window, too.
        return (
            self.state.is_final
            and by is self.moved_by is not Party.CLOCK
            and at - self.moved_at <= UNDO_WINDOW
        )
