"""Psychotherapy notes. They have no other entrance, and no way out."""

from typing import Any

from marshmallow import fields

from tandem_clinic.http.entrance import caller, clinic, read
from tandem_clinic.http.resources import Resources
from tandem_clinic.http.schemas import Loose, Moment, Strict, Text
from tandem_therapy_provider.domain.notes import LONGEST, PsychotherapyNote
from tandem_therapy_provider.usecases import notes

api = Resources("psychotherapy-notes", __name__, __doc__)


class WriteNote(Strict):
    text = Text(LONGEST, required=True)
    session_at = Moment(load_default=None, allow_none=True)


class NoteAnswer(Loose):
    note_id = fields.String(required=True)
    patient_id = fields.String()
    text = fields.String()
    session_at = fields.AwareDateTime(format="iso", allow_none=True)
    written_at = fields.AwareDateTime(format="iso")


@api.post("/patients/<patient_id>/psychotherapy-notes")
@api.body(WriteNote)
@api.answer(201, NoteAnswer)
def write_note(body: dict[str, Any], patient_id: str) -> PsychotherapyNote:
    """Write a note that stays in this clinic. Clinicians."""
    return read(
        lambda tx: notes.write_note(tx, clinic(), caller(), patient_id, body["text"], body["session_at"])
    )


@api.get("/patients/<patient_id>/psychotherapy-notes")
@api.answer(200, NoteAnswer(many=True))
def read_notes(patient_id: str) -> list[PsychotherapyNote]:
    """The caller's own notes about a patient."""
    return read(lambda tx: notes.read_notes(tx, clinic(), caller(), patient_id))
