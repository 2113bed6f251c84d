"""A clinic that does whatever it can with its own keys, its own certificate and a broker without access rules."""

import random
from collections.abc import Callable

import grpc
from faults.effects import Effects
from faults.stage import FailingNetwork
from sqlalchemy import func, select

from tandem.common.v1.common_pb2 import CATEGORY_SCALE_SCORE
from tandem.exchange.v1 import exchange_pb2 as pb
from tandem.exchange.v1.exchange_pb2_grpc import ExchangeServiceStub
from tandem_platform.exchange.reader import cursor_of
from tandem_platform.exchange.rows import Position, body_hash, downlink, position_of, sign_batch, uplink
from tandem_platform.exchange.signing import signer
from tandem_platform.ids import new_id
from tandem_platform.rpc.client import refusal_of
from tandem_platform.rpc.identity import Caller
from tandem_platform.sealing import encode_labels, seal, sign_received
from tandem_referral.store.tables import entry, exchange


class HostileClinic:
    """Takes the place of the clinic *name*, whose own process has ended. *episodes*: shared ones, its own first."""

    def __init__(
        self, network: FailingNetwork, name: str, episodes: list[str], chance: random.Random
    ) -> None:
        self._network = network
        self._name = name
        self._log = uplink(name)
        self._keys = network.clinics[name].keys
        self._episodes = episodes
        self._chance = chance
        self._hub = ExchangeServiceStub(network.channel(Caller("practice", name)))
        self._deeds: list[Callable[[], None]] = [
            self._flood,
            self._forge_origin,
            self._forge_signature,
            self._seal_badly,
            self._lie_about_numbers,
            self._equivocate,
            self._write_for_another,
        ]

    @property
    def effects(self) -> Effects:
        return self._network.effects

    def act(self) -> None:
        """One deed; the hub may be away, or refuse."""
        try:
            self._hub.Sync(self._introduced(), timeout=30)
            self._chance.choice(self._deeds)()
        except grpc.RpcError:
            return

    def _introduced(self) -> pb.SyncRequest:
        with self._network.hub.database.reading() as tx:
            head = tx.first(select(exchange.head).where(exchange.head.c.log == downlink(self._name)))
        read = pb.LogPosition()
        if head is not None:
            read = pb.LogPosition(epoch=head.epoch, sequence=head.sequence, hash=head.hash)
        return pb.SyncRequest(uplink_head=self._cursor().to_message(), downlink_cursor=read, commands_known=0)

    def _cursor(self) -> Position:
        with self._network.hub.database.reading() as tx:
            return cursor_of(tx, self._log)

    def _rows(self, *bodies: pb.RowBody, after: Position | None = None) -> list[pb.LogRow]:
        at = after or self._cursor()
        rows = []
        for body in bodies:
            wire = body.SerializeToString(deterministic=True)
            row = pb.LogRow(
                epoch=at.epoch,
                sequence=at.sequence + 1,
                previous_hash=at.hash,
                body_hash=body_hash(wire),
                body=wire,
            )
            at = position_of(self._log, row)
            rows.append(row)
        sign_batch(self._log, rows, signer(self._keys))
        return rows

    def _push(self, rows: list[pb.LogRow]) -> str:
        """The reason why it was refused, or empty."""
        try:
            self._hub.Push(pb.PushRequest(rows=rows), timeout=30)
        except grpc.RpcError as error:
            return refusal_of(error).reason
        return ""

    def _sealed(self, origin: str = "", episode: str = "") -> pb.SealedEntry:
        labels = pb.EntryLabels(
            entry_id=new_id("ent"),
            episode_id=episode or self._episodes[0],
            origin_practice_id=self._name,
            category=CATEGORY_SCALE_SCORE,
        )
        labels.authored_at.FromDatetime(self._network.clock.now())
        sealed = seal(labels, b"{}", self._keys, self._network.clinics["juniper"].keys.bundle)
        if origin:
            sealed.labels.origin_practice_id = origin
            signed = encode_labels(sealed.labels) + sealed.content_hash + sealed.key_commitment
            sealed.signature = self._keys.sign("sealed-entry", signed)
        return sealed

    def _parked(self) -> int:
        table = exchange.quarantine
        with self._network.hub.database.reading() as tx:
            row = tx.first(select(func.count()).select_from(table).where(table.c.log == self._log))
        return int(row[0]) if row else 0

    def _flood(self) -> None:
        before = self._cursor().sequence
        receipts = [
            pb.RowBody(entries_received=sign_received(self._keys, "juniper", [self._sealed()]))
            for _ in range(60)
        ]
        self._push(self._rows(*receipts))
        if self._cursor().sequence > before:
            self.effects.note("hostile-clinic-floods")

    def _forge_origin(self) -> None:
        """In the name of another, about an episode of others, and a receipt that another should have signed."""
        before = self._parked()
        receipt = sign_received(self._keys, "juniper", [self._sealed()])
        receipt.recipient_practice_id = "riverbend"
        self._push(
            self._rows(
                pb.RowBody(entry=self._sealed(origin="riverbend", episode=self._episodes[-1])),
                pb.RowBody(entry=self._sealed(episode=self._episodes[-1])),
                pb.RowBody(entries_received=receipt),
            )
        )
        if self._parked() > before:
            self.effects.note("hostile-clinic-forges-origin")

    def _forge_signature(self) -> None:
        before = self._cursor()
        rows = self._rows(pb.RowBody(entry=self._sealed()))
        rows[-1].signature = bytes(64)
        if self._push(rows) == "ROWS_NOT_SIGNED" and self._cursor() == before:
            self.effects.note("hostile-clinic-forges-signature")

    def _seal_badly(self) -> None:
        before = self._parked()
        sealed = self._sealed()
        sealed.ciphertext = bytes(len(sealed.ciphertext))
        self._push(self._rows(pb.RowBody(entry=sealed)))
        if self._parked() > before:
            self.effects.note("hostile-clinic-seals-badly")

    def _lie_about_numbers(self) -> None:
        """Rows far above and below the cursor; a cursor and heads that there never were."""
        before = self._cursor()
        above = Position(before.epoch, before.sequence + 5, before.hash)
        self._push(self._rows(pb.RowBody(entry=self._sealed()), after=above))
        below = Position(before.epoch, max(0, before.sequence - 2), bytes(32))
        self._push(self._rows(pb.RowBody(entry=self._sealed()), after=below))
        lies = pb.SyncRequest(uplink_head=above.to_message(), downlink_cursor=above.to_message())
        lies.revocations_known = self._chance.choice([0, 1 << 40])
        self._hub.Sync(lies, timeout=30)
        if self._cursor() == before:
            self.effects.note("hostile-clinic-lies-about-numbers")

    def _equivocate(self) -> None:
        one, other = self._sealed(), self._sealed()
        copies = self._rows(pb.RowBody(entry=one))
        self._network.broker.put(self._log, copies[0].SerializeToString(), "stale")
        self._push(self._rows(pb.RowBody(entry=other)))
        self._network.step_hub()
        ids = [one.labels.entry_id, other.labels.entry_id]
        with self._network.hub.database.reading() as tx:
            row = tx.first(select(func.count()).select_from(entry).where(entry.c.entry_id.in_(ids)))
        taken = int(row[0]) if row else 0
        assert taken <= 1, "P3: the hub took two rows with one number"
        if taken:
            self.effects.note("hostile-clinic-equivocates")

    def _write_for_another(self) -> None:
        """Rows and voids forged onto topics of others, where the next row is awaited."""
        name, sort = self._chance.choice(
            [("juniper", uplink), ("riverbend", downlink), ("juniper", downlink)]
        )
        log = sort(name)
        database = self._network.hub.database if sort is uplink else self._network.clinics[name].db
        with database.reading() as tx:
            at = cursor_of(tx, log)
        body = pb.RowBody(entry=self._sealed(origin="juniper", episode=self._episodes[-1]))
        if sort is downlink:
            body = pb.RowBody(entry_released=pb.EntryReleased(entry=self._sealed(origin="juniper")))
        wire = body.SerializeToString()
        row = pb.LogRow(
            epoch=at.epoch,
            sequence=at.sequence + 1,
            previous_hash=at.hash,
            body_hash=body_hash(wire),
            body=wire,
        )
        if self._chance.random() < 0.4:
            row.body, row.void_reason = b"", "revoked"
        sign_batch(log, [row], signer(self._keys))
        self._network.broker.put(log, row.SerializeToString(), "hostile-clinic-writes-for-another")
