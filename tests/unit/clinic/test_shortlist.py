"""A patient's shortlist: the clinic's own, encrypted, gone with the patient."""

import pytest
from sqlalchemy import text

from support.clinics import RIVERBEND, AClinic, a_clinic
from tandem_clinic.domain.refusals import ShortlistFull
from tandem_clinic.domain.shortlist import Shortlisted, Standing
from tandem_clinic.domain.staff import NotYourRole, Role
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.usecases import shortlist
from tandem_clinic.usecases.patients import shred_patient

NOTE = "Closest to home"


@pytest.fixture
def juniper(tmp_path) -> AClinic:
    return a_clinic(tmp_path)


def an_item(clinic: AClinic, practice_id: str = RIVERBEND, **changes) -> Shortlisted:
    values = {
        "display_name": "Riverbend Therapy",
        "contact_phone": "+1 503 555 0120",
        "place": 0,
        "standing": Standing.TO_ASK,
        "reasons": ("speaks es",),
        "note": NOTE,
        "added_by": clinic.clinician.staff_id,
        "added_at": clinic.clinic.now(),
        **changes,
    }
    return Shortlisted(practice_id=practice_id, **values)


def does(clinic: AClinic, work, *args, by: Role = Role.CLINICIAN):
    return clinic.db.run(lambda tx: work(tx, clinic.clinic, clinic.somebody(by), *args))


def test_it_is_in_the_patients_own_order(juniper):
    patient_id = juniper.registers()
    for practice_id, place in (("prac_a", 0), ("prac_b", 2), ("prac_c", 1)):
        does(juniper, shortlist.shortlist_practice, patient_id, an_item(juniper, practice_id, place=place))
    listed = does(juniper, shortlist.read_shortlist, patient_id)
    assert [item.practice_id for item in listed] == ["prac_c", "prac_b", "prac_a"]
    assert listed[0] == an_item(juniper, "prac_c", place=1)


def test_a_practice_stands_there_once(juniper):
    patient_id = juniper.registers()
    first = does(juniper, shortlist.shortlist_practice, patient_id, an_item(juniper))
    nurse = juniper.somebody(Role.NURSE).staff_id
    changed = an_item(juniper, standing=Standing.NO_ROOM, note="Full until May", added_by=nurse)
    does(juniper, shortlist.shortlist_practice, patient_id, changed)
    (item,) = does(juniper, shortlist.read_shortlist, patient_id)
    assert (item.standing, item.note) == (Standing.NO_ROOM, "Full until May")
    assert (item.added_by, item.added_at) == (first.added_by, first.added_at)


def test_what_is_taken_off_is_gone(juniper):
    patient_id = juniper.registers()
    does(juniper, shortlist.shortlist_practice, patient_id, an_item(juniper))
    assert does(juniper, shortlist.take_off_shortlist, patient_id, RIVERBEND) == []
    with pytest.raises(NotKnown):
        does(juniper, shortlist.take_off_shortlist, patient_id, RIVERBEND)


def test_one_patients_list_is_not_anothers(juniper):
    rose, robin = juniper.registers(), juniper.registers(acknowledge_duplicates=True)
    does(juniper, shortlist.shortlist_practice, rose, an_item(juniper))
    assert does(juniper, shortlist.read_shortlist, robin) == []


def test_neither_the_practice_nor_the_words_are_readable_in_the_database(juniper):
    rose, robin = juniper.registers(), juniper.registers(acknowledge_duplicates=True)
    for patient_id in (rose, robin):
        does(juniper, shortlist.shortlist_practice, patient_id, an_item(juniper, "prac_alder"))
    with juniper.db.reading() as tx:
        rows = tx.all(text("SELECT * FROM shortlisted_practice"))
        account = str(tx.all(text("SELECT * FROM audit_record")))
    assert len({row.practice_index for row in rows}) == 2, "two patients cannot be compared"
    kept = b"".join(value for row in rows for value in row if isinstance(value, bytes))
    assert b"alder" not in kept
    assert NOTE.encode() not in kept
    assert "alder" not in account
    assert "practice-shortlisted" in account


def test_it_goes_with_the_patient(juniper):
    patient_id = juniper.registers()
    does(juniper, shortlist.shortlist_practice, patient_id, an_item(juniper))
    does(juniper, shred_patient, patient_id, by=Role.ADMIN)
    with juniper.db.reading() as tx:
        assert tx.all(text("SELECT * FROM shortlisted_practice")) == []


def test_nothing_of_it_reaches_the_hub(juniper):
    patient_id = juniper.registers()
    before = len(juniper.uplink_rows())
    does(juniper, shortlist.shortlist_practice, patient_id, an_item(juniper))
    juniper.settles()
    assert juniper.hub.received == []
    assert len(juniper.uplink_rows()) == before


def test_it_has_an_end(juniper):
    patient_id = juniper.registers()
    for number in range(shortlist.MOST):
        does(juniper, shortlist.shortlist_practice, patient_id, an_item(juniper, f"prac_{number}"))
    with pytest.raises(ShortlistFull):
        does(juniper, shortlist.shortlist_practice, patient_id, an_item(juniper))
    does(juniper, shortlist.shortlist_practice, patient_id, an_item(juniper, "prac_3", note="Again"))


def test_it_is_for_those_who_coordinate(juniper):
    patient_id = juniper.registers()
    with pytest.raises(NotYourRole):
        does(juniper, shortlist.read_shortlist, patient_id, by=Role.ADMIN)
    with pytest.raises(NotKnown):
        does(juniper, shortlist.read_shortlist, "pat_nobody")
