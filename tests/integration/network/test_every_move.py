"""Every row of the lifecycle's table, from both sides, online and queued, on a whole network that a model watches."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from support.network import Network, Referred, SimulatedClinic
from tandem_care.lifecycle import Move
from tandem_clinic.domain.episodes import ReferralView
from tandem_clinic.domain.refusals import MoveNotAllowed
from tandem_clinic.domain.staff import NotYourRole, Role, Staff
from tandem_clinic.hub import journal
from tandem_clinic.store import referral_lines, worklist
from tandem_clinic.store import referrals as store
from tandem_clinic.usecases import referrals
from tandem_referral.store import referrals as at_hub

GIVES, TAKES, CLOCK = "referrer", "recipient", "clock"

# (state, who): {move: next state}, written from the rules. "back" is where a cancellation was asked for.
TABLE = {
    ("requested", GIVES): {"cancel": "cancelled"},
    ("received", TAKES): {
        "accept": "accepted",
        "decline": "declined",
        "waitlist": "waitlisted",
        "ask": "info_requested",
    },
    ("received", GIVES): {"cancel": "cancelled"},
    ("info_requested", GIVES): {"answer": "received", "cancel": "cancelled"},
    ("waitlisted", TAKES): {"accept": "accepted", "decline": "declined", "ask": "info_requested"},
    ("waitlisted", GIVES): {"cancel": "cancelled"},
    ("accepted", TAKES): {"start": "in_progress", "fail": "failed"},
    ("accepted", GIVES): {"cancel": "cancelled"},
    ("in_progress", TAKES): {"hold": "on_hold", "complete": "completed", "fail": "failed"},
    ("in_progress", GIVES): {"request_cancel": "cancel_requested"},
    ("on_hold", TAKES): {"resume": "in_progress", "complete": "completed", "fail": "failed"},
    ("on_hold", GIVES): {"request_cancel": "cancel_requested"},
    ("cancel_requested", TAKES): {"agree_cancel": "cancelled", "refuse_cancel": "back"},
}
EXPIRES = {"received": 14, "info_requested": 14, "waitlisted": 90, "accepted": 60}
OVER = {"declined", "expired", "failed", "cancelled", "completed"}
WORDS: dict[str, dict[str, str]] = {
    "decline": {"reason": "capacity"},
    "cancel": {"reason": "no-longer-needed"},
    "request_cancel": {"reason": "other", "comment": "The patient asks us to."},
    "refuse_cancel": {"reason": "treatment-under-way", "comment": "In the middle of a course."},
    "fail": {"reason": "moved"},
    "ask": {"reason": "clinical-question", "comment": "Which dose last time?"},
    "hold": {"reason": "patient-request"},
}
BIRTHDAYS = (date(1950, 1, 1) + timedelta(days=day) for day in count())
"""Each patient has one of their own, so that none is taken for another."""
LONGEST = 120
"""Days that an example may last: what the clinics' keys are good for."""
ROWS = sorted((state, who, move) for (state, who), moves in TABLE.items() for move in moves)
WAYS = {
    "requested": [],
    "received": [(TAKES, "receive")],
    "waitlisted": [(TAKES, "receive"), (TAKES, "waitlist")],
    "info_requested": [(TAKES, "receive"), (TAKES, "ask")],
    "accepted": [(TAKES, "receive"), (TAKES, "accept")],
    "in_progress": [(TAKES, "receive"), (TAKES, "accept"), (TAKES, "start")],
    "on_hold": [(TAKES, "receive"), (TAKES, "accept"), (TAKES, "start"), (TAKES, "hold")],
}
WAYS["cancel_requested"] = [*WAYS["on_hold"], (GIVES, "request_cancel")]
"""How a referral comes into each state."""


class Stands:
    """The referral as the rules say it stands."""

    def __init__(self, at: datetime) -> None:
        self.state, self.version = "requested", 1
        self.asked_in = self.closed_from = self.closed_by = ""
        self.opened = False
        self.at = at

    def copy(self) -> "Stands":
        twin = Stands(self.at)
        twin.__dict__.update(self.__dict__)
        return twin

    def allowed(self, who: str, now: datetime) -> dict[str, str]:
        moves = dict(TABLE.get((self.state, who), {}))
        if "refuse_cancel" in moves:
            moves["refuse_cancel"] = self.asked_in
        if who == TAKES and not self.opened and self.state not in OVER | {"requested"}:
            moves["open"] = self.state
        if self.state in OVER and self.closed_by == who and now - self.at <= timedelta(minutes=10):
            moves["undo"] = self.closed_from
        return moves

    def make(self, move: str, who: str, now: datetime) -> None:
        to = self.allowed(who, now)[move] if who != CLOCK else "expired"
        if move == "open":
            self.opened = True
            return
        if move == "request_cancel":
            self.asked_in = self.state
        if to in OVER:
            self.closed_from, self.closed_by = self.state, who
        self.state, self.version, self.at = to, self.version + 1, now


class Scene:
    """One referral between two clinics, and the model that says how it must stand at each."""

    def __init__(self, network: Network, kind: str) -> None:
        self.network, self.kind = network, kind
        juniper, riverbend = network.clinics["juniper"], network.clinics["riverbend"]
        gives, takes = (juniper, riverbend) if kind == "psychotherapy" else (riverbend, juniper)
        self.sides = {GIVES: gives, TAKES: takes}
        self.queued: dict[str, list[str]] = {}
        self.forecasts: dict[str, Stands] = {}
        self.left_at: dict[str, int] = {}
        takes.running = False
        self.referred: Referred = gives.refers(gives.registers(birth_date=next(BIRTHDAYS)), takes, kind)
        network.settle()
        self.truth = Stands(self.view(GIVES).changed_at)

    @property
    def now(self) -> datetime:
        return self.network.clock.now()

    def deliver(self) -> None:
        """The recipient's service runs, proves delivery, and its people say whose referral it is."""
        self.sides[TAKES].running = True
        self.network.settle()
        if self.truth.state == "requested":
            self.truth.state, self.truth.version = "received", self.truth.version + 1
            self.sides[TAKES].takes_in(self.referred)
        self.arrive()

    def lead(self, way: list[tuple[str, str]]) -> None:
        for who, move in way:
            if move == "receive":
                self.deliver()
            else:
                self.move(who, move)

    def legal(self, who: str) -> list[str]:
        return sorted(self.forecasts.get(who, self.truth).allowed(who, self.now))

    def move(self, who: str, move: str) -> None:
        self.sides[who].moves(self.referred, move, **self.words(move))
        if who in self.forecasts:
            self.forecasts[who].make(move, who, self.now)
            self.queued[who].append(move)
            self.knows(who)
        else:
            self.truth.make(move, who, self.now)
            self.arrive()

    def words(self, move: str) -> dict[str, str]:
        if move == "complete":
            return {"outcome": "treated" if self.kind == "psychotherapy" else "not-eligible"}
        return WORDS.get(move, {})

    def lose_the_hub(self, who: str) -> None:
        self.sides[who].reach.away = True
        self.forecasts[who], self.queued[who] = self.truth.copy(), []
        self.left_at[who] = self.truth.version

    def find_the_hub(self, who: str) -> bool:
        """Whether the other side had moved meanwhile: then what was queued is refused, with all that hangs on it."""
        del self.forecasts[who]
        side, queued, overtaken = (
            self.sides[who],
            self.queued.pop(who),
            self.truth.version != self.left_at[who],
        )
        before = self.refusals(side)
        side.reach.away = False
        side.node.journal.hub_is_back()
        for move in [] if overtaken else queued:
            self.truth.make(move, who, self.now)
        self.arrive()
        assert self.refusals(side) - before == (len(queued) if overtaken else 0), queued
        return overtaken and bool(queued)

    def wait(self, days: float) -> None:
        self.network.clock.advance(timedelta(days=days))
        with self.network.hub.database.reading() as tx:
            due = at_hub.get_any(tx, self.referred.referral_id).due_at
        if self.truth.state in EXPIRES and self.now >= due:
            self.truth.make("expire", CLOCK, self.now)
        self.arrive()

    def is_refused(self, who: str, move: str) -> None:
        legal, queued = self.legal(who), self.commands(who)
        with pytest.raises(MoveNotAllowed) as refused:
            self.sides[who].moves(self.referred, move, **self.words(move))
        assert sorted(filter(None, refused.value.metadata["moves"].split(","))) == legal
        assert self.commands(who) == queued

    def arrive(self) -> None:
        """All that is not held back arrives, and whoever is reached agrees."""
        self.network.settle()
        reached = [who for who, side in self.sides.items() if side.running]
        self.truth.at = max(self.view(who).changed_at for who in reached)
        for who in set(reached) - self.forecasts.keys():
            seen = self.view(who)
            assert (seen.state, seen.version) == (self.truth.state, self.truth.version), who
            assert (seen.first_opened_at is not None) == self.truth.opened, who
            self.knows(who)
            with self.sides[who].db.reading() as tx:
                lines = referral_lines.of(tx, self.referred.referral_id)
            assert [line.version for line in lines] == list(range(1, self.truth.version + 1))
            assert lines[-1].state == self.truth.state

    def knows(self, who: str) -> None:
        """What may be done now is what the table says."""
        side = self.sides[who]
        with side.db.transaction() as tx:
            known = store.get(tx, self.referred.referral_id)
            assert sorted(referrals.possible_moves(tx, side.clinic, known)) == self.legal(who), who

    def view(self, who: str) -> ReferralView:
        with self.sides[who].db.reading() as tx:
            return store.get(tx, self.referred.referral_id)

    def commands(self, who: str) -> int:
        with self.sides[who].db.reading() as tx:
            return len(journal.queued(tx))

    def refusals(self, side: SimulatedClinic) -> int:
        with side.db.reading() as tx:
            return sum(item.kind == "command-refused" for item in worklist.waiting(tx))


class Walk(RuleBasedStateMachine):
    begin: Callable[[], Network]
    """A network of two partners, as if this example were the first."""
    seen: Counter[str]

    @initialize(
        kind=st.sampled_from(["psychotherapy", "medical-evaluation"]),
        state=st.sampled_from(["requested", "received", "accepted", "in_progress", "in_progress"]),
    )
    def refer(self, kind: str, state: str) -> None:
        self.scene, self.days = Scene(type(self).begin(), kind), 0.0
        self.scene.lead(WAYS[state])

    @precondition(lambda self: not self.scene.sides[TAKES].running)
    @rule()
    def deliver(self) -> None:
        self.scene.deliver()

    @rule(data=st.data(), who=st.sampled_from([GIVES, TAKES, TAKES]))
    def somebody_moves(self, data: Any, who: str) -> None:
        if not self.scene.sides[who].running:
            return
        legal = self.scene.legal(who)
        if legal and data.draw(st.integers(0, 5), label="illegal?") > 0:
            self.scene.move(who, data.draw(st.sampled_from(legal), label="move"))
            self.seen["moved"] += 1
            return
        others = sorted({each.value for each in Move} - {*legal, "expire"})
        self.scene.is_refused(who, data.draw(st.sampled_from(others), label="illegal move"))
        self.seen["refused"] += 1

    @precondition(lambda self: self.scene.sides[TAKES].running)
    @rule(data=st.data(), who=st.sampled_from([GIVES, TAKES]), meanwhile=st.booleans())
    def somebody_works_alone(self, data: Any, who: str, meanwhile: bool) -> None:
        """Queues up to four moves while the hub is away; the other side may move meanwhile."""
        self.scene.lose_the_hub(who)
        for _ in range(4):
            if legal := self.scene.legal(who):
                self.scene.move(who, data.draw(st.sampled_from(legal), label="queued"))
                self.seen["queued"] += 1
        other = GIVES if who == TAKES else TAKES
        if meanwhile and (legal := self.scene.legal(other)):
            self.scene.move(other, data.draw(st.sampled_from(legal), label="meanwhile"))
        self.seen["overtaken"] += self.scene.find_the_hub(who)

    @rule(days=st.sampled_from([0.005, 0.01, 1, 15, 61]))
    def time_passes(self, days: float) -> None:
        if self.days + days <= LONGEST:
            self.days += days
            self.scene.wait(days)

    def teardown(self) -> None:
        if hasattr(self, "scene"):
            self.scene.network.close()


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    made = Network(tmp_path)
    juniper = made.clinic("juniper", "prescriber")
    juniper.partners_with(made.clinic("riverbend", "therapy_provider"))
    yield made
    made.close()


@pytest.fixture
def walk(network: Network, tmp_path: Path) -> type[Walk]:
    network.close()
    numbers = count()

    def begin() -> Network:
        folder = tmp_path / f"example-{next(numbers)}"
        folder.mkdir()

        def copied(url: str) -> str:
            before = Path(url.removeprefix("sqlite:///"))
            shutil.copy(before, folder / before.name)
            return f"sqlite:///{folder / before.name}"

        return network.continued(copied)

    return type("WalkHere", (Walk,), {"begin": staticmethod(begin), "seen": Counter()})


@pytest.mark.parametrize("state", WAYS)
def test_every_row_leads_where_it_says_online_and_queued_and_back_by_undo(
    network: Network, state: str
) -> None:
    """In each state every move of the table is made, and each that is not in it is refused, by both sides."""
    for who, move in [(who, move) for of, who, move in ROWS if of == state]:
        for queues in (False, True):
            scene = Scene(network, "psychotherapy" if queues else "medical-evaluation")
            scene.lead(WAYS[state])
            assert scene.truth.state == state
            for side in [each for each in scene.sides if scene.sides[each].running]:
                legal = scene.legal(side)
                for other in sorted({each.value for each in Move} - {*legal, "expire"}):
                    scene.is_refused(side, other)
            if queues:
                scene.lose_the_hub(who)
            scene.move(who, move)
            if "undo" in scene.legal(who):
                scene.move(who, "undo")
            if queues:
                scene.find_the_hub(who)
            scene.deliver()


@pytest.mark.parametrize("state", EXPIRES)
def test_the_clock_ends_what_nobody_moved_and_nobody_takes_it_back(network: Network, state: str) -> None:
    scene = Scene(network, "psychotherapy")
    scene.lead(WAYS[state])
    scene.wait(EXPIRES[state] - 0.5)
    assert scene.truth.state == state
    scene.wait(1)
    assert scene.truth.state == "expired"
    assert scene.legal(GIVES) == scene.legal(TAKES) == []


def test_who_only_audits_moves_nothing(network: Network) -> None:
    scene = Scene(network, "psychotherapy")
    auditor = Staff("staff_auditor", "Auditor", frozenset({Role.AUDITOR}))
    side = scene.sides[GIVES]
    for move in sorted(set(Move) - {Move.EXPIRE}):
        with pytest.raises(NotYourRole), side.db.transaction() as tx:
            referrals.move_referral(tx, side.clinic, auditor, scene.referred.referral_id, move)


@pytest.mark.timeout(900)
def test_both_sides_go_where_the_table_leads_and_nowhere_else(walk: type[Walk]) -> None:
    run_state_machine_as_test(
        walk,
        settings=settings(
            max_examples=10,
            stateful_step_count=30,
            phases=[Phase.generate],
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    for each in ("moved", "queued", "refused", "overtaken"):
        assert walk.seen[each] > 0, walk.seen
