"""The clinic's own account of who read, recorded and disclosed what: a hash chain, in the transaction of the effect."""

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import bindparam, select, update

from tandem_clinic.domain.staff import Staff
from tandem_clinic.store.tables import audit_head, audit_record
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_new, insert_rows

_CHAIN = "clinic"
_START = bytes(32)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STAGED = "clinic.audit"


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Ids, codes and counts only; empty where it says nothing."""

    number: int
    at: datetime
    action: str
    staff_id: str
    patient_id: str
    subject_id: str
    facts: Mapping[str, str]
    previous_hash: bytes
    hash: bytes


@dataclass(slots=True)
class _Staging:
    rows: list[dict[str, object]]

    def copy(self) -> "_Staging":
        return _Staging(list(self.rows))


def note(
    tx: Transaction,
    action: str,
    at: datetime,
    *,
    by: Staff | None = None,
    patient_id: str = "",
    subject_id: str = "",
    **facts: str,
) -> None:
    """Append to the chain when *tx* commits, before its log rows: that is the order in which locks are taken."""
    staging: _Staging | None = tx.notes.get(_STAGED)
    if staging is None:
        staging = tx.notes[_STAGED] = _Staging([])
        tx.before_commit(_append, rank=-1)
    staging.rows.append(
        {
            "at": at,
            "action": action,
            "staff_id": "" if by is None else by.staff_id,
            "patient_id": patient_id,
            "subject_id": subject_id,
            "facts": facts,
        }
    )


def _append(tx: Transaction) -> None:
    staging: _Staging = tx.notes.pop(_STAGED, _Staging([]))
    if not staging.rows:
        return
    number, previous = _lock_head(tx)
    rows = []
    for staged in staging.rows:
        number += 1
        digest = _hash(number=number, previous=previous, **staged)  # type: ignore[arg-type]
        rows.append({**staged, "number": number, "previous_hash": previous, "hash": digest})
        previous = digest
    insert_rows(tx, audit_record, rows)
    tx.execute(_MOVING, {"to": number, "with_hash": previous})


_MOVING = (
    update(audit_head)
    .where(audit_head.c.chain == _CHAIN)
    .values(number=bindparam("to"), hash=bindparam("with_hash"))
)
_LOCKING = (
    select(audit_head.c.number, audit_head.c.hash).where(audit_head.c.chain == _CHAIN).with_for_update()
)


def _lock_head(tx: Transaction) -> tuple[int, bytes]:
    head = tx.first(_LOCKING)
    if head is None:
        insert_new(tx, audit_head, {"chain": _CHAIN, "number": 0, "hash": _START})
        head = tx.first(_LOCKING)
    assert head is not None
    return head.number, bytes(head.hash)


def _hash(
    number: int,
    previous: bytes,
    at: datetime,
    action: str,
    staff_id: str,
    patient_id: str,
    subject_id: str,
    facts: Mapping[str, str],
) -> bytes:
    said = json.dumps(
        [action, staff_id, patient_id, subject_id, dict(facts)], sort_keys=True, separators=(",", ":")
    )
    micros = (at - _EPOCH) // timedelta(microseconds=1)
    return hashlib.sha256(
        b"tandem-clinic-audit-1" + struct.pack(">Qq", number, micros) + previous + said.encode()
    ).digest()


def read(tx: Transaction, *, after: int = 0, limit: int = 500, patient_id: str = "") -> list[AuditRecord]:
    query = select(audit_record).where(audit_record.c.number > after)
    if patient_id:
        query = query.where(audit_record.c.patient_id == patient_id)
    rows = tx.all(query.order_by(audit_record.c.number).limit(limit))
    return [AuditRecord(**row._mapping) for row in rows]


def findings(tx: Transaction) -> Iterator[tuple[int, str]]:
    """What in the chain is not as it was written: number and fault. Reads all of it, in chunks."""
    number, previous = 0, _START
    while True:
        records = read(tx, after=number, limit=1000)
        if not records:
            break
        for record in records:
            if record.number != number + 1:
                yield record.number, "out-of-sequence"
            if record.previous_hash != previous:
                yield record.number, "not-linked-to-the-one-before"
            expected = _hash(
                record.number,
                record.previous_hash,
                record.at,
                record.action,
                record.staff_id,
                record.patient_id,
                record.subject_id,
                record.facts,
            )
            if record.hash != expected:
                yield record.number, "not-what-was-hashed"
            number, previous = record.number, record.hash
    head = tx.first(select(audit_head.c.number, audit_head.c.hash).where(audit_head.c.chain == _CHAIN))
    if (head.number, head.hash) != (number, previous) if head is not None else number != 0:
        yield number, "head-differs"
