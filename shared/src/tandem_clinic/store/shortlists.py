"""Patients' shortlists, encrypted under the patient's key."""

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import delete, select, update

from tandem_care.codec import read_document, write_document
from tandem_clinic.domain.shortlist import Shortlisted, Standing
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.store.tables import referral_desk, shortlisted_practice
from tandem_clinic.store.vault import Vault
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_new

_CONTENT = "shortlisted_practice.content"
_EVIDENCE = "shortlist_permission.evidence"
_permission = referral_desk.shortlist_permission


def put(tx: Transaction, vault: Vault, patient_id: str, item: Shortlisted, now: datetime) -> None:
    """In the place of what was there of the same practice."""
    index = _index(vault, patient_id, item.practice_id)
    fields = asdict(item) | {"added_at": item.added_at.isoformat()}
    content = vault.encrypt(tx, write_document(fields), _CONTENT, index.hex(), patient_id)
    values = {"patient_id": patient_id, "practice_index": index, "content": content, "changed_at": now}
    if not insert_new(tx, shortlisted_practice, values):
        tx.execute(
            update(shortlisted_practice)
            .where(
                shortlisted_practice.c.patient_id == patient_id,
                shortlisted_practice.c.practice_index == index,
            )
            .values(content=content, changed_at=now)
        )


def of(tx: Transaction, vault: Vault, patient_id: str) -> list[Shortlisted]:
    """In the patient's own order, then as they were added."""
    rows = tx.all(select(shortlisted_practice).where(shortlisted_practice.c.patient_id == patient_id))
    found = []
    for row in rows:
        opened = vault.decrypt(tx, row.content, _CONTENT, row.practice_index.hex(), patient_id)
        fields = read_document(opened)
        found.append(
            Shortlisted(
                **fields
                | {
                    "standing": Standing(fields["standing"]),
                    "reasons": tuple(fields["reasons"]),
                    "added_at": datetime.fromisoformat(fields["added_at"]),
                }
            )
        )
    return sorted(found, key=lambda item: (item.place or 10_000, item.added_at, item.practice_id))


def remove(tx: Transaction, vault: Vault, patient_id: str, practice_id: str) -> None:
    removed = (
        delete(shortlisted_practice)
        .where(
            shortlisted_practice.c.patient_id == patient_id,
            shortlisted_practice.c.practice_index == _index(vault, patient_id, practice_id),
        )
        .returning(shortlisted_practice.c.patient_id)
    )
    if tx.execute(removed).first() is None:
        raise NotKnown("practice on the shortlist", "practice_id")
    withdraw(tx, vault, patient_id, practice_id)


def forget(tx: Transaction, patient_id: str) -> None:
    for table in (shortlisted_practice, _permission):
        tx.execute(delete(table).where(table.c.patient_id == patient_id))


def _index(vault: Vault, patient_id: str, practice_id: str) -> bytes:
    return vault.index(f"{patient_id}\n{practice_id}", "shortlist.practice")


@dataclass(frozen=True, slots=True)
class Permitted:
    """That the patient permits a referral to a practice on the list. ``evidence``: the form or attestation, as kept."""

    basis: str
    evidence: bytes
    recorded_by: str
    recorded_at: datetime


def permit(tx: Transaction, vault: Vault, patient_id: str, practice_id: str, given: Permitted) -> None:
    """In the place of what was there."""
    index = _index(vault, patient_id, practice_id)
    withdraw(tx, vault, patient_id, practice_id)
    kept = vault.encrypt(tx, given.evidence, _EVIDENCE, index.hex(), patient_id)
    values = {**asdict(given), "patient_id": patient_id, "practice_index": index, "evidence": kept}
    insert_new(tx, _permission, values)


def permitted(tx: Transaction, vault: Vault, patient_id: str, practice_id: str) -> Permitted | None:
    index = _index(vault, patient_id, practice_id)
    row = tx.first(
        select(_permission).where(
            _permission.c.patient_id == patient_id, _permission.c.practice_index == index
        )
    )
    if row is None:
        return None
    evidence = vault.decrypt(tx, row.evidence, _EVIDENCE, index.hex(), patient_id)
    return Permitted(row.basis, evidence, row.recorded_by, row.recorded_at)


def withdraw(tx: Transaction, vault: Vault, patient_id: str, practice_id: str) -> None:
    index = _index(vault, patient_id, practice_id)
    tx.execute(
        delete(_permission).where(
            _permission.c.patient_id == patient_id, _permission.c.practice_index == index
        )
    )
