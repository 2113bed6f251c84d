"""Three practices that work together on machines which fail, and what every schedule begins from."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self
from unittest import mock

from faults.broker import FailingBroker
from faults.effects import Effects
from faults.lines import FailingChannel, Liar, Line
from faults.machines import FailingDatabase, Machine, SkewedClock
from faults.restores import RestoringOracle
from google.rpc.code_pb2 import Code as WireCode
from google.rpc.error_details_pb2 import ErrorInfo
from sqlalchemy import MetaData, select

from support.network import Referred, SimulatedClinic
from support.oracle import hold
from support.staged import Place
from support.watched import TRANSIENT, Crash, Seen, Watch, WatchedNetwork
from tandem.exchange.v1.exchange_pb2 import AuditRootPublished
from tandem.referral.v1.referral_pb2 import RequestReferralRequest
from tandem_clinic.hub.journal import REPLAY_PATIENCE
from tandem_clinic.node import ClinicNode
from tandem_clinic.store.tables import audit_root, command, received_entry
from tandem_platform.clock import Clock
from tandem_platform.errors import Refusal
from tandem_platform.exchange.rows import practice_of
from tandem_platform.exchange.transport.memory import MemoryTransport
from tandem_platform.rpc.identity import Caller
from tandem_platform.rpc.local import Faults, LocalChannel
from tandem_platform.rpc.status import RpcRefusal
from tandem_platform.storage import Database
from tandem_referral.hub import Hub
from tandem_referral.store.tables import exchange as hub_exchange
from tandem_referral.usecases.audit import verify

NAMES = ("juniper", "riverbend", "cedar")


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

    def copied(self) -> "Share":
        return Share(self.referrer, self.recipient, self.kind, self.referred, dict(self.patients))


class FailingNetwork(WatchedNetwork):
    """Every process on a machine of its own, every clinic behind a line of its own."""

    def __init__(self, directory: Path, database_of: Callable[[str], str]) -> None:
        self._begin()
        super().__init__(directory, database_of)

    def turn(self, name: str) -> None:
        """The clinic's own process ends for good; whoever has its keys may do as he likes."""
        self.clinics[name].running = False
        self.watch.excused.add(name)
        self.knowing.excused.add(name)

    def _begin(self) -> None:
        self.effects = Effects()
        self.chance = random.Random(0)
        self.machines: dict[str, Machine] = {}
        self.lines: dict[str, Line] = {}
        self.liar: Liar | None = None
        self.second: Hub | None = None
        self.zombie_hubs: list[Hub] = []
        self.zombie_nodes: list[tuple[str, ClinicNode]] = []
        self._last_now: datetime | None = None

    def __copy__(self) -> Self:
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._begin()
        return twin

    def continued(self, copy_of: Callable[[str], str]) -> "FailingNetwork":
        twin = super().continued(copy_of)
        assert isinstance(twin, FailingNetwork)
        twin.broker.effects, twin.broker.chance = twin.effects, twin.chance
        return twin

    def new_broker(self) -> MemoryTransport:
        return FailingBroker(self.effects, self.chance)

    def new_oracle(self) -> RestoringOracle:
        return RestoringOracle()

    def new_watch(self, seen: Seen) -> Watch:
        return _Witness(self, seen)

    @property
    def broker(self) -> FailingBroker:
        assert isinstance(self.memory, FailingBroker)
        return self.memory

    @property
    def knowing(self) -> RestoringOracle:
        """The oracle, which knows of restores."""
        assert isinstance(self.oracle, RestoringOracle)
        return self.oracle

    def machine(self, name: str) -> Machine:
        return self.machines.setdefault(name, Machine(name, self.effects))

    def line(self, name: str) -> Line:
        return self.lines.setdefault(name, Line(self.effects))

    def open_database(self, name: str, url: str, metadata: MetaData) -> Database:
        return FailingDatabase(url, metadata, self.machine(name))

    def clock_of(self, name: str) -> Clock:
        return SkewedClock(lambda: self.clock, self.machine(name))

    def ticks(self) -> float:
        """Seconds that only ever pass."""
        return self.clock.now().timestamp()

    def _new_hub(self, *, create: bool = False) -> Hub:
        self.ticking = self.ticks
        return super()._new_hub(create=create)

    def channel(self, caller: Caller, faults: Faults | None = None) -> LocalChannel:
        plain = super().channel(caller, faults)
        if caller.kind != "practice":
            return plain
        return FailingChannel(
            self.line(caller.id), lambda: self.liar, self.restart_hub, plain._dispatcher, caller, faults
        )

    def restart_hub(self, url: str | None = None) -> None:
        machine = self.machine("hub")
        machine.database_away = machine.disk_full = False
        machine.dies_before_commit = machine.dies_after_commit = machine.aborts = -1
        super().restart_hub(url)

    # Processes that should have ended ----------------------------------------------------------

    def succeed_hub(self) -> None:
        """Another process of the hub begins beside this one, which takes no calls any more and does not know it."""
        self.zombie_hubs.append(self.hub)
        self.hub = self._new_hub()

    def succeed_clinic(self, clinic: SimulatedClinic) -> None:
        self.zombie_nodes.append((clinic.name, clinic.node))
        clinic.connect()

    def step_zombies(self, kind: str) -> None:
        for hub in list(self.zombie_hubs):
            assert hub.feed is not None
            assert hub.relay is not None
            for step in (hub.feed.step, hub.sweeper.step, hub.ticker.step, hub.relay.step):
                if step():
                    self.effects.note(kind)
                self.watch.look_at_hub()
        for name, node in list(self.zombie_nodes):
            for part in node.parts if self.clinics[name].running else []:
                if part():
                    self.effects.note("clinic-zombie")
                self.watch.look_at(self.clinics[name])

    def begin_second_hub(self) -> None:
        """Another process of the hub, which takes calls, too."""
        self.second = self.hub
        self.hub = self._new_hub()

    def change_hubs(self) -> None:
        """What is asked or stepped next, the other process does."""
        if self.second is not None:
            self.hub, self.second = self.second, self.hub

    def step_hub_part(self, index: int) -> bool:
        did = super().step_hub_part(index)
        if did and self.second is not None:
            self.effects.note("second-hub")
        return did

    def bury(self) -> None:
        """The processes that should have ended end."""
        if self.second is not None:
            self.second.close()
            self.second = None
        for hub in self.zombie_hubs:
            hub.close()
        for _, node in self.zombie_nodes:
            node.close()
        self.zombie_hubs.clear()
        self.zombie_nodes.clear()

    def look(self) -> None:
        """At what was committed before somebody died, clinics first: what is at the hub came from there."""
        for clinic in self.clinics.values():
            self.watch.look_at(clinic)
        self.watch.look_at_hub()

    # The end -----------------------------------------------------------------------------------

    def heal(self) -> None:
        self.bury()
        jumped = bool(self.machine("hub").skew)
        for machine in self.machines.values():
            machine.heal()
        for line in self.lines.values():
            line.heal()
        self.broker.heal()
        if jumped or self._decides_nothing():
            # The hub asks for that itself: its clock was set right under it.
            self.restart_hub()
        for clinic in self.clinics.values():
            clinic.running = clinic.name not in self.watch.excused
        for _ in range(4):
            self.advance(35)
            self.settle(60)
        # What the hub permitted while its clock was ahead begins for the clinics when theirs get there.
        lead = self.watch.now - self.clock.now()
        patience = REPLAY_PATIENCE if self.knowing.hub_forgot else timedelta(0)
        if (rest := max(lead, patience)) > timedelta(0):
            self.advance(rest.total_seconds() + 1)
            self.settle(60)

    def _decides_nothing(self) -> bool:
        """Whether the hub still waits for an operator to look at its clock, which was wrong for a while."""
        with self.hub.database.reading() as tx:
            try:
                self.hub.time.decision_time(tx)
            except Refusal:
                return True
        return False

    def check(self) -> None:
        self.knowing.give_up_lost()
        self.knowing.note_refusals(self._refused_for_good(), self.watch.seen.decided)
        super().check()

    def _refused_for_good(self) -> set[str]:
        """Requests that nobody sends again, because their clinic was told of a refusal."""
        refused: set[str] = set()
        for clinic in self.clinics.values():
            with clinic.db.reading() as tx:
                rows = tx.all(select(command.c.request_id).where(command.c.state == "refused"))
            refused |= {row.request_id for row in rows}
        return refused

    def kept_roots(self) -> Iterator[AuditRootPublished]:
        """The hub's signed roots, as every clinic has kept them."""
        for clinic in self.clinics.values():
            with clinic.db.reading() as tx:
                rows = tx.all(select(audit_root).order_by(audit_root.c.tree_number))
            for row in rows:
                kept = AuditRootPublished(tree_number=row.tree_number, root=row.root, signature=row.signature)
                kept.published_at.FromDatetime(row.published_at)
                yield kept


class _Witness(Watch):
    """Looks at databases that are away for others, and reckons in the hub's time."""

    @property
    def failing(self) -> FailingNetwork:
        assert isinstance(self.network, FailingNetwork)
        return self.network

    @property
    def now(self) -> datetime:
        network = self.failing
        with self.failing.machine("hub").looked_into(), network.hub.database.reading() as tx:
            try:
                network._last_now = network.hub.time.decision_time(tx)
            except Refusal:
                # It decides nothing now.
                network._last_now = network._last_now or network.clock.now()
        return network._last_now

    def check_audit(self, now: datetime) -> None:
        super().check_audit(now)
        if not self.failing.knowing.hub_forgot:
            kept = list(self.failing.kept_roots())
            with self.network.hub.database.reading() as tx:
                found = verify(tx, self.network.hub_keys.bundle, kept)
            hold("P8", not found, "the hub's account does not agree with the roots that clinics kept")

    def is_made_anew(self, name: str, request: Any) -> bool:
        granted = name in ("GrantConsent", "DenyConsent")
        return granted and request.permission.permission_id in self.failing.knowing.unmade

    def died_in(self, name: str, body: bytes, caller: Caller) -> None:
        with self.failing.machine("hub").looked_into():
            super().died_in(name, body, caller)

    def look_at_hub(self) -> None:
        with self.failing.machine("hub").looked_into():
            super().look_at_hub()

    def look_at(self, clinic: SimulatedClinic) -> None:
        with self.failing.machine(clinic.name).looked_into():
            super().look_at(clinic)

    def _released_on(self, tx: Any, name: str) -> None:
        """A restored hub goes on above its reader's cursor, in a new epoch: between the two no row is missing.

        So it does for a reader who says that it was further on.
        """
        log, seen = hub_exchange.log, self.seen.sequences
        knowing = self.failing.knowing
        if knowing.hub_forgot or practice_of(name) in {*self.excused, knowing.misled}:
            first = tx.first(
                select(log.c.sequence, log.c.epoch)
                .where(log.c.log == name, log.c.epoch > knowing.epochs.get(name, 1))
                .order_by(log.c.sequence)
                .limit(1)
            )
            if first is not None:
                # Perhaps below what was seen of the epoch before, which nobody had read.
                knowing.epochs[name] = first.epoch
                seen[name] = first.sequence - 1
        super()._released_on(tx, name)

    def is_lied_to(self, clinic: SimulatedClinic) -> bool:
        return clinic.name == self.failing.knowing.misled

    def check_clinic(self, clinic: SimulatedClinic) -> None:
        super().check_clinic(clinic)
        for entry_id in self.seen.held.get(clinic.name, {}):
            self._check_labels(clinic, entry_id)

    def _check_labels(self, clinic: SimulatedClinic, entry_id: str) -> None:
        """Whoever carried it, it says what its origin said, of whom and in which episode."""
        with clinic.db.reading() as tx:
            row = tx.first(select(received_entry).where(received_entry.c.entry_id == entry_id))
        entry = self.oracle.entries.get(entry_id)
        assert row is not None
        if entry is None:
            stranger = row.origin_practice_id in self.excused
            hold(
                "P3",
                stranger,
                f"{clinic.name} holds {entry_id} of {row.origin_practice_id}, which it never wrote",
            )
            return
        told = (row.origin_practice_id, row.episode_id, row.category, row.authored_at)
        said = (entry.origin, entry.episode, entry.category, entry.authored_at)
        hold("P3", told == said, f"{entry_id} arrived under other labels")

    def _check_content(self, clinic: SimulatedClinic, entry_id: str) -> None:
        if entry_id in self.oracle.entries:
            super()._check_content(clinic, entry_id)

    def refused(self, name: str, body: bytes, caller: Caller, refused: RpcRefusal) -> None:
        if refused.status.code == WireCode.INTERNAL:
            return
        if _reason_of(refused) == "CLOCK_JUMPED":
            self.failing.effects.note("hub-clock-jumped")
        if not self.failing.knowing.hub_forgot:
            super().refused(name, body, caller, refused)
        elif name == "RequestReferral" and refused.status.code not in TRANSIENT:
            request = RequestReferralRequest.FromString(body)
            self.failing.knowing.refused_since[request.request_id] = request.episode_id

    def _referral_seen(self, row: Any) -> None:
        if self.failing.knowing.hub_forgot and row.state != "expired":
            return
        super()._referral_seen(row)


def _reason_of(refused: RpcRefusal) -> str:
    for detail in refused.status.details:
        info = ErrorInfo()
        if detail.Unpack(info):
            return info.reason
    return ""


class Ids:
    """The same ids in every run of the same seed, or nothing could be looked at twice."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(f"ids of {seed}")
        self._patch = mock.patch("secrets.token_bytes", self._bytes)

    def _bytes(self, count: int | None = None) -> bytes:
        return self._chance.randbytes(32 if count is None else count)

    def __enter__(self) -> None:
        self._patch.start()

    def __exit__(self, *_: object) -> None:
        self._patch.stop()


@dataclass
class Stage:
    """Where every schedule begins: a network that is set up and closed, to be continued on copies."""

    start: FailingNetwork
    shares: list[Share]
    place: Place


def a_stage(place: Place) -> Stage:
    """Juniper prescribes; Riverbend and Cedar give psychotherapy; both are Juniper's partners, and patients are shared."""
    with Ids(0):
        network = FailingNetwork(place.home, place.fresh)
        juniper = network.clinic("juniper", "prescriber")
        for name in NAMES[1:]:
            other = network.clinic(name, "therapy_provider")
            network.partnerships[frozenset({"juniper", name})] = juniper.partners_with(other)
        patient_id = juniper.registers()
        cedars = network.clinics["cedar"].registers("Robin Sample")
        shares = [
            refer(network, "juniper", "riverbend", patient_id),
            refer(network, "juniper", "cedar", patient_id),
            refer(network, "cedar", "juniper", cedars),
        ]
        network.settle()
        for share in shares:
            take_in(network, share)
            network.clinics[share.recipient].moves(share.referred, "accept")
        network.settle()
        network.check()
        network.close()
    return Stage(network, shares, place)


def refer(network: WatchedNetwork, by: str, to: str, patient_id: str) -> Share:
    kind = "psychotherapy" if by == "juniper" else "medical-evaluation"
    referred = network.clinics[by].refers(patient_id, network.clinics[to], kind=kind)
    return Share(by, to, kind, referred, {by: patient_id})


def take_in(network: WatchedNetwork, share: Share) -> None:
    share.patients[share.recipient] = network.clinics[share.recipient].takes_in(share.referred)


__all__ = ["NAMES", "Crash", "FailingNetwork", "Ids", "Share", "Stage", "a_stage", "refer", "take_in"]
