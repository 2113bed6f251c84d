"""Sync, Read and ReadBack: what either side of a clinic's two logs lacks."""

from datetime import datetime

from tandem.exchange.v1 import exchange_pb2 as pb
from tandem_platform.exchange import log, quarantine, reader
from tandem_platform.exchange.rows import Position, downlink, uplink
from tandem_platform.storage import Transaction
from tandem_referral.store import commands, permissions, sync

MOST_ROWS = 500


def synced(tx: Transaction, request: pb.SyncRequest, practice_id: str, now: datetime) -> pb.SyncResponse:
    """Note where the clinic stands, reopen its downlink if this database has lost rows of it, and say where the hub stands."""
    response = pb.SyncResponse()
    up, down = uplink(practice_id), downlink(practice_id)
    _reopen_if_lost(tx, down, Position.from_message(request.downlink_cursor), response)
    log.acknowledge(tx, down, request.downlink_cursor.sequence)
    cursor, stopped = reader.lock_cursor(tx, up)
    committed = commands.commands_committed(tx, practice_id)
    sync.note(
        tx,
        practice_id,
        now,
        caught_up=request.commands_known <= committed,
        commands_known=request.commands_known,
        kafka_failing=request.kafka_failing,
    )
    response.uplink_cursor.CopyFrom(cursor.to_message())
    response.downlink_head.CopyFrom(log.head_of(tx, down).to_message())
    response.commands_committed = committed
    response.uplink_stopped = stopped
    response.push_wanted = request.uplink_head.sequence > cursor.sequence
    response.hub_time.FromDatetime(now)
    for row in permissions.revocations_above(tx, practice_id, request.revocations_known):
        response.revocations.add(
            number=row.number, permission_id=row.permission_id, permission_version=row.permission_version
        )
    for row in quarantine.listed(tx, up):
        parked = response.quarantined.add(epoch=row.epoch, sequence=row.sequence, reason=row.reason)
        parked.parked_at.FromDatetime(row.parked_at)
    return response


def _reopen_if_lost(tx: Transaction, down: str, cursor: Position, response: pb.SyncResponse) -> None:
    """The clinic holds downlink rows that this database does not, so it comes from a backup: go on above the clinic's cursor.

    What was acknowledged in the backup is on both sides; what came after it is appended anew, and effects have ids.
    """
    ours = log.position_at(tx, down, cursor.sequence)
    if ours == cursor:
        return
    head = log.head_of(tx, down)
    if head.epoch > cursor.epoch and ours is not None and head.sequence >= cursor.sequence:
        # Reopened already; the clinic has not heard yet.
        response.downlink_reopened_after.CopyFrom(cursor.to_message())
        response.downlink_epoch = head.epoch
        return
    epoch = max(head.epoch, cursor.epoch) + 1
    log.open_epoch(tx, down, epoch, cursor, common=min(log.acknowledged(tx, down), cursor.sequence))
    response.downlink_reopened_after.CopyFrom(cursor.to_message())
    response.downlink_epoch = epoch


def read(tx: Transaction, practice_id: str, after: Position, limit: int, now: datetime) -> list[pb.LogRow]:
    """Rows of the downlink; below the acknowledged cursor, content only under a permission that is active now."""
    down = downlink(practice_id)
    acknowledged = log.acknowledged(tx, down)
    rows = log.read(tx, down, after.sequence, min(limit or MOST_ROWS, MOST_ROWS))
    again = [row for row in rows if row.sequence <= acknowledged and row.body]
    releases = {
        row.sequence: body.entry_released.permission_id
        for row in again
        if (body := pb.RowBody.FromString(row.body)).HasField("entry_released")
    }
    ended = permissions.not_active_now(tx, releases.values(), now)
    for row in again:
        if releases.get(row.sequence) in ended:
            row.body, row.void_reason = b"", "revoked"
    return rows


def read_back(tx: Transaction, practice_id: str, after_sequence: int, limit: int) -> list[pb.LogRow]:
    """The practice's own uplink rows, as they came."""
    return log.read(tx, uplink(practice_id), after_sequence, min(limit or MOST_ROWS, MOST_ROWS))
