"""A clinic's REST API under bodies, paths and queries that nobody meant: its own words, and never a fault of its own."""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from support.care_examples import a_dosing_session, a_prescription, one_of_every_kind
from support.clinics import PARTNERSHIP, a_form, an_identity
from support.databases import PostgresServer
from support.fixtures_rpc_clinic import WholeClinic
from support.fuzzing import MARK, spoilt_json
from support.planned import A_DOSE, A_SITE, START
from tandem_clinic.domain.staff import Role
from tandem_clinic.http.app import create_app
from tandem_clinic.http.entrance import Entrance
from tandem_clinic.store import staff
from tandem_prescriber.http import treatment
from tandem_therapy_provider.http import notes, practice

NINE = "2026-03-02T09:00:00Z"
EXAMPLES = one_of_every_kind()
NEEDS: dict[str, Any] = {
    "role": "therapy_provider",
    "licence_state": "CO",
    "age_group": "adult",
    "modalities": ["emdr"],
    "languages": ["es"],
    "routes": ["im"],
    "access": ["step-free"],
    "service": "psychotherapy",
    "payments": ["medicaid"],
    "price_at_most": 150,
    "telehealth": True,
    "kap_trained": True,
    "openings": True,
}
PROFILE: dict[str, Any] = {
    "version": 1,
    "display_name": "Juniper Psychiatry",
    "npi": "1234567893",
    "licence_states": ["CO"],
    "modalities": ["act"],
    "routes": ["im"],
    "age_groups": ["adult"],
    "languages": ["en"],
    "telehealth": True,
    "contact_phone": "+1 503 555 0110",
    "on_call_phone": "+1 503 555 0111",
    "kap_trainings": [{"program": "KAP", "hours": 120, "completed_year": 2024}],
    "services": [
        {"service": "dosing-session", "payments": ["self-pay"], "lowest_price": 400, "highest_price": 900}
    ],
    "sites": [
        {
            "name": "Downtown",
            "address": "1 Main Street",
            "state": "CO",
            "contact_phone": "+1 503 555 0112",
            "on_call_phone": "",
            "access": ["step-free"],
        }
    ],
}


class Desk:
    """The API of a clinic that is both, and a token that may do everything."""

    def __init__(self, clinic: WholeClinic) -> None:
        self.clinic = clinic
        entrance = Entrance(clinic.clinic, clinic.inner.journal, dict)
        app = create_app(entrance, [treatment.api, practice.api, notes.api])
        self.paths = sorted({rule.rule for rule in app.url_map.iter_rules()})
        self._client: FlaskClient = app.test_client()
        with clinic.clinic.db.transaction() as tx:
            member = staff.add(tx, "Everybody", frozenset(Role), clinic.clinic.now())
            token = staff.issue_token(tx, member.staff_id, clinic.clinic.now())
        self._headers = {"Authorization": f"Bearer {token}"}

    def sends(self, method: str, path: str, text: str | None = None, **headers: str) -> TestResponse:
        return self._client.open(
            f"/api/v1{path}",
            method=method,
            data=text,
            content_type=None if text is None else "application/json",
            headers={**self._headers, **headers},
        )


@pytest.fixture(scope="module")
def desk(
    stack: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Desk]:
    directory = tmp_path_factory.mktemp("clinic")
    url = f"sqlite:///{directory}/clinic.db"
    if stack == "production":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.new_database()
    clinic = WholeClinic(url, directory)
    yield Desk(clinic)
    clinic.close()


@dataclass(frozen=True)
class Body:
    """A good request, made anew each time, for what it names may be used up."""

    method: str
    path: Callable[[Desk], str]
    content: Callable[[Desk], dict[str, Any]]


def _patient(suffix: str) -> Callable[[Desk], str]:
    return lambda desk: f"/patients/{desk.clinic.patient()}{suffix}"


def _evidence(_: Desk) -> dict[str, Any]:
    return {"basis": "written", "evidence": a_form().to_fields()}


BODIES: dict[str, Body] = {
    "register": Body(
        "POST",
        lambda _: "/patients",
        lambda _: {"identity": an_identity().to_fields(), "acknowledge_duplicates": True},
    ),
    "update": Body("PUT", _patient(""), lambda _: {"identity": an_identity().to_fields(), "version": 1}),
    "record": Body(
        "POST",
        _patient("/entries"),
        lambda _: {
            "kind": "message",
            "content": EXAMPLES["message"].to_fields(),
            "authored_at": NINE,
            "derived_from": ["message"],
            "identifier": {"system": "urn:ehr", "value": "1"},
        },
    ),
    "amend": Body(
        "POST",
        lambda desk: f"/entries/{desk.clinic.records(desk.clinic.patient())}/amend",
        lambda _: {"content": EXAMPLES["message"].to_fields(), "derived_from": []},
    ),
    "permit": Body(
        "POST",
        lambda _: "/permissions",
        lambda desk: {
            "episode_id": desk.clinic.refers(desk.clinic.patient()).episode_id,
            "effect": "permit",
            "categories": ["scale-score"],
            "purpose": "treatment",
            "history_from": NINE,
            **_evidence(desk),
        },
    ),
    "declined to sign": Body(
        "POST",
        lambda desk: f"/episodes/{desk.clinic.refers(desk.clinic.patient()).episode_id}/declined",
        lambda _: {"categories": ["scale-score"]},
    ),
    "refer": Body(
        "POST",
        lambda _: "/referrals",
        lambda desk: {
            "patient_id": desk.clinic.patient(),
            "partnership_id": PARTNERSHIP,
            "kind": "psychotherapy",
            "urgency": "soon",
            "note": "Two adequate trials.",
            **_evidence(desk),
        },
    ),
    "take in": Body(
        "POST",
        lambda desk: f"/referrals/{desk.clinic.hears_of_a_referral()}/intake",
        lambda desk: {"patient_id": desk.clinic.patient(), "acknowledge_duplicates": True},
    ),
    "move": Body(
        "POST",
        lambda desk: f"/referrals/{desk.clinic.refers(desk.clinic.patient()).referral_id}/cancel",
        lambda _: {"reason": "moved", "comment": "To Boise."},
    ),
    "add staff": Body(
        "POST", lambda _: "/staff", lambda _: {"display_name": "Noor Haddad", "roles": ["nurse"]}
    ),
    "evaluate": Body(
        "POST",
        _patient("/evaluations"),
        lambda _: {"content": EXAMPLES["screening-result"].to_fields()},
    ),
    "prescribe": Body(
        "POST", _patient("/prescriptions"), lambda _: {"content": a_prescription().to_fields()}
    ),
    "dose": Body("POST", _patient("/dosing-sessions"), lambda _: {"content": a_dosing_session().to_fields()}),
    "openings": Body(
        "PUT",
        lambda _: "/capacity",
        lambda _: {
            "openings": 2,
            "next_openings": [{"at": "2026-03-09T09:00:00Z", "service": "psychotherapy", "telehealth": True}],
        },
    ),
    "search": Body(
        "POST",
        lambda _: "/directory/search",
        lambda _: {"required": NEEDS, "preferred": NEEDS, "page_size": 5, "page_token": ""},
    ),
    "profile": Body("PUT", lambda _: "/profile", lambda _: PROFILE),
    "shortlist": Body(
        "PUT",
        _patient("/shortlist"),
        lambda _: {
            "practice_id": "prac_riverbend",
            "display_name": "Riverbend Therapy",
            "contact_phone": "+1 503 555 0120",
            "place": 1,
            "standing": "asked",
            "reasons": ["speaks es"],
            "note": "Closest to home.",
        },
    ),
    "terms": Body("POST", lambda _: f"/partners/{PARTNERSHIP}/terms", lambda _: {"text": "Our terms."}),
    "session": Body(
        "POST",
        _patient("/sessions"),
        lambda _: {
            "times": EXAMPLES["session-times"].to_fields(),
            "summary_kind": "integration-summary",
            "summary": EXAMPLES["integration-summary"].to_fields(),
        },
    ),
    "site": Body("PUT", lambda _: "/site", lambda _: {**A_SITE, "on_call_phone": "+1 503 555 0111"}),
    "plan a course": Body(
        "POST",
        lambda desk: f"/episodes/{desk.clinic.refers(desk.clinic.patient()).episode_id}/course",
        lambda desk: {
            "pathway": "two-practice-course",
            "version": 1,
            "start": START.isoformat(),
            "sessions": {"course": 6},
            "pace": "densest",
            "dose_at": "09:30",
            "partner_site": {**A_SITE, "time_zone": "Pacific/Apia"} if desk.clinic.plans() else {},
        },
    ),
    "move a session": Body(
        "POST",
        lambda desk: f"/episodes/{desk.clinic.plans()}/course/dose-1/move",
        lambda _: {"day": (START + timedelta(days=25)).isoformat(), "at": "10:30", "later_too": True},
    ),
    "hold a session": Body(
        "POST",
        lambda desk: f"/episodes/{desk.clinic.plans()}/course/preparation-1/hold",
        lambda _: {
            "started_at": "2026-02-27T09:00:00Z",
            "ended_at": "2026-02-27T10:00:00Z",
            "summary": {"readiness": "ready", "summary": "Ready."},
        },
    ),
    "ask guards": Body(
        "POST",
        lambda desk: f"/episodes/{desk.clinic.plans()}/course/dose-1/guards",
        lambda _: {"dose": A_DOSE},
    ),
    "measure": Body(
        "POST",
        _patient("/measures"),
        lambda _: {"scale": "phq-9", "answers": {"1": 2, "9": 1}, "taken_at": NINE, "respondent": "patient"},
    ),
    "dose feedback": Body(
        "POST",
        lambda desk: f"/episodes/{desk.clinic.plans()}/dose-feedback",
        lambda _: {"dosing_session_at": "2026-02-27T09:00:00Z", "wish": "lower", "note": "Too deep."},
    ),
    "dose decision": Body(
        "POST",
        lambda desk: f"/episodes/{desk.clinic.plans()}/dose-decisions",
        lambda _: {
            "dosing_session_at": "2026-02-27T09:00:00Z",
            "decision": "lower",
            "next_dose": A_DOSE,
            "reason": "A little less.",
        },
    ),
    "note": Body(
        "POST",
        _patient("/psychotherapy-notes"),
        lambda _: {"text": "A dream about water.", "session_at": NINE},
    ),
}

_DEEP = "[" * 900 + "]" * 900
NO_JSON = (
    _DEEP,
    f'{{"content":{_DEEP}}}',
    f'{{"identity":{_DEEP}}}',
    f'{{"evidence":{_DEEP}}}',
    "",
    "null",
    "[]",
    "7",
    '"x"',
    '{"a":',
    "[" * 50_000,
    '{"a":1,"a":2}',
    "\x00",
    "\xff",
)


def check(answer: TestResponse, said: str) -> int:
    assert answer.status_code < 500, f"{said}: {answer.text}"
    if answer.status_code >= 400:
        assert answer.content_type == "application/problem+json", said
        assert answer.json is not None
        assert answer.json["reason"], said
        assert MARK not in answer.text, f"{said}: {answer.text}"
        assert len(answer.data) < 4_000, f"{said}: an answer of {len(answer.data)} bytes"
    return answer.status_code


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_no_body_meets_a_fault(desk: Desk, body: Body) -> None:
    assert check(desk.sends(body.method, body.path(desk), json.dumps(body.content(desk))), "as it is") < 300
    path, content = body.path(desk), body.content(desk)
    answered: Counter[int] = Counter()
    for number, text in enumerate(itertools.chain(NO_JSON, map(json.dumps, spoilt_json(content)))):
        if answered[201] + answered[200] >= 15:
            path, content = body.path(desk), body.content(desk)
            answered.clear()
        answered[check(desk.sends(body.method, path, text), f"{path} {number} {text[:300]}")] += 1


NAMES = (
    "x",
    "%00",
    "%0a",
    quote(MARK),
    quote("\u202eé"),
    "..%2f..",
    "a" * 4_000,
    "pat_" + "a" * 26,
    "'",
    "%ff",
)


def test_no_path_meets_a_fault(desk: Desk) -> None:
    for path in desk.paths:
        if not path.startswith("/api/v1/") or "<" not in path:
            continue
        before, *parts = path.removeprefix("/api/v1").split("<")
        for name in NAMES:
            named = before + "".join(name + part.split(">", 1)[1] for part in parts)
            for method in ("GET", "POST", "PUT", "DELETE"):
                check(desk.sends(method, named, None if method == "GET" else "{}"), f"{method} {named[:200]}")


VALUES = (
    "",
    "0",
    "-1",
    "1e9",
    "9" * 400,
    "NaN",
    "%00",
    quote(MARK),
    "true",
    "2026-13-01",
    "0001-01-01T00:00:00Z",
    NINE,
)
QUERIES = {
    "/patients": ("after", "limit"),
    "/permissions": ("episode_id",),
    "/referrals": ("state", "intake", "limit"),
    "/accounting": ("episode_id", "since"),
    "/audit": ("after", "limit", "patient_id"),
}


@pytest.mark.parametrize("path", QUERIES)
def test_no_query_meets_a_fault(desk: Desk, path: str) -> None:
    for name, value in itertools.product((*QUERIES[path], "colour"), VALUES):
        check(desk.sends("GET", f"{path}?{name}={value}"), f"{path}?{name}={value[:50]}")
        check(desk.sends("GET", f"{path}?{name}={value}&{name}={value}"), f"{path}?{name} twice")


@pytest.mark.parametrize("key", ["x" * 10_000, MARK, "\x01", "é", " ", '"'])
def test_no_idempotency_key_meets_a_fault(desk: Desk, key: str) -> None:
    text = json.dumps(BODIES["register"].content(desk))
    sent: dict[str, Any] = {"Idempotency-Key": key}
    first, second = (desk.sends("POST", "/patients", text, **sent) for _ in range(2))
    assert check(first, "first") == check(second, "second")
