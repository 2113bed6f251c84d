"""What the hub does with the rows of the clinics' uplinks."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select

from tandem.exchange.v1.exchange_pb2 import (
    EntriesReceived,
    LateWrap,
    RevocationAcknowledged,
    RowBody,
    SealedEntry,
)
from tandem_platform.exchange import log
from tandem_platform.exchange.reader import Item, RowFault
from tandem_platform.exchange.rows import downlink, practice_of
from tandem_platform.ids import is_id
from tandem_platform.sealing import KeyBundle, SealBroken, is_wrap, verify, verify_received
from tandem_platform.sealing.entries import MOST_RECEIVED
from tandem_platform.storage import Transaction
from tandem_platform.storage.lists import among
from tandem_referral.store import audit, commands, entries, keys, permissions
from tandem_referral.store import sync as syncs
from tandem_referral.store.permissions import Scope
from tandem_referral.store.tables import entry, episode
from tandem_referral.usecases.hub_time import HubTime
from tandem_referral.usecases.release import Incoming, release_where_permitted

UNKNOWN_EPISODE = "unknown-episode"
KEY_NOT_KNOWN = "seal-signing-key-unknown"
"""Why a row is parked that its origin signed with a key which it has not published yet."""


class UplinkHandler:
    """Gives uplink rows effect: keeps entries, decides about them, notes deliveries."""

    def __init__(self, time: HubTime) -> None:
        self._time = time

    def episode_of(self, body: RowBody) -> str | None:
        """Only entries wait behind one another; receipts and acknowledgements never do."""
        episode_id = body.entry.labels.episode_id
        return episode_id if body.WhichOneof("content") == "entry" and is_id(episode_id, "epi") else None

    def is_ready(self, tx: Transaction, log_name: str) -> bool:
        """After a start of the hub a clinic syncs first: this database may be a backup that lacks the clinic's last revocation."""
        # A clock that has jumped is nobody's row's fault: nothing is read then, or rows would be parked for it.
        self._time.decision_time(tx)
        practice_id = practice_of(log_name)
        return practice_id in syncs.caught_up(tx, [practice_id])

    def must_wait(self, tx: Transaction, log_name: str, body: RowBody) -> bool:
        request_id = body.after_request_id
        return is_id(request_id, "req") and not commands.is_answered(tx, practice_of(log_name), request_id)

    def apply(self, tx: Transaction, items: Sequence[Item]) -> None:
        """In order; neighbouring entries are dealt with together."""
        for item in items:
            _check_ids(item.body)
        now = self._time.decision_time(tx)
        together: list[Item] = []
        for item in items:
            if item.body.WhichOneof("content") == "entry":
                together.append(item)
                continue
            self._take_entries(tx, together, now)
            together = []
            self._apply_other(tx, item, now)
        self._take_entries(tx, together, now)

    def _apply_other(self, tx: Transaction, item: Item, now: datetime) -> None:
        origin = practice_of(item.log)
        match item.body.WhichOneof("content"):
            case "late_wrap":
                self._take_late_wrap(tx, origin, item.body.late_wrap, now)
            case "entries_received":
                note_received(tx, origin, item.body.entries_received, now)
            case "revocation_acknowledged":
                note_acknowledged(tx, origin, item.body.revocation_acknowledged, now)
            case _:
                raise RowFault("not-for-an-uplink")

    def _take_entries(self, tx: Transaction, items: Sequence[Item], now: datetime) -> None:
        if not items:
            return
        known = entries.known(tx, [item.body.entry.labels.entry_id for item in items])
        episodes = episodes_known(tx, {item.body.entry.labels.episode_id for item in items})
        bundle = keys.newest(tx, practice_of(items[0].log))
        incoming: list[Incoming] = []
        stored: list[dict[str, Any]] = []
        for item in items:
            sealed, origin = item.body.entry, practice_of(item.log)
            if sealed.labels.entry_id in known:
                continue
            if sealed.labels.episode_id not in episodes and _follows_a_refusal(tx, item, origin):
                # The command that would have opened its episode was refused: there is nobody to keep it for.
                continue
            scope = _scope_of(sealed, origin, episodes)
            _verify(sealed, bundle, now)
            known.add(sealed.labels.entry_id)
            stored.append(
                {
                    "entry_id": sealed.labels.entry_id,
                    "episode_id": scope.episode_id,
                    "origin_practice_id": origin,
                    "uplink_sequence": item.position.sequence,
                    "content_hash": sealed.content_hash,
                    "received_at": now,
                    "amends_entry_id": sealed.labels.amends_entry_id,
                }
            )
            incoming.append(Incoming(scope, sealed))
        entries.insert(tx, stored)
        release_where_permitted(tx, incoming, now)

    def _take_late_wrap(self, tx: Transaction, origin: str, late: LateWrap, now: datetime) -> None:
        row = entries.find_own(tx, late.entry_id, origin)
        if row is None:
            raise RowFault("unknown-entry")
        scope = _scope(row.episode_id, origin, episodes_known(tx, {row.episode_id}))
        if late.wrap.practice_id != scope.recipient:
            raise RowFault("wrap-for-a-stranger")
        if not is_wrap(late.wrap):
            raise RowFault("seal-wraps-improper")
        if row.shredded:
            return
        # The scope before the entry: a sweep takes them in this order too.
        permissions.lock_scopes_shared(tx, [scope])
        entries.add_wrap(tx, late.entry_id, late.wrap)
        row = entries.find_own(tx, late.entry_id, origin)
        assert row is not None
        # What amends it was withheld with it.
        rows = [row, *entries.amending(tx, row)]
        sealed = entries.sealed(tx, rows)
        before = entries.results(tx, sealed, scope.recipient)
        incoming = [
            Incoming(scope, sealed[each.entry_id], before.get(each.entry_id, ""))
            for each in rows
            if each.entry_id in sealed
        ]
        release_where_permitted(tx, incoming, now)


def _check_ids(body: RowBody) -> None:
    """Whatever a practice puts in place of an id must not reach the database, whose exceptions would count as ours."""
    labels, late = body.entry.labels, body.late_wrap
    ids = [("ent", item.entry_id) for item in body.entries_received.items]
    ids += [("ent", entry_id) for entry_id in body.revocation_acknowledged.kept_entry_ids]
    match body.WhichOneof("content"):
        case "entry":
            ids += [("ent", labels.entry_id), ("epi", labels.episode_id)]
            ids += [("ent", labels.amends_entry_id)] if labels.amends_entry_id else []
        case "late_wrap":
            ids += [("ent", late.entry_id)]
        case "revocation_acknowledged":
            ids += [("perm", body.revocation_acknowledged.permission_id)]
    if not all(is_id(value, prefix) for prefix, value in ids):
        raise RowFault("id-unfit")


def episodes_known(tx: Transaction, episode_ids: set[str]) -> dict[str, Row[Any]]:
    return {row.episode_id: row for row in tx.all(_EPISODES, episodes=sorted(episode_ids))}


_EPISODES = select(episode).where(among(episode.c.episode_id, "episodes"))


def _follows_a_refusal(tx: Transaction, item: Item, origin: str) -> bool:
    request_id = item.body.after_request_id
    return is_id(request_id, "req") and commands.was_refused(tx, origin, request_id)


def _scope_of(sealed: SealedEntry, origin: str, episodes: dict[str, Row[Any]]) -> Scope:
    if sealed.labels.origin_practice_id != origin:
        raise RowFault("not-its-origin")
    return _scope(sealed.labels.episode_id, origin, episodes)


def _scope(episode_id: str, origin: str, episodes: dict[str, Row[Any]]) -> Scope:
    row = episodes.get(episode_id)
    sides = set() if row is None else {row.opener_practice_id, row.partner_practice_id}
    # One reason for both, because what is not the sender's must look absent to it.
    if origin not in sides:
        raise RowFault(UNKNOWN_EPISODE)
    (recipient,) = sides - {origin}
    return Scope(episode_id, origin, recipient)


def _verify(sealed: SealedEntry, bundle: KeyBundle | None, now: datetime) -> None:
    """Before release, so that a bad clinic cannot stop a partner's reader."""
    if bundle is None:
        raise RowFault("origin-without-keys")
    try:
        verify(sealed, bundle, received_at=now)
    except SealBroken as broken:
        raise RowFault(broken.reason.lower().replace("_", "-")) from None


def note_received(tx: Transaction, recipient: str, received: EntriesReceived, now: datetime) -> None:
    """A recipient's receipt: into the accounting, and back to the entries' origin."""
    if len(received.items) > MOST_RECEIVED:
        raise RowFault("receipt-too-long")
    bundle = keys.newest(tx, recipient)
    if bundle is None:
        raise RowFault("recipient-without-keys")
    try:
        verify_received(received, bundle, now)
    except SealBroken as broken:
        raise RowFault(broken.reason.lower().replace("_", "-")) from None
    origin = received.origin_practice_id
    hashes = {item.entry_id: item.content_hash for item in received.items}
    fresh = entries.delivered(tx, origin, recipient, hashes, now)
    if not fresh:
        return
    episodes = {row.entry_id: row.episode_id for row in tx.all(_EPISODES_OF, entries=fresh)}
    for entry_id in fresh:
        for chain, counterpart in ((origin, recipient), (recipient, origin)):
            audit.append(
                tx,
                chain,
                at=now,
                action="delivered",
                episode_id=episodes[entry_id],
                entry_id=entry_id,
                counterpart_practice_id=counterpart,
            )
    # As the recipient signed it: the origin checks the signature itself.
    log.stage(tx, downlink(origin), RowBody(receipt_returned=received), at=now, urgent=False)


_EPISODES_OF = select(entry.c.entry_id, entry.c.episode_id).where(among(entry.c.entry_id, "entries"))


def note_acknowledged(
    tx: Transaction, recipient: str, acknowledged: RevocationAcknowledged, now: datetime
) -> None:
    """The recipient has taken notice of a revocation; its discloser is told, and what was kept is accounted for."""
    row = permissions.find_visible(tx, acknowledged.permission_id, recipient)
    if row is None or row.recipient_practice_id != recipient:
        # A restored hub may have lost it. When its discloser has replayed, the recipient is told again, and acknowledges again.
        return
    if not permissions.acknowledge_revocation(
        tx, recipient, row.permission_id, acknowledged.permission_version, now
    ):
        # Told again by a recipient who was restored from a backup.
        return
    entries.kept(tx, list(acknowledged.kept_entry_ids), recipient)
    for chain, counterpart in (
        (row.discloser_practice_id, recipient),
        (recipient, row.discloser_practice_id),
    ):
        audit.append(
            tx,
            chain,
            at=now,
            action="revocation-acknowledged",
            episode_id=row.episode_id,
            counterpart_practice_id=counterpart,
            permission_id=row.permission_id,
            permission_version=acknowledged.permission_version,
        )
    log.stage(tx, downlink(row.discloser_practice_id), RowBody(revocation_acknowledged=acknowledged), at=now)
