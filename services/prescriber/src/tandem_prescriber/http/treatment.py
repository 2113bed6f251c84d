"""Evaluations, prescriptions and dosing sessions."""

from typing import Any

from marshmallow import fields

from tandem_care.entry_kinds import DosingSession, Prescription, ScreeningResult
from tandem_clinic.http.entrance import Done, caller, clinic, perform, read
from tandem_clinic.http.resources import Resources
from tandem_clinic.http.schemas import JsonObject, Loose, RecordedAnswer, Strict
from tandem_clinic.usecases.entries import Recorded, content_from
from tandem_platform.storage import Transaction
from tandem_prescriber.usecases import treatment

api = Resources("treatment", __name__, __doc__)

Answer = tuple[dict[str, Any], int]


class ContentBody(Strict):
    content = JsonObject(required=True)


class TreatmentAnswer(RecordedAnswer):
    warnings = fields.List(
        fields.String(), metadata={"description": "Decision support; the clinician decides"}
    )
    driving_prohibited_until = fields.String()
    after_sleep = fields.Boolean()


class EvaluationAnswer(Loose):
    record_id = fields.String(required=True)
    evaluation = fields.Dict(required=True)
    expired = fields.Boolean()


def _recorded(made: Recorded) -> dict[str, Any]:
    return {"record_id": made.record_id, "entry_ids": list(made.entry_ids), "is_new": made.is_new}


@api.post("/patients/<patient_id>/evaluations")
@api.body(ContentBody)
@api.answer(201, RecordedAnswer)
def record_evaluation(body: dict[str, Any], patient_id: str) -> Answer:
    """Record the outcome of a medical evaluation."""
    evaluation: Any = content_from(ScreeningResult.kind, body["content"])
    return perform(
        lambda tx: Done(
            _recorded(treatment.record_evaluation(tx, clinic(), caller(), patient_id, evaluation))
        ),
        201,
    )


@api.get("/patients/<patient_id>/evaluation")
@api.answer(200, EvaluationAnswer)
def get_evaluation(patient_id: str) -> dict[str, Any]:
    """The evaluation in force, and whether it has expired."""
    found = read(lambda tx: treatment.evaluation_in_force(tx, clinic(), caller(), patient_id))
    return {
        "record_id": found.record_id,
        "evaluation": found.evaluation.to_fields(),
        "expired": found.expired,
    }


@api.post("/patients/<patient_id>/prescriptions")
@api.body(ContentBody)
@api.answer(201, TreatmentAnswer)
def prescribe(body: dict[str, Any], patient_id: str) -> Answer:
    """Prescribe. Warnings do not stop."""
    prescription: Any = content_from(Prescription.kind, body["content"])

    def work(tx: Transaction) -> Done:
        made = treatment.prescribe(tx, clinic(), caller(), patient_id, prescription)
        return Done({**_recorded(made.recorded), "warnings": list(made.warnings)})

    return perform(work, 201)


@api.post("/patients/<patient_id>/dosing-sessions")
@api.body(ContentBody)
@api.answer(201, TreatmentAnswer)
def record_dosing_session(body: dict[str, Any], patient_id: str) -> Answer:
    """Record a dose that was given, late or not; says until when driving is prohibited."""
    session: Any = content_from(DosingSession.kind, body["content"])

    def work(tx: Transaction) -> Done:
        made = treatment.record_dosing_session(tx, clinic(), caller(), patient_id, session)
        return Done(
            {
                **_recorded(made.recorded),
                "warnings": list(made.warnings),
                "driving_prohibited_until": made.no_driving.until.isoformat(),
                "after_sleep": made.no_driving.after_sleep,
            }
        )

    return perform(work, 201)
