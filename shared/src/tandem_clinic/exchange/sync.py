"""Sync: comparing cursors and heads with the hub, and moving by gRPC what either side lacks.

Kafka is how rows travel fast; this is how they travel surely.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from tandem.exchange.v1 import exchange_pb2 as pb
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.refusals import UplinkNotStopped
from tandem_clinic.exchange import restore
from tandem_clinic.hub import journal
from tandem_clinic.store import audit, worklist
from tandem_clinic.store.tables import command, revocation_known
from tandem_clinic.usecases import sharing
from tandem_platform.errors import Refusal
from tandem_platform.exchange import log
from tandem_platform.exchange.reader import (
    LogReader,
    LogStopped,
    cursor_of,
    lock_cursor,
    move_cursor,
    restart,
)
from tandem_platform.exchange.rows import Position, downlink, epoch_message, sign_batch
from tandem_platform.exchange.signing import signer
from tandem_platform.ids import new_id
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_new

_log = logging.getLogger(__name__)

BATCH_ROWS = 500
PERIOD = timedelta(seconds=30)
"""How long the hub may hold a Sync back."""

LEASE = 2 * PERIOD
"""How long after a Sync a Kafka copy may still be applied: the list of revocations comes with Sync."""

GRACE = timedelta(milliseconds=250)
"""How long Kafka has to move a log before gRPC does."""

HEARSAY = timedelta(milliseconds=500)
"""Between Syncs while Kafka works. How far the hub has come is heard by them, so the uplink has as long."""

LONGEST_REST = timedelta(seconds=1)
"""Between attempts in vain, to move rows or to learn something new."""


class _Patience:
    """When gRPC has to move a log that stands still. Used by one thread at a time, or to no harm by two."""

    def __init__(self) -> None:
        self.place = -1
        """Where the log was when the wait began: one that has left there is moving, however far its head is ahead."""
        self._due_at: datetime | None = None
        self._rest = GRACE

    def is_over(self, place: int, now: datetime, grace: timedelta) -> bool:
        """The log is at *place*, behind its head: True when it has been there for *grace*, and then ever less often."""
        if place != self.place or self._due_at is None:
            self.place, self._due_at, self._rest = place, now + grace, GRACE
        elif self._due_at - now > LONGEST_REST:
            # The clock was set back since.
            self._due_at = now
        if now < self._due_at:
            return False
        self._due_at = now + self._rest
        self._rest = min(2 * self._rest, LONGEST_REST)
        return True

    def forget(self) -> None:
        """The log is not behind."""
        self._due_at = None


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
    commands_paused: within it no command is sent.
    keys_unknown: told that one side does not know the newest keys of the other.
    """

    def __init__(
        self,
        clinic: Clinic,
        reader: LogReader,
        *,
        kafka_works: Callable[[], bool] = lambda: False,
        rescued: Callable[[int], None] = lambda rows: None,
        commands_paused: Callable[[], AbstractContextManager[None]] = nullcontext,
        keys_unknown: Callable[[], None] = lambda: None,
    ) -> None:
        self._clinic = clinic
        self._reader = reader
        self._kafka_works = kafka_works
        self._rescued = rescued
        self._commands_paused = commands_paused
        self._keys_unknown = keys_unknown
        self._sign = signer(clinic.keys)
        self._peer = _Peer()
        # Taken in this order, after the journal's own.
        self._pushing = threading.Lock()
        self._acting = threading.Lock()
        self._reading = threading.Lock()
        self._uplink_patience = _Patience()
        self._downlink_patience = _Patience()
        self._asked_at: pb.LogPosition | None = None
        self._rest = timedelta(0)
        self._next_after = timedelta(0)

    @property
    def next_after(self) -> timedelta:
        """When to wait at the hub again."""
        return max(self._next_after, self._rest)

    def may_apply_copies(self) -> bool:
        """Whether the list of revocations is recent enough to trust a Kafka copy."""
        synced_at = self._peer.synced_at
        return synced_at is not None and abs(self._clinic.now() - synced_at) <= LEASE

    def hub_is_reached(self) -> bool:
        return self.may_apply_copies()

    def step(self, *, wait: bool = False) -> pb.SyncResponse:
        """Ask the hub once, and act on its answer; moving rows is left to `push` and `read`. Raises Refusal if it is away.

        The first time nothing is waited for, nor while lost commands go to the hub again.
        """
        request = self._request(wait and self._peer.synced_at is not None)
        timeout = PERIOD.total_seconds() + 5 if request.wait else 5.0
        response = self._clinic.gateway.ask(self._clinic.gateway.exchange.Sync, request, timeout)
        if response.commands_committed < request.commands_known:
            # Before anything else is sent, or it would come before what was lost.
            with self._commands_paused():
                self._act_on(request, response)
        else:
            self._act_on(request, response)
        if wait:
            self._next_after = response.next_after.ToTimedelta() if request.wait else timedelta(0)
            self._rest = self._rest_after(request, response)
        return response

    def _request(self, wait: bool) -> pb.SyncRequest:
        clinic = self._clinic
        with clinic.db.reading() as tx:
            replaying = _replays_queued(tx)
            return pb.SyncRequest(
                uplink_head=log.head_of(tx, clinic.uplink).to_message(),
                downlink_cursor=cursor_of(tx, downlink(clinic.practice_id)).to_message(),
                commands_known=journal.commands_known(tx),
                replaying=replaying,
                revocations_known=_revocations_known(tx),
                kafka_failing=not self._kafka_works(),
                wait=wait and not replaying,
            )

    def _rest_after(self, request: pb.SyncRequest, response: pb.SyncResponse) -> timedelta:
        """While rows come, each Sync would answer at once; while they do not, it would tell the same again."""
        if response.downlink_head.sequence == request.downlink_cursor.sequence and not request.replaying:
            return timedelta(0)
        stuck, self._asked_at = self._asked_at == request.downlink_cursor, request.downlink_cursor
        if stuck:
            return min(2 * self._rest or GRACE, LONGEST_REST)
        return HEARSAY if self._kafka_works() else timedelta(0)

    def _act_on(self, request: pb.SyncRequest, response: pb.SyncResponse) -> None:
        with self._acting:
            self._clinic.db.run(lambda tx: self._note(tx, request, response))
            self._peer.downlink_head = response.downlink_head.sequence
            self._peer.push_wanted = response.push_wanted
            self._peer.synced_at = self._clinic.now()
            self._restore(request, response)

    def _note(self, tx: Transaction, request: pb.SyncRequest, response: pb.SyncResponse) -> None:
        clinic = self._clinic
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
        self._acknowledge(tx, Position.from_message(response.uplink_cursor))
        if response.uplink_stopped:
            worklist.raise_alert(tx, "uplink-stopped", now, reason=response.uplink_stopped)
        if response.quarantined:
            worklist.raise_alert(tx, "rows-parked-at-hub", now, rows=str(len(response.quarantined)))
        over = {
            "uplink-stopped": not response.uplink_stopped,
            "rows-parked-at-hub": not response.quarantined,
            # What was lost is on both sides again, and nothing is on its way.
            "restored-from-backup": request.uplink_head == response.uplink_cursor,
            "hub-restored": request.downlink_cursor == response.downlink_head,
        }
        worklist.clear_alerts(tx, [kind for kind, is_over in over.items() if is_over], now)

    def _acknowledge(self, tx: Transaction, hub_cursor: Position) -> bool:
        """Whether the hub's cursor is a place of our log. Another's numbers acknowledge nothing of ours."""
        ours = log.continuation(tx, self._clinic.uplink, hub_cursor) is not None
        if ours:
            log.acknowledge(tx, self._clinic.uplink, hub_cursor.sequence)
        return ours

    def _restore(self, request: pb.SyncRequest, response: pb.SyncResponse) -> None:
        """Continue where one side has lost rows: in a new epoch above the other's cursor."""
        if response.downlink_epoch:
            self._follow_reopened_downlink(request, response)
        hub_cursor = Position.from_message(response.uplink_cursor)
        with self._clinic.db.reading() as tx:
            epoch = log.continuation(tx, self._clinic.uplink, hub_cursor)
        if epoch is None:
            epoch = restore.read_lost_rows_back(
                self._clinic, hub_cursor, lambda new: self._open_epoch(new, hub_cursor)
            )
        elif epoch > hub_cursor.epoch:
            # A restored hub has lost the opening of the epoch of the rows that it needs next.
            self._open_epoch(epoch, hub_cursor)
        self._peer.uplink_cursor = Position(epoch, hub_cursor.sequence, hub_cursor.hash)

    def reopen_uplink(self) -> None:
        """An administrator's way out when the hub has stopped the uplink: what it lacks goes again, in a new epoch.

        Raises UplinkNotStopped where the hub has not.
        """
        response = self.step()
        if not response.uplink_stopped:
            raise UplinkNotStopped
        hub_cursor = Position.from_message(response.uplink_cursor)
        with self._acting:
            epoch = restore.read_lost_rows_back(
                self._clinic, hub_cursor, lambda new: self._open_epoch(new, hub_cursor)
            )
            self._peer.uplink_cursor = Position(epoch, hub_cursor.sequence, hub_cursor.hash)
        self.push()
        self.step()

    def resume_downlink(self) -> None:
        """An administrator's way out when the downlink was stopped here: try again to apply what the hub gives."""
        self._clinic.db.run(self._start_downlink)
        self.read()

    def _start_downlink(self, tx: Transaction) -> None:
        restart(tx, downlink(self._clinic.practice_id))
        worklist.clear_alerts(tx, ["downlink-stopped"], self._clinic.now())

    def _follow_reopened_downlink(self, request: pb.SyncRequest, response: pb.SyncResponse) -> None:
        """The hub is back from a backup and continues above our cursor, in a new epoch."""
        asked = Position.from_message(request.downlink_cursor)

        def work(tx: Transaction) -> None:
            name = downlink(self._clinic.practice_id)
            cursor, _ = lock_cursor(tx, name)
            if cursor == asked and Position.from_message(response.downlink_reopened_after) == asked:
                move_cursor(tx, name, Position(response.downlink_epoch, cursor.sequence, cursor.hash))
                self._start_downlink(tx)
                now, epoch = self._clinic.now(), str(response.downlink_epoch)
                audit.note(tx, "hub-restored", now, epoch=epoch)
                worklist.raise_alert(tx, "hub-restored", now, epoch=epoch)

        self._clinic.db.run(work)

    def _open_epoch(self, epoch: int, after: Position) -> None:
        # A new request each time: what was refused for a cursor that had moved may be granted later.
        # If an answer is lost, the next Sync tells that the epoch is open.
        request = pb.OpenEpochRequest(
            request_id=new_id("req"),
            epoch=epoch,
            after=after.to_message(),
            signature=self._sign(epoch_message(self._clinic.uplink, epoch, after)),
        )
        self._clinic.gateway.ask(self._clinic.gateway.exchange.OpenEpoch, request)

    def bring_missing(self) -> bool:
        """Push if Kafka has not moved the uplink in time. True if rows went. Raises Refusal if the hub is away."""
        if not self._uplink_is_due():
            return False
        if self._kafka_works() and not self._peer.push_wanted:
            # Most likely the hub has them, and we have not heard. What is under way must not go twice.
            self.step()
            there, _ = self._uplink_places()
            if there != self._uplink_patience.place:
                return False
        return self.push()

    def _uplink_is_due(self) -> bool:
        there, ours = self._uplink_places()
        if there >= ours:
            self._uplink_patience.forget()
            return False
        at_once = self._peer.push_wanted or not self._kafka_works()
        grace = timedelta(0) if at_once else HEARSAY + GRACE
        return self._uplink_patience.is_over(there, self._clinic.now(), grace)

    def _uplink_places(self) -> tuple[int, int]:
        """How far the hub has come, as far as we know, and how far we."""
        cursor = self._peer.uplink_cursor
        with self._clinic.db.glancing() as tx:
            there = log.acknowledged(tx, self._clinic.uplink) if cursor is None else cursor.sequence
            return there, log.head_of(tx, self._clinic.uplink).sequence

    def push(self) -> bool:
        """Bring the hub every row that it lacks, up to one that comes after a command which is still queued here.

        False if the hub is away, or if a row has to wait for something else.
        """
        try:
            for _ in range(3):
                if self._peer.uplink_cursor is None:
                    self.step()
                with self._pushing:
                    arrived = self._push_rows()
                if arrived is not None:
                    return arrived
        except Refusal as refusal:
            self._peer.uplink_cursor = None
            _log.info("push did not reach the hub", extra={"reason": refusal.reason})
            if refusal.reason == "ROWS_NOT_SIGNED":
                self._keys_unknown()
        return False

    def _push_rows(self) -> bool | None:
        """Whether the hub has every row now; None if only a Sync can tell how to go on."""
        clinic = self._clinic
        cursor = self._peer.uplink_cursor
        while cursor is not None:
            with clinic.db.reading() as tx:
                epoch = log.continuation(tx, clinic.uplink, cursor)
                rows = log.read(tx, clinic.uplink, cursor.sequence, BATCH_ROWS)
            if epoch != cursor.epoch:
                break
            if not rows:
                return True
            sign_batch(clinic.uplink, rows, self._sign)
            answer = clinic.gateway.ask(clinic.gateway.exchange.Push, pb.PushRequest(rows=rows))
            moved = Position.from_message(answer.uplink_cursor)
            if not clinic.db.run(lambda tx, to=moved: self._acknowledge(tx, to)):  # type: ignore[misc]
                break
            if moved.sequence <= cursor.sequence and not self._freed(rows[0]):
                # A closing command first brings the uplink there: it must not wait for a row that waits for it.
                return self._waits_for_our_queue(rows[0])
            self._peer.uplink_cursor = cursor = moved
        self._peer.uplink_cursor = None
        return None

    def _waits_for_our_queue(self, row: pb.LogRow) -> bool:
        after = pb.RowBody.FromString(row.body).after_request_id if row.body else ""
        with self._clinic.db.glancing() as tx:
            awaited = journal.find(tx, after) if after else None
        return awaited is not None and awaited.state == "queued"

    def _freed(self, row: pb.LogRow) -> bool:
        """Whether *row* held the log up by waiting for a command that the hub will never answer, and does so no more."""
        if row.void_reason:
            return False
        return bool(self._clinic.db.run(lambda tx: sharing.stop_waiting(tx, self._clinic, row)))

    def fetch_missing(self) -> int:
        """Read if Kafka has not moved the downlink in time; how many rows came. Raises Refusal if the hub is away."""
        with self._clinic.db.glancing() as tx:
            cursor = cursor_of(tx, downlink(self._clinic.practice_id)).sequence
        if cursor >= self._peer.downlink_head:
            self._downlink_patience.forget()
            return 0
        grace = GRACE if self._kafka_works() else timedelta(0)
        return self.read() if self._downlink_patience.is_over(cursor, self._clinic.now(), grace) else 0

    def read(self) -> int:
        """Fetch and apply every row that is missing here; how many there were. Raises Refusal if the hub is away."""
        clinic = self._clinic
        name = downlink(clinic.practice_id)
        fetched = 0
        with self._reading:
            while True:
                with clinic.db.glancing() as tx:
                    cursor = cursor_of(tx, name)
                request = pb.ReadRequest(after=cursor.to_message(), limit=BATCH_ROWS)
                answer = clinic.gateway.ask(clinic.gateway.exchange.Read, request)
                if not answer.rows:
                    break
                try:
                    applied = self._reader.apply(name, list(answer.rows), authoritative=True)
                except LogStopped as stopped:
                    clinic.db.run(
                        lambda tx, why=stopped.reason: worklist.raise_alert(  # type: ignore[misc]
                            tx, "downlink-stopped", clinic.now(), reason=why
                        )
                    )
                    break
                if applied.broken:
                    self._keys_unknown()
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


def _replays_queued(tx: Transaction) -> bool:
    """Whether commands are on their way to a restored hub again."""
    query = select(command.c.position).where(
        command.c.state == "queued", command.c.replayed_since.is_not(None)
    )
    return tx.first(query.limit(1)) is not None
