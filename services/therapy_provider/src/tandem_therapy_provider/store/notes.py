"""Psychotherapy notes, encrypted under the patient's key."""

from sqlalchemy import select

from tandem_clinic.store.vault import Vault
from tandem_platform.storage import Transaction
from tandem_therapy_provider.domain.notes import PsychotherapyNote
from tandem_therapy_provider.store.note_table import psychotherapy_note

_TEXT = "psychotherapy_note.text"


def add(tx: Transaction, vault: Vault, note: PsychotherapyNote) -> None:
    tx.execute(
        psychotherapy_note.insert().values(
            note_id=note.note_id,
            patient_id=note.patient_id,
            author_id=note.author_id,
            text=vault.encrypt(tx, note.text, _TEXT, note.note_id, note.patient_id),
            session_at=note.session_at,
            written_at=note.written_at,
        )
    )


def written_by(tx: Transaction, vault: Vault, patient_id: str, author_id: str) -> list[PsychotherapyNote]:
    """In the order of writing."""
    query = (
        select(psychotherapy_note)
        .where(psychotherapy_note.c.patient_id == patient_id, psychotherapy_note.c.author_id == author_id)
        .order_by(psychotherapy_note.c.written_at, psychotherapy_note.c.note_id)
    )
    return [
        PsychotherapyNote(
            note_id=row.note_id,
            patient_id=row.patient_id,
            author_id=row.author_id,
            text=vault.decrypt(tx, row.text, _TEXT, row.note_id, row.patient_id).decode(),
            session_at=row.session_at,
            written_at=row.written_at,
        )
        for row in tx.all(query)
    ]
