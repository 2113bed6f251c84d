"""ReferralService: translates only."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

from tandem.referral.v1 import referral_pb2 as pb
from tandem_care.lifecycle import CLOCKS, State
from tandem_platform.rpc.dispatch import Call
from tandem_platform.storage.database import Database
from tandem_referral.domain.lifecycle import Moved, Referral
from tandem_referral.grpc.pages import PageTokens, page_size
from tandem_referral.store import referrals
from tandem_referral.store.referrals import CLOSED, Line, Seen
from tandem_referral.usecases.hub_time import HubTime
from tandem_referral.usecases.referrals import (
    Make,
    Wish,
    WordUnknown,
    move_referral,
    moves_of,
    request_referral,
)
from tandem_referral.usecases.visibility import mover

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_STATES = [*(state.value for state in State), CLOSED]


class _MoveRequest(Protocol):
    """What every command that moves a referral names."""

    @property
    def referral_id(self) -> str: ...

    @property
    def version(self) -> int: ...


class ReferralServicer:
    def __init__(
        self,
        database: Database,
        time: HubTime,
        pages: PageTokens,
        clocks: Mapping[State, timedelta] = CLOCKS,
    ) -> None:
        self._database = database
        self._time = time
        self._pages = pages
        self._clocks = clocks

    def RequestReferral(self, request: pb.RequestReferralRequest, call: Call) -> pb.RequestReferralResponse:
        wish = Wish(
            referral_id=request.referral_id,
            episode_id=request.episode_id,
            partnership_id=request.partnership_id,
            kind=request.kind,
            urgency=request.urgency,
            permissions=request.permissions,
            replaces=request.replaces_referral_id,
            continues=request.continues_referral_id,
        )
        now = self._time.decision_time(call.tx)
        requested = request_referral(call.tx, wish, call.caller.id, now, self._clocks)
        return pb.RequestReferralResponse(referral=_referral(Seen(requested, None), call.caller.id))

    def ReceiveReferral(self, request: pb.ReceiveReferralRequest, call: Call) -> pb.ReceiveReferralResponse:
        def receive(referral: Referral, at: datetime) -> Moved | None:
            # That it arrived is a fact and no decision: it holds whatever has happened to the referral since.
            return referral.receive(call.caller.id, at)

        return pb.ReceiveReferralResponse(referral=self._moved(request, call, receive))

    def OpenReferral(self, request: pb.OpenReferralRequest, call: Call) -> pb.OpenReferralResponse:
        def open_it(referral: Referral, at: datetime) -> Moved | None:
            return referral.open(call.caller.id, at)

        return pb.OpenReferralResponse(referral=self._moved(request, call, open_it))

    def AcceptReferral(self, request: pb.AcceptReferralRequest, call: Call) -> pb.AcceptReferralResponse:
        def accept(referral: Referral, at: datetime) -> Moved | None:
            return referral.accept(call.caller.id, at, version=request.version)

        return pb.AcceptReferralResponse(referral=self._moved(request, call, accept))

    def DeclineReferral(self, request: pb.DeclineReferralRequest, call: Call) -> pb.DeclineReferralResponse:
        def decline(referral: Referral, at: datetime) -> Moved | None:
            return referral.decline(call.caller.id, at, request.reason, version=request.version)

        return pb.DeclineReferralResponse(referral=self._moved(request, call, decline, may_end=True))

    def AskForInformation(
        self, request: pb.AskForInformationRequest, call: Call
    ) -> pb.AskForInformationResponse:
        def ask(referral: Referral, at: datetime) -> Moved | None:
            return referral.ask(call.caller.id, at, request.reason or None, version=request.version)

        return pb.AskForInformationResponse(referral=self._moved(request, call, ask))

    def AnswerInformation(
        self, request: pb.AnswerInformationRequest, call: Call
    ) -> pb.AnswerInformationResponse:
        def answer(referral: Referral, at: datetime) -> Moved | None:
            return referral.answer(call.caller.id, at, version=request.version)

        return pb.AnswerInformationResponse(referral=self._moved(request, call, answer))

    def StartReferral(self, request: pb.StartReferralRequest, call: Call) -> pb.StartReferralResponse:
        def start(referral: Referral, at: datetime) -> Moved | None:
            return referral.start(call.caller.id, at, version=request.version)

        return pb.StartReferralResponse(referral=self._moved(request, call, start))

    def CompleteReferral(
        self, request: pb.CompleteReferralRequest, call: Call
    ) -> pb.CompleteReferralResponse:
        def complete(referral: Referral, at: datetime) -> Moved | None:
            return referral.complete(call.caller.id, at, request.outcome, version=request.version)

        return pb.CompleteReferralResponse(referral=self._moved(request, call, complete, may_end=True))

    def CancelReferral(self, request: pb.CancelReferralRequest, call: Call) -> pb.CancelReferralResponse:
        def cancel(referral: Referral, at: datetime) -> Moved | None:
            return referral.cancel(call.caller.id, at, request.reason, version=request.version)

        return pb.CancelReferralResponse(referral=self._moved(request, call, cancel, may_end=True))

    def WaitlistReferral(
        self, request: pb.WaitlistReferralRequest, call: Call
    ) -> pb.WaitlistReferralResponse:
        def waitlist(referral: Referral, at: datetime) -> Moved | None:
            return referral.waitlist(call.caller.id, at, request.reason or None, version=request.version)

        return pb.WaitlistReferralResponse(referral=self._moved(request, call, waitlist))

    def HoldReferral(self, request: pb.HoldReferralRequest, call: Call) -> pb.HoldReferralResponse:
        def hold(referral: Referral, at: datetime) -> Moved | None:
            return referral.hold(call.caller.id, at, request.reason or None, version=request.version)

        return pb.HoldReferralResponse(referral=self._moved(request, call, hold))

    def ResumeReferral(self, request: pb.ResumeReferralRequest, call: Call) -> pb.ResumeReferralResponse:
        def resume(referral: Referral, at: datetime) -> Moved | None:
            return referral.resume(call.caller.id, at, version=request.version)

        return pb.ResumeReferralResponse(referral=self._moved(request, call, resume))

    def FailReferral(self, request: pb.FailReferralRequest, call: Call) -> pb.FailReferralResponse:
        def fail(referral: Referral, at: datetime) -> Moved | None:
            return referral.fail(call.caller.id, at, request.reason, version=request.version)

        return pb.FailReferralResponse(referral=self._moved(request, call, fail, may_end=True))

    def RequestCancellation(
        self, request: pb.RequestCancellationRequest, call: Call
    ) -> pb.RequestCancellationResponse:
        def request_cancel(referral: Referral, at: datetime) -> Moved | None:
            return referral.request_cancel(call.caller.id, at, request.reason, version=request.version)

        return pb.RequestCancellationResponse(referral=self._moved(request, call, request_cancel))

    def AgreeCancellation(
        self, request: pb.AgreeCancellationRequest, call: Call
    ) -> pb.AgreeCancellationResponse:
        def agree_cancel(referral: Referral, at: datetime) -> Moved | None:
            return referral.agree_cancel(call.caller.id, at, version=request.version)

        return pb.AgreeCancellationResponse(referral=self._moved(request, call, agree_cancel, may_end=True))

    def RefuseCancellation(
        self, request: pb.RefuseCancellationRequest, call: Call
    ) -> pb.RefuseCancellationResponse:
        def refuse_cancel(referral: Referral, at: datetime) -> Moved | None:
            return referral.refuse_cancel(call.caller.id, at, request.reason, version=request.version)

        return pb.RefuseCancellationResponse(referral=self._moved(request, call, refuse_cancel))

    def UndoReferral(self, request: pb.UndoReferralRequest, call: Call) -> pb.UndoReferralResponse:
        def undo(referral: Referral, at: datetime) -> Moved | None:
            return referral.undo(call.caller.id, at, version=request.version)

        return pb.UndoReferralResponse(referral=self._moved(request, call, undo, may_end=True))

    def _moved(self, request: _MoveRequest, call: Call, make: Make, *, may_end: bool = False) -> pb.Referral:
        now, by = self._time.decision_time(call.tx), call.caller.id
        moved = move_referral(
            call.tx, request.referral_id, by, now, make, may_end=may_end, clocks=self._clocks
        )
        return _referral(Seen(moved, None), by)

    def GetReferral(self, request: pb.GetReferralRequest, call: Call) -> pb.GetReferralResponse:
        with self._database.reading() as tx:
            seen = referrals.get(tx, request.referral_id, visible_to=call.caller.id)
        return pb.GetReferralResponse(
            referral=_referral(seen, call.caller.id), moves=moves_of(seen, call.caller.id, call.now)
        )

    def ListReferrals(self, request: pb.ListReferralsRequest, call: Call) -> pb.ListReferralsResponse:
        if request.state and request.state not in _STATES:
            raise WordUnknown("state", _STATES)
        position = self._pages.read(call.caller.id, request)
        before = None if position is None else (_EPOCH + _MICROSECOND * int(position[0]), str(position[1]))
        size = page_size(request.page_size)
        with self._database.reading() as tx:
            found = referrals.of(tx, call.caller.id, state=request.state, before=before, limit=size + 1)
        response = pb.ListReferralsResponse(
            referrals=[_referral(seen, call.caller.id) for seen in found[:size]]
        )
        if len(found) > size:
            last = found[size - 1].referral
            position = [(last.requested_at - _EPOCH) // _MICROSECOND, last.id]
            response.next_page_token = self._pages.make(call.caller.id, request, position)
        return response

    def ListMoves(self, request: pb.ListMovesRequest, call: Call) -> pb.ListMovesResponse:
        position = self._pages.read(call.caller.id, request)
        size = page_size(request.page_size)
        with self._database.reading() as tx:
            seen = referrals.get(tx, request.referral_id, visible_to=call.caller.id)
            lines = referrals.moves(
                tx,
                request.referral_id,
                after=0 if position is None else int(position[0]),
                up_to=None if seen.closure is None else seen.closure.moves,
                limit=size + 1,
            )
        response = pb.ListMovesResponse(moves=map(_move, lines[:size]))
        if len(lines) > size:
            response.next_page_token = self._pages.make(call.caller.id, request, [lines[size - 1].number])
        return response


def _referral(seen: Seen, reader: str) -> pb.Referral:
    """What *reader* may see: of a referral that is closed to it, what it knew for good, and one fixed state."""
    referral, closure = seen.referral, seen.closure
    message = pb.Referral(
        referral_id=referral.id,
        episode_id=referral.episode_id,
        partnership_id=referral.partnership_id,
        referrer_practice_id=referral.referrer,
        recipient_practice_id=referral.recipient,
        kind=referral.kind,
        urgency=referral.urgency,
        state=seen.state,
        continues_referral_id=referral.continues or "",
    )
    if reader == referral.referrer:
        message.replaces_referral_id = referral.replaces or ""
    message.requested_at.FromDatetime(referral.requested_at)
    if closure is not None:
        message.version = closure.version
        message.changed_at.FromDatetime(closure.closed_at)
        return message
    message.version = referral.version
    message.changed_at.FromDatetime(referral.changed_at)
    message.reason = referral.reason or ""
    message.outcome = referral.outcome or ""
    message.move = referral.last_move or referrals.REQUEST
    message.moved_by_practice_id = mover(referral)
    message.cancel_from = referral.cancel_from or ""
    message.closed_from = referral.closed_from or ""
    message.due_at.FromDatetime(referral.due_at)
    if referral.opened_at is not None:
        message.opened_at.FromDatetime(referral.opened_at)
    return message


def _move(line: Line) -> pb.Move:
    message = pb.Move(
        move=line.move,
        from_state=line.from_state,
        to_state=line.to_state,
        by_practice_id=line.by,
        reason=line.reason,
    )
    message.at.FromDatetime(line.at)
    return message
