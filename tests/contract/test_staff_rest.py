"""Every operation of the clinics' REST API crossed with everybody who might call it: role first, existence second."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from support.asking import assert_unchanged
from support.care_examples import a_dosing_session, a_prescription, one_of_every_kind
from support.clinics import PARTNERSHIP, RIVERBEND, a_form, a_partnership, an_identity
from support.fixtures_rpc_clinic import WholeClinic, spoilt_tokens
from support.planned import A_DOSE, A_SITE, START, words_against_all
from support.sealing import NOON
from tandem_clinic.domain.shortlist import Shortlisted, Standing
from tandem_clinic.domain.staff import ADMINISTRATION, CARE, COORDINATION, OVERSIGHT, Role
from tandem_clinic.http.app import create_app
from tandem_clinic.http.entrance import OPEN_PATHS, Entrance
from tandem_clinic.store import notices, partners, staff, turns, worklist
from tandem_clinic.store.tables import notification
from tandem_clinic.usecases.entries import record_entry
from tandem_clinic.usecases.shortlist import shortlist_practice
from tandem_platform.ids import new_id
from tandem_prescriber.http import treatment
from tandem_therapy_provider.http import notes, practice

EVERYBODY = frozenset(Role)
AGREEING = COORDINATION | ADMINISTRATION
DESCRIBING = ADMINISTRATION | {Role.COORDINATOR}
PRESCRIBING = frozenset({Role.CLINICIAN, Role.INTEGRATION})
CLINICIANS = frozenset({Role.CLINICIAN})


@dataclass(frozen=True, kw_only=True)
class Call:
    """ids: what the path names, in order. answers: without what a hub has to give, a refusal of another kind is one."""

    may: frozenset[Role]
    ids: tuple[str, ...] = ()
    body: Any = None
    query: dict[str, str] = field(default_factory=dict)
    answers: bool = True


Fixture = Callable[[WholeClinic], Call]

WRITTEN = {"basis": "written", "evidence": a_form().to_fields()}


def kind(name: str) -> Any:
    return one_of_every_kind()[name].to_fields()


def of_patient(may: frozenset[Role], body: Any = None) -> Fixture:
    return lambda clinic: Call(may=may, ids=(clinic.patient(),), body=body)


def of_record(may: frozenset[Role], body: Any = None) -> Fixture:
    return lambda clinic: Call(may=may, ids=(clinic.records(clinic.patient()),), body=body)


def of_referral(may: frozenset[Role], *more: str, body: Any = None) -> Fixture:
    return lambda clinic: Call(
        may=may, ids=(clinic.refers(clinic.patient()).referral_id, *more), body=body or {}
    )


def of_inbound_referral(body: Callable[[WholeClinic], Any]) -> Fixture:
    return lambda clinic: Call(may=COORDINATION, ids=(clinic.hears_of_a_referral(),), body=body(clinic))


def of_permission(may: frozenset[Role]) -> Fixture:
    return lambda clinic: Call(may=may, ids=(clinic.permits(clinic.refers(clinic.patient()).episode_id),))


def of_episode(may: frozenset[Role]) -> Fixture:
    return lambda clinic: Call(may=may, query={"episode_id": clinic.refers(clinic.patient()).episode_id})


def of_partnership(may: frozenset[Role], body: Any = None) -> Fixture:
    """One of its own, because some calls end it."""

    def fixture(clinic: WholeClinic) -> Call:
        made = a_partnership(partnership_id=new_id("pship"), partner_practice_id=new_id("prac"))
        with clinic.clinic.db.transaction() as tx:
            partners.add(tx, made)
        return Call(may=may, ids=(made.partnership_id,), body=body, answers=False)

    return fixture


def of_nothing(may: frozenset[Role], body: Any = None, *, answers: bool = True) -> Fixture:
    return lambda clinic: Call(may=may, body=body, answers=answers)


def a_sealed_entry(clinic: WholeClinic) -> Call:
    patient_id = clinic.patient()
    clinic.refers(patient_id)
    with clinic.clinic.db.transaction() as tx:
        made = record_entry(
            tx, clinic.clinic, clinic.inner.clinician, patient_id, one_of_every_kind()["message"]
        )
    return Call(may=COORDINATION, ids=(made.entry_ids[0],))


def an_evaluated_patient(clinic: WholeClinic) -> Call:
    patient_id = clinic.patient()
    with clinic.clinic.db.transaction() as tx:
        record_entry(
            tx, clinic.clinic, clinic.inner.clinician, patient_id, one_of_every_kind()["screening-result"]
        )
    return Call(may=CARE, ids=(patient_id,))


SHORTLISTED = {"practice_id": RIVERBEND, "display_name": "Riverbend Therapy"}


def a_shortlisted_practice(clinic: WholeClinic) -> Call:
    patient_id = clinic.patient()
    item = Shortlisted(
        **SHORTLISTED,
        contact_phone="",
        place=0,
        standing=Standing.TO_ASK,
        reasons=(),
        note="",
        added_by="staff_a",
        added_at=clinic.clinic.now(),
    )
    with clinic.clinic.db.transaction() as tx:
        shortlist_practice(tx, clinic.clinic, clinic.inner.clinician, patient_id, item)
    return Call(may=COORDINATION, ids=(patient_id,), body={"practice_id": RIVERBEND})


def permitted_next(clinic: WholeClinic) -> Call:
    return replace(a_shortlisted_practice(clinic), body={"practice_id": RIVERBEND, **WRITTEN})


def two_people(clinic: WholeClinic) -> tuple[str, str]:
    people = clinic.inner.people
    return people[Role.NURSE].staff_id, people[Role.CLINICIAN].staff_id


def a_hand_over(clinic: WholeClinic) -> Call:
    one, other = two_people(clinic)
    return Call(may=AGREEING, body={"from_staff_id": one, "to_staff_id": other})


def an_absence(clinic: WholeClinic) -> Call:
    one, other = two_people(clinic)
    until = clinic.clinic.now() + timedelta(days=3)
    return Call(may=AGREEING, body={"staff_id": one, "cover_id": other, "until": until.isoformat()})


def an_absence_to_end(clinic: WholeClinic) -> Call:
    one, other = two_people(clinic)
    now = clinic.clinic.now()
    with clinic.clinic.db.transaction() as tx:
        made = turns.add_absence(tx, one, other, now, now + timedelta(days=3))
    return Call(may=AGREEING, ids=(made.absence_id,))


def a_patients_episode(clinic: WholeClinic) -> Call:
    patient_id = clinic.patient()
    return Call(may=COORDINATION, ids=(patient_id, clinic.refers(patient_id).episode_id))


def an_item_to_do(clinic: WholeClinic) -> Call:
    with clinic.clinic.db.transaction() as tx:
        worklist.raise_item(tx, "referral-refused", new_id("ref"), clinic.clinic.now())
        waiting = worklist.waiting(tx, clinic.inner.clinician)
    return Call(may=COORDINATION | OVERSIGHT, ids=(waiting[-1].item_id,))


def a_member(body: Any = None) -> Fixture:
    def fixture(clinic: WholeClinic) -> Call:
        with clinic.clinic.db.transaction() as tx:
            member = staff.add(tx, "Temp", frozenset({Role.NURSE}), clinic.clinic.now())
        return Call(may=ADMINISTRATION, ids=(member.staff_id,), body=body)

    return fixture


def a_reached_member(clinic: WholeClinic) -> Call:
    call = a_member()(clinic)
    reached = notices.Reached(call.ids[0], [["sms", "+15035550100"]], "America/Los_Angeles", 0, 0, 0, "", 60)
    with clinic.clinic.db.transaction() as tx:
        notices.reach(tx, reached, clinic.clinic.now())
    return call


def a_sent_message(clinic: WholeClinic) -> Call:
    now = clinic.clinic.now()
    sent = notices.Message(
        new_id("msg"), "staff_a", "sms", "+15035550100", 1, "sent", 1, now, now - timedelta(hours=1), now
    )
    with clinic.clinic.db.transaction() as tx:
        tx.execute(notification.message.insert(), asdict(sent))
    return Call(may=ADMINISTRATION | {Role.INTEGRATION}, ids=(sent.message_id,))


OPERATIONS: dict[str, Fixture] = {
    "POST /patients": of_nothing(
        COORDINATION, {"identity": an_identity().to_fields(), "acknowledge_duplicates": True}
    ),
    "GET /patients": of_nothing(COORDINATION),
    "GET /patients/<patient_id>": of_patient(COORDINATION),
    "PUT /patients/<patient_id>": of_patient(
        COORDINATION, {"identity": an_identity().to_fields(), "version": 1}
    ),
    "POST /patients/<patient_id>/shred": of_patient(ADMINISTRATION),
    "GET /patients/<patient_id>/episodes": of_patient(COORDINATION),
    "POST /patients/<patient_id>/entries": of_patient(
        CARE, {"kind": "scale-score", "content": kind("scale-score")}
    ),
    "POST /entries/<record_id>/amend": of_record(COORDINATION, {"content": kind("message")}),
    "POST /entries/<record_id>/entered-in-error": of_record(COORDINATION),
    "GET /entries/<entry_id>/explain": a_sealed_entry,
    "GET /patients/<patient_id>/plan": of_patient(COORDINATION),
    "POST /permissions": lambda clinic: Call(
        may=COORDINATION,
        body={
            "episode_id": clinic.refers(clinic.patient()).episode_id,
            "categories": ["scale-score"],
            **WRITTEN,
        },
    ),
    "GET /permissions": of_episode(COORDINATION | OVERSIGHT),
    "GET /permissions/<permission_id>": of_permission(COORDINATION | OVERSIGHT),
    "GET /permissions/<permission_id>/evidence": of_permission(COORDINATION),
    "POST /permissions/<permission_id>/revoke": of_permission(EVERYBODY),
    "POST /permissions/<permission_id>/hold": of_permission(EVERYBODY),
    "POST /episodes/<episode_id>/declined": lambda clinic: Call(
        may=COORDINATION,
        ids=(clinic.refers(clinic.patient()).episode_id,),
        body={"categories": ["scale-score"]},
    ),
    "POST /referrals": lambda clinic: Call(
        may=COORDINATION,
        body={
            "patient_id": clinic.patient(),
            "partnership_id": PARTNERSHIP,
            "kind": "psychotherapy",
            **WRITTEN,
        },
    ),
    "GET /referrals": of_nothing(COORDINATION),
    "GET /referrals/<referral_id>": of_referral(COORDINATION),
    "POST /referrals/<referral_id>/intake": of_inbound_referral(
        lambda clinic: {"patient_id": clinic.patient()}
    ),
    "POST /referrals/<referral_id>/not-ours": of_inbound_referral(lambda clinic: {"reason": "capacity"}),
    "POST /referrals/<referral_id>/open": of_inbound_referral(lambda clinic: None),
    "POST /referrals/<referral_id>/<move>": of_referral(COORDINATION, "cancel", body={"reason": "moved"}),
    "POST /directory/search": of_nothing(AGREEING, {"preferred": {"modalities": ["emdr"]}}),
    "GET /directory/<practice_id>": lambda clinic: Call(may=AGREEING, ids=(RIVERBEND,)),
    "GET /profile": of_nothing(AGREEING),
    "PUT /profile": of_nothing(DESCRIBING, {"version": 1, "display_name": "Juniper"}),
    "GET /patients/<patient_id>/shortlist": of_patient(COORDINATION),
    "POST /patients/<patient_id>/shortlist/permit": permitted_next,
    "POST /patients/<patient_id>/shortlist/forbid": a_shortlisted_practice,
    "GET /patients/<patient_id>/episodes/<episode_id>/course": a_patients_episode,
    "GET /referral-reasons": of_nothing(EVERYBODY),
    "GET /referrals/<referral_id>/course": of_referral(COORDINATION),
    "PUT /referrals/<referral_id>/assignee": of_referral(COORDINATION),
    "PUT /referrals/<referral_id>/shortlist": of_referral(COORDINATION),
    "POST /referrals/<referral_id>/attempts": of_referral(
        COORDINATION, body={"channel": "phone", "reached": False}
    ),
    "POST /staff/hand-over": a_hand_over,
    "POST /absences": an_absence,
    "GET /absences": of_nothing(AGREEING),
    "POST /absences/<absence_id>/end": an_absence_to_end,
    "PUT /patients/<patient_id>/shortlist": of_patient(COORDINATION, SHORTLISTED),
    "POST /patients/<patient_id>/shortlist/remove": a_shortlisted_practice,
    "GET /partners": of_nothing(COORDINATION | OVERSIGHT),
    "POST /partners": of_nothing(AGREEING, {"practice_id": RIVERBEND}, answers=False),
    "GET /partners/<partnership_id>/fingerprints": of_partnership(AGREEING),
    "POST /partners/<partnership_id>/fingerprint": of_partnership(AGREEING, {"digits": "12345"}),
    "POST /partners/<partnership_id>/confirm": of_partnership(AGREEING),
    "GET /partners/<partnership_id>/terms": of_partnership(AGREEING | OVERSIGHT),
    "POST /partners/<partnership_id>/terms": of_partnership(AGREEING, {"text": "Our terms"}),
    "POST /partners/<partnership_id>/terms/text": of_partnership(AGREEING, {"text": "Our terms"}),
    "POST /partners/<partnership_id>/terms/accept": of_partnership(AGREEING, {"number": 1}),
    "POST /partners/<partnership_id>/suspend": of_partnership(AGREEING),
    "POST /partners/<partnership_id>/resume": of_partnership(AGREEING),
    "GET /worklist": of_nothing(COORDINATION | OVERSIGHT),
    "POST /worklist/<item_id>/done": an_item_to_do,
    "GET /alerts": of_nothing(COORDINATION | OVERSIGHT),
    "POST /exchange/uplink/reopen": of_nothing(ADMINISTRATION),
    "POST /exchange/downlink/resume": of_nothing(ADMINISTRATION),
    "GET /journal": of_nothing(COORDINATION | OVERSIGHT),
    "GET /accounting": of_episode(COORDINATION | OVERSIGHT),
    "GET /audit": of_nothing(OVERSIGHT),
    "GET /audit/findings": of_nothing(OVERSIGHT),
    "POST /staff": of_nothing(ADMINISTRATION, {"display_name": "Temp", "roles": ["nurse"]}),
    "POST /staff/<staff_id>/tokens": a_member({"days": 1}),
    "POST /staff/<staff_id>/disable": a_member(),
    "PUT /staff/<staff_id>/notifications": a_member(
        {
            "channels": [{"channel": "sms", "address": "+15035550100"}],
            "time_zone": "America/Los_Angeles",
            "quiet_from": "21:00",
            "quiet_until": "07:00",
        }
    ),
    "GET /staff/<staff_id>/notifications": a_reached_member,
    "GET /notifications": of_nothing(OVERSIGHT),
    "POST /notifications/<message_id>/bounced": a_sent_message,
    "GET /measures": of_nothing(COORDINATION | OVERSIGHT),
    "POST /patients/<patient_id>/evaluations": of_patient(PRESCRIBING, {"content": kind("screening-result")}),
    "GET /patients/<patient_id>/evaluation": an_evaluated_patient,
    "POST /patients/<patient_id>/prescriptions": of_patient(
        PRESCRIBING, {"content": a_prescription().to_fields()}
    ),
    "POST /patients/<patient_id>/dosing-sessions": of_patient(
        CARE, {"content": a_dosing_session().to_fields()}
    ),
    "POST /patients/<patient_id>/psychotherapy-notes": of_patient(CLINICIANS, {"text": "A note"}),
    "GET /patients/<patient_id>/psychotherapy-notes": of_patient(CLINICIANS),
    "PUT /capacity": of_nothing(AGREEING, {"openings": 2}),
    "GET /capacity": of_nothing(AGREEING, answers=False),
    "POST /patients/<patient_id>/sessions": of_patient(CARE, {"times": kind("session-times")}),
}

A_WISH = {"pathway": "two-practice-course", "start": START.isoformat()}


def of_planned(may: frozenset[Role], *more: str, body: Any = None) -> Fixture:
    return lambda clinic: Call(may=may, ids=(clinic.plans(), *more), body=body)


def an_unplanned_episode(clinic: WholeClinic) -> Call:
    clinic.plans()
    return Call(may=CARE, ids=(clinic.refers(clinic.patient()).episode_id,), body=A_WISH)


def guarded(but_clearance: bool) -> Fixture:
    def fixture(clinic: WholeClinic) -> Call:
        episode_id = clinic.plans()
        words = words_against_all(clinic.inner, episode_id, but_clearance=but_clearance)
        return Call(may=PRESCRIBING, ids=(episode_id, "dose-1"), body={"dose": A_DOSE, "overridden": words})

    return fixture


def a_stated_site(clinic: WholeClinic) -> Call:
    clinic.plans()
    return Call(may=COORDINATION)


OF_YESTERDAY = {"dosing_session_at": (NOON - timedelta(days=1)).isoformat()}
OPERATIONS |= {
    "PUT /site": of_nothing(COORDINATION, A_SITE),
    "GET /site": a_stated_site,
    "GET /pathways": of_nothing(COORDINATION),
    "POST /episodes/<episode_id>/course": an_unplanned_episode,
    "GET /episodes/<episode_id>/course": of_planned(CARE),
    "POST /episodes/<episode_id>/course/<item>/move": of_planned(
        CARE, "dose-1", body={"day": (START + timedelta(days=25)).isoformat(), "later_too": True}
    ),
    "POST /episodes/<episode_id>/course/<item>/hold": of_planned(
        CARE,
        "preparation-1",
        body={
            "started_at": (NOON - timedelta(hours=2)).isoformat(),
            "ended_at": (NOON - timedelta(hours=1)).isoformat(),
        },
    ),
    "POST /episodes/<episode_id>/course/<item>/guards": of_planned(CARE, "dose-1", body={"dose": A_DOSE}),
    "POST /episodes/<episode_id>/course/<item>/clearance": guarded(but_clearance=True),
    "POST /episodes/<episode_id>/course/<item>/start": guarded(but_clearance=False),
    "POST /patients/<patient_id>/measures": of_patient(
        CARE, {"scale": "phq-9", "answers": {"1": 2}, "taken_at": NOON.isoformat()}
    ),
    "POST /episodes/<episode_id>/dose-feedback": of_planned(CARE, body={**OF_YESTERDAY, "wish": "keep"}),
    "POST /episodes/<episode_id>/dose-decisions": of_planned(
        PRESCRIBING,
        body={**OF_YESTERDAY, "decision": "keep", "next_dose": A_DOSE, "reason": "It was right."},
    ),
}

every_operation = pytest.mark.parametrize(
    ("operation", "fixture"), [pytest.param(name, made, id=name) for name, made in OPERATIONS.items()]
)


@pytest.fixture(scope="module")
def app(clinic: WholeClinic) -> Flask:
    entrance = Entrance(clinic.clinic, clinic.inner.journal, lambda: {"database": True})
    return create_app(entrance, [treatment.api, practice.api, notes.api])


@pytest.fixture(scope="module")
def tokens(clinic: WholeClinic) -> dict[Role, str]:
    """Of somebody with that role and no other."""
    now = clinic.clinic.now()
    with clinic.clinic.db.transaction() as tx:
        return {role: staff.issue_token(tx, clinic.inner.somebody(role).staff_id, now) for role in Role}


def path_of(operation: str, ids: tuple[str, ...]) -> str:
    given = iter(ids)
    return "/".join(next(given) if part.startswith("<") else part for part in operation.split()[1].split("/"))


def asked(app: Flask, operation: str, call: Call, authorization: str, ids: tuple[str, ...]) -> Any:
    return app.test_client().open(
        f"/api/v1{path_of(operation, ids)}",
        method=operation.split()[0],
        json=call.body,
        query_string=call.query,
        headers={"Authorization": authorization} if authorization else {},
    )


def test_every_operation_has_a_fixture(app: Flask) -> None:
    served = {
        f"{method} {rule.rule.removeprefix('/api/v1')}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule not in OPEN_PATHS
    }
    assert served == OPERATIONS.keys()


@every_operation
def test_every_role_that_may_is_served(
    clinic: WholeClinic, app: Flask, tokens: dict[Role, str], operation: str, fixture: Fixture
) -> None:
    for role in fixture(clinic).may:
        call = fixture(clinic)
        answer = asked(app, operation, call, f"Bearer {tokens[role]}", call.ids)
        assert answer.status_code not in (401, 403), (role, answer.text)
        assert answer.status_code < 300 or not call.answers, (role, answer.text)


@every_operation
def test_no_other_role_learns_or_changes_anything(
    clinic: WholeClinic, app: Flask, tokens: dict[Role, str], operation: str, fixture: Fixture
) -> None:
    call = fixture(clinic)
    absent = tuple(new_id(each.partition("_")[0]) if "_" in each else each for each in call.ids)
    before = clinic.dump()
    for role in frozenset(Role) - call.may:
        answer = asked(app, operation, call, f"Bearer {tokens[role]}", call.ids)
        assert answer.status_code == 403, (role, answer.text)
        of_nothing_there = asked(app, operation, call, f"Bearer {tokens[role]}", absent)
        assert of_nothing_there.json == answer.json, role
    assert_unchanged(before, clinic.dump())


@every_operation
def test_only_a_good_token_opens_it(
    clinic: WholeClinic, app: Flask, operation: str, fixture: Fixture
) -> None:
    call = fixture(clinic)
    spoilt = spoilt_tokens(clinic)
    before = clinic.dump()
    answers = [asked(app, operation, call, authorization, call.ids) for authorization in spoilt.values()]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert_unchanged(before, clinic.dump())
