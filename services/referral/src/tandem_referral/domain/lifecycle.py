"""A referral: one practice hands a patient to another and hears how it went."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tandem_care.errors import Invalid
from tandem_care.lifecycle import (
    CLOCKS,
    OPEN,
    OUTCOMES,
    OWNER,
    Kind,
    Move,
    Outcome,
    Party,
    State,
    Urgency,
    check_reason,
)
from tandem_care.referral_place import Place
from tandem_referral.domain.errors import (
    AlreadyReplaced,
    MoveNotAllowed,
    NotYours,
    OutcomeNotAllowed,
    ReasonNotAllowed,
    ReferralClosed,
    ReferralNotCompleted,
    ReferralStillOpen,
    SamePractice,
    StaleVersion,
)

CLOCK = Party.CLOCK.value


@dataclass(frozen=True, slots=True)
class Moved:
    """One line of a referral's history."""

    move: Move
    from_state: State
    to_state: State
    by: str
    at: datetime
    reason: str | None = None


@dataclass(kw_only=True)
class Referral:
    """Each method is a move: it returns what moved, or None where this very move was the last one made.

    ``version`` goes up with every move that both sides see; a move made on an older version than the
    present one is refused as stale.
    ``due_at`` is when the clock of the present state runs out; a closed referral keeps it for an undo.
    """

    id: str
    episode_id: str
    partnership_id: str
    kind: Kind
    urgency: Urgency
    referrer: str
    recipient: str
    requested_at: datetime
    changed_at: datetime
    due_at: datetime
    state: State = State.REQUESTED
    version: int = 1
    received_at: datetime | None = None
    opened_at: datetime | None = None
    last_move: Move | None = None
    last_by: str | None = None
    reason: str | None = None
    outcome: Outcome | None = None
    cancel_from: State | None = None
    closed_from: State | None = None
    replaces: str | None = None
    replaced_by: str | None = None
    continues: str | None = None
    clocks: Mapping[State, timedelta] = field(default_factory=lambda: CLOCKS, repr=False, compare=False)

    @classmethod
    def request(
        cls,
        *,
        id: str,  # noqa: A002
        episode_id: str,
        partnership_id: str,
        kind: Kind,
        referrer: str,
        recipient: str,
        at: datetime,
        urgency: Urgency = Urgency.ROUTINE,
        instead_of: "Referral | None" = None,
        continuing: "Referral | None" = None,
        clocks: Mapping[State, timedelta] = CLOCKS,
    ) -> "Referral":
        """Hand a patient over; *instead_of* is the earlier referral that this one re-routes.

        continuing: the completed one, between the same two, that this one goes on from.
        Care that both give already has nobody to be asked: it is in progress from the start.
        """
        if referrer == recipient:
            raise SamePractice
        if instead_of is not None:
            instead_of._give_way_to(id, by=referrer)
        if continuing is not None:
            continuing._check_continued({referrer, recipient})
        state = State.IN_PROGRESS if kind is Kind.SHARED_CARE else State.REQUESTED
        return cls(
            id=id,
            episode_id=episode_id,
            partnership_id=partnership_id,
            kind=kind,
            urgency=urgency,
            referrer=referrer,
            recipient=recipient,
            requested_at=at,
            changed_at=at,
            due_at=at + clocks[state],
            state=state,
            replaces=instead_of.id if instead_of else None,
            continues=continuing.id if continuing else None,
            clocks=clocks,
        )

    def receive(self, by: str, at: datetime, *, version: int | None = None) -> Moved | None:
        """The recipient's service has it: proof of delivery."""
        moved = self._make(Move.RECEIVE, by, at, version=version)
        if moved:
            self.received_at = at
        return moved

    def open(self, by: str, at: datetime, *, version: int | None = None) -> Moved | None:
        """A person at the recipient has read it. Changes neither state nor version."""
        moved = self._make(Move.OPEN, by, at, version=version)
        if moved:
            self.opened_at = at
        return moved

    def accept(self, by: str, at: datetime, *, version: int | None = None) -> Moved | None:
        return self._make(Move.ACCEPT, by, at, version=version)

    def decline(self, by: str, at: datetime, reason: str, *, version: int | None = None) -> Moved | None:
        return self._make(Move.DECLINE, by, at, reason=reason, version=version)

    def waitlist(
        self, by: str, at: datetime, reason: str | None = None, *, version: int | None = None
    ) -> Moved | None:
        return self._make(Move.WAITLIST, by, at, reason=reason, version=version)

    def ask(
        self, by: str, at: datetime, reason: str | None = None, *, version: int | None = None
    ) -> Moved | None:
        return self._make(Move.ASK, by, at, reason=reason, version=version)

    def answer(self, by: str, at: datetime, *, version: int | None = None) -> Moved | None:
        return self._make(Move.ANSWER, by, at, version=version)

    def start(self, by: str, at: datetime, *, version: int | None = None) -> Moved | None:
        """The first session was held."""
        return self._make(Move.START, by, at, version=version)

    def hold(
        self, by: str, at: datetime, reason: str | None = None, *, version: int | None = None
    ) -> Moved | None:
        return self._make(Move.HOLD, by, at, reason=reason, version=version)

    def resume(self, by: str, at: datetime, *, version: int | None = None) -> Moved | None:
        return self._make(Move.RESUME, by, at, version=version)

    def complete(self, by: str, at: datetime, outcome: str, *, version: int | None = None) -> Moved | None:
        return self._make(Move.COMPLETE, by, at, outcome=outcome, version=version)

    def fail(self, by: str, at: datetime, reason: str, *, version: int | None = None) -> Moved | None:
        return self._make(Move.FAIL, by, at, reason=reason, version=version)

    def cancel(self, by: str, at: datetime, reason: str, *, version: int | None = None) -> Moved | None:
        return self._make(Move.CANCEL, by, at, reason=reason, version=version)

    def request_cancel(
        self, by: str, at: datetime, reason: str, *, version: int | None = None
    ) -> Moved | None:
        """Once work has begun, cancelling is a request."""
        return self._make(Move.REQUEST_CANCEL, by, at, reason=reason, version=version)

    def agree_cancel(self, by: str, at: datetime, *, version: int | None = None) -> Moved | None:
        return self._make(Move.AGREE_CANCEL, by, at, version=version)

    def refuse_cancel(
        self, by: str, at: datetime, reason: str, *, version: int | None = None
    ) -> Moved | None:
        return self._make(Move.REFUSE_CANCEL, by, at, reason=reason, version=version)

    def expire(self, at: datetime) -> Moved | None:
        return self._make(Move.EXPIRE, CLOCK, at)

    def undo(self, by: str, at: datetime, *, version: int | None = None) -> Moved | None:
        """Take a final state back, for a short while, by whoever set it."""
        return self._make(Move.UNDO, by, at, version=version)

    def moves(self, by: str, at: datetime) -> list[Move]:
        """What *by* may do now."""
        party = self.party(by)
        allowed = self._place.moves(party, at)
        if Move.EXPIRE in allowed and not self.is_due(at):
            allowed.remove(Move.EXPIRE)
        if Move.UNDO in allowed and self.replaced_by is not None:
            allowed.remove(Move.UNDO)
        if party is Party.RECIPIENT and self._can_be_opened():
            allowed.append(Move.OPEN)
        return allowed

    def party(self, by: str) -> Party:
        parties = {self.referrer: Party.REFERRER, self.recipient: Party.RECIPIENT, CLOCK: Party.CLOCK}
        if by not in parties:
            raise NotYours
        return parties[by]

    @property
    def owner(self) -> str | None:
        """The practice whose turn it is."""
        if self.state.is_final:
            return None
        return self.referrer if OWNER[self.state] is Party.REFERRER else self.recipient

    def is_due(self, at: datetime) -> bool:
        return not self.state.is_final and at >= self.due_at

    def _make(
        self,
        move: Move,
        by: str,
        at: datetime,
        *,
        reason: str | None = None,
        outcome: str | None = None,
        version: int | None = None,
    ) -> Moved | None:
        party = self.party(by)
        if self._is_repeated(move, by, party, reason, outcome):
            return None
        allowed = self.moves(by, at)
        if move not in allowed:
            if self.state.is_final:
                raise ReferralClosed(self.state, allowed)
            raise MoveNotAllowed(move, self.state, allowed)
        if version is not None and version != self.version:
            raise StaleVersion(self.version)
        self._check_words(move, reason, outcome)
        if move is Move.OPEN:
            return Moved(move, self.state, self.state, by, at, reason)
        after = self._place.after(move, party, at)
        moved = Moved(move, self.state, after.state, by, at, reason)
        self._apply(moved, after, outcome)
        return moved

    def _is_repeated(
        self, move: Move, by: str, party: Party, reason: str | None, outcome: str | None
    ) -> bool:
        if move is Move.RECEIVE:
            return party is Party.RECIPIENT and self.received_at is not None
        if move is Move.OPEN:
            return party is Party.RECIPIENT and self.opened_at is not None
        return (move, by, reason, outcome) == (self.last_move, self.last_by, self.reason, self.outcome)

    def _check_words(self, move: Move, reason: str | None, outcome: str | None) -> None:
        try:
            check_reason(move, reason)
        except Invalid as fault:
            raise ReasonNotAllowed(fault.message) from None
        if move is Move.COMPLETE and outcome not in OUTCOMES[self.kind]:
            raise OutcomeNotAllowed(OUTCOMES[self.kind])

    @property
    def _place(self) -> Place:
        return Place(
            state=self.state,
            cancel_from=self.cancel_from,
            closed_from=self.closed_from,
            moved_by=self.party(self.last_by) if self.last_by else None,
            moved_at=self.changed_at,
        )

    def _apply(self, moved: Moved, after: Place, outcome: str | None) -> None:
        self.cancel_from, self.closed_from = after.cancel_from, after.closed_from
        if not moved.to_state.is_final and moved.move is not Move.UNDO:
            self.due_at = moved.at + self.clocks[moved.to_state]
        self.state = moved.to_state
        self.reason = moved.reason
        self.outcome = Outcome(outcome) if outcome is not None else None
        self.last_move, self.last_by = moved.move, moved.by
        self.changed_at = moved.at
        self.version += 1

    def _can_be_opened(self) -> bool:
        return self.opened_at is None and self.state in OPEN - {State.REQUESTED}

    def _give_way_to(self, referral_id: str, *, by: str) -> None:
        if by != self.referrer:
            raise NotYours
        if not self.state.is_final:
            raise ReferralStillOpen
        if self.replaced_by not in (None, referral_id):
            raise AlreadyReplaced
        self.replaced_by = referral_id

    def _check_continued(self, parties: set[str]) -> None:
        if {self.referrer, self.recipient} != parties:
            raise NotYours
        if self.state is not State.COMPLETED:
            raise ReferralNotCompleted
