"""ExchangeService."""

import random
import threading
import time
from datetime import timedelta

from sqlalchemy import select, update

from tandem.exchange.v1 import exchange_pb2 as pb
from tandem_platform.errors import Code, Refusal
from tandem_platform.exchange import log, quarantine, reader
from tandem_platform.exchange.reader import LogReader, LogStopped, ReaderStopped
from tandem_platform.exchange.rows import (
    Position,
    Sign,
    downlink,
    epoch_message,
    practice_of,
    sign_batch,
    uplink,
)
from tandem_platform.rpc.dispatch import Call
from tandem_platform.storage import Database, Transaction
from tandem_referral.grpc.pages import PageTokens, page_size
from tandem_referral.store import keys
from tandem_referral.store import sync as syncs
from tandem_referral.store.tables import exchange
from tandem_referral.usecases import consent, sync
from tandem_referral.usecases.exchange import KEY_NOT_KNOWN
from tandem_referral.usecases.hub_time import HubTime

LONGEST_SLICE = 1.0
"""Seconds that a waiting Sync goes without a look of its own."""


class UplinkStopped(Refusal):
    def __init__(self, reason: str) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "UPLINK_STOPPED",
            f"the uplink stands still: {reason}",
            way_out="sync; if it stays so, the operator looks at `tandem exchange status`",
            metadata={"reason": reason},
        )


class ReaderAtFault(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.UNAVAILABLE,
            "READER_STOPPED",
            "the hub has stopped reading after faults of its own",
            way_out="nothing is lost; try again later",
        )


class RowsNotSigned(Refusal):
    """By no key that the hub knows of the caller: it may have lost the newest bundle, or not been told of it yet."""

    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "ROWS_NOT_SIGNED",
            "the rows are not signed by the practice's newest published key",
            field="rows",
            way_out="publish the key bundle, then push again",
        )


class EpochRefused(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "EPOCH_REFUSED",
            "the epoch does not start at the hub's cursor, or is not signed by the practice's key",
            field="after",
            way_out="sync, then open the next epoch above the cursor given there",
        )


class EpisodeNotParked(Refusal):
    def __init__(self) -> None:
        super().__init__(Code.NOT_FOUND, "NOTHING_PARKED", "nothing of this episode is parked")


class ExchangeServicer:
    """Sync is a long poll: it may keep its thread for the hub's period."""

    def __init__(
        self,
        database: Database,
        uplinks: LogReader,
        hub_time: HubTime,
        sign: Sign,
        pages: PageTokens,
        *,
        period: float = 30.0,
        most_waiting: int = 200,
    ) -> None:
        self._database = database
        self._uplinks = uplinks
        self._time = hub_time
        self._sign = sign
        self._pages = pages
        self._period = period
        self._places = threading.BoundedSemaphore(most_waiting)
        self._ending = False

    def end_waiting(self) -> None:
        """Answer every waiting Sync now, and let none wait any more: the process is about to end."""
        self._ending = True
        self._database.wakeups.notify_all()

    def Sync(self, request: pb.SyncRequest, call: Call) -> pb.SyncResponse:
        """Answers at once if the clinic has something to do, else when its downlink's head moves or the period ends."""
        seen = self._database.wakeup(downlink(call.caller.id)).count
        self._take_back_what_a_backup_lost(Position.from_message(request.downlink_cursor), call.caller.id)
        response = self._synced(request, call.caller.id)
        if not request.wait:
            response.next_after.FromTimedelta(self._pause(request))
        elif not _has_news(request, response):
            if self._places.acquire(blocking=False):
                try:
                    self._wait_for_head(call, seen, response.downlink_head.sequence)
                finally:
                    self._places.release()
                # What was said before the wait is old by now.
                response = self._synced(request, call.caller.id)
            else:
                response.next_after.FromTimedelta(self._pause(request))
        return response

    def _synced(self, request: pb.SyncRequest, practice_id: str) -> pb.SyncResponse:
        response, catches_up = self._database.run(
            lambda tx: sync.synced(tx, request, practice_id, self._time.decision_time(tx))
        )
        if catches_up:
            self._database.run(lambda tx: sync.catch_up(tx, practice_id, self._time.decision_time(tx)))
            self._retry_episodes_that_came_back()
        if response.quarantined:
            self._retry_what_came_before_its_key(practice_id)
        return response

    def _take_back_what_a_backup_lost(self, cursor: Position, practice_id: str) -> None:
        with self._database.reading() as tx:
            lost = sync.lags_behind(tx, practice_id, cursor)
        if lost:
            self._database.run(
                lambda tx: consent.take_back_lost(
                    tx, practice_id, cursor.sequence, self._time.decision_time(tx)
                )
            )

    def _retry_what_came_before_its_key(self, practice_id: str) -> None:
        """While a practice's keys are rotated, an older process of its brings what a newer one has signed."""
        with self._database.reading() as tx:
            published = sync.has_published_the_key_since(tx, practice_id)
        if published:
            self._uplinks.retry_parked_for(uplink(practice_id), KEY_NOT_KNOWN)

    def _retry_episodes_that_came_back(self) -> None:
        """After a restore one practice's entries may come before the other has replayed what opened their episode."""
        with self._database.reading() as tx:
            waiting = sync.parked_without_episode(tx)
        for name, episode_id in waiting:
            self._uplinks.retry(name, episode_id)

    def _wait_for_head(self, call: Call, seen: int, head: int) -> None:
        """Until the caller's downlink head is not *head* any more, another run has begun or the period is over."""
        until = time.monotonic() + min(self._period, call.remaining() - 1.0)
        table = exchange.head
        sequence = select(table.c.sequence).where(table.c.log == downlink(call.caller.id)).scalar_subquery()
        query = select(syncs.current_run.label("run"), sequence.label("sequence"))
        run = None
        while not self._ending and (left := until - time.monotonic()) > 0:
            with self._database.glancing() as tx:
                row = tx.first(query)
            assert row is not None
            if (row.sequence or 0) != head or row.run != (run := run or row.run):
                return
            # In slices, because another process's word of its commit may be lost.
            seen = self._database.wakeup(downlink(call.caller.id)).wait(seen, min(left, LONGEST_SLICE))

    def _pause(self, request: pb.SyncRequest) -> timedelta:
        """Jittered, so that clinics which lost Kafka together do not come back together."""
        return timedelta(
            seconds=random.uniform(0.2, 1.0)
            if request.kafka_failing
            else random.uniform(0.5, 1.5) * self._period
        )

    def Push(self, request: pb.PushRequest, call: Call) -> pb.PushResponse:
        name = uplink(call.caller.id)
        try:
            applied = self._uplinks.apply(name, list(request.rows), authoritative=True)
        except LogStopped as stopped:
            raise UplinkStopped(stopped.reason) from None
        except ReaderStopped:
            raise ReaderAtFault from None
        if applied.broken:
            raise RowsNotSigned
        if applied.rows:
            self._database.run(lambda tx: _count_rescued(tx, name, applied.rows))
        return pb.PushResponse(uplink_cursor=applied.cursor.to_message())

    def Read(self, request: pb.ReadRequest, call: Call) -> pb.ReadResponse:
        after = Position.from_message(request.after)
        with self._database.reading() as tx:
            now = self._time.decision_time(tx)
            rows = sync.read(tx, call.caller.id, after, request.limit, now)
            head = log.head_of(tx, downlink(call.caller.id))
        sign_batch(downlink(call.caller.id), rows, self._sign)
        return pb.ReadResponse(rows=rows, downlink_head=head.to_message())

    def ReadBack(self, request: pb.ReadBackRequest, call: Call) -> pb.ReadBackResponse:
        with self._database.reading() as tx:
            rows = sync.read_back(tx, call.caller.id, request.after_sequence, request.limit)
            cursor = reader.cursor_of(tx, uplink(call.caller.id))
        return pb.ReadBackResponse(rows=rows, uplink_cursor=cursor.to_message())

    def OpenEpoch(self, request: pb.OpenEpochRequest, call: Call) -> pb.OpenEpochResponse:
        name = uplink(call.caller.id)
        cursor, _ = reader.lock_cursor(call.tx, name)
        after = Position.from_message(request.after)
        bundle = keys.newest(call.tx, call.caller.id)
        message = epoch_message(name, request.epoch, after)
        if (
            bundle is None
            or after != cursor
            or request.epoch <= cursor.epoch
            or bundle.signature_fault("exchange-head", message, request.signature, version=None, at=call.now)
            is not None
        ):
            raise EpochRefused
        reader.move_cursor(call.tx, name, Position(request.epoch, cursor.sequence, cursor.hash))
        reader.restart(call.tx, name)
        return pb.OpenEpochResponse()

    def ListQuarantine(self, request: pb.ListQuarantineRequest, call: Call) -> pb.ListQuarantineResponse:
        size = page_size(request.page_size)
        position = self._pages.read(call.caller.id, request)
        after = (str(position[0]), int(position[1])) if position else ("", 0)
        with self._database.reading() as tx:
            rows = quarantine.listed(tx, uplink(request.practice_id) if request.practice_id else None)
        rows = [row for row in rows if (row.log, row.sequence) > after]
        response = pb.ListQuarantineResponse()
        for row in rows[:size]:
            parked = response.parked.add(practice_id=practice_of(row.log), episode_id=row.episode_id)
            parked.row.epoch, parked.row.sequence, parked.row.reason = row.epoch, row.sequence, row.reason
            parked.row.parked_at.FromDatetime(row.parked_at)
        if len(rows) > size:
            last = rows[size - 1]
            response.next_page_token = self._pages.make(call.caller.id, request, [last.log, last.sequence])
        return response

    def RetryQuarantine(self, request: pb.RetryQuarantineRequest, call: Call) -> pb.RetryQuarantineResponse:
        name = uplink(request.practice_id)
        if not quarantine.rows_of(call.tx, name, request.episode_id):
            raise EpisodeNotParked
        applied, parked = self._uplinks.retry_in(call.tx, name, request.episode_id)
        return pb.RetryQuarantineResponse(applied=applied, still_parked=parked)

    def GetExchangeStatus(
        self, request: pb.GetExchangeStatusRequest, call: Call
    ) -> pb.GetExchangeStatusResponse:
        response = pb.GetExchangeStatusResponse()
        with self._database.reading() as tx:
            known = {row.practice_id: row for row in syncs.all_practices(tx)}
            heads = {row.log: row for row in tx.all(select(exchange.head))}
            cursors = {row.log: row for row in tx.all(select(exchange.cursor))}
            parked = [row.log for row in quarantine.listed(tx)]
        names = {practice_of(name) for name in (*heads, *cursors)} | set(known)
        for practice_id in sorted(names):
            up, down = uplink(practice_id), downlink(practice_id)
            status = response.logs.add(practice_id=practice_id, parked_rows=parked.count(up))
            if (cursor := cursors.get(up)) is not None:
                status.uplink_cursor.CopyFrom(
                    Position(cursor.epoch, cursor.sequence, cursor.hash).to_message()
                )
                status.stopped, status.rescued_total = cursor.stopped, cursor.rescued_total
            if (head := heads.get(down)) is not None:
                status.downlink_head.CopyFrom(Position(head.epoch, head.sequence, head.hash).to_message())
                status.downlink_acknowledged.sequence = head.acknowledged
            if practice_id in known:
                status.last_sync_at.FromDatetime(known[practice_id].last_sync_at)
        return response


def _count_rescued(tx: Transaction, name: str, rows: int) -> None:
    """Rows that Push brought although Kafka, as the clinic sees it, works."""
    if not syncs.kafka_failing(tx, practice_of(name)):
        cursor = exchange.cursor
        tx.execute(
            update(cursor).where(cursor.c.log == name).values(rescued_total=cursor.c.rescued_total + rows)
        )


def _has_news(request: pb.SyncRequest, response: pb.SyncResponse) -> bool:
    """Whether the clinic has something to do now. That its uplink is on its way here is nothing to tell."""
    ours, theirs = response.uplink_cursor, request.uplink_head
    return bool(
        response.downlink_head.sequence != request.downlink_cursor.sequence
        or response.downlink_epoch
        or response.revocations
        or response.push_wanted
        or ours.sequence > theirs.sequence
        or (ours.sequence == theirs.sequence and ours.hash != theirs.hash)
    )
