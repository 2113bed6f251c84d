"""A referral from a patient's registration to the partner's uplink, and what a clinic alone can do."""

from datetime import timedelta

import pytest

from support.clinics import PARTNERSHIP, RIVERBEND, AClinic, a_clinic, a_form, a_summary, confirmed, no
from tandem_care.categories import Category
from tandem_clinic.domain.refusals import ContentInvalid
from tandem_clinic.hub import journal
from tandem_clinic.store import episodes, referrals, worklist
from tandem_clinic.usecases.entries import Draft, record_entries, record_entry
from tandem_clinic.usecases.permissions import grant_permission, revoke_permission, terms_from
from tandem_clinic.usecases.plan import read_care_plan
from tandem_clinic.usecases.referrals import Requested, request_referral
from tandem_platform.errors import Code
from tandem_platform.sealing.entries import has_wrap_for, open_entry, with_wrap, without_wraps_but


@pytest.fixture
def juniper(tmp_path) -> AClinic:
    return a_clinic(tmp_path)


def refers(clinic: AClinic, patient_id: str, **more) -> Requested:
    with clinic.db.transaction() as tx:
        return request_referral(
            tx, clinic.clinic, clinic.clinician, patient_id, PARTNERSHIP, "psychotherapy", a_form(), **more
        )


def records(clinic: AClinic, patient_id: str, content=None):
    with clinic.db.transaction() as tx:
        return record_entry(tx, clinic.clinic, clinic.clinician, patient_id, content or a_summary())


def grants(clinic: AClinic, episode_id: str, *codes: str) -> str:
    with clinic.db.transaction() as tx:
        terms = terms_from(codes, "treatment")
        return grant_permission(tx, clinic.clinic, clinic.clinician, episode_id, terms, a_form()).subject_id


def entries_sent(clinic: AClinic):
    return [body.entry for body in clinic.uplink() if body.HasField("entry")]


def test_a_referral_carries_who_the_patient_is_sealed_for_the_partner(juniper):
    patient_id = juniper.registers()
    asked = refers(juniper, patient_id, note="Please prepare her for three sessions")

    identity, note = juniper.uplink()

    assert identity.after_request_id == asked.request_id == note.after_request_id
    opened = open_entry(identity.entry, juniper.partner_keys, juniper.clinic.keys.bundle)
    assert b"Rosalind Okafor" in opened
    assert b"three sessions" in open_entry(note.entry, juniper.partner_keys, juniper.clinic.keys.bundle)


def test_a_referral_is_queued_while_the_hub_is_away_and_confirmed_when_it_is_back(juniper):
    juniper.hub.away = True
    asked = refers(juniper, juniper.registers())
    juniper.settles()
    with juniper.db.reading() as tx:
        assert not referrals.get(tx, asked.referral_id).is_confirmed

    juniper.hub.away = False
    juniper.hub.answers["RequestReferral"] = confirmed
    juniper.journal.hub_is_back()
    juniper.settles()

    with juniper.db.reading() as tx:
        assert referrals.get(tx, asked.referral_id).is_confirmed
    assert juniper.hub.received == ["RequestReferral"]


def test_a_lost_answer_does_not_make_a_command_happen_twice(juniper):
    juniper.hub.loses_answers = True
    refers(juniper, juniper.registers())
    juniper.settles()
    juniper.hub.loses_answers = False
    juniper.journal.hub_is_back()
    juniper.settles()

    assert juniper.hub.received == ["RequestReferral"]
    with juniper.db.reading() as tx:
        assert journal.queued(tx) == []
        assert journal.commands_known(tx) == 1


def test_what_the_patient_did_not_allow_travels_without_the_partners_wrap(juniper):
    patient_id = juniper.registers()
    refers(juniper, patient_id)
    records(juniper, patient_id)

    assert [has_wrap_for(entry, RIVERBEND) for entry in entries_sent(juniper)] == [True, False]


def test_what_the_patient_allowed_travels_with_the_partners_wrap(juniper):
    patient_id = juniper.registers()
    asked = refers(juniper, patient_id)
    grants(juniper, asked.episode_id, Category.PROGRESS_SUMMARY)
    records(juniper, patient_id)

    assert has_wrap_for(entries_sent(juniper)[-1], RIVERBEND)


def test_a_revocation_on_its_way_takes_wraps_off_what_has_not_been_sent(juniper):
    patient_id = juniper.registers()
    asked = refers(juniper, patient_id)
    permission_id = grants(juniper, asked.episode_id, Category.PROGRESS_SUMMARY)
    records(juniper, patient_id)

    with juniper.db.transaction() as tx:
        revoked = revoke_permission(tx, juniper.clinic, juniper.clinician, permission_id)

    voided = [row for row in juniper.uplink_rows() if row.void_reason]
    again = entries_sent(juniper)
    assert len(voided) == 2
    assert {row.void_reason for row in voided} == {"revoked"}
    assert [has_wrap_for(entry, RIVERBEND) for entry in again] == [False, False]
    assert {body.after_request_id for body in juniper.uplink() if body.HasField("entry")} == {
        revoked.request_id
    }
    records(juniper, patient_id)
    assert not has_wrap_for(entries_sent(juniper)[-1], RIVERBEND)


def test_a_refused_request_cancels_what_depends_on_it_and_tells_its_author(juniper):
    juniper.hub.answers["RequestReferral"] = no(Code.FAILED_PRECONDITION, "PARTNERSHIP_NOT_ACTIVE")
    asked = refers(juniper, juniper.registers())
    grants(juniper, asked.episode_id, Category.SCALE_SCORE)

    juniper.settles()

    with juniper.db.reading() as tx:
        states = {command.name: command.state for command in journal.listed(tx)}
        assert states == {"RequestReferral": "refused", "GrantConsent": "cancelled"}
        assert not episodes.get(tx, asked.episode_id).is_open
        items = [item for item in worklist.waiting(tx, juniper.clinician) if item.kind == "command-refused"]
    assert {item.facts["command"] for item in items} == {"RequestReferral", "GrantConsent"}
    assert {item.staff_id for item in items} == {juniper.clinician.staff_id}


def test_the_care_plan_shows_own_entries_in_the_order_of_their_making(juniper):
    patient_id = juniper.registers()
    records(juniper, patient_id, a_summary("First"))
    refers(juniper, patient_id)

    with juniper.db.transaction() as tx:
        plan = read_care_plan(tx, juniper.clinic, juniper.clinician, patient_id)

    assert [item.kind for item in plan] == ["identity-contact", "integration-summary"] or [
        item.kind for item in plan
    ] == ["integration-summary", "identity-contact"]
    assert {item.origin for item in plan} == {"own"}


def test_a_partner_opens_its_own_copy_and_no_other_wrap_is_in_it(juniper):
    refers(juniper, juniper.registers())
    sealed = entries_sent(juniper)[0]
    copy = without_wraps_but(sealed, RIVERBEND)
    assert open_entry(copy, juniper.partner_keys, juniper.clinic.keys.bundle)
    assert not has_wrap_for(copy, juniper.clinic.practice_id)
    assert with_wrap(copy, copy.wraps[0]) == copy


def test_many_entries_at_once_are_recorded_like_one_by_one(juniper):
    patient_id = juniper.registers()
    asked = refers(juniper, patient_id)
    grants(juniper, asked.episode_id, Category.PROGRESS_SUMMARY)
    before = len(entries_sent(juniper))
    drafts = [Draft(patient_id, a_summary(f"Number {number}")) for number in range(20)]

    with juniper.db.transaction() as tx:
        made = record_entries(tx, juniper.clinic, juniper.clinician, drafts)

    sent = entries_sent(juniper)[before:]
    assert [entry.labels.entry_id for entry in sent] == [recorded.entry_ids[0] for recorded in made]
    assert all(has_wrap_for(entry, RIVERBEND) for entry in sent)
    assert b"Number 7" in open_entry(sent[7], juniper.partner_keys, juniper.clinic.keys.bundle)


def test_one_bad_entry_among_many_leaves_none(juniper):
    patient_id = juniper.registers()
    late = juniper.clinic.now() + timedelta(days=1)
    drafts = [Draft(patient_id, a_summary()), Draft(patient_id, a_summary(), authored_at=late)]
    with pytest.raises(ContentInvalid), juniper.db.transaction() as tx:
        record_entries(tx, juniper.clinic, juniper.clinician, drafts)
    with juniper.db.transaction() as tx:
        assert read_care_plan(tx, juniper.clinic, juniper.clinician, patient_id) == []
