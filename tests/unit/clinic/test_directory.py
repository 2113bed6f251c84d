"""Finding practices, and saying of oneself what others shall find."""

from datetime import timedelta
from typing import Any

import pytest

from support.clinics import JUNIPER, AClinic, a_clinic, no
from support.sealing import NOON
from tandem.directory.v1 import directory_pb2 as pb
from tandem_care.matching import POINTS
from tandem_clinic.domain.matches import said
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.domain.staff import NotYourRole, Role
from tandem_clinic.http.app import create_app
from tandem_clinic.http.directory import shown_practice
from tandem_clinic.http.entrance import Entrance
from tandem_clinic.hub import journal
from tandem_clinic.store import staff
from tandem_clinic.usecases import capacity, directory
from tandem_clinic.usecases.capacity import Opening
from tandem_platform.errors import Code

PROFILE = {
    "version": 4,
    "display_name": "Juniper Psychiatry",
    "npi": "1234567893",
    "routes": ["im"],
    "services": [{"service": "dosing-session", "payments": ["self-pay"], "highest_price": 900}],
    "sites": [{"name": "Downtown", "on_call_phone": "+1 503 555 0112", "access": ["step-free"]}],
}


@pytest.fixture
def juniper(tmp_path) -> AClinic:
    return a_clinic(tmp_path)


@pytest.fixture
def ask(juniper):
    """A coordinator at the clinic's API."""
    app = create_app(Entrance(juniper.clinic, juniper.journal, dict))
    with juniper.db.transaction() as tx:
        member = staff.add(tx, "Noor", frozenset({Role.COORDINATOR}), juniper.clinic.now())
        token = staff.issue_token(tx, member.staff_id, juniper.clinic.now())

    def call(method: str, path: str, body=None):
        headers = {"Authorization": f"Bearer {token}"}
        return app.test_client().open(f"/api/v1{path}", method=method, json=body, headers=headers)

    return call


def answering(juniper: AClinic, response: pb.SearchPracticesResponse) -> list[pb.SearchPracticesRequest]:
    asked = []

    def answer(request: pb.SearchPracticesRequest) -> pb.SearchPracticesResponse:
        asked.append(request)
        return response

    juniper.hub.answers["SearchPractices"] = answer
    return asked


class TestSearch:
    def test_codes_go_to_the_hub_and_reasons_come_back_in_words(self, juniper, ask):
        reason = pb.SearchPracticesResponse.Reason
        match = pb.SearchPracticesResponse.Match(
            practice=pb.Practice(practice_id="prac_alder", display_name="Alder", version=3),
            score=10,
            because=[
                reason(code="modality", values=["emdr", "cbt"], met=True, points=8),
                reason(code="language", met=False),
            ],
        )
        missed = pb.SearchPracticesResponse.Missed(code="licence-state", practices=4)
        asked = answering(juniper, pb.SearchPracticesResponse(matches=[match], found=1, missed=[missed]))
        needs: dict[str, Any] = {"licence_state": "CO", "openings": True}
        wishes: dict[str, Any] = {"modalities": ["emdr", "cbt"], "languages": ["es"]}
        answer = ask("POST", "/directory/search", {"required": needs, "preferred": wishes}).json
        assert asked == [
            pb.SearchPracticesRequest(page_size=50, required=pb.Needs(**needs), preferred=pb.Needs(**wishes))
        ]
        (shown,) = answer["matches"]
        assert (shown["practice"]["display_name"], shown["practice"]["version"]) == ("Alder", 3)
        assert [each["said"] for each in shown["reasons"]] == [
            "offers EMDR, CBT",
            "does not say that it speaks a language asked for",
        ]
        assert (answer["found"], answer["missed"]) == (1, [{"code": "licence-state", "practices": 4}])

    @pytest.mark.parametrize(
        ("needs", "field"),
        [
            ({"modalities": ["magic"]}, "required.modalities"),
            ({"price_at_most": 10}, "required.service"),
            ({"patient_id": "pat_x"}, "required.patient_id"),
            ({"licence_state": 5}, "required.licence_state"),
        ],
    )
    def test_what_the_directory_does_not_know_does_not_leave_the_clinic(self, juniper, ask, needs, field):
        asked = answering(juniper, pb.SearchPracticesResponse())
        answer = ask("POST", "/directory/search", {"required": needs})
        assert answer.status_code in (400, 422)
        assert answer.json["field"] == field
        assert asked == []

    @pytest.mark.parametrize("code", POINTS)
    @pytest.mark.parametrize("met", [True, False])
    def test_every_reason_has_words(self, code, met):
        assert code == "partner-already" or said(code, ["x"], met=met) != code

    def test_a_reason_that_is_newer_than_the_clinic_is_given_as_it_is(self):
        assert said("parking", ["free"], met=True) == "parking"


class TestOwnProfile:
    def test_it_goes_to_the_directory_as_a_command(self, juniper, ask):
        assert ask("PUT", "/profile", PROFILE).json["confirmed"]
        (name, request) = juniper.hub.commands[-1]
        assert name == "UpdateProfile"
        assert (request.practice.practice_id, request.practice.version) == (JUNIPER, 4)
        assert request.practice.sites[0].on_call_phone == "+1 503 555 0112"

    def test_without_the_hub_it_waits(self, juniper, ask):
        juniper.hub.away = True
        answer = ask("PUT", "/profile", PROFILE)
        assert (answer.status_code, answer.json["confirmed"]) == (202, False)
        juniper.hub.away = False
        juniper.journal.hub_is_back()
        juniper.settles()
        assert juniper.hub.received == ["UpdateProfile"]

    def test_one_that_has_changed_meanwhile_is_refused(self, juniper, ask):
        juniper.hub.answers["UpdateProfile"] = no(Code.ABORTED, "STALE_VERSION")
        answer = ask("PUT", "/profile", PROFILE)
        assert (answer.status_code, answer.json["reason"]) == (409, "STALE_VERSION")

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"npi": "1234567890"}, "npi"),
            ({"sites": [{"name": "Downtown", "access": ["lift"]}]}, "sites[0].access"),
            ({"services": [{"service": "massage", "payments": ["self-pay"]}]}, "services[0].service"),
            ({"languages": ["english"]}, "languages"),
        ],
    )
    def test_a_fault_is_found_here_and_names_its_field(self, juniper, ask, change, field):
        answer = ask("PUT", "/profile", {**PROFILE, **change})
        assert (answer.status_code, answer.json["field"]) == (422, field)
        with juniper.db.reading() as tx:
            assert journal.queued(tx) == []

    def test_who_does_not_speak_for_the_practice_does_not_describe_it(self, juniper):
        nurse = juniper.somebody(Role.NURSE)
        with pytest.raises(NotYourRole), juniper.db.transaction() as tx:
            directory.replace_profile(tx, juniper.clinic, nurse, pb.Practice(display_name="Mine"))

    def test_it_is_read_from_the_directory(self, juniper, ask):
        practice = pb.Practice(practice_id=JUNIPER, display_name="Juniper", version=2)
        practice.capacity.age_minutes = 90
        juniper.hub.answers["GetPractice"] = lambda request: pb.GetPracticeResponse(practice=practice)
        shown = ask("GET", "/profile").json
        assert shown == shown_practice(practice)
        assert shown["capacity"]["age_minutes"] == 90


class TestCapacity:
    def test_openings_are_kept_here_and_told_to_the_directory(self, juniper):
        openings = [Opening(NOON + timedelta(days=7), "medical-evaluation", telehealth=True)]
        with juniper.db.transaction() as tx:
            capacity.state_capacity(tx, juniper.clinic, juniper.clinician, 3, openings)
        juniper.settles()
        name, request = juniper.hub.commands[0]
        assert (name, request.capacity.openings) == ("PublishCapacity", 3)
        assert request.capacity.next_openings[0].service == "medical-evaluation"
        with juniper.db.reading() as tx:
            stated = capacity.stated_capacity(tx, juniper.clinician)
        assert (stated.openings, list(stated.next_openings), stated.stated_at) == (3, openings, NOON)

    @pytest.mark.parametrize(
        ("openings", "next_openings", "field"),
        [
            (-1, [], "openings"),
            (1001, [], "openings"),
            (1, [Opening(NOON)] * 21, "next_openings"),
            (1, [Opening(NOON), Opening(NOON - timedelta(days=7))], "next_openings[1].at"),
            (1, [Opening(NOON + timedelta(days=731))], "next_openings[0].at"),
            (1, [Opening(NOON, "massage")], "next_openings[0].service"),
        ],
    )
    def test_openings_that_cannot_be_are_refused(self, juniper, openings, next_openings, field):
        with pytest.raises(ContentInvalid) as refused, juniper.db.transaction() as tx:
            capacity.state_capacity(tx, juniper.clinic, juniper.clinician, openings, next_openings)
        assert refused.value.field == field

    def test_a_refused_profile_takes_no_statement_of_openings_with_it(self, juniper):
        juniper.hub.answers["UpdateProfile"] = no(Code.ABORTED, "STALE_VERSION")
        admin = juniper.somebody(Role.ADMIN)
        with juniper.db.transaction() as tx:
            directory.replace_profile(tx, juniper.clinic, admin, pb.Practice(display_name="Juniper"))
            capacity.state_capacity(tx, juniper.clinic, admin, 1)
        juniper.settles()
        assert juniper.hub.received == ["PublishCapacity"]
