"""A clinic back from an older backup: its lost rows, which are sealed to itself too, come back from the hub."""

import logging
from collections.abc import Callable
from datetime import UTC

from sqlalchemy import select

from tandem.exchange.v1 import exchange_pb2 as pb
from tandem_care import entry_kinds
from tandem_care.errors import Invalid
from tandem_clinic.clinic import Clinic
from tandem_clinic.store import audit, entries, episodes, worklist
from tandem_clinic.store.entries import OwnEntry
from tandem_clinic.store.tables import own_entry
from tandem_platform.exchange import log
from tandem_platform.exchange.rows import Position, chain
from tandem_platform.ids import new_id
from tandem_platform.rpc import words
from tandem_platform.sealing import SealBroken, open_entry
from tandem_platform.storage import Transaction

_log = logging.getLogger(__name__)

RESTORED = "restored"
"""The author of a record whose author was lost with it."""


def read_lost_rows_back(clinic: Clinic, hub_cursor: Position, open_epoch: Callable[[int], None]) -> int:
    """Take back what the hub has and this database has not, then continue in a new epoch above it, which is returned.

    Up to the backup's own acknowledged row both sides are the same; *open_epoch* tells the hub.
    """
    with clinic.db.reading() as tx:
        common = min(
            log.acknowledged(tx, clinic.uplink), log.head_of(tx, clinic.uplink).sequence, hub_cursor.sequence
        )
        start = log.position_at(tx, clinic.uplink, common)
    lost = _fetched(clinic, common, hub_cursor.sequence)
    if start is not None and lost:
        _check(clinic, start, lost)
    epoch = hub_cursor.epoch + 1
    open_epoch(epoch)

    def work(tx: Transaction) -> None:
        for row in lost:
            if row.body:
                _take_back(tx, clinic, pb.RowBody.FromString(row.body))
        log.open_epoch(tx, clinic.uplink, epoch, hub_cursor, common, lost)
        audit.note(tx, "restored-from-backup", clinic.now(), rows=str(len(lost)), epoch=str(epoch))
        worklist.raise_alert(tx, "restored-from-backup", clinic.now(), rows=str(len(lost)))

    clinic.db.run(work)
    _log.warning("restored from a backup", extra={"rows": len(lost)})
    return epoch


def _fetched(clinic: Clinic, after: int, up_to: int) -> list[pb.LogRow]:
    rows: list[pb.LogRow] = []
    while after < up_to:
        request = pb.ReadBackRequest(after_sequence=after, limit=500)
        answer = clinic.gateway.ask(clinic.gateway.exchange.ReadBack, request)
        if not answer.rows:
            break
        rows += [row for row in answer.rows if row.sequence <= up_to]
        after = answer.rows[-1].sequence
    return rows


def _check(clinic: Clinic, start: Position, rows: list[pb.LogRow]) -> None:
    """The hub must not slip us rows that we never wrote: they follow from what we have. Epochs may change on the way."""
    at = start
    for row in rows:
        if row.epoch > at.epoch:
            at = Position(row.epoch, at.sequence, at.hash)
        (at,) = chain(clinic.uplink, at, [row])


def _take_back(tx: Transaction, clinic: Clinic, body: pb.RowBody) -> None:
    """One row's content as a record of our own again. What is known already is left alone."""
    match body.WhichOneof("content"):
        case "late_wrap":
            entries.set_partner_wrapped(tx, body.late_wrap.entry_id, wrapped=True)
        case "entry" if entries.sealed(tx, body.entry.labels.entry_id) is None:
            _take_entry_back(tx, clinic, body.entry)


def _take_entry_back(tx: Transaction, clinic: Clinic, sealed: pb.SealedEntry) -> None:
    try:
        content = open_entry(sealed, clinic.keys, clinic.keys.bundle)
        kind = entry_kinds.from_json(content).kind
    except SealBroken as broken:
        _leave_out(tx, clinic, sealed.labels, broken.reason)
        return
    except Invalid:
        # Written by a later version, perhaps: the row stays in the log, and Sync must come to its end.
        _leave_out(tx, clinic, sealed.labels, "content-invalid")
        return
    record_id = _record_of(tx, clinic, sealed.labels, kind, content)
    wrapped = any(wrap.practice_id != clinic.practice_id for wrap in sealed.wraps)
    entries.add_sealing(tx, sealed, record_id, wrapped, RESTORED, clinic.now())


def _leave_out(tx: Transaction, clinic: Clinic, labels: pb.EntryLabels, reason: str) -> None:
    _log.error("a lost row did not come back as a record", extra={"reason": reason})
    worklist.raise_item(
        tx, "entry-not-restored", labels.entry_id, clinic.now(), episode_id=labels.episode_id, reason=reason
    )


def _record_of(tx: Transaction, clinic: Clinic, labels: pb.EntryLabels, kind: str, content: bytes) -> str:
    """The same record was sealed once for each episode: it comes back as one."""
    episode = episodes.find(tx, labels.episode_id)
    patient_id = episode.patient_id if episode is not None and episode.patient_id else ""
    authored_at = labels.authored_at.ToDatetime(UTC)
    amended = entries.sealed(tx, labels.amends_entry_id) if labels.amends_entry_id else None
    amends_record_id = amended[1].record_id if amended else None
    alike = tx.all(
        select(own_entry.c.record_id).where(
            own_entry.c.patient_id == patient_id,
            own_entry.c.authored_at == authored_at,
            own_entry.c.amends_record_id.is_not_distinct_from(amends_record_id),
        )
    )
    for row in alike:
        if entries.own(tx, clinic.vault, row.record_id).content == content:
            return str(row.record_id)
    restored = OwnEntry(
        record_id=new_id("rec"),
        patient_id=patient_id,
        episode_id=labels.episode_id,
        kind=kind,
        category=words.category_code(labels.category),
        derived_from=tuple(words.category_code(number) for number in labels.derived_from),
        part2=labels.part2,
        content=content,
        author_id=RESTORED,
        authored_at=authored_at,
        recorded_at=clinic.now(),
        state="marker" if labels.entered_in_error else "active",
        amends_record_id=amends_record_id,
    )
    entries.add_own(tx, clinic.vault, restored)
    if amends_record_id is not None:
        state = "entered-in-error" if labels.entered_in_error else "amended"
        entries.set_own_state(tx, amends_record_id, state)
    if not patient_id:
        worklist.raise_item(
            tx, "restored-entry", restored.record_id, clinic.now(), episode_id=labels.episode_id
        )
    return restored.record_id
