"""The referral aggregate: each move, who may make it, and what it leaves behind."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tandem_care.lifecycle import REASON_REQUIRED, Kind, Move, Outcome, State, reasons_for
from tandem_platform.errors import Code
from tandem_referral.domain.errors import (
    AlreadyReplaced,
    MoveNotAllowed,
    NotYours,
    OutcomeNotAllowed,
    ReasonNotAllowed,
    ReferralClosed,
    ReferralStillOpen,
    SamePractice,
    StaleVersion,
)
from tandem_referral.domain.lifecycle import CLOCK, Moved, Referral

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
JUNIPER, RIVERBEND, STRANGER = "prac_juniper", "prac_riverbend", "prac_stranger"

PATHS: dict[State, list[Move]] = {
    State.REQUESTED: [],
    State.RECEIVED: [Move.RECEIVE],
    State.INFO_REQUESTED: [Move.RECEIVE, Move.ASK],
    State.WAITLISTED: [Move.RECEIVE, Move.WAITLIST],
    State.ACCEPTED: [Move.RECEIVE, Move.ACCEPT],
    State.IN_PROGRESS: [Move.RECEIVE, Move.ACCEPT, Move.START],
    State.ON_HOLD: [Move.RECEIVE, Move.ACCEPT, Move.START, Move.HOLD],
    State.CANCEL_REQUESTED: [Move.RECEIVE, Move.ACCEPT, Move.START, Move.REQUEST_CANCEL],
    State.DECLINED: [Move.RECEIVE, Move.DECLINE],
    State.CANCELLED: [Move.CANCEL],
    State.FAILED: [Move.RECEIVE, Move.ACCEPT, Move.FAIL],
    State.COMPLETED: [Move.RECEIVE, Move.ACCEPT, Move.START, Move.COMPLETE],
}
REFERRERS = {Move.ANSWER, Move.CANCEL, Move.REQUEST_CANCEL}


def a_referral(state: State = State.REQUESTED, kind: Kind = Kind.PSYCHOTHERAPY, **changes: Any) -> Referral:
    """From Juniper to Riverbend, led to *state* by the moves that lead there, at noon."""
    fields: dict[str, Any] = {
        "id": "ref_1",
        "episode_id": "epi_1",
        "partnership_id": "pship_1",
        "referrer": JUNIPER,
        "recipient": RIVERBEND,
    }
    referral = Referral.request(kind=kind, at=NOON, **(fields | changes))
    for move in PATHS[state]:
        make(referral, move, JUNIPER if move in REFERRERS else RIVERBEND, NOON)
    assert referral.state is state
    return referral


def make(referral: Referral, move: Move, by: str, at: datetime = NOON, **more: Any) -> Moved | None:
    """Make *move* with any reason or outcome that fits, if it needs one."""
    if move in REASON_REQUIRED:
        more.setdefault("reason", reasons_for(move)[0].code)
    if move is Move.COMPLETE:
        more.setdefault("outcome", "treated" if referral.kind is Kind.PSYCHOTHERAPY else "eligible")
    if move is Move.EXPIRE:
        return referral.expire(at)
    made: Moved | None = getattr(referral, move.value)(by, at, **more)
    return made


def test_a_referral_is_carried_to_a_closed_loop():
    referral = a_referral()
    assert referral.owner == RIVERBEND
    referral.receive(RIVERBEND, NOON)
    referral.accept(RIVERBEND, NOON)
    referral.start(RIVERBEND, NOON)
    referral.hold(RIVERBEND, NOON, "scheduling")
    referral.resume(RIVERBEND, NOON)
    referral.complete(RIVERBEND, NOON, "treated")
    assert referral.state is State.COMPLETED
    assert referral.outcome is Outcome.TREATED
    assert referral.version == 7
    assert referral.owner is None


def test_a_move_tells_what_moved():
    referral = a_referral(State.RECEIVED)
    later = NOON + timedelta(hours=1)
    moved = referral.decline(RIVERBEND, later, "capacity")
    assert moved == Moved(Move.DECLINE, State.RECEIVED, State.DECLINED, RIVERBEND, later, "capacity")
    assert (referral.reason, referral.changed_at) == ("capacity", later)


def test_accepting_twice_changes_nothing():
    referral = a_referral(State.RECEIVED)
    assert referral.accept(RIVERBEND, NOON, version=2)
    assert referral.version == 3
    assert referral.accept(RIVERBEND, NOON + timedelta(hours=1), version=2) is None
    assert (referral.version, referral.changed_at) == (3, NOON)


def test_the_same_move_with_another_reason_is_not_a_repeat():
    referral = a_referral(State.RECEIVED)
    referral.decline(RIVERBEND, NOON, "capacity")
    assert referral.decline(RIVERBEND, NOON, "capacity") is None
    with pytest.raises(ReferralClosed):
        referral.decline(RIVERBEND, NOON, "out-of-scope")
    assert referral.reason == "capacity"


def test_a_late_repeat_of_receiving_changes_nothing():
    referral = a_referral(State.IN_PROGRESS)
    assert referral.receive(RIVERBEND, NOON + timedelta(days=1)) is None
    assert referral.received_at == NOON


def test_first_opening_is_recorded_apart_from_delivery():
    referral = a_referral(State.RECEIVED)
    opened = referral.open(RIVERBEND, NOON + timedelta(hours=2))
    assert opened is not None
    assert (opened.from_state, opened.to_state) == (State.RECEIVED, State.RECEIVED)
    assert referral.opened_at == NOON + timedelta(hours=2)
    assert (referral.state, referral.version, referral.last_move) == (State.RECEIVED, 2, Move.RECEIVE)
    assert referral.open(RIVERBEND, NOON + timedelta(hours=9)) is None
    assert referral.opened_at == NOON + timedelta(hours=2)


@pytest.mark.parametrize("move", [Move.RECEIVE, Move.OPEN])
def test_the_referrer_cannot_receive_or_open_what_it_sent_even_after_the_fact(move):
    referral = a_referral(State.RECEIVED)
    referral.open(RIVERBEND, NOON)
    with pytest.raises(MoveNotAllowed):
        make(referral, move, JUNIPER)


def test_a_declined_referral_cannot_be_accepted():
    with pytest.raises(ReferralClosed) as refusal:
        a_referral(State.DECLINED).accept(RIVERBEND, NOON + timedelta(hours=1))
    assert (refusal.value.code, refusal.value.reason) == (Code.FAILED_PRECONDITION, "REFERRAL_CLOSED")


@pytest.mark.parametrize("state", PATHS)
def test_a_stranger_learns_nothing(state):
    refusals = []
    for move in set(Move) - {Move.EXPIRE}:
        with pytest.raises(NotYours) as refusal:
            make(a_referral(state), move, STRANGER)
        refusals.append(refusal.value)
    with pytest.raises(NotYours):
        a_referral(state).moves(STRANGER, NOON)
    assert {(r.code, r.reason, r.message, r.way_out, str(r.metadata)) for r in refusals} == {
        (Code.NOT_FOUND, "REFERRAL_NOT_FOUND", "There is no such referral.", None, "{}")
    }


def test_a_refusal_names_the_moves_that_are_open():
    with pytest.raises(MoveNotAllowed) as refusal:
        a_referral(State.ACCEPTED).complete(RIVERBEND, NOON, "treated")
    assert set(refusal.value.moves) == {Move.START, Move.FAIL, Move.OPEN}
    assert refusal.value.metadata == {"state": "accepted", "moves": "start,fail,open"}


def test_a_move_on_an_older_version_is_stale():
    referral = a_referral(State.RECEIVED)
    referral.ask(RIVERBEND, NOON)
    referral.answer(JUNIPER, NOON)
    with pytest.raises(StaleVersion) as refusal:
        referral.accept(RIVERBEND, NOON, version=2)
    assert refusal.value.metadata == {"version": "4"}
    assert referral.state is State.RECEIVED
    assert referral.accept(RIVERBEND, NOON, version=4)


def test_a_move_that_is_refused_changes_nothing():
    referral, untouched = a_referral(State.RECEIVED), a_referral(State.RECEIVED)
    for attempt in (
        lambda: referral.start(RIVERBEND, NOON),
        lambda: referral.cancel(RIVERBEND, NOON, "moved"),
        lambda: referral.decline(RIVERBEND, NOON, "because"),
        lambda: referral.accept(RIVERBEND, NOON, version=9),
        lambda: referral.accept(STRANGER, NOON),
    ):
        with pytest.raises(Exception):  # noqa: B017, PT011
            attempt()
    assert referral == untouched


@pytest.mark.parametrize("reason", ["because", "", "sent-in-error", None])
def test_a_reason_that_does_not_belong_to_the_move_is_refused(reason):
    with pytest.raises(ReasonNotAllowed) as refusal:
        a_referral(State.RECEIVED).decline(RIVERBEND, NOON, reason)
    assert refusal.value.field == "reason"
    assert "capacity" in refusal.value.message


def test_an_answer_gives_the_referral_back():
    referral = a_referral(State.INFO_REQUESTED)
    assert referral.owner == JUNIPER
    referral.answer(JUNIPER, NOON)
    assert (referral.state, referral.owner) == (State.RECEIVED, RIVERBEND)


@pytest.mark.parametrize("before", [State.IN_PROGRESS, State.ON_HOLD])
def test_once_work_has_begun_cancelling_is_a_request_that_can_be_refused(before):
    referral = a_referral(before)
    with pytest.raises(MoveNotAllowed):
        referral.cancel(JUNIPER, NOON, "moved")
    referral.request_cancel(JUNIPER, NOON, "moved")
    assert (referral.state, referral.owner) == (State.CANCEL_REQUESTED, RIVERBEND)
    referral.refuse_cancel(RIVERBEND, NOON, "patient-wishes-to-continue")
    assert (referral.state, referral.cancel_from) == (before, None)
    referral.request_cancel(JUNIPER, NOON, "moved")
    referral.agree_cancel(RIVERBEND, NOON)
    assert referral.state is State.CANCELLED


def test_an_agreed_cancellation_can_be_undone_and_then_still_refused():
    referral = a_referral(State.ON_HOLD)
    referral.request_cancel(JUNIPER, NOON, "moved")
    referral.agree_cancel(RIVERBEND, NOON)
    undone = referral.undo(RIVERBEND, NOON)
    assert undone is not None
    assert undone.to_state is State.CANCEL_REQUESTED
    referral.refuse_cancel(RIVERBEND, NOON, "patient-wishes-to-continue")
    assert referral.state is State.ON_HOLD


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (Kind.PSYCHOTHERAPY, "treated"),
        (Kind.MEDICAL_EVALUATION, "eligible"),
        (Kind.MEDICAL_EVALUATION, "eligible-with-conditions"),
        (Kind.MEDICAL_EVALUATION, "not-eligible"),
    ],
)
def test_each_kind_ends_with_its_own_outcomes(kind, outcome):
    referral = a_referral(State.IN_PROGRESS, kind)
    referral.complete(RIVERBEND, NOON, outcome)
    assert referral.outcome == outcome


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [(Kind.PSYCHOTHERAPY, "eligible"), (Kind.MEDICAL_EVALUATION, "treated"), (Kind.PSYCHOTHERAPY, "cured")],
)
def test_an_outcome_of_the_other_kind_is_refused(kind, outcome):
    with pytest.raises(OutcomeNotAllowed) as refusal:
        a_referral(State.IN_PROGRESS, kind).complete(RIVERBEND, NOON, outcome)
    assert refusal.value.field == "outcome"


FINAL_BY_A_PRACTICE = [State.DECLINED, State.CANCELLED, State.FAILED, State.COMPLETED]


@pytest.mark.parametrize("state", FINAL_BY_A_PRACTICE)
def test_who_set_a_final_state_may_take_it_back_for_ten_minutes(state):
    for minutes, allowed in ((0, True), (10, True), (11, False)):
        referral = a_referral(state)
        setter, other = (JUNIPER, RIVERBEND) if state is State.CANCELLED else (RIVERBEND, JUNIPER)
        at = NOON + timedelta(minutes=minutes)
        assert Move.UNDO not in referral.moves(other, at)
        with pytest.raises(ReferralClosed):
            referral.undo(other, at)
        assert (Move.UNDO in referral.moves(setter, at)) == allowed
        if allowed:
            before, version = referral.closed_from, referral.version
            referral.undo(setter, at)
            assert (referral.state, referral.version) == (before, version + 1)
            assert (referral.outcome, referral.closed_from) == (None, None)
            assert referral.undo(setter, at) is None
        else:
            with pytest.raises(ReferralClosed):
                referral.undo(setter, at)


def test_an_undo_does_not_give_the_clock_more_time():
    referral = a_referral(State.RECEIVED)
    due_at = referral.due_at
    referral.decline(RIVERBEND, NOON + timedelta(days=1), "capacity")
    referral.undo(RIVERBEND, NOON + timedelta(days=1))
    assert referral.due_at == due_at


@pytest.mark.parametrize(
    "state", [State.RECEIVED, State.INFO_REQUESTED, State.WAITLISTED, State.ACCEPTED], ids=str
)
def test_the_clock_expires_what_waits_too_long_and_nothing_sooner(state):
    referral = a_referral(state)
    assert referral.moves(CLOCK, referral.due_at - timedelta(seconds=1)) == []
    with pytest.raises(MoveNotAllowed):
        referral.expire(referral.due_at - timedelta(seconds=1))
    referral.expire(referral.due_at)
    assert referral.state is State.EXPIRED
    assert referral.expire(referral.due_at) is None
    for by in (JUNIPER, RIVERBEND, CLOCK):
        assert referral.moves(by, referral.due_at) == []


@pytest.mark.parametrize(
    "state", [State.REQUESTED, State.IN_PROGRESS, State.ON_HOLD, State.CANCEL_REQUESTED], ids=str
)
def test_what_cannot_expire_still_falls_due_for_its_owner(state):
    referral = a_referral(state)
    assert referral.is_due(referral.due_at)
    with pytest.raises(MoveNotAllowed):
        referral.expire(referral.due_at)


def test_clocks_are_a_setting():
    referral = a_referral(clocks=dict.fromkeys(State, timedelta(hours=1)))
    referral.receive(RIVERBEND, NOON + timedelta(minutes=30))
    assert referral.due_at == NOON + timedelta(minutes=90)


def test_a_re_route_is_a_new_referral_that_names_the_one_it_replaces():
    declined = a_referral(State.DECLINED)
    rerouted = a_referral(id="ref_2", episode_id="epi_2", recipient="prac_aspen", instead_of=declined)
    assert (rerouted.replaces, declined.replaced_by) == ("ref_1", "ref_2")
    assert declined.version == 3, "the first recipient sees no change"


def test_what_was_re_routed_is_not_undone():
    declined = a_referral(State.DECLINED)
    a_referral(id="ref_2", recipient="prac_aspen", instead_of=declined)
    assert Move.UNDO not in declined.moves(RIVERBEND, NOON)


def test_a_re_route_needs_a_referral_of_ones_own_that_is_over_and_not_replaced():
    with pytest.raises(ReferralStillOpen):
        a_referral(id="ref_2", instead_of=a_referral(State.RECEIVED))
    with pytest.raises(NotYours):
        a_referral(id="ref_2", referrer="prac_aspen", instead_of=a_referral(State.DECLINED))
    declined = a_referral(State.DECLINED)
    a_referral(id="ref_2", instead_of=declined)
    with pytest.raises(AlreadyReplaced):
        a_referral(id="ref_3", instead_of=declined)


def test_a_practice_does_not_refer_to_itself():
    with pytest.raises(SamePractice):
        a_referral(recipient=JUNIPER)
