"""The clinic's gRPC server on a real socket: TLS, and callers told by bearer token."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from support.clinics import AClinic
from tandem.clinic.v1 import patient_pb2
from tandem.clinic.v1.patient_pb2_grpc import PatientServiceStub
from tandem_clinic.grpc.entrance import by_token
from tandem_clinic.grpc.server import dispatcher_of
from tandem_clinic.store import staff
from tandem_ops.certs import DevelopmentCA
from tandem_platform.errors import Code
from tandem_platform.rpc.client import refusal_of
from tandem_platform.rpc.server import RpcServer
from tandem_platform.rpc.tls import TlsFiles


@pytest.fixture
def authority(tmp_path: Path) -> DevelopmentCA:
    """TLS takes no simulated clock."""
    return DevelopmentCA(tmp_path / "today")


@pytest.fixture
def server(juniper: AClinic, authority: DevelopmentCA, tmp_path: Path) -> Iterator[RpcServer]:
    authority.issue_server(["localhost", "127.0.0.1"]).write(tmp_path / "server-tls")
    made = RpcServer(
        dispatcher_of(juniper.clinic, juniper.journal, lambda _: ()),
        "127.0.0.1:0",
        TlsFiles.in_directory(tmp_path / "server-tls"),
        by_token(juniper.clinic),
        client_certificates=False,
    )
    made.start()
    yield made
    made.stop(1.0)


@pytest.fixture
def patients(server: RpcServer, authority: DevelopmentCA) -> Iterator[PatientServiceStub]:
    roots = grpc.ssl_channel_credentials(authority.roots_pem)
    with grpc.secure_channel(f"localhost:{server.port}", roots) as channel:
        yield PatientServiceStub(channel)


def asks(patients: PatientServiceStub, patient_id: str, *metadata: tuple[str, str]) -> patient_pb2.Patient:
    request = patient_pb2.GetPatientRequest(patient_id=patient_id)
    return patients.GetPatient(request, timeout=10, metadata=metadata).patient


def test_a_good_token_is_served_and_no_other_caller_is(
    juniper: AClinic, patients: PatientServiceStub
) -> None:
    patient_id = juniper.registers()
    with juniper.db.transaction() as tx:
        token = staff.issue_token(tx, juniper.clinician.staff_id, juniper.clinic.now())
    found = asks(patients, patient_id, ("authorization", f"Bearer {token}"))
    assert found.identity.legal_name == "Rosalind Okafor"
    for metadata in ((), (("authorization", "Bearer tdm_guess"),)):
        with pytest.raises(grpc.RpcError) as error:
            asks(patients, patient_id, *metadata)
        refusal = refusal_of(error.value)
        assert (refusal.code, refusal.reason) == (Code.UNAUTHENTICATED, "TOKEN_REFUSED")


def test_a_call_without_tls_is_not_answered(server: RpcServer) -> None:
    with grpc.insecure_channel(f"localhost:{server.port}") as channel, pytest.raises(grpc.RpcError):
        asks(PatientServiceStub(channel), "pat_a", ("authorization", "Bearer tdm_guess"))
