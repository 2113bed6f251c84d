"""EvaluationService and TreatmentService."""

from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.json_format import ParseDict

from tandem.prescriber.v1 import prescriber_pb2 as pb
from tandem_care.entry_kinds import DosingSession, Prescription, ScreeningResult
from tandem_clinic.clinic import Clinic
from tandem_clinic.grpc.entrance import staff_of
from tandem_clinic.grpc.translation import fields_of
from tandem_clinic.hub.times import put_time
from tandem_clinic.usecases.entries import Recorded, content_from
from tandem_platform.rpc.dispatch import Call
from tandem_platform.storage import Transaction
from tandem_prescriber.usecases import treatment


def _recorded(made: Recorded) -> pb.Recorded:
    return pb.Recorded(record_id=made.record_id, entry_ids=made.entry_ids)


class EvaluationServicer:
    def __init__(self, clinic: Clinic) -> None:
        self._clinic = clinic

    def RecordEvaluation(
        self, request: pb.RecordEvaluationRequest, call: Call
    ) -> pb.RecordEvaluationResponse:
        evaluation: Any = content_from(ScreeningResult.kind, fields_of(request.evaluation), "evaluation")
        made = treatment.record_evaluation(
            call.tx, self._clinic, staff_of(call.tx, call), request.patient_id, evaluation
        )
        return pb.RecordEvaluationResponse(recorded=_recorded(made))

    def GetEvaluation(self, request: pb.GetEvaluationRequest, call: Call) -> pb.GetEvaluationResponse:
        def work(tx: Transaction) -> treatment.Evaluated:
            return treatment.evaluation_in_force(tx, self._clinic, staff_of(tx, call), request.patient_id)

        found = self._clinic.db.run(work)
        return pb.GetEvaluationResponse(
            evaluation=ParseDict(found.evaluation.to_fields(), pb.Evaluation()),
            record_id=found.record_id,
            expired=found.expired,
        )


class TreatmentServicer:
    def __init__(self, clinic: Clinic) -> None:
        self._clinic = clinic

    def Prescribe(self, request: pb.PrescribeRequest, call: Call) -> pb.PrescribeResponse:
        prescription: Any = content_from(Prescription.kind, fields_of(request.prescription), "prescription")
        made = treatment.prescribe(
            call.tx, self._clinic, staff_of(call.tx, call), request.patient_id, prescription
        )
        return pb.PrescribeResponse(recorded=_recorded(made.recorded), warnings=made.warnings)

    def RecordDosingSession(
        self, request: pb.RecordDosingSessionRequest, call: Call
    ) -> pb.RecordDosingSessionResponse:
        session: Any = content_from(DosingSession.kind, fields_of(request.session), "session")
        made = treatment.record_dosing_session(
            call.tx, self._clinic, staff_of(call.tx, call), request.patient_id, session
        )
        response = pb.RecordDosingSessionResponse(
            recorded=_recorded(made.recorded),
            after_sleep=made.no_driving.after_sleep,
            warnings=made.warnings,
        )
        put_time(response, "driving_prohibited_until", made.no_driving.until)
        return response


def servicers(clinic: Clinic) -> Sequence[tuple[object, ServiceDescriptor]]:
    services = pb.DESCRIPTOR.services_by_name
    return [
        (EvaluationServicer(clinic), services["EvaluationService"]),
        (TreatmentServicer(clinic), services["TreatmentService"]),
    ]
