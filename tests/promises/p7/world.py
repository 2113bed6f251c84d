"""A real hub and practices that are scripted: what is theirs is fixed, so that two runs differ by what was withheld alone.

Riverbend watches: every answer it gets and every record on its topic is kept, in order, in comparable form.
"""

import base64
import hashlib
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from sqlalchemy import event
from sqlalchemy.engine import make_url

from support.databases import PostgresServer
from support.observation import Comparable, methods_of_practices
from support.sealing import KeyNetwork
from tandem.common.v1.common_pb2 import BASIS_WRITTEN, EFFECT_DENY, EFFECT_PERMIT, PURPOSE_TREATMENT
from tandem.consent.v1.consent_pb2 import Permission
from tandem.directory.v1 import directory_pb2, directory_pb2_grpc
from tandem.exchange.v1.exchange_pb2 import EntryLabels, LogRow, RowBody, SealedEntry
from tandem_care.categories import Category
from tandem_care.terms import STANDARD_HASH
from tandem_platform.clock import SimulatedClock
from tandem_platform.exchange.rows import (
    START,
    Position,
    body_hash,
    downlink,
    position_of,
    sign_batch,
    uplink,
)
from tandem_platform.exchange.signing import signer
from tandem_platform.exchange.transport.memory import MemoryTransport
from tandem_platform.exchange.transport.port import Subscription
from tandem_platform.rpc import words
from tandem_platform.rpc.identity import Caller
from tandem_platform.rpc.local import LocalChannel
from tandem_platform.sealing import PracticeKeys
from tandem_platform.sealing.entries import seal, sign_received
from tandem_platform.storage import Database, at_rest
from tandem_referral.hub import Hub
from tandem_referral.store.tables import metadata
from tandem_referral.usecases.directory import KeyTrust

JUNIPER, RIVERBEND, ALDER = "juniper", "riverbend", "alder"
ROLES = {JUNIPER: "prescriber", RIVERBEND: "therapy_provider", ALDER: "therapy_provider"}
BEGINNING = datetime(2026, 2, 1, tzinfo=UTC)
"""The history that permissions open, where they open one."""
TOKENS = bytes(32)
EXPIRY = timedelta(seconds=90)

METHODS = {method.full_name: method for method in methods_of_practices()}


def an_id(prefix: str, *of: object) -> str:
    """An id of the network's form that is the same in every run."""
    digest = hashlib.sha256(repr(of).encode()).digest()[:16]
    return f"{prefix}_{base64.b32encode(digest).decode().rstrip('=').lower()}"


FIRST, SECOND, DECLINED, ALDERS, EVALUATION = (
    an_id("epi", name) for name in ("first", "second", "declined", "alder's", "evaluation")
)
"""Juniper refers to Riverbend, three patients, of whom the third is declined; one to Alder; Riverbend refers one to Juniper."""


@dataclass
class Place:
    """Where a practice stands with its two logs."""

    head: Position = START
    cursor: Position = START
    revocations: int = 0
    commands: int = 0


@dataclass(frozen=True)
class Prepared:
    """A network with open referrals, as a database to copy."""

    url: str
    network: KeyNetwork
    keys: dict[str, PracticeKeys]
    at: datetime
    places: dict[str, Place]


class World:
    """One run of the hub, from its start on *database* as it stands."""

    def __init__(self, prepared: Prepared, database: Database, *, same_material: bool = True) -> None:
        at_rest.install(bytes(range(32)))
        self.keys = prepared.keys
        self.clock = SimulatedClock(prepared.at)
        self.transport = MemoryTransport()
        self._trust = KeyTrust([prepared.network.trust])
        self._database = database
        self.hub = self._new_hub()
        self.practices = {
            name: Practice(self, name, replace(place)) for name, place in prepared.places.items()
        }
        self.watcher = Watcher(self, Comparable(same_material=same_material))

    def _new_hub(self) -> Hub:
        return Hub(
            self._database,
            self.keys["hub"],
            self._trust,
            self.clock,
            self.transport,
            TOKENS,
            ticking=None,
            sync_period=0.0,
        )

    def __getitem__(self, name: str) -> "Practice":
        return self.practices[name]

    def restarts_the_hub(self) -> None:
        self.hub.close()
        self.hub = self._new_hub()

    def sweeps(self) -> None:
        while self.hub.sweeper.step():
            pass

    def works(self) -> None:
        """What the hub does by itself, until there is nothing left to do."""
        hub = self.hub
        assert hub.relay is not None
        assert hub.feed is not None
        hub.feed.step()
        self.sweeps()
        while hub.ticker.step():
            pass
        self.sweeps()
        while hub.roots.step():
            pass
        while hub.relay.step():
            pass

    def advances(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    def close(self) -> None:
        self.hub.close()


class Practice:
    """A practice with a certificate and keys, doing as it is told."""

    def __init__(self, world: World, name: str, place: Place) -> None:
        self.world = world
        self.name = name
        self.keys = world.keys[name]
        self.place = place
        self.unsent: list[LogRow] = []
        self.holds_back = False
        self.unanswered: list[SealedEntry] = []

    def calls(self, method: str, request: Message) -> Any:
        """The answer to an RPC, named like "tandem.consent.v1.ConsentService.GetConsent"."""
        service, _, name = method.rpartition(".")
        channel = LocalChannel(self.world.hub.dispatcher, Caller("practice", self.name))
        wire = channel.exchange(f"/{service}/{name}", request.SerializeToString(), 30.0, "")
        return GetMessageClass(METHODS[method].output_type).FromString(wire)

    def asks(self, name: str, **fields: Any) -> Any:
        """The same by the method's own name, with the fields of its request."""
        method = next(full_name for full_name in METHODS if full_name.endswith(f".{name}"))
        return self.calls(method, GetMessageClass(METHODS[method].input_type)(**fields))

    def commands(self, name: str, *of: object, **fields: Any) -> Any:
        """A command; *of* is what makes its request_id."""
        return self.asks(name, request_id=an_id("req", self.name, name, *of), **fields)

    def writes(self, body: RowBody, *, withheld: bool = False) -> None:
        """A row on its uplink, which `sends` or `publishes` brings to the hub."""
        self.holds_back |= not withheld
        before, log = self.place.head, uplink(self.name)
        content = body.SerializeToString(deterministic=True)
        row = LogRow(
            epoch=before.epoch,
            sequence=before.sequence + 1,
            previous_hash=before.hash,
            body_hash=body_hash(content),
            body=content,
        )
        self.place.head = position_of(log, row)
        self.unsent.append(row)

    def sends(self) -> None:
        """What the hub does not take yet stays for the next time."""
        if self.unsent:
            cursor = self.asks("Push", rows=self._signed()).uplink_cursor
            self._sent_up_to(cursor.sequence)

    def sends_what_is_withheld(self) -> None:
        """Unless something else would come with it sooner than in the run without it."""
        if not self.holds_back:
            self.sends()

    def publishes(self) -> None:
        """By Kafka: the hub reads it when it works."""
        if self.unsent:
            rows = self._signed()
            publisher = self.world.transport.publisher()
            name = uplink(self.name)
            publisher.publish(name, [(name.encode(), row.SerializeToString(), ()) for row in rows])
            publisher.close()
            self._sent_up_to(rows[-1].sequence)

    def _signed(self) -> list[LogRow]:
        sign_batch(uplink(self.name), self.unsent, signer(self.keys))
        return self.unsent

    def _sent_up_to(self, sequence: int) -> None:
        self.unsent = [row for row in self.unsent if row.sequence > sequence]
        self.holds_back &= bool(self.unsent)

    def syncs(self) -> Any:
        answer = self.asks(
            "Sync",
            uplink_head=self.place.head.to_message(),
            downlink_cursor=self.place.cursor.to_message(),
            commands_known=self.place.commands,
            revocations_known=self.place.revocations,
        )
        self.place.commands = answer.commands_committed
        self.place.revocations = max(
            (noted.number for noted in answer.revocations), default=self.place.revocations
        )
        return answer

    def reads(self, limit: int = 500) -> None:
        """Everything that there is, in pages."""
        while True:
            rows = self.asks("Read", after=self.place.cursor.to_message(), limit=limit).rows
            for row in rows:
                self._takes(row)
            if not rows:
                return

    def _takes(self, row: LogRow) -> None:
        self.place.cursor = position_of(downlink(self.name), row)
        if row.body:
            body = RowBody.FromString(row.body)
            if body.HasField("entry_released"):
                self.unanswered.append(body.entry_released.entry)

    def acknowledges(self) -> None:
        """Receipts for what it has read."""
        by_origin: dict[str, list[SealedEntry]] = {}
        for entry in self.unanswered:
            by_origin.setdefault(entry.labels.origin_practice_id, []).append(entry)
        self.unanswered = []
        for origin, entries in sorted(by_origin.items()):
            self.writes(RowBody(entries_received=sign_received(self.keys, origin, entries)))
        self.sends()


class Watcher(Practice):
    """Riverbend, keeping whatever it can observe."""

    def __init__(self, world: World, comparable: Comparable) -> None:
        place = world.practices[RIVERBEND].place
        super().__init__(world, RIVERBEND, place)
        world.practices[RIVERBEND] = self
        self.seen: list[tuple[str, Any]] = []
        self._comparable = comparable
        self._topic: Subscription = world.transport.subscribe_one(downlink(RIVERBEND), 0)

    def calls(self, method: str, request: Message) -> Any:
        try:
            answer = super().calls(method, request)
        except grpc.RpcError as error:
            self.seen.append((f"{method} refused", self._comparable.refusal(error)))
            raise
        self.seen.append((method, self._comparable.message(answer)))
        return answer

    def tries(self, method: str, request: Message) -> Any:
        """The answer, or None if it was refused."""
        try:
            return self.calls(method, request)
        except grpc.RpcError:
            return None

    def polls(self) -> None:
        """What Kafka has brought."""
        while records := self._topic.poll(0.0):
            self.seen += [("Kafka", self._comparable.record(record)) for record in records]

    def pages(self, name: str, size: int, **fields: Any) -> None:
        """A whole list, page by page."""
        token = ""
        while True:
            answer = self.asks(name, page_size=size, page_token=token, **fields)
            token = answer.next_page_token
            if not token:
                return

    def audit(self, size: int) -> None:
        after = 0
        while records := self.asks("ListAuditRecords", after_number=after, page_size=size).records:
            after = records[-1].number

    def looks_around(self, size: int) -> None:
        """Everything there is to read, page by page."""
        self.polls()
        self.syncs()
        self.pages("ListReferrals", size)
        for episode in (FIRST, SECOND, DECLINED, EVALUATION):
            referral = an_id("ref", episode)
            self.asks("GetReferral", referral_id=referral)
            self.pages("ListMoves", size, referral_id=referral)
            self.pages("ListConsents", size, episode_id=episode)
        self.pages("ListConsents", size)
        self.pages("ListPartnerships", size)
        self.pages("ListDisclosures", size)
        self.pages("SearchPractices", size)
        wishes = {"access": ["step-free"], "openings": True}
        self.pages("SearchPractices", size, required={"licence_state": "CO"}, preferred=wishes)
        self.audit(size)
        for practice in (JUNIPER, RIVERBEND):
            self.asks("ListKeyBundles", practice_id=practice)
            self.asks("GetPractice", practice_id=practice)
        self.asks("ReadBack", limit=size)


def sealed(
    world_keys: dict[str, PracticeKeys],
    by: str,
    to: str,
    episode: str,
    category: Category,
    authored_at: datetime,
    *of: object,
    wrapped: bool = True,
    derived_from: Iterable[Category] = (),
    amends: str = "",
    in_error: bool = False,
    length: int = 40,
) -> SealedEntry:
    labels = EntryLabels(
        entry_id=an_id("ent", by, *of),
        episode_id=episode,
        origin_practice_id=by,
        category=words.category_number(category),
        derived_from=[words.category_number(each) for each in derived_from],
        amends_entry_id=amends,
        entered_in_error=in_error,
    )
    labels.authored_at.FromDatetime(authored_at)
    return seal(labels, b"x" * length, world_keys[by], world_keys[to].bundle if wrapped else None)


def a_permission(
    episode: str,
    discloser: str,
    recipient: str,
    categories: Iterable[Category],
    *of: object,
    deny: bool = False,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    history_from: datetime | None = None,
) -> Permission:
    permission = Permission(
        permission_id=an_id("perm", episode, discloser, *of),
        episode_id=episode,
        discloser_practice_id=discloser,
        recipient_practice_id=recipient,
        categories=[words.category_number(each) for each in categories],
        purpose=PURPOSE_TREATMENT,
        basis=BASIS_WRITTEN,
        effect=EFFECT_DENY if deny else EFFECT_PERMIT,
        evidence_hash=bytes(range(32)),
    )
    for name, at in (("starts_at", starts_at), ("ends_at", ends_at), ("history_from", history_from)):
        if at is not None:
            getattr(permission, name).FromDatetime(at)
    return permission


def prepare(url: str, directory: Path) -> Prepared:
    """Three practices, five referrals, and what the patients have permitted so far."""
    at_rest.install(bytes(range(32)))
    network = KeyNetwork(directory / "ca")
    keys = {name: network.keys(name) for name in ("hub", *ROLES)}
    database = Database(url, metadata)
    database.create_all()
    prepared = Prepared(url, network, keys, network.clock.now(), {name: Place() for name in ROLES})
    world = World(prepared, database)
    _register(world)
    _refer(world)
    _permit(world)
    for name in ROLES:
        practice = world[name]
        practice.syncs()
        practice.reads()
        practice.syncs()
    world.sweeps()
    world.close()
    at = world.clock.now()
    if make_url(url).get_backend_name() == "sqlite":
        _into_one_file(Path(make_url(url).database or ""))
    return replace(prepared, at=at, places={name: world[name].place for name in ROLES})


def _into_one_file(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _register(world: World) -> None:
    channel = LocalChannel(world.hub.dispatcher, Caller("operator", "ops"))
    operator = directory_pb2_grpc.DirectoryServiceStub(channel)
    for name, role in ROLES.items():
        profile = directory_pb2.Practice(practice_id=name, display_name=name.title(), roles=[role])
        operator.RegisterPractice(
            directory_pb2.RegisterPracticeRequest(
                request_id=an_id("req", "register", name), practice=profile
            ),
            timeout=30,
        )
        practice = world[name]
        practice.commands("PublishKeyBundle", bundle=practice.keys.signed_bundle.to_message())
        profile.version = 1
        profile.licence_states.append("CO")
        profile.sites.add(name="Downtown", on_call_phone="+1 303 555 0102", access=["step-free"])
        practice.commands("UpdateProfile", practice=profile)
        capacity = directory_pb2.Capacity(openings=2)
        capacity.next_openings.add().at.FromDatetime(world.clock.now() + timedelta(days=2))
        practice.commands("PublishCapacity", capacity=capacity)
    for partner in (RIVERBEND, ALDER):
        pship = an_id("pship", partner)
        world[JUNIPER].commands(
            "ProposePartnership",
            partner,
            partnership_id=pship,
            partner_practice_id=partner,
            terms_hash=STANDARD_HASH,
        )
        world[partner].commands(
            "ConfirmPartnership", partnership_id=pship, version=1, terms_hash=STANDARD_HASH
        )
        world[partner].commands("ProposeTerms", partnership_id=pship, version=2, terms_hash=bytes(32))
        world[JUNIPER].commands("AcceptTerms", pship, partnership_id=pship, version=3, terms_hash=bytes(32))


def _refer(world: World) -> None:
    asked = (
        (FIRST, JUNIPER, RIVERBEND, "psychotherapy", "Accept"),
        (SECOND, JUNIPER, RIVERBEND, "psychotherapy", "Accept"),
        (DECLINED, JUNIPER, RIVERBEND, "psychotherapy", "Decline"),
        (ALDERS, JUNIPER, ALDER, "psychotherapy", "Accept"),
        (EVALUATION, RIVERBEND, JUNIPER, "medical-evaluation", "Accept"),
    )
    for episode, referrer, recipient, kind, move in asked:
        world.advances(3)
        partner = ALDER if ALDER in (referrer, recipient) else RIVERBEND
        made = world[referrer].commands(
            "RequestReferral",
            episode,
            referral_id=an_id("ref", episode),
            episode_id=episode,
            partnership_id=an_id("pship", partner),
            kind=kind,
            permissions=[
                {
                    "permission_id": an_id("perm", episode, side),
                    "discloser_practice_id": side,
                    "basis": BASIS_WRITTEN,
                    "evidence_hash": bytes(32),
                }
                for side in (referrer, recipient)
            ],
        )
        version = made.referral.version
        for name, reason in (("Receive", {}), (move, {"reason": "capacity"} if move == "Decline" else {})):
            moved = world[recipient].commands(
                f"{name}Referral", episode, referral_id=an_id("ref", episode), version=version, **reason
            )
            version = moved.referral.version


def _permit(world: World) -> None:
    now = world.clock.now()
    given = (
        (FIRST, RIVERBEND, {Category.SCALE_SCORE, Category.MEDICATION_MONITORING}, "open", BEGINNING, None),
        (FIRST, RIVERBEND, {Category.LAB_RESULT}, "to be revoked", None, None),
        (FIRST, RIVERBEND, {Category.HOMEWORK_PRACTICE}, "to be denied", None, None),
        (FIRST, RIVERBEND, {Category.LOGISTICS}, "to expire", None, now + EXPIRY),
        (SECOND, RIVERBEND, {Category.SCALE_SCORE}, "from now on", None, None),
        (DECLINED, RIVERBEND, {Category.SCALE_SCORE}, "useless", BEGINNING, None),
        (ALDERS, ALDER, set(Category), "all", BEGINNING, None),
    )
    for episode, recipient, categories, name, history, ends in given:
        permission = a_permission(
            episode, JUNIPER, recipient, categories, name, history_from=history, ends_at=ends
        )
        world[JUNIPER].commands("GrantConsent", episode, name, permission=permission)
    back = a_permission(FIRST, RIVERBEND, JUNIPER, {Category.PROGRESS_SUMMARY, Category.MESSAGE}, "back")
    world[RIVERBEND].commands("GrantConsent", "back", permission=back)


class Copies:
    """Runs on fresh copies of a prepared database."""

    def __init__(self, prepared: Prepared, directory: Path, server: PostgresServer | None = None) -> None:
        self._prepared = prepared
        self._server = server
        # On SQLite one file is written over, so that what has been compiled for its engine serves all runs.
        self._file = directory / "copy.db"
        self._database = None if server else Database(f"sqlite:///{self._file}", metadata)
        if self._database is not None:
            # Nobody cuts the power of a test.
            event.listen(self._database.engine, "connect", _not_durable)

    def run(self, play: Callable[[World], None]) -> list[tuple[str, Any]]:
        """What Riverbend observes while *play* goes on."""
        database = self._fresh()
        world = World(self._prepared, database)
        try:
            play(world)
            return world.watcher.seen
        finally:
            world.close()
            if self._server is not None:
                self._server.drop_database(database.url.render_as_string(hide_password=False))

    def _fresh(self) -> Database:
        if self._server is not None:
            return Database(self._server.new_database(template=self._prepared.url), metadata)
        assert self._database is not None
        for old in self._file.parent.glob(f"{self._file.name}*"):
            old.unlink()
        shutil.copyfile(make_url(self._prepared.url).database or "", self._file)
        return self._database


def _not_durable(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")
