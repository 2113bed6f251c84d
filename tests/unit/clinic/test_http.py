"""The REST API over real storage: strict input, problems with a way out, once-only requests, queued commands."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.clinics import PARTNERSHIP, AClinic, a_clinic, a_form, an_identity, confirmed, no
from tandem_clinic.domain.refusals import UplinkNotStopped
from tandem_clinic.domain.staff import Role
from tandem_clinic.http.app import create_app
from tandem_clinic.http.entrance import Entrance
from tandem_clinic.store import audit, staff
from tandem_platform.errors import Code

ROSE = an_identity().to_fields()
SUMMARY = {
    "held_at": "2026-03-02T10:00:00Z",
    "session": "integration",
    "summary": "Went well",
    "written_by": "Sam Ortiz",
}


class Desk:
    """A person at the clinic's API."""

    def __init__(self, clinic: AClinic, app, *roles: Role) -> None:
        self._client = app.test_client()
        with clinic.db.transaction() as tx:
            member = staff.add(tx, "Somebody", frozenset(roles), clinic.clinic.now())
            self.staff_id = member.staff_id
            self.token = staff.issue_token(tx, member.staff_id, clinic.clinic.now())

    def call(self, method: str, path: str, body=None, **headers):
        headers = {"Authorization": f"Bearer {self.token}", **headers}
        return self._client.open(f"/api/v1{path}", method=method, json=body, headers=headers)

    def get(self, path: str, **headers):
        return self.call("GET", path, **headers)

    def post(self, path: str, body=None, **headers):
        return self.call("POST", path, {} if body is None else body, **headers)

    def registers(self) -> str:
        return str(self.post("/patients", {"identity": ROSE}).json["patient_id"])

    def refers(self, patient_id: str):
        return self.post(
            "/referrals",
            {
                "patient_id": patient_id,
                "partnership_id": PARTNERSHIP,
                "kind": "psychotherapy",
                "basis": "written",
                "evidence": a_form().to_fields(),
            },
        )


@pytest.fixture
def juniper(tmp_path) -> AClinic:
    return a_clinic(tmp_path)


@pytest.fixture
def app(juniper):
    return create_app(Entrance(juniper.clinic, juniper.journal, lambda: {"database": True, "hub": True}))


@pytest.fixture
def clinician(juniper, app) -> Desk:
    return Desk(juniper, app, Role.CLINICIAN)


def test_a_patient_is_registered_and_read_back(clinician):
    made = clinician.post("/patients", {"identity": ROSE})
    assert made.status_code == 201
    found = clinician.get(f"/patients/{made.json['patient_id']}")
    assert found.json["identity"] == ROSE
    assert found.headers["Cache-Control"] == "no-store"


def test_a_likely_duplicate_is_named_until_it_is_acknowledged(clinician):
    first = clinician.registers()
    again = clinician.post("/patients", {"identity": {**ROSE, "legal_name": "Okafor Rosalynd"}})
    assert again.status_code == 409
    assert again.json["reason"] == "POSSIBLE_DUPLICATE"
    assert again.json["metadata"]["candidates"] == first
    body = {"identity": {**ROSE, "legal_name": "Okafor Rosalynd"}, "acknowledge_duplicates": True}
    assert clinician.post("/patients", body).status_code == 201


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"identity": {**ROSE, "birth_date": "1984-13-01"}}, "identity.birth_date"),
        ({"identity": {**ROSE, "nickname": "R"}}, "identity.nickname"),
        ({"identity": {**ROSE, "time_zone": "Mars/Olympus"}}, "identity.time_zone"),
        ({"identity": ROSE, "colour": "red"}, "colour"),
        ({"identity": ROSE, "acknowledge_duplicates": "yes"}, "acknowledge_duplicates"),
        ({}, "identity"),
    ],
)
def test_a_fault_names_its_field_and_the_way_out(clinician, body, field):
    answer = clinician.post("/patients", body)
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert answer.json["field"] == field
    assert answer.json["way_out"]
    assert "Rosalind" not in answer.text


def test_a_misspelt_filter_is_refused(clinician):
    assert clinician.get("/referrals?stat=received").status_code == 422


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer tdm_guess", "Basic abc", "Bearer \u00e9"])
def test_without_a_good_token_nothing_is_answered(app, authorization):
    answer = app.test_client().get("/api/v1/patients", headers={"Authorization": authorization})
    assert answer.status_code == 401
    assert answer.json["reason"] == "TOKEN_REFUSED"


def test_a_disabled_member_of_staff_is_shut_out_at_once(juniper, app, clinician):
    boss = Desk(juniper, app, Role.ADMIN)
    member = boss.post("/staff", {"display_name": "Temp", "roles": ["nurse"]}).json["staff_id"]
    token = boss.post(f"/staff/{member}/tokens", {"days": 1}).json["token"]
    clinician.token = token
    assert clinician.get("/patients").status_code == 200
    boss.post(f"/staff/{member}/disable")
    assert clinician.get("/patients").status_code == 401


def test_an_auditor_reads_the_account_and_no_patient(juniper, app, clinician):
    auditor = Desk(juniper, app, Role.AUDITOR)
    clinician.registers()
    assert auditor.get("/patients").status_code == 403
    records = auditor.get("/audit").json
    assert "patient-registered" in [record["action"] for record in records]
    assert auditor.get("/audit/findings").json == []
    assert clinician.get("/audit").status_code == 403


def test_an_unexpected_fault_tells_a_reference_and_nothing_else(juniper, clinician):
    patient_id = clinician.registers()
    with juniper.db.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE patient SET identity = 'canary'")
    answer = clinician.get(f"/patients/{patient_id}")
    assert answer.status_code in (409, 500)
    assert "canary" not in answer.text


def test_the_same_key_answers_the_same_and_records_once(clinician):
    patient_id = clinician.registers()
    body = {"kind": "integration-summary", "content": SUMMARY}
    key = {"Idempotency-Key": "a-key"}
    first = clinician.post(f"/patients/{patient_id}/entries", body, **key)
    second = clinician.post(f"/patients/{patient_id}/entries", body, **key)
    assert first.status_code == second.status_code == 201
    assert first.json == second.json
    assert len(clinician.get(f"/patients/{patient_id}/plan").json["items"]) == 1
    other = clinician.post(f"/patients/{patient_id}/entries", {**body, "derived_from": ["message"]}, **key)
    assert other.json["reason"] == "IDEMPOTENCY_KEY_REUSED"


def test_an_entry_known_to_the_ehr_by_its_own_id_is_recorded_once(clinician):
    patient_id = clinician.registers()
    body = {
        "kind": "integration-summary",
        "content": SUMMARY,
        "identifier": {"system": "urn:ehr", "value": "note-7"},
    }
    first = clinician.post(f"/patients/{patient_id}/entries", body)
    second = clinician.post(f"/patients/{patient_id}/entries", body)
    assert second.json["record_id"] == first.json["record_id"]
    assert not second.json["is_new"]
    changed = clinician.post(
        f"/patients/{patient_id}/entries", {**body, "content": {**SUMMARY, "summary": "Other"}}
    )
    assert changed.json["reason"] == "RECORDED_DIFFERENTLY"


def test_a_kind_that_may_never_travel_does_not_exist(clinician):
    patient_id = clinician.registers()
    answer = clinician.post(f"/patients/{patient_id}/entries", {"kind": "psychotherapy-note", "content": {}})
    assert answer.status_code == 422
    assert answer.json["field"] == "kind"


def test_a_referral_that_the_hub_has_confirmed_says_so(juniper, clinician):
    juniper.hub.answers["RequestReferral"] = confirmed
    made = clinician.refers(clinician.registers())
    assert made.status_code == 201
    assert made.json["confirmed"]
    found = clinician.get(f"/referrals/{made.json['referral_id']}").json
    assert (found["state"], found["confirmed"], found["moves"]) == ("requested", True, ["cancel"])


def test_with_the_hub_away_a_command_is_queued_and_says_so(juniper, clinician):
    juniper.hub.away = True
    made = clinician.refers(clinician.registers())
    assert made.status_code == 202
    assert made.json["confirmed"] is False
    assert [command["state"] for command in clinician.get("/journal").json] == ["queued"]


def test_a_refusal_of_the_hub_reaches_the_caller_and_the_worklist(juniper, clinician):
    juniper.hub.answers["RequestReferral"] = no(Code.FAILED_PRECONDITION, "PARTNERSHIP_NOT_ACTIVE")
    made = clinician.refers(clinician.registers())
    assert made.status_code == 409
    assert made.json["reason"] == "PARTNERSHIP_NOT_ACTIVE"
    assert [item["kind"] for item in clinician.get("/worklist").json] == ["command-refused"]


def test_each_element_of_a_written_consent_is_required_by_name(clinician):
    patient_id = clinician.registers()
    for element in (
        "patient",
        "discloser",
        "information",
        "recipient",
        "purpose",
        "right_to_revoke",
        "expiry",
        "signed_by",
        "signature_ref",
        "signed_on",
    ):
        form = {name: value for name, value in a_form().to_fields().items() if name != element}
        answer = clinician.post(
            "/referrals",
            {
                "patient_id": patient_id,
                "partnership_id": PARTNERSHIP,
                "kind": "psychotherapy",
                "basis": "written",
                "evidence": form,
            },
        )
        assert (answer.status_code, answer.json["field"]) == (422, f"evidence.{element}")


def test_the_api_describes_itself_without_a_token(app):
    answer = app.test_client().get("/api/v1/openapi.json")
    assert answer.status_code == 200
    described = answer.get_json()
    assert described["openapi"].startswith("3.1")
    assert "/api/v1/patients/{patient_id}/plan" in described["paths"]


def test_without_the_hub_the_clinic_calls_itself_alone(juniper):
    app = create_app(Entrance(juniper.clinic, juniper.journal, lambda: {"database": True, "hub": False}))
    answer = app.test_client().get("/api/v1/health")
    assert (answer.status_code, answer.get_json()["status"]) == (200, "alone")


def test_an_administrator_lets_a_log_go_on_and_it_is_accounted_for(juniper):
    let_go_on: list[str] = []
    entrance = Entrance(
        juniper.clinic,
        juniper.journal,
        dict,
        reopen_uplink=lambda: let_go_on.append("up"),
        resume_downlink=lambda: let_go_on.append("down"),
    )
    boss = Desk(juniper, create_app(entrance), Role.ADMIN)
    assert boss.post("/exchange/uplink/reopen").json == []
    assert boss.post("/exchange/downlink/resume").json == []
    assert let_go_on == ["up", "down"]
    with juniper.db.reading() as tx:
        actions = [record.action for record in audit.read(tx)]
    assert actions[-2:] == ["uplink-reopened", "downlink-resumed"]


def test_what_was_not_reopened_is_not_accounted_for_as_reopened(juniper):
    def refuse() -> None:
        raise UplinkNotStopped

    boss = Desk(juniper, create_app(Entrance(juniper.clinic, juniper.journal, dict, refuse)), Role.ADMIN)
    answer = boss.post("/exchange/uplink/reopen")
    assert (answer.status_code, answer.json["reason"]) == (409, "UPLINK_NOT_STOPPED")
    with juniper.db.reading() as tx:
        assert "uplink-reopened" not in [record.action for record in audit.read(tx)]


NAMES = ("Ada Alpha", "Ben Bravo", "Cleo Charlie")


def test_what_is_committed_together_is_done_by_whoever_asked_for_it(juniper):
    entrance = Entrance(juniper.clinic, juniper.journal, dict)
    app = create_app(entrance)
    desks = [Desk(juniper, app, role) for role in (Role.COORDINATOR, Role.AUDITOR, Role.COORDINATOR)]
    under_way, go_on = threading.Event(), threading.Event()

    def first(tx) -> None:
        under_way.set()
        assert go_on.wait(20)

    def registers(desk: Desk, number: int):
        return desk.post(
            "/patients",
            {"identity": {**ROSE, "legal_name": NAMES[number], "birth_date": f"19{50 + number}-02-03"}},
            **{"Idempotency-Key": "the same for all"},
        )

    with ThreadPoolExecutor(4) as threads:
        begun = threads.submit(entrance.together.run, first)
        assert under_way.wait(20)
        asked = [threads.submit(registers, desk, number) for number, desk in enumerate(desks)]
        while len(entrance.together._waiting) < len(desks):
            pass
        go_on.set()
        begun.result(20)
        answers = [each.result(20) for each in asked]
    assert [each.status_code for each in answers] == [201, 403, 201]
    assert answers[0].json["patient_id"] != answers[2].json["patient_id"]
    with juniper.db.reading() as tx:
        who = {
            record.subject_id or record.patient_id: record.staff_id
            for record in audit.read(tx)
            if record.action == "patient-registered"
        }
    assert who == {answers[at].json["patient_id"]: desks[at].staff_id for at in (0, 2)}
