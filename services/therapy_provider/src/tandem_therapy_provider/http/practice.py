"""Therapy sessions."""

from typing import Any

from marshmallow import fields, validate

from tandem_care.entry_kinds import IntegrationSummary, PreparationSummary, SessionTimes
from tandem_clinic.http.entrance import Done, caller, clinic, perform
from tandem_clinic.http.resources import Resources
from tandem_clinic.http.schemas import JsonObject, Loose, Strict
from tandem_clinic.usecases.entries import content_from
from tandem_platform.storage import Transaction
from tandem_therapy_provider.usecases import sessions

api = Resources("therapy", __name__, __doc__)

Answer = tuple[dict[str, Any], int]
_SUMMARIES = (PreparationSummary.kind, IntegrationSummary.kind)


class RecordSession(Strict):
    times = JsonObject(required=True)
    summary_kind = fields.String(load_default=None, allow_none=True, validate=validate.OneOf(_SUMMARIES))
    summary = JsonObject(load_default=None, allow_none=True)


class RecordedPartAnswer(Loose):
    kind = fields.String(required=True)
    record_id = fields.String(required=True)
    entry_ids = fields.List(fields.String())


class SessionAnswer(Loose):
    recorded = fields.List(fields.Nested(RecordedPartAnswer), required=True)
    confirmed = fields.Boolean()


@api.post("/patients/<patient_id>/sessions")
@api.body(RecordSession)
@api.answer(201, SessionAnswer)
def record_session(body: dict[str, Any], patient_id: str) -> Answer:
    """Record that a session was held: its times and, for the partner, a summary."""
    times = content_from(SessionTimes.kind, body["times"], "times")
    summary = None
    if body["summary"] is not None:
        summary = content_from(body["summary_kind"] or IntegrationSummary.kind, body["summary"], "summary")

    def work(tx: Transaction) -> Done:
        parts = sessions.record_session(
            tx,
            clinic(),
            caller(),
            patient_id,
            times,  # type: ignore[arg-type] # content_from gives the kind that it was asked for
            summary,  # type: ignore[arg-type]
        )
        return Done(
            {
                "recorded": [
                    {
                        "kind": part.kind,
                        "record_id": part.recorded.record_id,
                        "entry_ids": list(part.recorded.entry_ids),
                    }
                    for part in parts
                ]
            }
        )

    return perform(work, 201)
