"""For every RPC that clinics offer their EHR: a state of a clinic, the request that succeeds there, and who may make it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from sqlalchemy import text

from support.care_examples import a_dosing_session, a_prescription, one_of_every_kind
from support.clinics import (
    JUNIPER,
    PARTNERSHIP,
    RIVERBEND,
    AClinic,
    a_clinic,
    a_form,
    a_message,
    an_identity,
    confirmed,
)
from support.fixtures_rpc import Dump, plain
from support.planned import A_DOSE, A_SITE, START, plans, words_against_all
from support.sealing import NOON
from tandem.clinic.v1 import course_pb2, episode_pb2, patient_pb2
from tandem.common.v1.common_pb2 import (
    CATEGORY_MESSAGE,
    CATEGORY_SCALE_SCORE,
    EFFECT_PERMIT,
    PURPOSE_TREATMENT,
)
from tandem.exchange.v1.exchange_pb2 import ReferralChanged
from tandem.prescriber.v1 import prescriber_pb2
from tandem.therapy_provider.v1 import therapy_provider_pb2
from tandem_care.categories import Category, Purpose
from tandem_clinic.domain.staff import ADMINISTRATION, CARE, COORDINATION, Role
from tandem_clinic.grpc.entrance import caller_of
from tandem_clinic.grpc.server import dispatcher_of
from tandem_clinic.store import staff
from tandem_clinic.usecases import permissions, referrals
from tandem_clinic.usecases.entries import record_entry
from tandem_clinic.usecases.incoming import referral_changed
from tandem_clinic.usecases.permissions import Terms
from tandem_platform.ids import new_id
from tandem_platform.rpc.local import LocalChannel
from tandem_prescriber.grpc import services as prescriber
from tandem_therapy_provider.grpc import services as therapy_provider
from tandem_therapy_provider.store.tables import metadata

CLINIC_SERVICES: tuple[ServiceDescriptor, ...] = tuple(
    service
    for contract in (patient_pb2, episode_pb2, course_pb2, prescriber_pb2, therapy_provider_pb2)
    for service in contract.DESCRIPTOR.services_by_name.values()
)
CLINIC_METHODS: dict[str, MethodDescriptor] = {
    f"{service.name}.{method.name}": method for service in CLINIC_SERVICES for method in service.methods
}


class WholeClinic:
    """A clinic that is both, prescriber and therapy provider, and serves all contracts of a clinic."""

    def __init__(self, url: str, directory: Path) -> None:
        self.inner: AClinic = a_clinic(directory, url, metadata)
        self.clinic = self.inner.clinic
        self.inner.hub.answers["RequestReferral"] = confirmed
        self.dispatcher = dispatcher_of(
            self.clinic,
            self.inner.journal,
            lambda clinic: [*prescriber.servicers(clinic), *therapy_provider.servicers(clinic)],
        )
        self._registered = 0

    def channel(self, role: Role) -> LocalChannel:
        return LocalChannel(self.dispatcher, caller_of(self.inner.somebody(role)))

    def patient(self) -> str:
        self._registered += 1
        return self.inner.registers(
            an_identity(legal_name=f"{_spelt(self._registered)} Okafor"), acknowledge_duplicates=True
        )

    def refers(self, patient_id: str) -> referrals.Requested:
        with self.clinic.db.transaction() as tx:
            return referrals.request_referral(
                tx, self.clinic, self.inner.clinician, patient_id, PARTNERSHIP, "psychotherapy", a_form()
            )

    def records(self, patient_id: str) -> str:
        with self.clinic.db.transaction() as tx:
            return record_entry(tx, self.clinic, self.inner.clinician, patient_id, a_message()).record_id

    def plans(self) -> str:
        """An episode with a plan."""
        return plans(self.inner, self.refers(self.patient()).episode_id)

    def permits(self, episode_id: str) -> str:
        terms = Terms(frozenset({Category.SCALE_SCORE}), Purpose.TREATMENT)
        with self.clinic.db.transaction() as tx:
            asked = permissions.grant_permission(
                tx, self.clinic, self.inner.clinician, episode_id, terms, a_form()
            )
        return asked.subject_id

    def hears_of_a_referral(self) -> str:
        referral_id = new_id("ref")
        message = ReferralChanged(
            referral_id=referral_id,
            episode_id=new_id("epi"),
            partnership_id=PARTNERSHIP,
            referrer_practice_id=RIVERBEND,
            recipient_practice_id=JUNIPER,
            kind="medical-evaluation",
            urgency="soon",
            state="requested",
            version=1,
        )
        message.changed_at.FromDatetime(NOON)
        with self.clinic.db.transaction() as tx:
            referral_changed(tx, self.clinic, message)
        return referral_id

    def dump(self) -> Dump:
        with self.clinic.db.reading() as tx:
            return Dump(
                {
                    (name, tuple(map(plain, row)))
                    for name in metadata.tables
                    for row in tx.all(text(f'SELECT * FROM "{name}"'))  # noqa: S608 - our own tables' names
                }
            )

    def close(self) -> None:
        self.clinic.db.close()


def _spelt(number: int) -> str:
    """A name of its own for every patient; digits are none."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number)).title()


def spoilt_tokens(clinic: WholeClinic) -> dict[str, str]:
    """Authorizations that are no good, each for one reason."""
    now = clinic.clinic.now()
    with clinic.clinic.db.transaction() as tx:
        somebody = staff.add(tx, "Somebody", frozenset(Role), now)
        gone = staff.add(tx, "Somebody who left", frozenset(Role), now)
        good = staff.issue_token(tx, somebody.staff_id, now)
        revoked = staff.issue_token(tx, somebody.staff_id, now)
        staff.revoke_token(tx, revoked, now)
        expired = staff.issue_token(tx, somebody.staff_id, now, timedelta(seconds=-1))
        of_one_gone = staff.issue_token(tx, gone.staff_id, now)
        staff.disable(tx, gone.staff_id, now)
    return {
        "none": "",
        "guessed": "Bearer tdm_guess",
        "another scheme": f"Basic {good}",
        "revoked": f"Bearer {revoked}",
        "expired": f"Bearer {expired}",
        "of somebody who left": f"Bearer {of_one_gone}",
        "a part of a good one": f"Bearer {good[:-1]}",
    }


@dataclass(frozen=True, kw_only=True)
class ClinicCall:
    """may: the roles that may make the call. names: the field that names what it is about, if it names anything."""

    request: Message
    may: frozenset[Role]
    names: str = ""


ClinicFixture = Callable[[WholeClinic], ClinicCall]
CLINIC_FIXTURES: dict[str, ClinicFixture] = {}


def fixture_of(method: str) -> Callable[[ClinicFixture], ClinicFixture]:
    def keep(fixture: ClinicFixture) -> ClinicFixture:
        CLINIC_FIXTURES[method] = fixture
        return fixture

    return keep


def all_clinic_fixtures() -> Iterator[tuple[str, ClinicFixture]]:
    yield from CLINIC_FIXTURES.items()


def _identity(legal_name: str = "Maria Alvarez") -> patient_pb2.Identity:
    return patient_pb2.Identity(
        legal_name=legal_name,
        birth_date="1984-05-17",
        time_zone="America/Chicago",
        language="es",
        safe_contact=[patient_pb2.SafeContact(channel="text", address="+1 555 0142")],
        emergency_contact=patient_pb2.PersonToCall(name="Sam", relation="brother", phone="+1 555 0144"),
        representative=patient_pb2.Representative(
            name="Sam", relation="brother", authority="health care proxy", valid_from="2025-01-01"
        ),
        identifiers=[patient_pb2.ExternalIdentifier(system="urn:ehr", value=new_id("pat"))],
    )


def _evidence() -> episode_pb2.Evidence:
    return episode_pb2.Evidence(
        written=ParseDict(a_form().to_fields(), episode_pb2.ConsentForm(), ignore_unknown_fields=True)
    )


@fixture_of("PatientService.RegisterPatient")
def a_patient_to_register(clinic: WholeClinic) -> ClinicCall:
    request = patient_pb2.RegisterPatientRequest(
        request_id=new_id("req"), identity=_identity(), acknowledge_duplicates=True
    )
    return ClinicCall(request=request, may=COORDINATION)


@fixture_of("PatientService.GetPatient")
def a_registered_patient(clinic: WholeClinic) -> ClinicCall:
    request = patient_pb2.GetPatientRequest(patient_id=clinic.patient())
    return ClinicCall(request=request, may=COORDINATION, names="patient_id")


@fixture_of("PatientService.UpdatePatient")
def a_patient_to_update(clinic: WholeClinic) -> ClinicCall:
    request = patient_pb2.UpdatePatientRequest(
        request_id=new_id("req"), patient_id=clinic.patient(), identity=_identity(), version=1
    )
    return ClinicCall(request=request, may=COORDINATION, names="patient_id")


@fixture_of("PatientService.FindPatient")
def a_patient_with_a_number(clinic: WholeClinic) -> ClinicCall:
    identity = _identity()
    fields = {"system": identity.identifiers[0].system, "value": identity.identifiers[0].value}
    clinic.inner.registers(
        type(an_identity()).from_fields({**an_identity().to_fields(), "identifiers": [fields]}),
        acknowledge_duplicates=True,
    )
    request = patient_pb2.FindPatientRequest(identifier=identity.identifiers[0])
    return ClinicCall(request=request, may=COORDINATION, names="identifier.value")


@fixture_of("EpisodeService.RequestReferral")
def a_patient_to_refer(clinic: WholeClinic) -> ClinicCall:
    request = episode_pb2.RequestReferralRequest(
        request_id=new_id("req"),
        patient_id=clinic.patient(),
        partnership_id=PARTNERSHIP,
        kind="psychotherapy",
        urgency="soon",
        evidence=_evidence(),
        note="Two adequate trials.",
    )
    return ClinicCall(request=request, may=COORDINATION, names="patient_id")


@fixture_of("EpisodeService.ListReferrals")
def referrals_to_list(clinic: WholeClinic) -> ClinicCall:
    clinic.refers(clinic.patient())
    request = episode_pb2.ListReferralsRequest(state="requested", intake="own")
    return ClinicCall(request=request, may=COORDINATION)


@fixture_of("EpisodeService.TakeInReferral")
def an_inbound_referral(clinic: WholeClinic) -> ClinicCall:
    request = episode_pb2.TakeInReferralRequest(
        request_id=new_id("req"), referral_id=clinic.hears_of_a_referral(), patient_id=clinic.patient()
    )
    return ClinicCall(request=request, may=COORDINATION, names="referral_id")


@fixture_of("EpisodeService.MoveReferral")
def a_referral_to_cancel(clinic: WholeClinic) -> ClinicCall:
    request = episode_pb2.MoveReferralRequest(
        request_id=new_id("req"),
        referral_id=clinic.refers(clinic.patient()).referral_id,
        move="cancel",
        reason="moved",
    )
    return ClinicCall(request=request, may=COORDINATION, names="referral_id")


@fixture_of("EpisodeService.AskPermission")
def an_episode_to_permit_for(clinic: WholeClinic) -> ClinicCall:
    request = episode_pb2.AskPermissionRequest(
        request_id=new_id("req"),
        episode_id=clinic.refers(clinic.patient()).episode_id,
        effect=EFFECT_PERMIT,
        categories=[CATEGORY_SCALE_SCORE],
        purpose=PURPOSE_TREATMENT,
        evidence=_evidence(),
    )
    request.history_from.FromDatetime(NOON - timedelta(days=30))
    return ClinicCall(request=request, may=COORDINATION, names="episode_id")


@fixture_of("EpisodeService.RevokePermission")
def a_permission_to_revoke(clinic: WholeClinic) -> ClinicCall:
    permission_id = clinic.permits(clinic.refers(clinic.patient()).episode_id)
    request = episode_pb2.RevokePermissionRequest(request_id=new_id("req"), permission_id=permission_id)
    return ClinicCall(request=request, may=frozenset(Role), names="permission_id")


@fixture_of("EpisodeService.HoldPermission")
def a_permission_to_hold(clinic: WholeClinic) -> ClinicCall:
    permission_id = clinic.permits(clinic.refers(clinic.patient()).episode_id)
    request = episode_pb2.HoldPermissionRequest(request_id=new_id("req"), permission_id=permission_id)
    return ClinicCall(request=request, may=frozenset(Role), names="permission_id")


def recording(patient_id: str, kind: str, content_json: str) -> episode_pb2.RecordEntryRequest:
    return episode_pb2.RecordEntryRequest(
        request_id=new_id("req"), patient_id=patient_id, kind=kind, content_json=content_json
    )


@fixture_of("EpisodeService.RecordEntry")
def a_patient_to_record_for(clinic: WholeClinic) -> ClinicCall:
    request = episode_pb2.RecordEntryRequest(
        request_id=new_id("req"),
        patient_id=clinic.patient(),
        kind="homework-practice",
        content_json='{"practice": "Ten minutes of journaling", "given_at": "2026-03-02T09:00:00Z"}',
        derived_from=[CATEGORY_MESSAGE],
        identifier=patient_pb2.ExternalIdentifier(system="urn:ehr", value=new_id("ent")),
    )
    request.authored_at.FromDatetime(NOON)
    return ClinicCall(request=request, may=CARE, names="patient_id")


@fixture_of("EpisodeService.AmendEntry")
def a_record_to_amend(clinic: WholeClinic) -> ClinicCall:
    request = episode_pb2.AmendEntryRequest(
        request_id=new_id("req"),
        record_id=clinic.records(clinic.patient()),
        content_json='{"author": "Dr Hale", "text": "See you on Tuesday"}',
    )
    return ClinicCall(request=request, may=COORDINATION, names="record_id")


@fixture_of("EpisodeService.TakeBackEntry")
def a_record_to_take_back(clinic: WholeClinic) -> ClinicCall:
    request = episode_pb2.TakeBackEntryRequest(
        request_id=new_id("req"), record_id=clinic.records(clinic.patient())
    )
    return ClinicCall(request=request, may=COORDINATION, names="record_id")


@fixture_of("EpisodeService.ReadCarePlan")
def a_plan_to_read(clinic: WholeClinic) -> ClinicCall:
    patient_id = clinic.patient()
    episode_id = clinic.refers(patient_id).episode_id
    clinic.records(patient_id)
    request = episode_pb2.ReadCarePlanRequest(patient_id=patient_id, episode_id=episode_id)
    return ClinicCall(request=request, may=COORDINATION, names="patient_id")


@fixture_of("EpisodeService.GetCommand")
def a_command_to_follow(clinic: WholeClinic) -> ClinicCall:
    request = episode_pb2.GetCommandRequest(command_request_id=clinic.refers(clinic.patient()).request_id)
    return ClinicCall(request=request, may=COORDINATION, names="command_request_id")


_PRESCRIBERS = frozenset({Role.CLINICIAN, Role.INTEGRATION})


def _filled(message: Any, fields: Any) -> Any:
    # A kind of entry may have more fields than the contract that makes it.
    return ParseDict(fields, message, ignore_unknown_fields=True)


@fixture_of("EvaluationService.RecordEvaluation")
def a_patient_to_evaluate(clinic: WholeClinic) -> ClinicCall:
    fields = one_of_every_kind()["screening-result"].to_fields()
    request = prescriber_pb2.RecordEvaluationRequest(
        request_id=new_id("req"),
        patient_id=clinic.patient(),
        evaluation=_filled(prescriber_pb2.Evaluation(), fields),
    )
    return ClinicCall(request=request, may=_PRESCRIBERS, names="patient_id")


@fixture_of("EvaluationService.GetEvaluation")
def an_evaluation_in_force(clinic: WholeClinic) -> ClinicCall:
    patient_id = clinic.patient()
    with clinic.clinic.db.transaction() as tx:
        record_entry(
            tx, clinic.clinic, clinic.inner.clinician, patient_id, one_of_every_kind()["screening-result"]
        )
    request = prescriber_pb2.GetEvaluationRequest(patient_id=patient_id)
    return ClinicCall(request=request, may=CARE, names="patient_id")


@fixture_of("TreatmentService.Prescribe")
def a_patient_to_prescribe_for(clinic: WholeClinic) -> ClinicCall:
    request = prescriber_pb2.PrescribeRequest(
        request_id=new_id("req"),
        patient_id=clinic.patient(),
        prescription=_filled(prescriber_pb2.Prescription(), a_prescription().to_fields()),
    )
    return ClinicCall(request=request, may=_PRESCRIBERS, names="patient_id")


@fixture_of("TreatmentService.RecordDosingSession")
def a_dose_that_was_given(clinic: WholeClinic) -> ClinicCall:
    request = prescriber_pb2.RecordDosingSessionRequest(
        request_id=new_id("req"),
        patient_id=clinic.patient(),
        session=_filled(prescriber_pb2.DosingSession(), a_dosing_session().to_fields()),
    )
    return ClinicCall(request=request, may=CARE, names="patient_id")


@fixture_of("CapacityService.StateCapacity")
def openings_to_state(clinic: WholeClinic) -> ClinicCall:
    request = therapy_provider_pb2.StateCapacityRequest(request_id=new_id("req"), openings=2)
    opening = request.next_openings.add(service="psychotherapy", telehealth=True)
    opening.at.FromDatetime(NOON + timedelta(days=7))
    return ClinicCall(request=request, may=COORDINATION | ADMINISTRATION)


@fixture_of("CapacityService.GetCapacity")
def openings_that_were_stated(clinic: WholeClinic) -> ClinicCall:
    stating: Any = openings_to_state(clinic).request
    channel = clinic.channel(Role.CLINICIAN)
    channel.unary_unary("/tandem.therapy_provider.v1.CapacityService/StateCapacity")(
        stating.SerializeToString()
    )
    return ClinicCall(request=therapy_provider_pb2.GetCapacityRequest(), may=COORDINATION | ADMINISTRATION)


@fixture_of("SessionService.RecordSession")
def a_session_that_was_held(clinic: WholeClinic) -> ClinicCall:
    fields = one_of_every_kind()["integration-summary"].to_fields()
    request = therapy_provider_pb2.RecordSessionRequest(
        request_id=new_id("req"),
        patient_id=clinic.patient(),
        session="integration",
        session_number=1,
        sessions_planned=6,
        integration=_filled(therapy_provider_pb2.IntegrationSummary(), fields),
    )
    request.started_at.FromDatetime(NOON - timedelta(hours=2))
    request.ended_at.FromDatetime(NOON - timedelta(hours=1))
    return ClinicCall(request=request, may=CARE, names="patient_id")


def _open_days() -> course_pb2.OpenDays:
    return ParseDict(A_SITE, course_pb2.OpenDays())


def _course_dose() -> course_pb2.CourseDose:
    return ParseDict(A_DOSE, course_pb2.CourseDose())


@fixture_of("CourseService.StateSite")
def a_site_to_state(clinic: WholeClinic) -> ClinicCall:
    request = course_pb2.StateSiteRequest(
        request_id=new_id("req"), site=_open_days(), on_call_phone="+1 503 555 0111"
    )
    return ClinicCall(request=request, may=COORDINATION)


@fixture_of("CourseService.PlanCourse")
def an_episode_to_plan(clinic: WholeClinic) -> ClinicCall:
    clinic.plans()
    request = course_pb2.PlanCourseRequest(
        request_id=new_id("req"),
        episode_id=clinic.refers(clinic.patient()).episode_id,
        pathway="two-practice-course",
        version=1,
        start=START.isoformat(),
        pace="usual",
        dose_at="09:30",
        therapy_at="10:00",
        partner_site=_open_days(),
    )
    return ClinicCall(request=request, may=CARE, names="episode_id")


@fixture_of("CourseService.ReadCourse")
def a_course_to_read(clinic: WholeClinic) -> ClinicCall:
    request = course_pb2.ReadCourseRequest(episode_id=clinic.plans())
    return ClinicCall(request=request, may=CARE, names="episode_id")


@fixture_of("CourseService.MoveSession")
def a_session_to_move(clinic: WholeClinic) -> ClinicCall:
    request = course_pb2.MoveSessionRequest(
        request_id=new_id("req"),
        episode_id=clinic.plans(),
        item="dose-1",
        day=(START + timedelta(days=25)).isoformat(),
        at="09:30",
        later_too=True,
    )
    return ClinicCall(request=request, may=CARE, names="episode_id")


@fixture_of("CourseService.HoldSession")
def a_planned_session_that_was_held(clinic: WholeClinic) -> ClinicCall:
    request = course_pb2.HoldSessionRequest(
        request_id=new_id("req"),
        episode_id=clinic.plans(),
        item="preparation-1",
        summary_json='{"readiness": "ready", "summary": "Ready."}',
    )
    request.started_at.FromDatetime(NOON - timedelta(hours=2))
    request.ended_at.FromDatetime(NOON - timedelta(hours=1))
    return ClinicCall(request=request, may=CARE, names="episode_id")


@fixture_of("CourseService.AskGuards")
def guards_to_ask(clinic: WholeClinic) -> ClinicCall:
    request = course_pb2.AskGuardsRequest(episode_id=clinic.plans(), item="dose-1", dose=_course_dose())
    return ClinicCall(request=request, may=CARE, names="episode_id")


@fixture_of("CourseService.SignClearance")
def a_clearance_to_sign(clinic: WholeClinic) -> ClinicCall:
    episode_id = clinic.plans()
    request = course_pb2.SignClearanceRequest(
        request_id=new_id("req"),
        episode_id=episode_id,
        item="dose-1",
        dose=_course_dose(),
        highest_dose=_course_dose(),
        overridden=[
            course_pb2.GuardWord(**word)
            for word in words_against_all(clinic.inner, episode_id, but_clearance=True)
        ],
    )
    return ClinicCall(request=request, may=_PRESCRIBERS, names="episode_id")


@fixture_of("CourseService.StartSession")
def a_session_to_start(clinic: WholeClinic) -> ClinicCall:
    episode_id = clinic.plans()
    request = course_pb2.StartSessionRequest(
        request_id=new_id("req"),
        episode_id=episode_id,
        item="dose-1",
        dose=_course_dose(),
        overridden=[course_pb2.GuardWord(**word) for word in words_against_all(clinic.inner, episode_id)],
    )
    return ClinicCall(request=request, may=_PRESCRIBERS, names="episode_id")


@fixture_of("CourseService.RecordMeasure")
def answers_to_record(clinic: WholeClinic) -> ClinicCall:
    request = course_pb2.RecordMeasureRequest(
        request_id=new_id("req"),
        patient_id=clinic.patient(),
        scale="phq-9",
        answers={str(number): 1 for number in range(1, 10)},
        respondent="patient",
    )
    request.taken_at.FromDatetime(NOON)
    return ClinicCall(request=request, may=CARE, names="patient_id")


@fixture_of("CourseService.GiveDoseFeedback")
def feedback_to_give(clinic: WholeClinic) -> ClinicCall:
    request = course_pb2.GiveDoseFeedbackRequest(
        request_id=new_id("req"),
        episode_id=clinic.plans(),
        wish="lower",
        dialogue_possible=False,
        note="Too deep for words.",
    )
    request.dosing_session_at.FromDatetime(NOON - timedelta(days=1))
    return ClinicCall(request=request, may=CARE, names="episode_id")


@fixture_of("CourseService.DecideDose")
def a_dose_to_decide(clinic: WholeClinic) -> ClinicCall:
    request = course_pb2.DecideDoseRequest(
        request_id=new_id("req"),
        episode_id=clinic.plans(),
        decision="lower",
        next_dose=_course_dose(),
        reason="A little less.",
    )
    request.dosing_session_at.FromDatetime(NOON - timedelta(days=1))
    return ClinicCall(request=request, may=_PRESCRIBERS, names="episode_id")
