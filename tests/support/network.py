"""A whole network in one process on a simulated clock: a hub and clinics with real stores, stepped one by one.

Nothing of ours is replaced: calls go through the real dispatcher without sockets, rows through the memory transport or a real broker.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, cast

from sqlalchemy import MetaData, select

from support.sealing import KeyNetwork
from tandem.directory.v1 import directory_pb2
from tandem.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from tandem_care.categories import Category, Purpose
from tandem_care.entry_kinds import Content
from tandem_care.lifecycle import Move
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.consent import ConsentForm, Evidence, VerbalAttestation
from tandem_clinic.domain.identity import PatientIdentity
from tandem_clinic.domain.staff import Role, Staff
from tandem_clinic.hub.gateway import Gateway
from tandem_clinic.node import ClinicNode
from tandem_clinic.store import entries, partners, worklist
from tandem_clinic.store.tables import metadata as clinic_metadata
from tandem_clinic.store.tables import received_entry
from tandem_clinic.store.vault import Vault
from tandem_clinic.usecases import directory, partner, patients, permissions, referrals
from tandem_clinic.usecases.entries import Recorded, record_entry
from tandem_clinic.usecases.permissions import Terms
from tandem_clinic.usecases.plan import PlanItem, read_care_plan
from tandem_platform.clock import Clock, SimulatedClock
from tandem_platform.errors import Refusal
from tandem_platform.exchange.transport.memory import MemoryTransport
from tandem_platform.exchange.transport.port import Transport
from tandem_platform.ids import new_id
from tandem_platform.rpc.dispatch import Dispatcher
from tandem_platform.rpc.identity import Caller
from tandem_platform.rpc.local import Faults, LocalChannel
from tandem_platform.sealing import PracticeKeys
from tandem_platform.storage import Database, Transaction, at_rest
from tandem_platform.storage.encryption import Keyring
from tandem_referral.hub import Hub
from tandem_referral.store.tables import metadata as hub_metadata
from tandem_referral.usecases.directory import KeyTrust

AT_REST_KEY = bytes(range(32))
PAGE_KEY = bytes(32)
DATABASE_OF = Callable[[str], str]
"""Gives a fresh database's URL for a name."""

KEEPER = Staff("staff_keeper", "The keeper", frozenset(Role))
"""Somebody at a clinic who may do everything, a person."""


class Network:
    """A hub, its Kafka and its clinics. Time stands still until `advance`."""

    @property
    def member(self) -> "type[SimulatedClinic]":
        """What its clinics are made of."""
        return SimulatedClinic

    def __init__(
        self,
        directory: Path,
        database_of: DATABASE_OF | None = None,
        transport: Transport | None = None,
        *,
        kafka: bool = True,
        sync_period: float = 0.0,
    ) -> None:
        """*kafka*: False for a network that has none. *sync_period*: seconds for which the hub lets a Sync wait."""
        self._kafka = kafka
        self._sync_period = sync_period
        at_rest.install(AT_REST_KEY)
        self.directory = directory
        self._database_of = database_of or (lambda name: f"sqlite:///{directory / name}.db")
        self.keys = KeyNetwork(directory / "ca")
        self.clock = self.keys.clock
        self.transport = transport or MemoryTransport()
        self.hub_keys = self.keys.keys("hub")
        self.hub_url = self._database_of("hub")
        self.clinics: dict[str, SimulatedClinic] = {}
        self.hub = self._new_hub(create=True)
        operator = self.channel(Caller("operator", "ops"))
        self._directory_of_hub = DirectoryServiceStub(operator)

    def _new_hub(self, *, create: bool = False) -> Hub:
        database = self.open_database("hub", self.hub_url, hub_metadata)
        if create:
            database.create_all()
        return Hub(
            database,
            self.hub_keys,
            KeyTrust([self.keys.trust]),
            self.clock_of("hub"),
            self.carrier,
            PAGE_KEY,
            ticking=self.ticking,
            sync_period=self._sync_period,
        )

    ticking: Callable[[], float] | None = None
    """What the hub holds its clock against."""

    def open_database(self, name: str, url: str, metadata: MetaData) -> Database:
        """For the process of *name*, "hub" or a clinic."""
        return Database(url, metadata)

    def clock_of(self, name: str) -> Clock:
        """That the process of *name* goes by."""
        return self.clock

    def continued(self, copy_of: DATABASE_OF) -> "Network":
        """A network that goes on from where this one, closed, ended: on copies of its databases and of its broker's records."""
        twin = copy(self)
        twin.keys = copy(self.keys)
        twin.clock = twin.keys.clock = SimulatedClock(self.clock.now())
        assert isinstance(self.transport, MemoryTransport), "a real broker's records cannot be copied"
        twin.transport = self.transport.copy()
        twin.hub_url = copy_of(self.hub_url)
        twin.hub = twin._new_hub()
        twin._directory_of_hub = DirectoryServiceStub(twin.channel(Caller("operator", "ops")))
        twin.clinics = {
            name: clinic.continued(twin, copy_of(clinic.url)) for name, clinic in self.clinics.items()
        }
        return twin

    @property
    def carrier(self) -> Transport | None:
        return self.transport if self._kafka else None

    def channel(self, caller: Caller, faults: Faults | None = None) -> LocalChannel:
        """To whichever hub runs when a call is made."""
        return LocalChannel(cast(Dispatcher, _PresentHub(self)), caller, faults)

    def restart_hub(self, url: str | None = None) -> None:
        """As after a crash, or after a restore to another database: a new run. The clinics go on as they are."""
        self.hub.close()
        self.hub_url = url or self.hub_url
        self.hub = self._new_hub()

    def clinic(self, name: str, role: str, **settings: Any) -> "SimulatedClinic":
        """Registered, with keys published."""
        self.register(name, role, **settings)
        return self.start_clinic(name, allows_treatment_basis=settings.get("allows_treatment_basis", False))

    def register(self, name: str, role: str, **settings: Any) -> None:
        profile = directory_pb2.Practice(
            practice_id=name, display_name=name.title(), roles=[role], **settings
        )
        self._directory_of_hub.RegisterPractice(
            directory_pb2.RegisterPracticeRequest(request_id=new_id("req"), practice=profile), timeout=30
        )

    def start_clinic(self, name: str, *, allows_treatment_basis: bool = False) -> "SimulatedClinic":
        """Its service alone: whether the hub's operator has registered it is another matter."""
        clinic = self.member(
            self, name, self._database_of(name), allows_treatment_basis=allows_treatment_basis
        )
        self.clinics[name] = clinic
        self.settle()
        return clinic

    def advance(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    def step_hub(self) -> bool:
        hub = self.hub
        feed = hub.feed.step() if hub.feed else False
        relay = hub.relay.step() if hub.relay else False
        return any([feed, hub.sweeper.step(), hub.ticker.step(), hub.roots.step(), relay])

    def settle(self, rounds: int = 40) -> None:
        """Step everything until nothing moves, letting a second pass each round."""
        quiet = 0
        for _ in range(rounds):
            moved = self.step_hub()
            for clinic in self.clinics.values():
                if clinic.running:
                    moved |= clinic.step()
            self.advance(1)
            quiet = 0 if moved else quiet + 1
            if quiet >= 2:
                return

    def close(self) -> None:
        for clinic in self.clinics.values():
            clinic.close()
        self.hub.close()


class _PresentHub:
    """The dispatcher of the hub that runs now."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network.hub.dispatcher, name)


@dataclass(frozen=True)
class Referred:
    """A referral as both sides know it."""

    referral_id: str
    episode_id: str
    patient_id: str


@dataclass
class Reach:
    """Whether a clinic's calls arrive and its answers come back; a test turns them off."""

    away: bool = False
    hooks: list[Callable[[str, str], None]] = field(default_factory=list)

    def __call__(self, method: str, phase: str) -> None:
        from tandem_platform.rpc.local import unreachable

        if self.away:
            raise unreachable()
        for hook in self.hooks:
            hook(method, phase)


class SimulatedClinic:
    """A clinic, and what its people do, each in one word."""

    def __init__(
        self, network: Network, name: str, url: str, *, allows_treatment_basis: bool = False
    ) -> None:
        self.network = network
        self.name = name
        self.url = url
        self.running = True
        self.keyring = Keyring.generate()
        self.keys: PracticeKeys = network.keys.keys(name, network.clock.now())
        self.reach = Reach()
        self.person = KEEPER
        self._allows_treatment_basis = allows_treatment_basis
        database = Database(url, clinic_metadata)
        database.create_all()
        database.close()
        self.connect()

    def continued(self, network: Network, url: str) -> "SimulatedClinic":
        """The same clinic in another network, on a copy of its database."""
        twin = copy(self)
        twin.network, twin.url, twin.reach = network, url, Reach()
        twin.connect()
        return twin

    def connect(self) -> None:
        """As after a start of this clinic's process."""
        faults: Faults = self.reach
        self.clinic = Clinic(
            practice_id=self.name,
            display_name=self.name.title(),
            db=self.network.open_database(self.name, self.url, clinic_metadata),
            keys=self.keys,
            vault=Vault(self.keyring, self.name),
            clock=self.network.clock_of(self.name),
            gateway=Gateway(self.network.channel(Caller("practice", self.name), faults)),
            trust=[self.network.keys.trust],
            allows_treatment_basis=self._allows_treatment_basis,
        )
        self.node = ClinicNode(self.clinic, self.network.carrier)

    def restart(self, url: str | None = None) -> None:
        """As after a crash, or after a restore to another database."""
        self.node.close()
        self.url = url or self.url
        self.connect()

    def step(self) -> bool:
        """One round of every part. A Sync by itself counts as no movement."""
        before = self.marks()
        for part in self.node.parts:
            part()
        return bool(self.marks() != before)

    def marks(self) -> Any:
        with self.db.reading() as tx:
            tables = clinic_metadata.tables
            return (
                [tuple(row) for row in tx.all(select(tables["exchange_head"]))],
                [tuple(row)[:4] for row in tx.all(select(tables["exchange_cursor"]))],
                [
                    tuple(row)
                    for row in tx.all(select(tables["command"].c.request_id, tables["command"].c.state))
                ],
                [
                    tuple(row)
                    for row in tx.all(
                        select(tables["worklist_item"].c.item_id, tables["worklist_item"].c.done_at)
                    )
                ],
            )

    @property
    def db(self) -> Database:
        return self.clinic.db

    def do(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A use case in a transaction of its own."""
        return self.db.run(lambda tx: work(tx, self.clinic, self.person, *args, **kwargs))

    def partners_with(self, other: "SimulatedClinic") -> str:
        """Proposed here, fingerprints compared by both, confirmed there."""
        practice = directory.get_practice(self.clinic, self.person, other.name)
        asked = self.do(partner.propose_partnership, practice)
        self.network.settle()
        for side in (self, other):
            digits = partner.fingerprints(side.clinic, side.person, asked.subject_id).partner
            partner.confirm_fingerprint(side.clinic, side.person, asked.subject_id, digits)
        other.do(partner.confirm_partnership, asked.subject_id)
        self.network.settle()
        return str(asked.subject_id)

    def registers(
        self, legal_name: str = "Casey Example", birth_date: date = date(1988, 4, 9), **fields: Any
    ) -> str:
        identity = PatientIdentity(
            legal_name=legal_name, birth_date=birth_date, time_zone="America/Denver", **fields
        )
        return str(self.do(patients.register_patient, identity, acknowledge_duplicates=True).patient_id)

    def refers(
        self,
        patient_id: str,
        to: "SimulatedClinic",
        kind: str = "psychotherapy",
        note: str = "",
        **details: Any,
    ) -> Referred:
        with self.db.reading() as tx:
            partnership = partners.with_practice(tx, to.name)
        assert partnership is not None
        requested = self.do(
            referrals.request_referral,
            patient_id,
            partnership.partnership_id,
            kind,
            self.a_form(to.name),
            note=note,
            **details,
        )
        return Referred(requested.referral_id, requested.episode_id, patient_id)

    def takes_in(self, referred: Referred) -> str:
        """Says whose referral it is: a new patient here, from what the referrer sent."""
        result = self.do(referrals.take_in_referral, referred.referral_id)
        return str(getattr(result, "patient_id", result))

    def moves(self, referred: Referred, move: str, **details: str) -> None:
        self.do(referrals.move_referral, referred.referral_id, Move(move), **details)

    def a_form(self, recipient: str) -> Evidence:
        return ConsentForm(
            patient="Casey Example",
            discloser=self.name.title(),
            information="What the boxes name",
            recipient=recipient.title(),
            purpose="Treatment together",
            right_to_revoke="At any time, by telling either practice",
            expiry="none",
            signed_by="Casey Example",
            signature_ref="scan-1",
            signed_on=self.network.clock.now().date(),
        )

    def attests(self) -> Evidence:
        return VerbalAttestation(
            attested_by="Robin Keeper", said_at=self.network.clock.now(), words="Yes, share it."
        )

    def grants(self, referred: Referred, categories: Iterable[Category], **times: Any) -> str:
        terms = Terms(frozenset(categories), Purpose.TREATMENT, **times)
        return str(
            self.do(permissions.grant_permission, referred.episode_id, terms, self.attests()).subject_id
        )

    def denies(self, referred: Referred, categories: Iterable[Category]) -> str:
        terms = Terms(frozenset(categories), Purpose.TREATMENT)
        return str(
            self.do(permissions.deny_permission, referred.episode_id, terms, self.attests()).subject_id
        )

    def revokes(self, permission_id: str) -> None:
        self.do(permissions.revoke_permission, permission_id)

    def holds(self, permission_id: str) -> None:
        self.do(permissions.hold_permission, permission_id)

    def records(self, patient_id: str, content: Content, **details: Any) -> Recorded:
        recorded: Recorded = self.do(record_entry, patient_id, content, **details)
        return recorded

    def plan(self, patient_id: str, by: Staff | None = None) -> list[PlanItem]:
        items: list[PlanItem] = self.db.run(
            lambda tx: read_care_plan(tx, self.clinic, by or self.person, patient_id)
        )
        return items

    def sees(self, category: Category, episode_id: str = "") -> list[Mapping[str, Any]]:
        """What of a category partners' entries say here, oldest first; without anybody reading them."""
        with self.db.reading() as tx:
            query = select(received_entry).where(
                received_entry.c.category == category.value, received_entry.c.state.in_(("active", "amended"))
            )
            if episode_id:
                query = query.where(received_entry.c.episode_id == episode_id)
            rows = tx.all(query.order_by(received_entry.c.authored_at, received_entry.c.entry_id))
            return [self._read(tx, row.entry_id) for row in rows]

    def _read(self, tx: Transaction, entry_id: str) -> Mapping[str, Any]:
        import json

        read: Mapping[str, Any] = json.loads(entries.received(tx, self.clinic.vault, entry_id).content)
        return read

    def worklist(self) -> list[str]:
        with self.db.reading() as tx:
            return [item.kind for item in worklist.waiting(tx)]

    def alerts(self) -> list[str]:
        with self.db.reading() as tx:
            return [kind for kind, *_ in worklist.alerts(tx)]

    def close(self) -> None:
        self.node.close()


def a_practice_id() -> str:
    return f"prac-{secrets.token_hex(4)}"


__all__ = ["KEEPER", "Network", "Referred", "Refusal", "SimulatedClinic", "a_practice_id"]
