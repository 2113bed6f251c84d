"""Sync, Read and ReadBack: what either side of a clinic's two logs lacks."""

from datetime import datetime

from tandem.exchange.v1 import exchange_pb2 as pb
from tandem_platform.exchange import log, quarantine, reader
from tandem_platform.exchange.rows import Position, downlink, uplink
from tandem_platform.storage import Transaction
from tandem_referral.store import commands, entries, keys, permissions, sync
from tandem_referral.usecases import consent
from tandem_referral.usecases.exchange import KEY_NOT_KNOWN, UNKNOWN_EPISODE, episodes_known

MOST_ROWS = 500


def synced(
    tx: Transaction, request: pb.SyncRequest, practice_id: str, now: datetime
) -> tuple[pb.SyncResponse, bool]:
    """Note where the clinic stands, reopen its downlink if this database has lost rows of it, and say where the hub stands.

    Also whether `catch_up` is to follow. Not after a reopening: what was appended anew has to be acknowledged first.
    """
    response = pb.SyncResponse()
    up, down = uplink(practice_id), downlink(practice_id)
    # The uplink's cursor is read without its lock, which comes before that of the downlink's head and may be held for long.
    cursor, stopped = reader.place_of(tx, up)
    reopened = _reopen_if_lost(tx, down, Position.from_message(request.downlink_cursor), response)
    log.acknowledge(tx, down, request.downlink_cursor.sequence)
    committed = commands.commands_committed(tx, practice_id)
    nothing_lost = request.commands_known <= committed and not request.replaying
    first = practice_id not in sync.caught_up(tx, [practice_id])
    sync.note(
        tx,
        practice_id,
        now,
        takes_commands=nothing_lost or request.replaying,
        commands_known=request.commands_known,
        kafka_failing=request.kafka_failing,
    )
    response.uplink_cursor.CopyFrom(cursor.to_message())
    response.downlink_head.CopyFrom(log.head_of(tx, down).to_message())
    response.commands_committed = committed
    response.uplink_stopped = stopped
    response.push_wanted = first and nothing_lost and request.uplink_head.sequence > cursor.sequence
    response.hub_time.FromDatetime(now)
    for row in permissions.revocations_above(tx, practice_id, request.revocations_known):
        response.revocations.add(
            number=row.number, permission_id=row.permission_id, permission_version=row.permission_version
        )
    for row in quarantine.listed(tx, up):
        parked = response.quarantined.add(epoch=row.epoch, sequence=row.sequence, reason=row.reason)
        parked.parked_at.FromDatetime(row.parked_at)
    return response, first and nothing_lost and not reopened


def parked_without_episode(tx: Transaction) -> list[tuple[str, str]]:
    """Log and id of episodes that were parked because this database did not know them, and does now."""
    rows = [row for row in quarantine.listed(tx) if row.reason == UNKNOWN_EPISODE and row.episode_id]
    known = episodes_known(tx, {row.episode_id for row in rows})
    return sorted({(row.log, row.episode_id) for row in rows if row.episode_id in known})


def has_published_the_key_since(tx: Transaction, practice_id: str) -> bool:
    """Whether rows of the practice are parked that came before the key they are signed with. Each row asks for one retry."""
    published_at = keys.published_at(tx, practice_id)
    return published_at is not None and any(
        row.reason == KEY_NOT_KNOWN and row.attempts == 1 and row.parked_at <= published_at
        for row in quarantine.listed(tx, uplink(practice_id))
    )


def _reopen_if_lost(tx: Transaction, down: str, cursor: Position, response: pb.SyncResponse) -> bool:
    """Whether the clinic has to follow the downlink into a new epoch.

    A cursor that is no place of this log shows that this database comes from a backup: it goes on above the clinic's cursor.
    What was acknowledged in the backup is on both sides; what came after it is appended anew, and effects have ids.
    """
    epoch = log.continuation(tx, down, cursor)
    if epoch == cursor.epoch:
        return False
    if epoch is None:
        epoch = max(log.head_of(tx, down).epoch, cursor.epoch) + 1
        log.open_epoch(tx, down, epoch, cursor, common=min(log.acknowledged(tx, down), cursor.sequence))
    response.downlink_reopened_after.CopyFrom(cursor.to_message())
    response.downlink_epoch = epoch
    return True


def lags_behind(tx: Transaction, practice_id: str, cursor: Position) -> bool:
    """Whether the practice stands below where it has been, in a log that goes on from there."""
    down = downlink(practice_id)
    return cursor.sequence < log.acknowledged(tx, down) and log.continuation(tx, down, cursor) == cursor.epoch


def catch_up(tx: Transaction, practice_id: str, now: datetime) -> None:
    """The practice has synced in this run, and nothing that it knows of is lost here: from now on it is read from and given to.

    What is on its way to it from disclosers who have not caught up is taken back, because a lost revocation may forbid it;
    when they have, it is decided about anew. A transaction of its own, because scopes are locked before logs.
    """
    under_way = entries.scopes_under_way(tx, practice_id)
    there = sync.caught_up(tx, {scope.discloser for scope in under_way})
    for scope in under_way:
        if scope.discloser not in there:
            consent.withdraw(tx, scope, now)
    sync.note_caught_up(tx, practice_id)


def read(tx: Transaction, practice_id: str, after: Position, limit: int, now: datetime) -> list[pb.LogRow]:
    """Rows of the downlink; below the acknowledged cursor, content only under a permission that is active now.

    None before the practice has caught up in this run, or above a position that Sync has to set right first.
    """
    down = downlink(practice_id)
    if not sync.caught_up(tx, [practice_id]) or log.continuation(tx, down, after) != after.epoch:
        return []
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
