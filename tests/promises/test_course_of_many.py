"""Whatever practices, people, clocks and cables do, the promises hold: P1 to P4, P8 and P9 against the oracle."""

import os
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import grpc
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from support.care_examples import one_of_every_kind
from support.network import Referred, SimulatedClinic
from support.oracle import BASE, hold
from support.staged import Place, a_place
from support.watched import MOVE_OF, Crash, WatchedNetwork
from tandem.referral.v1 import referral_pb2
from tandem.referral.v1.referral_pb2_grpc import ReferralServiceStub
from tandem_care.categories import Category
from tandem_care.entry_kinds import Content
from tandem_care.lifecycle import Move
from tandem_clinic.store import entries as clinic_entries
from tandem_clinic.usecases import partner
from tandem_clinic.usecases.entries import amend_entry, take_back_entry
from tandem_platform.errors import Refusal
from tandem_platform.exchange.transport.memory import corrupting, duplicating, losing, reordering
from tandem_platform.ids import new_id
from tandem_platform.rpc.client import refusal_of
from tandem_platform.rpc.identity import Caller
from tandem_platform.rpc.local import unreachable

LONG = bool(os.environ.get("TANDEM_LONG"))
EXAMPLES, STEPS = (500, 100) if LONG else (60, 50)

CONTENTS: list[Content] = [
    one_of_every_kind()[kind] for kind in ("scale-score", "vitals", "preparation-summary", "message")
]
CATEGORIES = [content.category for content in CONTENTS]
BASES = [Category(code) for code in sorted(BASE)]
AGO = [timedelta(0), timedelta(minutes=5), timedelta(hours=2), timedelta(days=3)]
AHEAD = [timedelta(seconds=20), timedelta(minutes=10), timedelta(hours=3)]
REASONS = {
    "decline": "capacity",
    "waitlist": "capacity",
    "ask": "missing-documents",
    "hold": "patient-request",
    "fail": "moved",
    "cancel": "moved",
    "request_cancel": "moved",
    "refuse_cancel": "patient-wishes-to-continue",
}
NAMES = ["Ada Alpha", "Ben Bravo", "Cleo Charlie", "Dora Delta", "Emil Echo", "Fritz Foxtrot", "Gita Golf"]
RPC_OF = {move: name for name, move in MOVE_OF.items()}
MOVES = [
    *sorted(RPC_OF),
    *(move for move in sorted(RPC_OF) if move not in ("cancel", "complete", "decline", "fail")),
]
"""What keeps a referral alive comes up twice as often: where nothing lives, nothing is given."""

ANY = st.integers(0, 11)
"""Picks one of whatever there is to pick from, counting round."""


def pick(options: Any, number: int) -> Any:
    return options[number % len(options)]


@dataclass
class Share:
    """A patient on an episode of two practices."""

    referrer: str
    recipient: str
    kind: str
    referred: Referred
    patients: dict[str, str]
    records: dict[str, list[str]] = field(default_factory=dict)
    permissions: list[str] = field(default_factory=list)

    @property
    def sides(self) -> tuple[str, str]:
        return self.referrer, self.recipient


@dataclass
class Stage:
    """Where every example begins."""

    start: WatchedNetwork
    shares: list[Share]
    place: Place


def three_practices(directory: Path, url_of: Callable[[str], str]) -> WatchedNetwork:
    """Juniper prescribes; Riverbend and Cedar give psychotherapy; both are Juniper's partners."""
    network = WatchedNetwork(directory, url_of)
    juniper = network.clinic("juniper", "prescriber")
    for name in ("riverbend", "cedar"):
        other = network.clinic(name, "therapy_provider")
        network.partnerships[frozenset({"juniper", name})] = juniper.partners_with(other)
    return network


def refer(network: WatchedNetwork, by: str, to: str, patient_id: str) -> Share:
    kind = "psychotherapy" if by == "juniper" else "medical-evaluation"
    referred = network.clinics[by].refers(patient_id, network.clinics[to], kind=kind)
    return Share(by, to, kind, referred, {by: patient_id})


def take_in(network: WatchedNetwork, share: Share) -> None:
    share.patients[share.recipient] = network.clinics[share.recipient].takes_in(share.referred)


def three_shares(network: WatchedNetwork) -> list[Share]:
    """One patient of Juniper's shared with both partners, one of Cedar's shared with Juniper."""
    patient_id = network.clinics["juniper"].registers()
    shares = [
        refer(network, "juniper", "riverbend", patient_id),
        refer(network, "juniper", "cedar", patient_id),
        refer(network, "cedar", "juniper", network.clinics["cedar"].registers("Robin Sample")),
    ]
    network.settle()
    for share in shares:
        take_in(network, share)
        network.clinics[share.recipient].moves(share.referred, "accept")
    network.settle()
    for share in shares:
        by = network.clinics[share.referrer]
        share.permissions.append(by.grants(share.referred, map(Category, CATEGORIES)))
    network.settle()
    network.check()
    return shares


class Course(RuleBasedStateMachine):
    """One example: a copy of the stage, and anything that may happen on it."""

    stage: Stage
    counted: dict[str, int]

    def __init__(self) -> None:
        super().__init__()
        # The same ids in every run of the same example, or a failure could not be shrunk.
        self.chance = random.Random(11)
        self.ids = mock.patch("secrets.token_bytes", self._bytes)
        self.ids.start()
        self.ending = ExitStack()
        copy_of = self.ending.enter_context(self.stage.place.copies())
        self.network = self.stage.start.continued(copy_of)
        self.shares = [
            Share(
                each.referrer,
                each.recipient,
                each.kind,
                each.referred,
                dict(each.patients),
                permissions=list(each.permissions),
            )
            for each in self.stage.shares
        ]
        self.done = 0

    def _bytes(self, count: int | None = None) -> bytes:
        return self.chance.randbytes(32 if count is None else count)

    def clinic(self, name: str) -> SimulatedClinic:
        return self.network.clinics[name]

    def attempt(self, work: Callable[[], Any], *allowed: str) -> Any:
        """A use case that may be refused, but only for the named reasons."""
        self.done += 1
        try:
            return work()
        except Refusal as refusal:
            if refusal.reason not in allowed:
                raise
        return None

    def hurry(self, name: str) -> None:
        """What was done there reaches the hub and Kafka now; others have not heard of it yet."""
        clinic = self.clinic(name)
        for part in ("journal", "relay", "push"):
            self.survive(name, lambda part=part: self.network.step_clinic(clinic, part))  # type: ignore[misc]
        self.survive("hub", self.network.step_hub)

    # What people do --------------------------------------------------------------------------

    @rule(
        share=ANY, side=ANY, content=ANY, ago=ANY, derived=ANY, count=st.integers(1, 3), at_once=st.booleans()
    )
    def record(
        self, share: int, side: int, content: int, ago: int, derived: int, count: int, at_once: bool
    ) -> None:
        for number in range(count):
            self.record_one(share, side, content + number, ago, derived + number)
        if at_once:
            self.hurry(pick(pick(self.shares, share).sides, side))

    def record_one(self, share: int, side: int, content: int, ago: int, derived: int) -> None:
        chosen: Share = pick(self.shares, share)
        name = pick(chosen.sides, side)
        if name not in chosen.patients:
            return
        inputs = [pick(CATEGORIES, content + 1)] if derived == 0 else []
        authored_at = self.network.clock.now() - pick(AGO, ago)
        recorded = self.attempt(
            lambda: self.clinic(name).records(
                chosen.patients[name], pick(CONTENTS, content), authored_at=authored_at, derived_from=inputs
            )
        )
        hold("P9", recorded is not None and recorded.record_id, "nothing was recorded")
        chosen.records.setdefault(name, []).append(recorded.record_id)
        self.counted["entries"] += len(recorded.entry_ids)

    @precondition(lambda self: any(share.records for share in self.shares))
    @rule(share=ANY, record=ANY, wrong=st.booleans())
    def amend_or_take_back(self, share: int, record: int, wrong: bool) -> None:
        known = [
            (name, record_id)
            for each in self.shares
            for name, record_ids in sorted(each.records.items())
            for record_id in record_ids
        ]
        name, record_id = pick(known, record + 12 * share)
        clinic = self.clinic(name)
        if wrong:
            self.attempt(lambda: clinic.do(take_back_entry, record_id), "ENTRY_NOT_ACTIVE")
            return
        with clinic.db.reading() as tx:
            kind = clinic_entries.own(tx, clinic.clinic.vault, record_id).kind
        content = next(each for each in CONTENTS if each.kind == kind)
        amended = self.attempt(lambda: clinic.do(amend_entry, record_id, content), "ENTRY_NOT_ACTIVE")
        if amended is not None:
            share_of = next(each for each in self.shares if record_id in each.records.get(name, []))
            share_of.records[name].append(amended.record_id)

    @rule(
        share=ANY,
        side=ANY,
        first=ANY,
        also=ANY,
        history=ANY,
        ahead=ANY,
        permits=st.sampled_from([True, True, True, False]),
        at_once=st.booleans(),
    )
    def grant_or_deny(
        self,
        share: int,
        side: int,
        first: int,
        also: int,
        history: int,
        ahead: int,
        permits: bool,
        at_once: bool,
    ) -> None:
        chosen: Share = pick(self.shares, share)
        name = pick(chosen.sides, side)
        now = self.network.clock.now()
        # A few at a time, or all; one for a denial.
        categories = {pick(CATEGORIES, first), pick(CATEGORIES, also)} if also < 8 else set(CATEGORIES)
        if not permits:
            categories = {pick(CATEGORIES, first)}
        times: dict[str, Any] = {}
        if permits and history % 3:
            times["history_from"] = now - pick(AGO, history)
        if ahead in (1, 2):
            times["ends_at"] = now + pick(AHEAD, ahead)
        if ahead == 3:
            times["starts_at"] = now + AHEAD[0]
        self.attempt(
            lambda: chosen.permissions.append(
                self.clinic(name).grants(chosen.referred, categories, **times)
                if permits
                else self.clinic(name).denies(chosen.referred, categories)
            ),
            "EPISODE_CLOSED",
            "PATIENT_NOT_LINKED",
            "EPISODE_NOT_FOUND",
        )

        if at_once:
            self.hurry(name)

    @precondition(lambda self: any(share.permissions for share in self.shares))
    @rule(permission=ANY, other_side=st.booleans(), only_hold=st.booleans(), at_once=st.booleans())
    def withdraw(self, permission: int, other_side: bool, only_hold: bool, at_once: bool) -> None:
        known = [(each, permission_id) for each in self.shares for permission_id in each.permissions]
        share, permission_id = pick(known[::-1], permission)
        name = pick(share.sides, int(other_side))
        clinic = self.clinic(name)
        self.attempt(
            lambda: clinic.holds(permission_id) if only_hold else clinic.revokes(permission_id),
            "PERMISSION_NOT_FOUND",
            "PERMISSION_OVER",
        )
        if at_once:
            self.hurry(name)

    @rule(share=ANY, side=ANY, content=ANY, only_hold=st.booleans())
    def change_a_mind(self, share: int, side: int, content: int, only_hold: bool) -> None:
        """Permitted, released and taken back at once, before the other side has fetched it."""
        chosen: Share = pick(self.shares, share)
        name = pick(chosen.sides, side)
        clinic = self.clinic(name)
        permission_id = self.attempt(
            lambda: clinic.grants(chosen.referred, CATEGORIES),
            "EPISODE_CLOSED",
            "PATIENT_NOT_LINKED",
            "EPISODE_NOT_FOUND",
        )
        if permission_id is None:
            return
        chosen.permissions.append(permission_id)
        self.hurry(name)
        self.record_one(share, side, content, 0, 1)
        self.hurry(name)
        self.attempt(
            lambda: clinic.holds(permission_id) if only_hold else clinic.revokes(permission_id),
            "PERMISSION_OVER",
        )
        self.hurry(name)

    @rule(way=ANY, patient=ANY)
    def refer(self, way: int, patient: int) -> None:
        if len(self.shares) >= 6:
            return
        by, to = pick([("juniper", "riverbend"), ("riverbend", "juniper"), ("cedar", "juniper")], way)
        clinic = self.clinic(by)
        made = self.attempt(
            lambda: refer(self.network, by, to, clinic.registers(pick(NAMES, len(self.shares)))),
            "PARTNERSHIP_NOT_ACTIVE",
        )
        if made is not None:
            self.shares.append(made)

    @precondition(lambda self: any(each.recipient not in each.patients for each in self.shares))
    @rule(share=ANY)
    def take_in(self, share: int) -> None:
        waiting = [each for each in self.shares if each.recipient not in each.patients]
        if waiting:
            self.attempt(
                lambda: take_in(self.network, pick(waiting, share)),
                "IDENTITY_NOT_RECEIVED",
                "POSSIBLE_DUPLICATE",
                "REFERRAL_NOT_FOUND",
            )

    @rule(share=ANY, side=ANY, move=st.sampled_from(MOVES))
    def move(self, share: int, side: int, move: str) -> None:
        chosen: Share = pick(self.shares, share)
        name = pick(chosen.sides, side)
        details = {"reason": REASONS[move]} if move in REASONS else {}
        if move == "complete":
            details["outcome"] = "treated" if chosen.kind == "psychotherapy" else "eligible"
        self.attempt(
            lambda: self.clinic(name).moves(chosen.referred, Move(move).value, **details),
            "MOVE_NOT_ALLOWED",
            "PATIENT_NOT_LINKED",
            "REFERRAL_NOT_FOUND",
        )

    @rule(
        share=ANY,
        name=st.sampled_from(["juniper", "riverbend", "cedar"]),
        move=st.sampled_from(MOVES),
    )
    def force_a_move(self, share: int, name: str, move: str) -> None:
        """Past the clinic's own checks, straight to the hub, with the version that it wants."""
        chosen: Share = pick(self.shares, share)
        referral = self.network.oracle.referrals.get(chosen.referred.referral_id)
        if referral is None:
            return
        self.done += 1
        request: Any = getattr(referral_pb2, f"{RPC_OF[move]}Request")(
            request_id=new_id("req"), referral_id=referral.referral_id, version=referral.version
        )
        if move in REASONS:
            request.reason = REASONS[move]
        if move == "complete":
            request.outcome = "treated" if chosen.kind == "psychotherapy" else "eligible"
        stub = ReferralServiceStub(self.network.channel(Caller("practice", name)))
        try:
            getattr(stub, RPC_OF[move])(request, timeout=30)
        except grpc.RpcError as error:
            refusal = refusal_of(error)
            if name not in chosen.sides and refusal.reason != "SYNC_FIRST":
                hold("P4", refusal.reason == "REFERRAL_NOT_FOUND", f"a stranger was told {refusal.reason}")
        else:
            hold("P4", name in chosen.sides, f"{name}, a stranger, moved a referral")

    @rule(
        name=st.sampled_from(["riverbend", "cedar"]),
        by_juniper=st.booleans(),
        suspend=st.sampled_from([True, False, False]),
    )
    def suspend_or_resume(self, name: str, by_juniper: bool, suspend: bool) -> None:
        by = self.clinic("juniper" if by_juniper else name)
        partnership_id = self.network.partnerships[frozenset({"juniper", name})]
        change = partner.suspend_partnership if suspend else partner.resume_partnership
        self.attempt(lambda: by.do(change, partnership_id))

    @rule(share=ANY, side=ANY)
    def read_the_plan(self, share: int, side: int) -> None:
        chosen: Share = pick(self.shares, share)
        name = pick(chosen.sides, side)
        if name not in chosen.patients:
            return
        clinic = self.clinic(name)
        items = self.attempt(lambda: clinic.plan(chosen.patients[name]))
        own = {item.id for item in items if item.origin == "own"}
        for record_id in chosen.records.get(name, []):
            hold("P9", record_id in own, f"{name} no longer sees a record of its own")
        for item in items:
            if item.origin != "own":
                known = self.network.oracle.entries.get(item.id)
                hold("P9", known is not None and known.releases, f"{name} shows {item.id}, which nobody gave")
                if item.content:
                    self.network.oracle.read(item.id, self.network.clock.now())

    # What time and machines do ---------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 1, 5, 31, 65, 700, 11_000]))
    def wait(self, seconds: int) -> None:
        self.network.advance(seconds)

    @rule(part=st.integers(0, 4))
    def step_part_of_hub(self, part: int) -> None:
        self.survive("hub", lambda: self.network.step_hub_part(part))

    @rule(name=st.sampled_from(["juniper", "riverbend", "cedar"]), part=st.integers(0, 6))
    def step_part_of_clinic(self, name: str, part: int) -> None:
        self.survive(name, lambda: self.network.step_clinic_part(self.clinic(name), part))

    @rule(rounds=st.sampled_from([1, 2, 40]))
    def settle(self, rounds: int) -> None:
        self.survive("everybody", lambda: self.network.settle(rounds))

    @rule(
        fault=st.sampled_from(
            [
                "hub away",
                "hub away",
                "hub back",
                "lost requests",
                "lost answers",
                "crash after call",
                "disturbed",
                "broker down",
                "broker up",
                "dropped",
                "emptied",
                "crash in publishing",
                "hub restarts",
                "clinic restarts",
            ]
        ),
        name=st.sampled_from(["juniper", "riverbend", "cedar"]),
        number=ANY,
    )
    def disturb(self, fault: str, name: str, number: int) -> None:
        clinic, memory = self.clinic(name), self.network.memory
        match fault:
            case "hub away" | "hub back":
                clinic.reach.away = fault == "hub away"
            case "lost requests" | "lost answers":
                self.lose(clinic, "request" if fault == "lost requests" else "response", 1 + number % 4)
            case "crash after call":
                self.die_after(clinic, number % 4)
            case "disturbed":
                kind = pick([losing, duplicating, corrupting, reordering], number)
                memory.faults = kind(pick([0.2, 0.7, 1.0], number), random.Random(number))
            case "broker down" | "broker up":
                memory.down = fault == "broker down"
            case "dropped":
                memory.drop(1 + number % 5)
            case "emptied":
                memory.lose_all()
            case "crash in publishing":
                memory.faults = self.die_publishing
            case "hub restarts":
                self.network.restart_hub()
            case "clinic restarts":
                clinic.restart()

    def lose(self, clinic: SimulatedClinic, phase: str, count: int) -> None:
        """The next calls fail; of those in phase "response" the hub has done its part."""
        left = [count]

        def lose(method: str, at: str) -> None:
            if at == phase and left[0]:
                left[0] -= 1
                raise unreachable()

        clinic.reach.hooks.append(lose)

    def die_after(self, clinic: SimulatedClinic, calls: int) -> None:
        """Dies when the hub has answered, before it could note the answer."""
        left = [calls]

        def die(method: str, at: str) -> None:
            if at == "response":
                left[0] -= 1
                if left[0] == -1:
                    raise Crash(clinic.name)

        clinic.reach.hooks.append(die)

    def die_publishing(self, record: Any) -> Any:
        """Whoever publishes next dies with the record half way."""
        self.network.memory.faults = None
        raise Crash(record.topic)

    def survive(self, who: str, work: Callable[[], Any]) -> None:
        """Run parts of processes; whatever dies is started again."""
        self.done += 1
        try:
            work()
        except Crash as crash:
            self.counted["crashes"] += 1
            died = str(crash)
            if died.startswith("tandem."):
                died = died.split(".")[1] if died.endswith(".up") else "hub"
            if died == "hub":
                self.network.restart_hub()
            else:
                self.clinic(died).restart()

    def count_what_happened(self) -> None:
        oracle, counted = self.network.oracle, self.counted
        releases = [each for entry in oracle.entries.values() for each in entry.releases]
        counted["calls"] += self.network.watch.calls
        counted["releases"] += len(releases)
        counted["voided"] += sum(1 for each in releases if each.voided)
        counted["received"] += sum(entry.times_received for entry in oracle.entries.values())
        counted["withheld"] += sum(not entry.releases for entry in oracle.entries.values())
        counted["moves"] += sum(each.version for each in oracle.referrals.values())

    def teardown(self) -> None:
        try:
            self.network.heal()
            self.network.check()
            self.counted["examples"] += 1
        finally:
            self.counted["steps"] += self.done
            self.count_what_happened()
            self.network.close()
            self.ending.close()
            self.ids.stop()


@pytest.fixture(scope="module")
def stage(place: Place) -> Iterator[Stage]:
    with a_place(place.server) as here:
        start = three_practices(here.home, here.fresh)
        shares = three_shares(start)
        start.close()
        yield Stage(start, shares, place)


@pytest.mark.timeout(1200)  # it ends by its own count of steps
def test_the_promises_hold_on_every_course(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    counted: dict[str, int] = defaultdict(int)
    course = type("Course", (Course,), {"stage": stage, "counted": counted})
    run_state_machine_as_test(
        course,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            # The same examples every time; shrinking a failure is for whoever looks into it.
            derandomize=not LONG,
            phases=[Phase.generate, Phase.shrink] if LONG else [Phase.generate],
            report_multiple_bugs=False,
            deadline=None,
            print_blob=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    with capsys.disabled():
        sys.stdout.write(f"\n{dict(counted)}\n")
    assert counted["steps"] >= EXAMPLES * STEPS // 3
