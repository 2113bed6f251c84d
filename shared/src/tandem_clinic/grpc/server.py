"""The clinic's gRPC server for its own EHR: TLS, callers told by bearer token."""

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from tandem.clinic.v1 import course_pb2, episode_pb2, patient_pb2
from tandem_clinic.clinic import Clinic
from tandem_clinic.grpc.courses import CourseServicer
from tandem_clinic.grpc.entrance import RememberedRequests, by_token
from tandem_clinic.grpc.episodes import EpisodeServicer
from tandem_clinic.grpc.patients import PatientServicer
from tandem_clinic.hub.journal import Journal
from tandem_clinic.node import ClinicNode
from tandem_clinic.settings import ClinicSettings
from tandem_platform.rpc.dispatch import Dispatcher, Outcomes
from tandem_platform.rpc.server import RpcServer
from tandem_platform.rpc.tls import TlsFiles
from tandem_platform.telemetry.metrics import count_rpc

Servicers = Callable[[Clinic], Sequence[tuple[object, ServiceDescriptor]]]
"""What a service offers beside what every clinic offers."""


def dispatcher_of(
    clinic: Clinic, journal: Journal, more: Servicers, outcomes: Outcomes | None = None
) -> Dispatcher:
    dispatcher = Dispatcher(clinic.clock, RememberedRequests(clinic), outcomes)
    common: list[tuple[Any, ServiceDescriptor]] = [
        (PatientServicer(clinic), patient_pb2.DESCRIPTOR.services_by_name["PatientService"]),
        (EpisodeServicer(clinic, journal), episode_pb2.DESCRIPTOR.services_by_name["EpisodeService"]),
        (CourseServicer(clinic), course_pb2.DESCRIPTOR.services_by_name["CourseService"]),
    ]
    for servicer, service in (*common, *more(clinic)):
        dispatcher.register(servicer, service)
    return dispatcher


def rpc_with(more: Servicers) -> Callable[[ClinicNode, ClinicSettings], RpcServer]:
    """What a process is given to make its server with."""

    def make(node: ClinicNode, settings: ClinicSettings) -> RpcServer:
        if settings.server_tls_directory is None:
            raise ValueError("a gRPC server needs its certificate")
        return RpcServer(
            dispatcher_of(node.clinic, node.journal, more, count_rpc),
            settings.grpc_address,
            TlsFiles.in_directory(settings.server_tls_directory),
            by_token(node.clinic),
            client_certificates=False,
            with_reflection=settings.development,
        )

    return make
