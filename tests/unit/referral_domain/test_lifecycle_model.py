"""Random walks through the lifecycle, checked step by step against a table written from the rules."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tandem_care.lifecycle import Kind, Move
from tandem_platform.errors import Refusal
from tandem_referral.domain.errors import (
    MoveNotAllowed,
    NotYours,
    OutcomeNotAllowed,
    ReasonNotAllowed,
    ReferralClosed,
    StaleVersion,
)
from tandem_referral.domain.lifecycle import CLOCK, Referral

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SENDER, TAKER, STRANGER = "prac_sender", "prac_taker", "prac_stranger"

# (state, who): {move: next state}. "back" returns to where the cancellation was asked for.
TABLE = {
    ("requested", TAKER): {"receive": "received"},
    ("requested", SENDER): {"cancel": "cancelled"},
    ("received", TAKER): {
        "accept": "accepted",
        "decline": "declined",
        "waitlist": "waitlisted",
        "ask": "info_requested",
    },
    ("received", SENDER): {"cancel": "cancelled"},
    ("received", CLOCK): {"expire": "expired"},
    ("info_requested", SENDER): {"answer": "received", "cancel": "cancelled"},
    ("info_requested", CLOCK): {"expire": "expired"},
    ("waitlisted", TAKER): {"accept": "accepted", "decline": "declined", "ask": "info_requested"},
    ("waitlisted", SENDER): {"cancel": "cancelled"},
    ("waitlisted", CLOCK): {"expire": "expired"},
    ("accepted", TAKER): {"start": "in_progress", "fail": "failed"},
    ("accepted", SENDER): {"cancel": "cancelled"},
    ("accepted", CLOCK): {"expire": "expired"},
    ("in_progress", TAKER): {"hold": "on_hold", "complete": "completed", "fail": "failed"},
    ("in_progress", SENDER): {"request_cancel": "cancel_requested"},
    ("on_hold", TAKER): {"resume": "in_progress", "complete": "completed", "fail": "failed"},
    ("on_hold", SENDER): {"request_cancel": "cancel_requested"},
    ("cancel_requested", TAKER): {"agree_cancel": "cancelled", "refuse_cancel": "back"},
}
OVER = {"declined", "expired", "failed", "cancelled", "completed"}
DAYS = {
    "requested": 1,
    "received": 14,
    "info_requested": 14,
    "waitlisted": 90,
    "accepted": 60,
    "in_progress": 180,
    "on_hold": 60,
    "cancel_requested": 3,
}
NEEDS_REASON = {"decline", "fail", "cancel", "request_cancel", "refuse_cancel"}
TAKES_REASON = NEEDS_REASON | {"waitlist", "ask", "hold"}
OUTCOMES = {
    "psychotherapy": {"treated"},
    "medical-evaluation": {"eligible", "eligible-with-conditions", "not-eligible"},
}

seen: Counter[str] = Counter()


class Walk(RuleBasedStateMachine):
    @initialize(
        kind=st.sampled_from([Kind.PSYCHOTHERAPY, Kind.MEDICAL_EVALUATION]),
        led=st.sampled_from([0, 1, 2, 3, 3]),
    )
    def request(self, kind, led):
        """Made, and led some way: left to chance alone, few referrals would come as far as a session."""
        self.referral = Referral.request(
            id="ref_1",
            episode_id="epi_1",
            partnership_id="pship_1",
            kind=kind,
            referrer=SENDER,
            recipient=TAKER,
            at=NOON,
        )
        self.now = NOON
        self.state, self.version, self.due = "requested", 1, NOON + timedelta(days=1)
        self.received = self.opened = False
        self.last = None
        self.came_from = self.asked_in = ""
        self.closed_at = NOON
        for move, to in (("receive", "received"), ("accept", "accepted"), ("start", "in_progress"))[:led]:
            self.call(move, TAKER, None, None, None)
            self.follow(move, TAKER, None, None, to)

    def allowed(self, who):
        """What the table, the clock and the undo window let *who* do: move -> next state."""
        moves = dict(TABLE.get((self.state, who), {}))
        if who == CLOCK and self.now < self.due:
            moves = {}
        if moves.get("refuse_cancel"):
            moves["refuse_cancel"] = self.asked_in
        if who == TAKER and not self.opened and self.state not in OVER | {"requested"}:
            moves["open"] = self.state
        by_setter = self.last is not None and self.last[1] == who != CLOCK
        if self.state in OVER and by_setter and self.now - self.closed_at <= timedelta(minutes=10):
            moves["undo"] = self.came_from
        return moves

    @rule(wait=st.sampled_from([0, 1, 2, 5, 9, 11, 60, 60 * 24, 60 * 24 * 20, 60 * 24 * 90]))
    def time_passes(self, wait):
        self.now += timedelta(minutes=wait)

    @rule(
        data=st.data(),
        who=st.sampled_from([SENDER, TAKER, TAKER, CLOCK, STRANGER]),
        wanted=st.sampled_from(["legal", "legal", "legal", "legal", "repeat", "any"]),
        version=st.sampled_from(["unsaid", "unsaid", "unsaid", "present", "present", "older"]),
    )
    def somebody_tries(self, data, who, wanted, version):
        legal = sorted(self.allowed(who)) if who != STRANGER else []
        if wanted == "legal" and legal:
            move = data.draw(st.sampled_from(legal), label="move")
        elif wanted == "repeat" and self.last is not None:
            move, who = self.last[0], self.last[1]
        else:
            move = data.draw(st.sampled_from([each.value for each in Move]), label="move")
        if move == "expire":
            who = CLOCK
        reason = data.draw(
            st.sampled_from(["other"] * 5 + [None, "capacity", "nonsense"])
            if move in TAKES_REASON
            else st.none()
        )
        outcome = data.draw(st.sampled_from(["treated", "eligible", "cured"])) if move == "complete" else None
        if wanted == "repeat" and self.last is not None:
            reason, outcome = self.last[2], self.last[3]
        number = {"unsaid": None, "present": self.version, "older": self.version - 1}[version]
        if move == "expire":
            number = None

        expected = self.expectation(move, who, reason, outcome, number)
        before = vars(self.referral).copy()
        try:
            moved = self.call(move, who, reason, outcome, number)
        except Refusal as refusal:
            assert type(refusal) is expected, (move, who, refusal)  # noqa: PT017
            assert vars(self.referral) == before, "a refused move changed something"
            seen[expected.__name__] += 1
            return
        if expected is None:
            assert moved is None
            assert vars(self.referral) == before, "a repeated move changed something"
            seen["repeat"] += 1
            return
        assert moved is not None
        assert expected == moved.to_state.value
        seen["move"] += 1
        seen[f"in {expected}"] += 1
        self.follow(move, who, reason, outcome, expected)

    def expectation(self, move, who, reason, outcome, number):
        """The next state, None for a repeat, or the kind of refusal."""
        if who == STRANGER:
            return NotYours
        if who == TAKER and ((move == "receive" and self.received) or (move == "open" and self.opened)):
            return None
        if move not in ("receive", "open") and self.last == (move, who, reason, outcome):
            return None
        legal = self.allowed(who)
        if move not in legal:
            return ReferralClosed if self.state in OVER else MoveNotAllowed
        if number is not None and number != self.version:
            return StaleVersion
        if reason is None and move in NEEDS_REASON:
            return ReasonNotAllowed
        if reason == "nonsense" or (reason == "capacity" and move not in ("decline", "waitlist")):
            return ReasonNotAllowed
        if move == "complete" and outcome not in OUTCOMES[self.referral.kind.value]:
            return OutcomeNotAllowed
        return legal[move]

    def call(self, move, who, reason, outcome, number):
        if move == "expire":
            return self.referral.expire(self.now)
        words = {}
        if move in TAKES_REASON:
            words["reason"] = reason
        if move == "complete":
            words["outcome"] = outcome
        return getattr(self.referral, move)(who, self.now, version=number, **words)

    def follow(self, move, who, reason, outcome, to):
        if move == "open":
            self.opened = True
            return
        if move == "receive":
            self.received = True
        if move == "request_cancel":
            self.asked_in = self.state
        if to in OVER:
            self.came_from, self.closed_at = self.state, self.now
        elif move != "undo":
            self.due = self.now + timedelta(days=DAYS[to])
        self.state, self.version = to, self.version + 1
        self.last = (move, who, reason, outcome)

    @invariant()
    def the_referral_is_where_the_table_says(self):
        referral = self.referral
        assert (referral.state.value, referral.version) == (self.state, self.version)
        assert referral.due_at == self.due
        assert (referral.outcome is not None) == (self.state == "completed")
        for who in (SENDER, TAKER, CLOCK):
            assert {move.value for move in referral.moves(who, self.now)} == set(self.allowed(who))


def test_thousands_of_random_steps_never_leave_the_table():
    seen.clear()
    run_state_machine_as_test(
        Walk, settings=settings(max_examples=300, stateful_step_count=60, deadline=None)
    )
    assert seen.total() > 5_000, seen
    for each in ("move", "repeat", "NotYours", "MoveNotAllowed", "ReferralClosed", "StaleVersion"):
        assert seen[each] > 100, seen
    for each in (
        "ReasonNotAllowed",
        "OutcomeNotAllowed",
        *(f"in {state}" for state in {*DAYS} - {"requested"}),
    ):
        assert seen[each] > 0, seen
