"""The clinic's gRPC services for its EHR, through the dispatcher."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from support.clinics import PARTNERSHIP, AClinic, a_clinic, a_form, confirmed
from tandem.clinic.v1 import episode_pb2, patient_pb2
from tandem.clinic.v1.episode_pb2_grpc import EpisodeServiceStub
from tandem.clinic.v1.patient_pb2_grpc import PatientServiceStub
from tandem.common.v1.common_pb2 import (
    CATEGORY_MESSAGE,
    CATEGORY_SCALE_SCORE,
    EFFECT_PERMIT,
    PURPOSE_TREATMENT,
)
from tandem_clinic.domain.staff import Role
from tandem_clinic.grpc.entrance import by_token, caller_of
from tandem_clinic.grpc.server import dispatcher_of
from tandem_clinic.store import staff
from tandem_platform.errors import Code, Refusal
from tandem_platform.ids import new_id
from tandem_platform.rpc.client import refusal_of
from tandem_platform.rpc.identity import Caller
from tandem_platform.rpc.local import LocalChannel

ROSE = patient_pb2.Identity(
    legal_name="Rosalind Okafor",
    birth_date="1984-05-17",
    time_zone="America/Chicago",
    safe_contact=[patient_pb2.SafeContact(channel="text", address="+1 555 0142")],
    identifiers=[patient_pb2.ExternalIdentifier(system="urn:ehr", value="MRN-1")],
)


@pytest.fixture
def juniper(tmp_path) -> AClinic:
    return a_clinic(tmp_path)


def channel(clinic: AClinic, role: Role = Role.INTEGRATION) -> LocalChannel:
    return LocalChannel(
        dispatcher_of(clinic.clinic, clinic.journal, lambda _: ()), caller_of(clinic.somebody(role))
    )


@pytest.fixture
def patients(juniper) -> PatientServiceStub:
    return PatientServiceStub(channel(juniper))


@pytest.fixture
def episodes(juniper) -> EpisodeServiceStub:
    return EpisodeServiceStub(channel(juniper))


def registers(patients: PatientServiceStub) -> str:
    request = patient_pb2.RegisterPatientRequest(request_id=new_id("req"), identity=ROSE)
    return patients.RegisterPatient(request).patient.patient_id


def a_referral(patient_id: str) -> episode_pb2.RequestReferralRequest:
    form = {name: value for name, value in a_form().to_fields().items() if name != "redisclosure_statement"}
    return episode_pb2.RequestReferralRequest(
        request_id=new_id("req"),
        patient_id=patient_id,
        partnership_id=PARTNERSHIP,
        kind="psychotherapy",
        evidence=episode_pb2.Evidence(written=episode_pb2.ConsentForm(**form)),
    )


def refusal(call, request) -> Refusal:
    with pytest.raises(grpc.RpcError) as error:
        call(request)
    return refusal_of(error.value)


def test_a_patient_comes_back_as_registered(patients):
    patient_id = registers(patients)
    found = patients.GetPatient(patient_pb2.GetPatientRequest(patient_id=patient_id)).patient
    assert found.identity == ROSE
    by_number = patients.FindPatient(patient_pb2.FindPatientRequest(identifier=ROSE.identifiers[0])).patient
    assert by_number == found


def test_a_command_repeated_is_answered_the_same(patients):
    request = patient_pb2.RegisterPatientRequest(request_id=new_id("req"), identity=ROSE)
    assert patients.RegisterPatient(request) == patients.RegisterPatient(request)
    request.acknowledge_duplicates = True
    assert refusal(patients.RegisterPatient, request).reason == "REQUEST_ID_REUSED"


def test_a_duplicate_is_refused_with_its_candidates(patients):
    first = registers(patients)
    again = patient_pb2.RegisterPatientRequest(request_id=new_id("req"), identity=ROSE)
    refused = refusal(patients.RegisterPatient, again)
    assert (refused.code, refused.metadata["candidates"]) == (Code.ALREADY_EXISTS, first)


def test_a_fault_names_the_field(patients):
    bad = patient_pb2.Identity()
    bad.CopyFrom(ROSE)
    bad.birth_date = "yesterday"
    request = patient_pb2.RegisterPatientRequest(request_id=new_id("req"), identity=bad)
    assert refusal(patients.RegisterPatient, request).field == "identity.birth_date"


def test_a_referral_is_asked_for_and_its_command_followed(juniper, patients, episodes):
    juniper.hub.answers["RequestReferral"] = confirmed
    made = episodes.RequestReferral(a_referral(registers(patients)))
    command = episodes.GetCommand(episode_pb2.GetCommandRequest(command_request_id=made.command_request_id))
    assert command.state == "answered"
    (listed,) = episodes.ListReferrals(episode_pb2.ListReferralsRequest()).referrals
    assert (listed.referral_id, listed.version, list(listed.moves)) == (made.referral_id, 1, ["cancel"])


def test_an_entry_is_recorded_amended_and_taken_back(juniper, patients, episodes):
    patient_id = registers(patients)

    def plan():
        request = episode_pb2.ReadCarePlanRequest(patient_id=patient_id)
        return [(item.kind, item.state) for item in episodes.ReadCarePlan(request).items]

    made = episodes.RecordEntry(
        episode_pb2.RecordEntryRequest(
            request_id=new_id("req"),
            patient_id=patient_id,
            kind="message",
            content_json='{"author": "Dr Hale", "text": "Hello"}',
        )
    )
    juniper.network.clock.advance(timedelta(seconds=1))
    amended = episodes.AmendEntry(
        episode_pb2.AmendEntryRequest(
            request_id=new_id("req"),
            record_id=made.record_id,
            content_json='{"author": "Dr Hale", "text": "Hello again"}',
        )
    )
    assert plan() == [("message", "amended"), ("message", "active")]
    episodes.TakeBackEntry(
        episode_pb2.TakeBackEntryRequest(request_id=new_id("req"), record_id=amended.record_id)
    )
    assert plan() == [("message", "amended"), ("message", "entered-in-error")]


def test_a_permission_is_asked_for_with_its_evidence(patients, episodes):
    made = episodes.RequestReferral(a_referral(registers(patients)))
    request = episode_pb2.AskPermissionRequest(
        request_id=new_id("req"),
        episode_id=made.episode_id,
        effect=EFFECT_PERMIT,
        categories=[CATEGORY_MESSAGE, CATEGORY_SCALE_SCORE],
        purpose=PURPOSE_TREATMENT,
        evidence=a_referral("x").evidence,
    )
    assert episodes.AskPermission(request).permission_id
    request.request_id = new_id("req")
    request.evidence.written.right_to_revoke = ""
    assert refusal(episodes.AskPermission, request).field == "evidence.right_to_revoke"


def test_the_roles_of_the_token_decide(juniper, patients):
    registers(patients)
    auditor = EpisodeServiceStub(channel(juniper, Role.AUDITOR))
    assert refusal(auditor.ListReferrals, episode_pb2.ListReferralsRequest()).code is Code.PERMISSION_DENIED


def test_a_practice_of_the_network_is_not_served(juniper):
    stranger = LocalChannel(
        dispatcher_of(juniper.clinic, juniper.journal, lambda _: ()), Caller("practice", "prac_other")
    )
    refused = refusal(PatientServiceStub(stranger).GetPatient, patient_pb2.GetPatientRequest(patient_id="x"))
    assert refused.code is Code.PERMISSION_DENIED


def a_context(*pairs) -> Any:
    """What a server sees of a call."""
    return SimpleNamespace(invocation_metadata=lambda: pairs)


def test_the_bearer_token_tells_who_calls(juniper):
    with juniper.db.transaction() as tx:
        token = staff.issue_token(tx, juniper.clinician.staff_id, juniper.clinic.now(), timedelta(hours=1))
    identify = by_token(juniper.clinic)
    caller = identify(a_context(("authorization", f"Bearer {token}")))
    assert caller == Caller("staff", juniper.clinician.staff_id, roles=frozenset({"clinician"}))
    juniper.network.clock.advance(timedelta(hours=2))
    for pairs in ((), (("authorization", f"Bearer {token}"),)):
        with pytest.raises(Refusal) as refused:
            identify(a_context(*pairs))
        assert refused.value.code is Code.UNAUTHENTICATED
