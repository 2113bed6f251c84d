"""What a therapy clinic adds: notes that stay, sessions."""

from datetime import timedelta

import grpc
import pytest

from support.clinics import PARTNERSHIP, AClinic, a_clinic, a_form, confirmed
from support.sealing import NOON
from tandem.therapy_provider.v1 import therapy_provider_pb2 as pb
from tandem.therapy_provider.v1.therapy_provider_pb2_grpc import CapacityServiceStub, SessionServiceStub
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.domain.staff import NotYourRole, Role
from tandem_clinic.grpc.entrance import caller_of
from tandem_clinic.grpc.server import dispatcher_of
from tandem_clinic.store import staff
from tandem_clinic.usecases.plan import read_care_plan
from tandem_clinic.usecases.referrals import request_referral
from tandem_platform.ids import new_id
from tandem_platform.rpc.client import refusal_of
from tandem_platform.rpc.local import LocalChannel
from tandem_therapy_provider.grpc.services import servicers
from tandem_therapy_provider.store.tables import metadata
from tandem_therapy_provider.usecases import notes

WORDS = "countertransference around the lake house"


@pytest.fixture
def riverbend(tmp_path) -> AClinic:
    return a_clinic(tmp_path, tables=metadata)


@pytest.fixture
def channel(riverbend):
    dispatcher = dispatcher_of(riverbend.clinic, riverbend.journal, servicers)
    return LocalChannel(dispatcher, caller_of(riverbend.clinician))


def writes(clinic: AClinic, patient_id: str, by=None, text: str = WORDS):
    with clinic.db.transaction() as tx:
        return notes.write_note(tx, clinic.clinic, by or clinic.clinician, patient_id, text)


def reads(clinic: AClinic, patient_id: str, by=None):
    with clinic.db.transaction() as tx:
        return [note.text for note in notes.read_notes(tx, clinic.clinic, by or clinic.clinician, patient_id)]


def test_a_note_is_read_by_its_author_and_by_nobody_else(riverbend):
    patient_id = riverbend.registers()
    writes(riverbend, patient_id)
    with riverbend.db.transaction() as tx:
        colleague = staff.add(tx, "A colleague", frozenset({Role.CLINICIAN}), riverbend.clinic.now())
    assert reads(riverbend, patient_id) == [WORDS]
    assert reads(riverbend, patient_id, colleague) == []
    with pytest.raises(NotYourRole):
        reads(riverbend, patient_id, riverbend.somebody(Role.NURSE))


def test_a_note_goes_nowhere_even_with_an_open_episode(riverbend):
    patient_id = riverbend.registers()
    with riverbend.db.transaction() as tx:
        request_referral(
            tx, riverbend.clinic, riverbend.clinician, patient_id, PARTNERSHIP, "medical-evaluation", a_form()
        )
    before = len(riverbend.uplink())
    writes(riverbend, patient_id)
    with riverbend.db.transaction() as tx:
        plan = read_care_plan(tx, riverbend.clinic, riverbend.clinician, patient_id)
    assert len(riverbend.uplink()) == before
    assert WORDS not in str(plan)


def test_a_note_is_not_readable_in_the_database(riverbend):
    writes(riverbend, riverbend.registers())
    with riverbend.db.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM psychotherapy_note").all()
    assert WORDS not in str(rows)
    assert WORDS.encode() not in b"".join(value for value in rows[0] if isinstance(value, bytes))


def test_an_empty_note_is_refused_by_field(riverbend):
    with pytest.raises(ContentInvalid) as refused:
        writes(riverbend, riverbend.registers(), text="  ")
    assert refused.value.field == "text"


def test_a_session_gives_its_times_and_its_summary_apart(riverbend, channel):
    riverbend.hub.answers["RequestReferral"] = confirmed
    request = pb.RecordSessionRequest(
        request_id=new_id("req"),
        patient_id=riverbend.registers(),
        session="integration",
        session_number=2,
        sessions_planned=6,
        integration=pb.IntegrationSummary(
            session="integration", summary="Walks daily", written_by="Sam Ortiz"
        ),
    )
    request.started_at.FromDatetime(NOON - timedelta(hours=1))
    request.ended_at.FromDatetime(NOON)
    request.integration.held_at.FromDatetime(NOON)
    recorded = SessionServiceStub(channel).RecordSession(request).recorded
    assert [part.kind for part in recorded] == ["session-times", "integration-summary"]


def test_openings_are_stated_over_grpc(channel):
    stub = CapacityServiceStub(channel)
    request = pb.StateCapacityRequest(request_id=new_id("req"), openings=2)
    opening = request.next_openings.add(service="psychotherapy", telehealth=True)
    opening.at.FromDatetime(NOON + timedelta(days=7))
    stub.StateCapacity(request)
    stated = stub.GetCapacity(pb.GetCapacityRequest())
    assert (stated.openings, list(stated.next_openings)) == (2, [opening])


def test_an_opening_without_a_time_is_refused_by_field(channel):
    request = pb.StateCapacityRequest(request_id=new_id("req"), next_openings=[pb.Opening()])
    with pytest.raises(grpc.RpcError) as caught:
        CapacityServiceStub(channel).StateCapacity(request)
    assert refusal_of(caught.value).field == "next_openings[0].at"
