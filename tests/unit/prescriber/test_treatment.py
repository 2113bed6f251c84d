"""What a prescribing clinic adds: evaluations, prescriptions, doses, and what to look at."""

from datetime import timedelta

import pytest

from support.clinics import AClinic, a_clinic
from support.sealing import NOON
from tandem.prescriber.v1 import prescriber_pb2 as pb
from tandem.prescriber.v1.prescriber_pb2_grpc import EvaluationServiceStub, TreatmentServiceStub
from tandem_care.dose_review import ReviewReason
from tandem_clinic.grpc.entrance import caller_of
from tandem_clinic.grpc.server import dispatcher_of
from tandem_clinic.store import worklist
from tandem_platform.ids import new_id
from tandem_platform.rpc.local import LocalChannel
from tandem_prescriber.domain.treatment import Caution
from tandem_prescriber.grpc.services import servicers
from tandem_prescriber.store.tables import metadata

AFTERWARDS = [ReviewReason.RECORDED_AFTERWARDS, ReviewReason.NOT_CLEARED]
"""Of every dose that was recorded without its start."""


@pytest.fixture
def juniper(tmp_path) -> AClinic:
    return a_clinic(tmp_path, tables=metadata)


@pytest.fixture
def channel(juniper):
    return LocalChannel(
        dispatcher_of(juniper.clinic, juniper.journal, servicers), caller_of(juniper.clinician)
    )


@pytest.fixture
def treatment(channel: LocalChannel) -> TreatmentServiceStub:
    return TreatmentServiceStub(channel)


@pytest.fixture
def evaluations(channel: LocalChannel) -> EvaluationServiceStub:
    return EvaluationServiceStub(channel)


def evaluates(evaluations, patient_id: str, outcome: str = "eligible", days: int = 90, **more):
    evaluation = pb.Evaluation(outcome=outcome, evaluated_by="Dr Hale", **more)
    evaluation.evaluated_at.FromDatetime(NOON)
    evaluation.expires_at.FromDatetime(NOON + timedelta(days=days))
    return evaluations.RecordEvaluation(
        pb.RecordEvaluationRequest(request_id=new_id("req"), patient_id=patient_id, evaluation=evaluation)
    )


def prescribes(treatment, patient_id: str, route: str = "im"):
    prescription = pb.Prescription(
        drug="racemic-ketamine",
        route=route,
        dose=pb.Dose(amount="52.5", unit="mg"),
        directions="One session a week",
        place="clinic",
        sessions=6,
        prescribed_by="Dr Hale",
    )
    prescription.prescribed_at.FromDatetime(NOON - timedelta(hours=2))
    prescription.expires_at.FromDatetime(NOON + timedelta(days=90))
    return treatment.Prescribe(
        pb.PrescribeRequest(request_id=new_id("req"), patient_id=patient_id, prescription=prescription)
    )


def doses(treatment, patient_id: str, drug: str = "racemic-ketamine", route: str = "im"):
    session = pb.DosingSession(
        drug=drug,
        route=route,
        dose=pb.Dose(amount="52.5", unit="mg"),
        place="clinic",
        time_zone="America/Chicago",
        logged_by="Noor Haddad",
        blood_pressure=[pb.BloodPressure(moment="before", systolic=122, diastolic=80)],
    )
    session.blood_pressure[0].taken_at.FromDatetime(NOON - timedelta(hours=1))
    session.started_at.FromDatetime(NOON - timedelta(hours=1))
    session.ended_at.FromDatetime(NOON)
    session.discharged_at.FromDatetime(NOON)
    return treatment.RecordDosingSession(
        pb.RecordDosingSessionRequest(request_id=new_id("req"), patient_id=patient_id, session=session)
    )


def test_an_evaluation_is_in_force_until_it_expires(juniper, evaluations):
    patient_id = juniper.registers()
    evaluates(evaluations, patient_id, "eligible-with-conditions", conditions=["Below 140/90"])
    found = evaluations.GetEvaluation(pb.GetEvaluationRequest(patient_id=patient_id))
    assert (found.evaluation.outcome, found.expired) == ("eligible-with-conditions", False)
    juniper.network.clock.advance(timedelta(days=91))
    assert evaluations.GetEvaluation(pb.GetEvaluationRequest(patient_id=patient_id)).expired


def test_a_prescription_without_an_evaluation_warns_and_is_recorded(juniper, treatment, evaluations):
    patient_id = juniper.registers()
    made = prescribes(treatment, patient_id)
    assert made.recorded.record_id
    assert list(made.warnings) == [Caution.NO_EVALUATION]
    evaluates(evaluations, patient_id)
    assert list(prescribes(treatment, patient_id).warnings) == []


def test_a_dose_says_until_when_driving_is_prohibited(juniper, treatment):
    patient_id = juniper.registers()
    prescribes(treatment, patient_id)
    made = doses(treatment, patient_id)
    assert made.driving_prohibited_until.ToDatetime(tzinfo=NOON.tzinfo) == NOON + timedelta(hours=24)
    assert list(made.warnings) == AFTERWARDS


@pytest.mark.parametrize(
    ("prescribed", "given", "expected"),
    [(None, "im", Caution.NO_PRESCRIPTION), ("sublingual", "im", Caution.NOT_AS_PRESCRIBED)],
)
def test_a_dose_out_of_the_ordinary_is_recorded_and_reviewed(juniper, treatment, prescribed, given, expected):
    patient_id = juniper.registers()
    if prescribed is not None:
        prescribes(treatment, patient_id, prescribed)
    made = doses(treatment, patient_id, route=given)
    assert list(made.warnings) == [*AFTERWARDS, expected]
    with juniper.db.reading() as tx:
        assert ("dosing-review", made.recorded.record_id) in [
            (item.kind, item.subject_id) for item in worklist.waiting(tx)
        ]


def test_esketamine_observed_too_shortly_is_pointed_out(juniper, treatment):
    made = doses(treatment, juniper.registers(), drug="esketamine", route="intranasal")
    assert ReviewReason.LEFT_EARLY in made.warnings
    assert made.after_sleep
