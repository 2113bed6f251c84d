"""A simulated network whose every step is told to the oracle as it happens."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.code_pb2 import Code as WireCode
from google.rpc.status_pb2 import Status
from sqlalchemy import func, select

from support.network import Network, SimulatedClinic
from support.oracle import BASE, CLOCK, Entry, Oracle, Permission, Referral, hold
from tandem.audit.v1.audit_pb2 import ListDisclosuresRequest
from tandem.audit.v1.audit_pb2_grpc import AuditServiceStub
from tandem.consent.v1 import consent_pb2
from tandem.directory.v1 import directory_pb2
from tandem.exchange.v1.exchange_pb2 import EntryLabels, RowBody
from tandem.referral.v1 import referral_pb2
from tandem_clinic.store import audit as clinic_audit
from tandem_clinic.store import entries as clinic_entries
from tandem_clinic.store.tables import command, episode, received_entry, revocation_known
from tandem_clinic.store.tables import exchange as clinic_exchange
from tandem_clinic.store.tables import hub_referral as clinic_referral
from tandem_platform.exchange.rows import downlink
from tandem_platform.exchange.transport.memory import MemoryTransport
from tandem_platform.rpc import words
from tandem_platform.rpc.dispatch import Dispatcher
from tandem_platform.rpc.identity import Caller
from tandem_platform.rpc.status import RpcRefusal
from tandem_referral.hub import Hub
from tandem_referral.store import audit as hub_audit
from tandem_referral.store.tables import command as hub_command
from tandem_referral.store.tables import entry as hub_entry
from tandem_referral.store.tables import exchange as hub_exchange
from tandem_referral.store.tables import referral as hub_referral
from tandem_referral.store.tables import revocation
from tandem_referral.usecases.audit import verify

MOVE_OF = {
    "ReceiveReferral": "receive",
    "OpenReferral": "open",
    "AcceptReferral": "accept",
    "DeclineReferral": "decline",
    "WaitlistReferral": "waitlist",
    "AskForInformation": "ask",
    "AnswerInformation": "answer",
    "StartReferral": "start",
    "HoldReferral": "hold",
    "ResumeReferral": "resume",
    "CompleteReferral": "complete",
    "FailReferral": "fail",
    "CancelReferral": "cancel",
    "RequestCancellation": "request_cancel",
    "AgreeCancellation": "agree_cancel",
    "RefuseCancellation": "refuse_cancel",
    "UndoReferral": "undo",
}
_REQUESTS: dict[str, type[Message]] = {
    name: getattr(contract, f"{name}Request")
    for contract, names in (
        (referral_pb2, ["RequestReferral", *MOVE_OF]),
        (consent_pb2, ["GrantConsent", "DenyConsent", "RevokeConsent", "HoldConsent"]),
        (directory_pb2, ["SuspendPartnership", "ResumePartnership"]),
    )
    for name in names
}
_NOTHING_CHANGES = {
    "Read",
    "ReadBack",
    "GetPractice",
    "ListKeyBundles",
    "ListAuditRecords",
    "ListDisclosures",
}
TRANSIENT = (WireCode.UNAVAILABLE, WireCode.DEADLINE_EXCEEDED, WireCode.RESOURCE_EXHAUSTED)
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class Crash(BaseException):
    """A process dies at this point. No code of ours catches it."""


class WatchedNetwork(Network):
    """Everything happens before the oracle's eyes, in what it is continued by, too."""

    def __init__(self, directory: Path, database_of: Callable[[str], str]) -> None:
        self.memory = self.new_broker()
        self.oracle = self.new_oracle()
        self.watch = self.new_watch(Seen())
        self.partnerships: dict[frozenset[str], str] = {}
        super().__init__(directory, database_of, self.memory)

    @property
    def member(self) -> type[SimulatedClinic]:
        return WatchedClinic

    def new_broker(self) -> MemoryTransport:
        return MemoryTransport()

    def new_oracle(self) -> Oracle:
        return Oracle()

    def new_watch(self, seen: "Seen") -> "Watch":
        return Watch(self, seen)

    def continued(self, copy_of: Callable[[str], str]) -> "WatchedNetwork":
        twin = super().continued(copy_of)
        assert isinstance(twin, WatchedNetwork)
        assert isinstance(twin.transport, MemoryTransport)
        twin.memory = twin.transport
        twin.oracle = deepcopy(self.oracle)
        twin.watch = twin.new_watch(deepcopy(self.watch.seen))
        return twin

    def _new_hub(self, *, create: bool = False) -> Hub:
        hub = super()._new_hub(create=create)
        hub.dispatcher = _WatchedDispatcher(hub.dispatcher, self)  # type: ignore[assignment]
        return hub

    @property
    def hub_parts(self) -> list[Callable[[], bool]]:
        hub = self.hub
        assert hub.feed is not None
        assert hub.relay is not None
        return [hub.feed.step, hub.sweeper.step, hub.ticker.step, hub.roots.step, hub.relay.step]

    def step_hub(self) -> bool:
        did = [self.step_hub_part(index) for index in range(len(self.hub_parts))]
        return any(did)

    def step_hub_part(self, index: int) -> bool:
        did = self.hub_parts[index]()
        self.watch.look_at_hub()
        return did

    def step_clinic_part(self, clinic: SimulatedClinic, index: int) -> None:
        parts = clinic.node.parts
        parts[index % len(parts)]()
        self.watch.look_at(clinic)

    def step_clinic(self, clinic: SimulatedClinic, part: str) -> None:
        """*part*: "journal", "relay", "push" or "sync"."""
        node = clinic.node
        assert node.relay is not None
        parts = {
            "journal": node.journal.step,
            "relay": node.relay.step,
            "push": node.step_push,
            "sync": node.step_sync,
        }
        parts[part]()
        self.watch.look_at(clinic)

    def heal(self) -> None:
        """Everything works again and has time to settle."""
        self.memory.down = False
        self.memory.faults = None
        for clinic in self.clinics.values():
            clinic.running = True
            clinic.reach.away = False
            clinic.reach.hooks.clear()
        for _ in range(3):
            self.advance(35)
            self.settle()

    def check(self) -> None:
        """Every promise, once nothing moves any more."""
        now = self.watch.now
        self.watch.look_at_hub()
        for clinic in self.clinics.values():
            self.watch.look_at(clinic)
            if clinic.name not in self.watch.excused:
                self.watch.check_clinic(clinic)
        self.oracle.check_settled(now)
        self.watch.check_referrals(now)
        self.watch.check_audit(now)


class WatchedClinic(SimulatedClinic):
    def step(self) -> bool:
        moved = super().step()
        _watch_of(self).look_at(self)
        return moved

    def do(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        done = super().do(work, *args, **kwargs)
        _watch_of(self).look_at(self)
        return done


def _watch_of(clinic: SimulatedClinic) -> "Watch":
    assert isinstance(clinic.network, WatchedNetwork)
    return clinic.network.watch


class _WatchedDispatcher:
    """Lets every call through, and tells what came of it."""

    def __init__(self, dispatcher: Dispatcher, network: WatchedNetwork) -> None:
        self._dispatcher = dispatcher
        self._network = network

    def dispatch(
        self, method: str, request: bytes, caller: Caller, deadline: float | None, traceparent: str = ""
    ) -> bytes:
        name, watch = method.rpartition("/")[2], self._network.watch
        watch.calls += 1
        try:
            answer = self._dispatcher.dispatch(method, request, caller, deadline, traceparent)
        except RpcRefusal as refused:
            watch.refused(name, request, caller, refused)
            watch.look_at_hub()
            raise
        except Crash:
            watch.died_in(name, request, caller)
            watch.look_at_hub()
            raise
        watch.answered(name, request, caller)
        if name not in _NOTHING_CHANGES:
            watch.look_at_hub()
        return answer


@dataclass
class _Held:
    """What of a received entry was there at the last look."""

    received_at: datetime
    has_content: bool
    state: str


@dataclass
class Seen:
    """What the oracle has been told already."""

    decided: set[str] = field(default_factory=set)
    sequences: dict[str, int] = field(default_factory=dict)
    voids: set[tuple[str, int, int]] = field(default_factory=set)
    at_hub: set[str] = field(default_factory=set)
    wrapped_from_the_start: set[str] = field(default_factory=set)
    committed: dict[str, set[str]] = field(default_factory=dict)
    held: dict[str, dict[str, _Held]] = field(default_factory=dict)
    revoked: dict[str, dict[str, int]] = field(default_factory=dict)
    """By clinic, the versions at which it knew permissions to be revoked, because Sync had told it."""


class Watch:
    def __init__(self, network: WatchedNetwork, seen: Seen) -> None:
        self.network = network
        self.seen = seen
        self.calls = 0
        self.excused: set[str] = set()
        """Practices that do not play by the rules: of themselves nothing is promised."""

    @property
    def oracle(self) -> Oracle:
        return self.network.oracle

    @property
    def now(self) -> datetime:
        return self.network.clock.now()

    # Calls -----------------------------------------------------------------------------------

    def answered(self, name: str, body: bytes, caller: Caller) -> None:
        if name not in _REQUESTS:
            return
        request: Any = _REQUESTS[name].FromString(body)
        if request.request_id in self.seen.decided and not self.is_made_anew(name, request):
            return
        self.seen.decided.add(request.request_id)
        oracle, by = self.oracle, caller.id
        if name in MOVE_OF:
            oracle.referral_moved(request.referral_id, MOVE_OF[name], by, self.now, *_said(request))
        elif name == "RequestReferral":
            self._referral_requested(request, by)
        elif name in ("GrantConsent", "DenyConsent"):
            wanted = request.permission
            starts = _time(wanted, "starts_at") or self.now
            oracle.permission_made(
                Permission(
                    wanted.permission_id,
                    wanted.episode_id,
                    wanted.discloser_practice_id,
                    wanted.recipient_practice_id,
                    frozenset(map(words.category_code, wanted.categories)),
                    name == "GrantConsent",
                    starts,
                    _time(wanted, "ends_at"),
                    # "From now on", by a clinic whose clock is ahead of the hub's, is from now on.
                    min(_time(wanted, "history_from") or starts, starts),
                )
            )
        elif name in ("RevokeConsent", "HoldConsent"):
            oracle.permission_ended(
                request.permission_id, "revoked" if name == "RevokeConsent" else "held", by
            )
        else:
            sides = next(
                each for each, known in self.network.partnerships.items() if known == request.partnership_id
            )
            change = (
                oracle.partnership_suspended if name == "SuspendPartnership" else oracle.partnership_resumed
            )
            change(sides, by)

    def is_made_anew(self, name: str, request: Any) -> bool:
        """Whether the hub had forgotten what it had made at this request."""
        return False

    def _referral_requested(self, request: Any, by: str) -> None:
        sides = next(
            each for each, known in self.network.partnerships.items() if known == request.partnership_id
        )
        (recipient,) = sides - {by}
        self.oracle.referral_requested(
            Referral(request.referral_id, request.episode_id, by, recipient), self.now
        )
        for base in request.permissions:
            (other,) = sides - {base.discloser_practice_id}
            self.oracle.permission_made(
                Permission(
                    base.permission_id,
                    request.episode_id,
                    base.discloser_practice_id,
                    other,
                    BASE,
                    True,
                    self.now,
                    _time(base, "ends_at"),
                    _BEGINNING,
                )
            )

    def refused(self, name: str, body: bytes, caller: Caller, refused: RpcRefusal) -> None:
        """A move that is allowed is not refused."""
        if refused.status.code in TRANSIENT:
            return
        if name == "RequestReferral":
            self.oracle.referral_refused(_REQUESTS[name].FromString(body).episode_id)  # type: ignore[attr-defined]
        if name not in MOVE_OF:
            return
        request: Any = _REQUESTS[name].FromString(body)
        if request.request_id in self.seen.decided:
            return
        self.seen.decided.add(request.request_id)
        referral = self.oracle.referrals.get(request.referral_id)
        if referral is None or caller.id not in (referral.referrer, referral.recipient):
            return
        if self.oracle.is_closed_to(referral, caller.id, self.now) or request.version != referral.version:
            return
        legal = self.oracle.may_move(request.referral_id, MOVE_OF[name], caller.id, self.now, *_said(request))
        hold(
            "P4",
            not legal,
            f"{MOVE_OF[name]} by {caller.id} was refused on {referral.state}: {refused.status.message}",
        )

    def died_in(self, name: str, body: bytes, caller: Caller) -> None:
        """What the hub had committed before it died is decided, although nobody was told."""
        if name not in _REQUESTS:
            return
        request: Any = _REQUESTS[name].FromString(body)
        with self.network.hub.database.reading() as tx:
            row = tx.first(
                select(hub_command.c.refusal).where(
                    hub_command.c.practice_id == caller.id, hub_command.c.request_id == request.request_id
                )
            )
        if row is not None and row.refusal is None:
            self.answered(name, body, caller)
        elif row is not None:
            self.refused(name, body, caller, RpcRefusal(Status.FromString(row.refusal)))

    # The hub ---------------------------------------------------------------------------------

    def look_at_hub(self) -> None:
        log = hub_exchange.log
        with self.network.hub.database.reading() as tx:
            known = tx.first(select(func.count()).select_from(hub_entry))
            if known is not None and known[0] != len(self.seen.at_hub):
                self._entries_arrived(tx)
            voided = tx.all(
                select(log.c.log, log.c.epoch, log.c.sequence, log.c.entry_id, log.c.void_reason).where(
                    log.c.void_reason != "", log.c.log.in_(self._downlinks())
                )
            )
            for row in voided:
                if (row.log, row.epoch, row.sequence) not in self.seen.voids:
                    self.seen.voids.add((row.log, row.epoch, row.sequence))
                    self.oracle.voided(row.entry_id, row.sequence, row.void_reason)
            for name in self._downlinks():
                self._released_on(tx, name)
            for row in tx.all(
                select(hub_referral.c.referral_id, hub_referral.c.state, hub_referral.c.version)
            ):
                self._referral_seen(row)

    def _downlinks(self) -> list[str]:
        return [downlink(name) for name in self.network.clinics]

    def _entries_arrived(self, tx: Any) -> None:
        columns = (hub_entry.c.entry_id, hub_entry.c.origin_practice_id, hub_entry.c.uplink_sequence)
        for row in tx.all(
            select(*columns).order_by(hub_entry.c.origin_practice_id, hub_entry.c.uplink_sequence)
        ):
            if row.entry_id in self.seen.at_hub:
                continue
            self.seen.at_hub.add(row.entry_id)
            self.oracle.entry_at_hub(row.entry_id)
            log = hub_exchange.log
            kept = tx.first(
                select(log.c.body).where(
                    log.c.log == f"tandem.{row.origin_practice_id}.up", log.c.sequence == row.uplink_sequence
                )
            )
            wraps = RowBody.FromString(kept.body).entry.wraps
            if any(wrap.practice_id != row.origin_practice_id for wrap in wraps):
                self.seen.wrapped_from_the_start.add(row.entry_id)

    def _released_on(self, tx: Any, name: str) -> None:
        log = hub_exchange.log
        rows = tx.all(
            select(log.c.sequence, log.c.entry_id, log.c.permission_id)
            .where(log.c.log == name, log.c.sequence > self.seen.sequences.get(name, 0))
            .order_by(log.c.sequence)
        )
        for row in rows:
            hold(
                "P3",
                row.sequence == self.seen.sequences.get(name, 0) + 1 or not self.seen.sequences.get(name),
                "a gap in a log",
            )
            self.seen.sequences[name] = row.sequence
            if row.entry_id is not None:
                self.oracle.released(
                    row.entry_id,
                    name.split(".")[1],
                    row.sequence,
                    row.permission_id,
                    self.now,
                    wrapped=self.seen.wrapped_from_the_start,
                )

    def _referral_seen(self, row: Any) -> None:
        referral = self.oracle.referrals.get(row.referral_id)
        if referral is None:
            return
        if row.state == "expired" and referral.state != "expired":
            self.oracle.referral_moved(row.referral_id, "expire", CLOCK, self.now)
        hold("P4", row.state == referral.state, f"the hub has {row.state} where {referral.state} was agreed")

    # A clinic --------------------------------------------------------------------------------

    def look_at(self, clinic: SimulatedClinic) -> None:
        committed = self.seen.committed.setdefault(clinic.name, set())
        held = self.seen.held.setdefault(clinic.name, {})
        with clinic.db.reading() as tx:
            log = clinic_exchange.log
            appended = tx.all(
                select(log.c.sequence, log.c.body)
                .where(
                    log.c.log == clinic.clinic.uplink,
                    log.c.sequence > self.seen.sequences.get(clinic.clinic.uplink, 0),
                )
                .order_by(log.c.sequence)
            )
            for row in appended:
                self.seen.sequences[clinic.clinic.uplink] = row.sequence
                labels = RowBody.FromString(row.body).entry.labels if row.body else EntryLabels()
                if labels.entry_id and labels.entry_id not in committed:
                    committed.add(labels.entry_id)
                    partner = tx.first(
                        select(episode.c.partner_practice_id).where(episode.c.episode_id == labels.episode_id)
                    )
                    assert partner is not None
                    self.oracle.entry_committed(_entry(labels, partner[0]))
            columns = (
                received_entry.c.entry_id,
                received_entry.c.state,
                received_entry.c.received_at,
                received_entry.c.permission_id,
                received_entry.c.permission_version,
                (func.length(received_entry.c.content) > 0).label("has_content"),
            )
            rows = tx.all(select(*columns).order_by(received_entry.c.received_at))
            told = tx.all(
                select(revocation_known.c.permission_id, revocation_known.c.permission_version).order_by(
                    revocation_known.c.permission_version
                )
            )
        for row in rows:
            self._entry_seen(clinic.name, held, row)
        self.seen.revoked[clinic.name] = {row.permission_id: row.permission_version for row in told}

    def _entry_seen(self, name: str, held: dict[str, _Held], row: Any) -> None:
        seen = _Held(row.received_at, bool(row.has_content), row.state)
        known = held.get(row.entry_id)
        held[row.entry_id] = seen
        taken = known is None or known.received_at != seen.received_at
        entry = self.oracle.entries.get(row.entry_id)
        was_read = known is not None and known.has_content and entry is not None and entry.read_at is not None
        revoked_at = self.seen.revoked.get(name, {}).get(row.permission_id, 0)
        hold(
            "P2",
            not taken or row.permission_version >= revoked_at,
            f"{name} took {row.entry_id} under {row.permission_id}, which it knew to be revoked",
        )
        hold("P2", not (taken and was_read), f"{name} took {row.entry_id} anew, which a person had read")
        if taken or (seen.has_content and known is not None and not known.has_content):
            self.oracle.received(row.entry_id, name)
        if not seen.has_content and (taken or (known is not None and known.has_content)):
            self.oracle.forgotten(row.entry_id, name)

    # When everything has settled -------------------------------------------------------------

    def check_clinic(self, clinic: SimulatedClinic) -> None:
        with clinic.db.reading() as tx:
            waiting = [
                row.method for row in tx.all(select(command.c.method).where(command.c.state == "queued"))
            ]
            hold("P9", not waiting, f"{clinic.name} still has {waiting} queued")
            hold("P8", not list(clinic_audit.findings(tx)), f"{clinic.name}'s own chain does not verify")
            parked = [
                row
                for row in tx.all(select(clinic_exchange.quarantine))
                if row.episode_id not in self._episodes_of_strangers()
            ]
            hold(
                "P3",
                not parked or self.is_lied_to(clinic),
                f"{clinic.name} has parked {[row.reason for row in parked]}",
            )
        for entry_id, seen in self.seen.held.get(clinic.name, {}).items():
            entry = self.oracle.entries.get(entry_id)
            if entry is None:
                hold("P3", self.excused, f"{clinic.name} holds {entry_id}, which nobody wrote")
                continue
            marked = seen.state == "revoked"
            permitted = self.oracle.may_have(entry, self.now)
            hold(
                "P3",
                not (marked and permitted) or self.is_lied_to(clinic),
                f"{clinic.name} shows {entry_id} as withdrawn, which is permitted",
            )
            if seen.has_content:
                self._check_content(clinic, entry_id)

    def _episodes_of_strangers(self) -> set[str]:
        """Whoever does not play by the rules may write there what nobody can read."""
        return {
            each.episode
            for each in self.oracle.referrals.values()
            if {each.referrer, each.recipient} & self.excused
        }

    def is_lied_to(self, clinic: SimulatedClinic) -> bool:
        """Whether somebody gives it what it has to refuse, and keeps from it what it would need."""
        return False

    def _check_content(self, clinic: SimulatedClinic, entry_id: str) -> None:
        origin = self.network.clinics[self.oracle.entries[entry_id].origin]
        with clinic.db.reading() as tx, origin.db.reading() as theirs:
            arrived = clinic_entries.received(tx, clinic.clinic.vault, entry_id).content
            found = clinic_entries.sealed(theirs, entry_id)
            assert found is not None
            record = clinic_entries.own(theirs, origin.clinic.vault, found[1].record_id)
        hold("P3", arrived == record.content, f"{entry_id} arrived as something else")

    def check_referrals(self, now: datetime) -> None:
        for referral in self.oracle.referrals.values():
            for party in {referral.referrer, referral.recipient} - self.excused:
                with self.network.clinics[party].db.reading() as tx:
                    row = tx.first(
                        select(clinic_referral.c.state).where(
                            clinic_referral.c.referral_id == referral.referral_id
                        )
                    )
                expected = "closed" if self.oracle.is_closed_to(referral, party, now) else referral.state
                hold(
                    "P4",
                    row is not None and row.state == expected,
                    f"{party} sees {row and row.state} where {expected} was agreed",
                )

    def check_audit(self, now: datetime) -> None:
        hub = self.network.hub
        with hub.database.reading() as tx:
            hold("P8", not verify(tx, self.network.hub_keys.bundle), "the hub's chains do not verify")
            owing = tx.all(
                select(revocation).where(
                    revocation.c.acknowledged_at.is_(None),
                    revocation.c.recipient_practice_id.not_in(self.excused),
                )
            )
            hold("P2", not owing, f"{len(owing)} revocations were never acknowledged")
            chains = {
                name: [(link.fact.entry_id, link.fact.action) for link in hub_audit.links(tx, name)]
                for name in self.network.clinics
            }
        for name, records in chains.items():
            self.oracle.check_audit(name, records)
            self.oracle.check_withheld(name, records)
            self.oracle.check_accounting(name, self._account_of(name), now)

    def _account_of(self, name: str) -> dict[str, tuple[bool, bool]]:
        stub = AuditServiceStub(self.network.channel(Caller("practice", name)))
        told: dict[str, tuple[bool, bool]] = {}
        request = ListDisclosuresRequest(page_size=100)
        while True:
            answer = stub.ListDisclosures(request, timeout=30)
            for each in answer.disclosures:
                told[each.entry_id] = (each.HasField("delivered_at"), each.HasField("voided_at"))
            if not answer.next_page_token:
                return told
            request.page_token = answer.next_page_token


def _said(request: Any) -> tuple[str, str]:
    return getattr(request, "reason", ""), getattr(request, "outcome", "")


def _time(message: Any, name: str) -> datetime | None:
    if not message.HasField(name):
        return None
    at: Timestamp = getattr(message, name)
    return at.ToDatetime(UTC)


def _entry(labels: EntryLabels, recipient: str) -> Entry:
    return Entry(
        entry_id=labels.entry_id,
        episode=labels.episode_id,
        origin=labels.origin_practice_id,
        recipient=recipient,
        category=words.category_code(labels.category),
        derived_from=frozenset(map(words.category_code, labels.derived_from)),
        authored_at=labels.authored_at.ToDatetime(UTC),
        amends=labels.amends_entry_id,
        takes_back=labels.entered_in_error,
    )
