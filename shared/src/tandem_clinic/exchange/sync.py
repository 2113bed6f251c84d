"""Sync: comparing cursors and heads with the hub, and moving by gRPC what either side lacks.

Kafka is how rows travel fast; this is how they travel surely.
"""

import base64
import hashlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from tandem.exchange.v1 import exchange_pb2 as pb
from tandem_clinic.clinic import Clinic
from tandem_clinic.exchange import restore
from tandem_clinic.hub import journal
from tandem_clinic.store import worklist
from tandem_clinic.store.conflicts import insert_new
from tandem_clinic.store.tables import command, revocation_known
from tandem_platform.errors import Refusal
from tandem_platform.exchange import log
from tandem_platform.exchange.reader import LogReader, LogStopped, cursor_of, lock_cursor, move_cursor
from tandem_platform.exchange.rows import Position, downlink, epoch_message, sign_batch
from tandem_platform.exchange.signing import signer
from tandem_platform.storage import Transaction

_log = logging.getLogger(__name__)

BATCH_ROWS = 500
PERIOD = timedelta(seconds=30)
"""How long the hub may hold a Sync back."""

LEASE = 2 * PERIOD
"""How long after a Sync a Kafka copy may still be applied: the list of revocations comes with Sync."""

GRACE = timedelta(milliseconds=250)
"""How long Kafka has for a row before gRPC fetches or brings it."""


@dataclass
class _Peer:
    """What the hub last said of our two logs."""

    synced_at: datetime | None = None
    uplink_cursor: Position | None = None
    downlink_head: int = 0
    push_wanted: bool = False


class Sync:
    """One clinic's exchange with the hub. Every method may be called by any thread.

    kafka_works: whether Kafka carries rows just now; without it gRPC moves them at once.
    rescued: told how many rows only gRPC brought although Kafka should have.
    """

    def __init__(
        self,
        clinic: Clinic,
        reader: LogReader,
        *,
        kafka_works: Callable[[], bool] = lambda: False,
        rescued: Callable[[int], None] = lambda rows: None,
    ) -> None:
        self._clinic = clinic
        self._reader = reader
        self._kafka_works = kafka_works
        self._rescued = rescued
        self._sign = signer(clinic.keys)
        self._peer = _Peer()
        self._pushing = threading.Lock()
        self._reading = threading.Lock()
        self._next_after = timedelta(0)

    @property
    def next_after(self) -> timedelta:
        """When the hub wants to be asked again."""
        return self._next_after

    def may_apply_copies(self) -> bool:
        """Whether the list of revocations is recent enough to trust a Kafka copy."""
        synced_at = self._peer.synced_at
        return synced_at is not None and self._clinic.now() - synced_at <= LEASE

    def hub_is_reached(self) -> bool:
        return self.may_apply_copies()

    def step(self, *, wait: bool = False) -> pb.SyncResponse:
        """Ask the hub once, and act on its answer; moving rows is left to `push` and `read`. Raises Refusal if it is away."""
        request = self._request(wait)
        timeout = PERIOD.total_seconds() + 5 if wait else 5.0
        response = self._clinic.gateway.ask(self._clinic.gateway.exchange.Sync, request, timeout)
        self._note(response)
        self._restore(request, response)
        self._next_after = response.next_after.ToTimedelta()
        return response

    def _request(self, wait: bool) -> pb.SyncRequest:
        clinic = self._clinic
        with clinic.db.reading() as tx:
            request = pb.SyncRequest(
                uplink_head=log.head_of(tx, clinic.uplink).to_message(),
                downlink_cursor=cursor_of(tx, downlink(clinic.practice_id)).to_message(),
                commands_known=journal.commands_known(tx) + _replays_queued(tx),
                revocations_known=_revocations_known(tx),
                kafka_failing=not self._kafka_works(),
                wait=wait,
            )
        return request

    def _note(self, response: pb.SyncResponse) -> None:
        clinic = self._clinic

        def work(tx: Transaction) -> None:
            now = clinic.now()
            for noted in response.revocations:
                values = {
                    "number": noted.number,
                    "permission_id": noted.permission_id,
                    "permission_version": noted.permission_version,
                    "known_at": now,
                }
                insert_new(tx, revocation_known, values)
            journal.replay_above(tx, clinic, response.commands_committed)
            log.acknowledge(tx, clinic.uplink, response.uplink_cursor.sequence)
            if response.uplink_stopped:
                worklist.raise_alert(tx, "uplink-stopped", now, reason=response.uplink_stopped)
            if response.quarantined:
                worklist.raise_alert(tx, "rows-parked-at-hub", now, rows=str(len(response.quarantined)))
            else:
                worklist.clear_alert(tx, "rows-parked-at-hub", now)

        clinic.db.run(work)
        self._peer.uplink_cursor = Position.from_message(response.uplink_cursor)
        self._peer.downlink_head = response.downlink_head.sequence
        self._peer.push_wanted = response.push_wanted
        self._peer.synced_at = clinic.now()

    def _restore(self, request: pb.SyncRequest, response: pb.SyncResponse) -> None:
        if response.downlink_epoch:
            self._follow_reopened_downlink(request, response)
        hub_cursor = Position.from_message(response.uplink_cursor)
        with self._clinic.db.reading() as tx:
            ours = log.position_at(tx, self._clinic.uplink, hub_cursor.sequence)
            head = log.head_of(tx, self._clinic.uplink)
        if ours is not None and ours.hash == hub_cursor.hash:
            self._reopen_for_hub(hub_cursor, head)
        else:
            restore.read_lost_rows_back(
                self._clinic, hub_cursor, lambda epoch: self._open_epoch(epoch, hub_cursor)
            )
            self._peer.uplink_cursor = None

    def _follow_reopened_downlink(self, request: pb.SyncRequest, response: pb.SyncResponse) -> None:
        """The hub is back from a backup and continues above our cursor, in a new epoch."""
        name = downlink(self._clinic.practice_id)
        asked = Position.from_message(request.downlink_cursor)

        def work(tx: Transaction) -> None:
            cursor, _ = lock_cursor(tx, name)
            if cursor == asked and Position.from_message(response.downlink_reopened_after) == asked:
                move_cursor(tx, name, Position(response.downlink_epoch, cursor.sequence, cursor.hash))
                worklist.raise_alert(
                    tx, "hub-restored", self._clinic.now(), epoch=str(response.downlink_epoch)
                )

        self._clinic.db.run(work)

    def _reopen_for_hub(self, hub_cursor: Position, head: Position) -> None:
        """A restored hub does not know the epoch of the rows that it needs next: open it there again."""
        if head.sequence <= hub_cursor.sequence and head.epoch == hub_cursor.epoch:
            return
        with self._clinic.db.reading() as tx:
            following = log.position_at(tx, self._clinic.uplink, hub_cursor.sequence + 1)
        epoch = following.epoch if following is not None else head.epoch
        if epoch > hub_cursor.epoch:
            self._open_epoch(epoch, hub_cursor)

    def _open_epoch(self, epoch: int, after: Position) -> None:
        message = epoch_message(self._clinic.uplink, epoch, after)
        # The same opening asked for twice is one command.
        request_id = "req_" + base64.b32encode(hashlib.sha256(message).digest()[:16]).decode().lower().rstrip(
            "="
        )
        request = pb.OpenEpochRequest(
            request_id=request_id, epoch=epoch, after=after.to_message(), signature=self._sign(message)
        )
        self._clinic.gateway.ask(self._clinic.gateway.exchange.OpenEpoch, request)

    def uplink_is_behind(self) -> bool:
        """Whether the hub, as far as we know, lacks rows that Kafka has had time for."""
        name = self._clinic.uplink
        rows = self._clinic.db.metadata.tables["exchange_log"]
        with self._clinic.db.reading() as tx:
            acknowledged = log.acknowledged(tx, name)
            row = tx.first(
                select(rows.c.appended_at)
                .where(rows.c.log == name, rows.c.sequence > acknowledged)
                .order_by(rows.c.sequence)
                .limit(1)
            )
        if row is None:
            return False
        return not self._kafka_works() or self._clinic.now() - row.appended_at >= GRACE

    def push(self) -> bool:
        """Bring the hub every row that it lacks. False if it is away or a row has to wait there."""
        clinic = self._clinic
        with self._pushing:
            try:
                if self._peer.uplink_cursor is None:
                    self.step()
                cursor = self._peer.uplink_cursor
                while cursor is not None:
                    with clinic.db.reading() as tx:
                        rows = log.read(tx, clinic.uplink, cursor.sequence, BATCH_ROWS)
                    if not rows:
                        return True
                    sign_batch(clinic.uplink, rows, self._sign)
                    answer = clinic.gateway.ask(clinic.gateway.exchange.Push, pb.PushRequest(rows=rows))
                    moved = Position.from_message(answer.uplink_cursor)
                    self._acknowledged(moved)
                    if moved.sequence <= cursor.sequence:
                        return False
                    cursor = moved
                return False
            except Refusal as refusal:
                self._peer.uplink_cursor = None
                _log.info("push did not reach the hub", extra={"reason": refusal.reason})
                return False

    def _acknowledged(self, cursor: Position) -> None:
        clinic = self._clinic
        self._peer.uplink_cursor = cursor
        clinic.db.run(lambda tx: log.acknowledge(tx, clinic.uplink, cursor.sequence))

    def downlink_is_behind(self) -> bool:
        """Whether the hub holds rows for us that have not been applied."""
        with self._clinic.db.reading() as tx:
            return cursor_of(tx, downlink(self._clinic.practice_id)).sequence < self._peer.downlink_head

    def read(self) -> int:
        """Fetch and apply every row that is missing here; how many there were. Raises Refusal if the hub is away."""
        clinic = self._clinic
        name = downlink(clinic.practice_id)
        fetched = 0
        with self._reading:
            while True:
                with clinic.db.reading() as tx:
                    cursor = cursor_of(tx, name)
                request = pb.ReadRequest(after=cursor.to_message(), limit=BATCH_ROWS)
                answer = clinic.gateway.ask(clinic.gateway.exchange.Read, request)
                if not answer.rows:
                    break
                try:
                    applied = self._reader.apply(name, list(answer.rows), authoritative=True)
                except LogStopped as stopped:
                    clinic.db.run(
                        lambda tx, why=stopped.reason: worklist.raise_alert(
                            tx, "downlink-stopped", clinic.now(), reason=why
                        )
                    )
                    break
                fetched += applied.rows
                self._peer.downlink_head = max(self._peer.downlink_head, applied.cursor.sequence)
                if not applied.rows:
                    break
        if fetched and self._kafka_works():
            self._rescued(fetched)
        return fetched


def _revocations_known(tx: Transaction) -> int:
    row = tx.first(select(func.max(revocation_known.c.number)))
    return 0 if row is None else row[0] or 0


def _replays_queued(tx: Transaction) -> int:
    """Commands on their way to a restored hub again: until they are answered, the hub has not caught up with us."""
    row = tx.first(
        select(func.count())
        .select_from(command)
        .where(command.c.state == "queued", command.c.replayed_since.is_not(None))
    )
    return 0 if row is None else int(row[0])
