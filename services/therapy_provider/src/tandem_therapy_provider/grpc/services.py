"""CapacityService and SessionService."""

from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from tandem.therapy_provider.v1 import therapy_provider_pb2 as pb
from tandem_care.entry_kinds import IntegrationSummary, PreparationSummary, SessionTimes
from tandem_care.errors import Invalid
from tandem_clinic.clinic import Clinic
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.grpc.entrance import staff_of
from tandem_clinic.grpc.translation import fields_of
from tandem_clinic.hub.times import put_time, time_in
from tandem_clinic.usecases import capacity
from tandem_clinic.usecases.entries import content_from
from tandem_platform.rpc.dispatch import Call
from tandem_therapy_provider.usecases import sessions

_KIND_OF = {"preparation": PreparationSummary.kind, "integration": IntegrationSummary.kind}
_TIMES = ("session", "started_at", "ended_at", "session_number", "sessions_planned")


class CapacityServicer:
    def __init__(self, clinic: Clinic) -> None:
        self._clinic = clinic

    def StateCapacity(self, request: pb.StateCapacityRequest, call: Call) -> pb.StateCapacityResponse:
        asked = capacity.state_capacity(
            call.tx,
            self._clinic,
            staff_of(call.tx, call),
            request.openings,
            [_opening(number, each) for number, each in enumerate(request.next_openings)],
        )
        return pb.StateCapacityResponse(command_request_id=asked)

    def GetCapacity(self, _request: pb.GetCapacityRequest, call: Call) -> pb.GetCapacityResponse:
        with self._clinic.db.reading() as tx:
            found = capacity.stated_capacity(tx, staff_of(tx, call))
        response = pb.GetCapacityResponse(openings=found.openings)
        put_time(response, "stated_at", found.stated_at)
        for each in found.next_openings:
            opening = response.next_openings.add(service=each.service, telehealth=each.telehealth)
            put_time(opening, "at", each.at)
        return response


def _opening(number: int, given: pb.Opening) -> capacity.Opening:
    at = time_in(given, "at")
    if at is None:
        raise ContentInvalid(Invalid("at", "must be given"), f"next_openings[{number}]")
    return capacity.Opening(at, given.service, given.telehealth)


class SessionServicer:
    def __init__(self, clinic: Clinic) -> None:
        self._clinic = clinic

    def RecordSession(self, request: pb.RecordSessionRequest, call: Call) -> pb.RecordSessionResponse:
        given = fields_of(request)
        times: Any = content_from(
            SessionTimes.kind, {name: given[name] for name in _TIMES if name in given}, "session"
        )
        summary: Any = None
        which = request.WhichOneof("summary")
        if which is not None:
            summary = content_from(_KIND_OF[which], given[which], which)
        parts = sessions.record_session(
            call.tx, self._clinic, staff_of(call.tx, call), request.patient_id, times, summary
        )
        return pb.RecordSessionResponse(
            recorded=[
                pb.RecordSessionResponse.Recorded(
                    kind=part.kind, record_id=part.recorded.record_id, entry_ids=part.recorded.entry_ids
                )
                for part in parts
            ]
        )


def servicers(clinic: Clinic) -> Sequence[tuple[object, ServiceDescriptor]]:
    services = pb.DESCRIPTOR.services_by_name
    return [
        (CapacityServicer(clinic), services["CapacityService"]),
        (SessionServicer(clinic), services["SessionService"]),
    ]
