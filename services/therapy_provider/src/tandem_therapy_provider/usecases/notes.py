"""Writing and reading psychotherapy notes. Local only: nothing here leads to sealing, and nothing that seals leads here."""

import secrets
from datetime import datetime

from tandem_care.errors import Invalid
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.domain.staff import Role, Staff
from tandem_clinic.store import audit, patients
from tandem_platform.storage import Transaction
from tandem_therapy_provider.domain.notes import PsychotherapyNote, check_text
from tandem_therapy_provider.store import notes

_AUTHORS = frozenset({Role.CLINICIAN})


def write_note(
    tx: Transaction, clinic: Clinic, by: Staff, patient_id: str, text: str, session_at: datetime | None = None
) -> PsychotherapyNote:
    by.require(_AUTHORS)
    patients.require(tx, patient_id)
    try:
        check_text(text)
    except Invalid as fault:
        raise ContentInvalid(fault) from None
    note = PsychotherapyNote(
        f"note_{secrets.token_hex(13)}", patient_id, by.staff_id, text, session_at, clinic.now()
    )
    notes.add(tx, clinic.vault, note)
    audit.note(
        tx, "psychotherapy-note-written", clinic.now(), by=by, patient_id=patient_id, subject_id=note.note_id
    )
    return note


def read_notes(tx: Transaction, clinic: Clinic, by: Staff, patient_id: str) -> list[PsychotherapyNote]:
    """The caller's own notes. Anybody else's would need the patient's separate authorisation (45 CFR 164.508)."""
    by.require(_AUTHORS)
    patients.require(tx, patient_id)
    found = notes.written_by(tx, clinic.vault, patient_id, by.staff_id)
    audit.note(
        tx, "psychotherapy-notes-read", clinic.now(), by=by, patient_id=patient_id, count=str(len(found))
    )
    return found
