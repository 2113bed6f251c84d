"""PatientService."""

from tandem.clinic.v1 import patient_pb2 as pb
from tandem_clinic.clinic import Clinic
from tandem_clinic.grpc.entrance import staff_of
from tandem_clinic.grpc.translation import fields_of, patient_message
from tandem_clinic.usecases import patients
from tandem_platform.rpc.dispatch import Call
from tandem_platform.storage import Transaction


class PatientServicer:
    def __init__(self, clinic: Clinic) -> None:
        self._clinic = clinic

    def RegisterPatient(self, request: pb.RegisterPatientRequest, call: Call) -> pb.RegisterPatientResponse:
        made = patients.register_patient(
            call.tx,
            self._clinic,
            staff_of(call.tx, call),
            patients.identity_from(fields_of(request.identity)),
            acknowledge_duplicates=request.acknowledge_duplicates,
        )
        return pb.RegisterPatientResponse(patient=patient_message(made))

    def GetPatient(self, request: pb.GetPatientRequest, call: Call) -> pb.GetPatientResponse:
        def work(tx: Transaction) -> pb.GetPatientResponse:
            found = patients.read_patient(tx, self._clinic, staff_of(tx, call), request.patient_id)
            return pb.GetPatientResponse(patient=patient_message(found))

        return self._clinic.db.run(work)

    def UpdatePatient(self, request: pb.UpdatePatientRequest, call: Call) -> pb.UpdatePatientResponse:
        changed = patients.update_patient(
            call.tx,
            self._clinic,
            staff_of(call.tx, call),
            request.patient_id,
            patients.identity_from(fields_of(request.identity)),
            request.version,
        )
        return pb.UpdatePatientResponse(patient=patient_message(changed))

    def FindPatient(self, request: pb.FindPatientRequest, call: Call) -> pb.FindPatientResponse:
        def work(tx: Transaction) -> pb.FindPatientResponse:
            wanted = request.identifier
            by = staff_of(tx, call)
            found = patients.find_patient(tx, self._clinic, by, wanted.system, wanted.value)
            return pb.FindPatientResponse(patient=patient_message(found))

        return self._clinic.db.run(work)
