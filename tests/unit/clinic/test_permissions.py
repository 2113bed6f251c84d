"""What a clinic asks of a patient before it discloses, and what it does when the answer changes."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from support.clinics import PARTNERSHIP, RIVERBEND, AClinic, a_clinic, a_form, a_summary, an_identity
from support.sealing import NOON
from tandem.consent.v1.consent_pb2 import GrantConsentRequest
from tandem_care.categories import Category
from tandem_care.entry_kinds import Dose, DosingSession, Drug, Place, Representative, Route
from tandem_care.permission import Rule
from tandem_clinic.domain.consent import ConsentForm, Signer, TreatmentRelationship, VerbalAttestation
from tandem_clinic.domain.refusals import ContentInvalid, TooSoonAfterDosing
from tandem_clinic.domain.staff import NotYourRole, Role
from tandem_clinic.hub import journal
from tandem_clinic.store import entries, episodes, partners, permissions
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.usecases.entries import record_entry
from tandem_clinic.usecases.permissions import (
    Terms,
    deny_permission,
    evidence_from,
    grant_permission,
    hold_permission,
    read_evidence,
    record_declined,
    revoke_permission,
    terms_from,
)
from tandem_clinic.usecases.referrals import request_referral
from tandem_clinic.usecases.sharing import outlook
from tandem_platform.errors import Refusal
from tandem_platform.sealing.entries import has_wrap_for

SUMMARIES = Terms(frozenset({Category.PROGRESS_SUMMARY}))
SAID = VerbalAttestation(attested_by="Noor Haddad", said_at=NOON, words="Yes, tell my therapist")


class Course:
    """One patient of Juniper's with an open episode at Riverbend."""

    def __init__(self, clinic: AClinic, **identity) -> None:
        self.clinic = clinic
        self.patient_id = clinic.registers(an_identity(**identity))
        with clinic.db.transaction() as tx:
            self.episode_id = request_referral(
                tx, clinic.clinic, clinic.clinician, self.patient_id, PARTNERSHIP, "psychotherapy", a_form()
            ).episode_id

    def grants(self, terms: Terms = SUMMARIES, evidence=None, by=None, **more) -> str:
        with self.clinic.db.transaction() as tx:
            return grant_permission(
                tx,
                self.clinic.clinic,
                by or self.clinic.clinician,
                self.episode_id,
                terms,
                evidence or a_form(),
                **more,
            ).subject_id

    def denies(self, terms: Terms = SUMMARIES) -> str:
        with self.clinic.db.transaction() as tx:
            return deny_permission(
                tx, self.clinic.clinic, self.clinic.clinician, self.episode_id, terms, SAID
            ).subject_id

    def records(self, content=None) -> bool:
        """Whether the entry left with the partner's wrap."""
        with self.clinic.db.transaction() as tx:
            made = record_entry(
                tx, self.clinic.clinic, self.clinic.clinician, self.patient_id, content or a_summary()
            )
        with self.clinic.db.reading() as tx:
            found = entries.sealed(tx, made.entry_ids[0])
        assert found is not None
        return has_wrap_for(found[0], RIVERBEND)


@pytest.fixture
def juniper(tmp_path) -> AClinic:
    return a_clinic(tmp_path)


@pytest.fixture
def course(juniper) -> Course:
    return Course(juniper)


def a_dose(ended_hours_ago: float | None, started_hours_ago: float) -> DosingSession:
    return DosingSession(
        drug=Drug.RACEMIC_KETAMINE,
        route=Route.INTRAMUSCULAR,
        dose=Dose.from_fields({"amount": "50", "unit": "mg"}),
        place=Place.CLINIC,
        started_at=NOON - timedelta(hours=started_hours_ago),
        ended_at=None if ended_hours_ago is None else NOON - timedelta(hours=ended_hours_ago),
        time_zone="America/Chicago",
        logged_by="Noor Haddad",
    )


def test_verbal_permission_counts_as_much_as_a_written_one(course):
    course.grants(evidence=SAID)
    assert course.records()


def test_a_denial_wins_over_a_permission_whichever_came_first(course):
    course.denies()
    course.grants()
    assert not course.records()


def test_a_hold_stops_and_a_revocation_stops(course):
    first = course.grants()
    with course.clinic.db.transaction() as tx:
        hold_permission(tx, course.clinic.clinic, course.clinic.somebody(Role.AUDITOR), first)
    assert not course.records()
    second = course.grants()
    course.clinic.settles()
    assert course.records()
    with course.clinic.db.transaction() as tx:
        revoke_permission(tx, course.clinic.clinic, course.clinic.somebody(Role.COORDINATOR), second)
    course.clinic.settles()
    assert not course.records()


def test_while_a_revocation_is_queued_not_even_the_emergency_set_is_wrapped(course):
    permission_id = course.grants()
    assert course.records(a_dose(30, 31))
    course.clinic.hub.away = True
    with course.clinic.db.transaction() as tx:
        revoke_permission(tx, course.clinic.clinic, course.clinic.clinician, permission_id)
    assert not course.records(a_dose(30, 31))
    course.clinic.hub.away = False
    course.clinic.settles()
    assert course.records(a_dose(30, 31))


def test_an_expired_permission_permits_nothing_more(course):
    course.grants(
        Terms(SUMMARIES.categories, ends_at=NOON + timedelta(days=1)),
        a_form(expiry="at the end of the course"),
    )
    assert course.records()
    course.clinic.network.clock.advance(timedelta(days=2))
    assert not course.records()


def test_nothing_is_wrapped_for_a_partnership_that_is_suspended(course):
    course.grants()
    with course.clinic.db.transaction() as tx:
        partners.change(tx, PARTNERSHIP, state="suspended")
    assert not course.records()
    assert not course.records(a_dose(30, 31))


def test_declining_to_sign_is_an_answer_and_care_goes_on(course):
    with course.clinic.db.transaction() as tx:
        record_declined(
            tx, course.clinic.clinic, course.clinic.clinician, course.episode_id, SUMMARIES.categories
        )
    assert not course.records()
    with course.clinic.db.reading() as tx:
        (answer,) = permissions.answers_of(tx, course.episode_id)
    assert answer["answer"] == "declined-to-sign"


def test_nobody_is_asked_during_a_dosing_session_not_even_with_a_reason(course):
    course.records(a_dose(None, 1))
    with pytest.raises(TooSoonAfterDosing):
        course.grants(reason_after_dosing="Asked to")


def test_within_a_day_of_a_dose_a_reason_is_needed(course):
    course.records(a_dose(5, 6))
    with pytest.raises(TooSoonAfterDosing):
        course.grants()
    course.grants(reason_after_dosing="Emergency contact changed")


def test_a_day_after_a_dose_nothing_special_is_needed(course):
    course.records(a_dose(25, 26))
    course.grants()


def test_revoking_works_during_a_dosing_session(course):
    permission_id = course.grants()
    course.records(a_dose(None, 1))
    with course.clinic.db.transaction() as tx:
        revoke_permission(tx, course.clinic.clinic, course.clinic.clinician, permission_id)


@pytest.mark.parametrize(
    ("terms", "form", "field"),
    [
        (Terms(SUMMARIES.categories, ends_at=NOON + timedelta(days=9)), a_form(), "evidence.expiry"),
        (SUMMARIES, a_form(signed_on=date(2027, 1, 1)), "evidence.signed_on"),
        (SUMMARIES, a_form(signer=Signer.REPRESENTATIVE, authority="Guardian"), "evidence.signer"),
        (SUMMARIES, TreatmentRelationship(stated_by="Dr Hale"), "basis"),
    ],
)
def test_a_form_that_does_not_fit_is_refused_by_field(course, terms, form, field):
    with pytest.raises(ContentInvalid) as refused:
        course.grants(terms, form)
    assert refused.value.field == field


def test_a_representative_signs_within_their_authority_only(juniper):
    guardian = Representative(
        name="Ada Okafor",
        relation="mother",
        authority="Parent of a minor",
        valid_from=date(2010, 1, 1),
        valid_until=date(2026, 2, 1),
    )
    course = Course(juniper, representative=guardian)
    form = a_form(signer=Signer.REPRESENTATIVE, authority="Parent of a minor")
    with pytest.raises(ContentInvalid):
        course.grants(evidence=form)
    with pytest.raises(ContentInvalid) as refused:
        course.grants(evidence=a_form(**{**_fields(form), "signed_on": date(2026, 1, 15)}))
    assert refused.value.field == "evidence.signer"


def test_what_a_representative_signed_ends_with_their_authority(juniper):
    guardian = Representative(
        name="Ada Okafor",
        relation="mother",
        authority="Parent of a minor",
        valid_from=date(2010, 1, 1),
        valid_until=date(2026, 5, 1),
    )
    course = Course(juniper, representative=guardian)
    form = a_form(signer=Signer.REPRESENTATIVE, authority="Parent of a minor")
    patients_midnight = datetime(2026, 5, 2, 5, tzinfo=UTC)
    for wanted, kept in (
        (None, patients_midnight),
        (patients_midnight + timedelta(days=90), patients_midnight),
        (NOON + timedelta(days=1), NOON + timedelta(days=1)),
    ):
        dated = a_form(**{**_fields(form), "expiry": "When the authority ends"})
        permission_id = course.grants(Terms(SUMMARIES.categories, ends_at=wanted), dated)
        with juniper.db.reading() as tx:
            assert permissions.get(tx, permission_id).ends_at == kept
            sent = GrantConsentRequest.FromString(journal.listed(tx)[0].body)
        assert sent.permission.ends_at.ToDatetime(UTC) == kept


def _fields(form: ConsentForm) -> dict[str, Any]:
    return {name: getattr(form, name) for name in ConsentForm.__slots__}


def test_a_treatment_relationship_serves_where_both_accept_it_and_never_for_substance_use(tmp_path):
    clinic = a_clinic(tmp_path, allows_treatment_basis=True)
    with clinic.db.transaction() as tx:
        partners.change(tx, PARTNERSHIP, partner_allows_treatment_basis=True)
    course = Course(clinic)
    course.grants(evidence=TreatmentRelationship(stated_by="Dr Hale"))
    assert course.records()
    with pytest.raises(ContentInvalid) as refused:
        course.grants(Terms(frozenset({Category.SUBSTANCE_USE})), TreatmentRelationship(stated_by="Dr Hale"))
    assert refused.value.field == "categories"


def test_a_part_2_programme_needs_the_patients_own_word_and_labels_what_it_sends(tmp_path):
    clinic = a_clinic(tmp_path, part2_program=True, allows_treatment_basis=True)
    course = Course(clinic)
    assert all(body.entry.labels.part2 for body in clinic.uplink() if body.HasField("entry"))
    with pytest.raises(ContentInvalid):
        course.grants(evidence=TreatmentRelationship(stated_by="Dr Hale"))


def test_a_word_is_not_enough_for_records_of_substance_use(tmp_path, juniper):
    for course, categories in (
        (Course(juniper), frozenset({Category.PROGRESS_SUMMARY, Category.SUBSTANCE_USE})),
        (Course(a_clinic(tmp_path / "part2", part2_program=True)), SUMMARIES.categories),
    ):
        with pytest.raises(ContentInvalid) as refused:
            course.grants(Terms(categories), SAID)
        assert refused.value.field == "basis"
        course.denies(Terms(categories))


def test_what_is_never_carried_cannot_be_permitted():
    with pytest.raises(ContentInvalid) as refused:
        terms_from(["psychotherapy-note"], "treatment")
    assert refused.value.field == "categories"
    with pytest.raises(ContentInvalid):
        terms_from(["progress-summary"], "curiosity")
    with pytest.raises(ContentInvalid):
        evidence_from("hearsay", {})


def test_the_form_is_kept_readable_for_staff_and_its_hash_tells_nothing(course):
    first, second = course.grants(), course.grants()
    with course.clinic.db.transaction() as tx:
        kept = read_evidence(tx, course.clinic.clinic, course.clinic.clinician, first)
        hashes = {permissions.get(tx, each).evidence_hash for each in (first, second)}
    assert b"scan-1" in kept
    assert len(hashes) == 2, "the same form twice must not give the same hash"


def test_an_auditor_grants_nothing(course):
    with pytest.raises(NotYourRole):
        course.grants(by=course.clinic.somebody(Role.AUDITOR))


def test_a_permission_that_is_over_needs_no_hold(course):
    permission_id = course.grants()
    with course.clinic.db.transaction() as tx:
        revoke_permission(tx, course.clinic.clinic, course.clinic.clinician, permission_id)
    with pytest.raises(Refusal) as refused, course.clinic.db.transaction() as tx:
        hold_permission(tx, course.clinic.clinic, course.clinic.clinician, permission_id)
    assert refused.value.reason == "PERMISSION_OVER"


class TestKeepingOneRecordBack:
    def kept_back(self, course: Course) -> tuple[str, str]:
        """Of two summaries the id of the one that the patient keeps back, and of the denial."""
        with course.clinic.db.transaction() as tx:
            made = record_entry(
                tx, course.clinic.clinic, course.clinic.clinician, course.patient_id, a_summary()
            )
        terms = Terms(SUMMARIES.categories, record_ids=frozenset({made.record_id}))
        return made.entry_ids[0], course.denies(terms)

    def test_it_takes_back_the_wrap_of_that_record_and_of_no_other(self, juniper) -> None:
        course = Course(juniper)
        course.grants()
        entry_id, permission_id = self.kept_back(course)
        with juniper.db.reading() as tx:
            found = entries.sealed(tx, entry_id)
            assert permissions.get(tx, permission_id).entry_ids == (entry_id,)
        assert found is not None
        assert not found[1].partner_wrapped
        with juniper.db.reading() as tx:
            episode = episodes.get(tx, course.episode_id)
            view = outlook(tx, juniper.clinic, episode)
        asked = (Category.PROGRESS_SUMMARY, (), juniper.clinic.now())
        assert view.decide(*asked, item=entry_id).rule is Rule.ITEM_KEPT_BACK
        assert view.decide(*asked, item="ent_another").permitted

    def test_a_permit_cannot_name_records_because_its_recipient_is_told_of_it(self, juniper) -> None:
        course = Course(juniper)
        with pytest.raises(ContentInvalid, match="denial"):
            course.grants(Terms(SUMMARIES.categories, record_ids=frozenset({"rec_any"})))

    def test_a_record_of_somebody_else_is_not_known(self, juniper) -> None:
        course = Course(juniper)
        with pytest.raises(NotKnown):
            course.denies(Terms(SUMMARIES.categories, record_ids=frozenset({"rec_any"})))
