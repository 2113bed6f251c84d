"""Referrals that go on: by the patient's shortlist, as a continuation, as care that both give already."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from support.care_examples import a_phq9
from support.network import DATABASE_OF, Network, Referred, SimulatedClinic
from tandem_care.categories import Category
from tandem_care.entry_kinds import (
    Appointment,
    AppointmentStatus,
    CancelledBy,
    CourseReport,
    Message,
    ReportStage,
    SessionKind,
)
from tandem_clinic.domain.shortlist import Shortlisted, Standing
from tandem_clinic.store import audit, episodes, referrals
from tandem_clinic.usecases import referrals as referral_moves
from tandem_clinic.usecases import shortlist, shortlist_course
from tandem_clinic.usecases.entries import take_back_entry
from tandem_clinic.usecases.episode_course import read_episode_course
from tandem_clinic.usecases.referral_course import read_course
from tandem_platform.errors import Refusal


@pytest.fixture
def network(tmp_path: Path, database_of: DATABASE_OF) -> Iterator[Network]:
    made = Network(tmp_path, database_of)
    yield made
    made.close()


@pytest.fixture
def juniper(network: Network) -> SimulatedClinic:
    return network.clinic("juniper", "prescriber")


@pytest.fixture
def riverbend(network: Network, juniper: SimulatedClinic) -> SimulatedClinic:
    made = network.clinic("riverbend", "therapy_provider")
    juniper.partners_with(made)
    return made


@pytest.fixture
def willow(network: Network, juniper: SimulatedClinic) -> SimulatedClinic:
    made = network.clinic("willow", "therapy_provider")
    juniper.partners_with(made)
    return made


def lists(juniper: SimulatedClinic, patient_id: str, *practices: SimulatedClinic) -> None:
    for place, practice in enumerate(practices, start=1):
        item = Shortlisted(
            practice_id=practice.name,
            display_name=practice.name.title(),
            contact_phone="",
            place=place,
            standing=Standing.ASKED if place == 1 else Standing.TO_ASK,
            reasons=(),
            note="",
            added_by=juniper.person.staff_id,
            added_at=juniper.network.clock.now(),
        )
        juniper.do(shortlist.shortlist_practice, patient_id, item)


def refers_by_list(
    network: Network, juniper: SimulatedClinic, first: SimulatedClinic, *following: SimulatedClinic
) -> Referred:
    patient_id = juniper.registers()
    lists(juniper, patient_id, first, *following)
    referred = juniper.refers(patient_id, first, note="Please prepare her.")
    juniper.do(shortlist_course.follow_shortlist, referred.referral_id)
    network.settle()
    return referred


def declines(network: Network, practice: SimulatedClinic, referred: Referred) -> None:
    practice.takes_in(referred)
    practice.moves(referred, "decline", reason="capacity")
    network.settle()


def after_the_undo(network: Network) -> None:
    network.clock.advance(timedelta(minutes=11))
    network.settle()


def test_a_refusal_goes_on_to_the_next_practice_whom_the_patient_permitted(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic, willow: SimulatedClinic
) -> None:
    referred = refers_by_list(network, juniper, riverbend, willow)
    juniper.do(
        shortlist_course.permit_shortlisted, referred.patient_id, willow.name, juniper.a_form(willow.name)
    )
    declines(network, riverbend, referred)
    assert juniper.do(read_course, referred.referral_id).later == ()
    after_the_undo(network)
    (later,) = juniper.do(read_course, referred.referral_id).later
    assert (later.recipient_practice_id, later.state) == (willow.name, "received")
    standing = {
        each.practice_id: each.standing for each in juniper.do(shortlist.read_shortlist, referred.patient_id)
    }
    assert standing == {riverbend.name: Standing.NO_ROOM, willow.name: Standing.ASKED}
    (note,) = willow.sees(Category.REFERRAL_STATUS)
    assert note["content"]["text"] == "Please prepare her."
    with willow.db.reading() as tx:
        (there,) = referrals.listed(tx)
    assert there.replaces_referral_id == ""
    assert [each.referral_id for each in juniper.do(read_course, later.referral_id).earlier] == [
        referred.referral_id
    ]
    assert willow.do(read_course, later.referral_id).earlier == ()


def test_without_the_patients_permission_a_person_is_called_instead(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic, willow: SimulatedClinic
) -> None:
    referred = refers_by_list(network, juniper, riverbend, willow)
    juniper.do(
        shortlist_course.permit_shortlisted, referred.patient_id, willow.name, juniper.a_form(willow.name)
    )
    juniper.do(shortlist_course.forbid_shortlisted, referred.patient_id, willow.name)
    declines(network, riverbend, referred)
    after_the_undo(network)
    assert "shortlist-stopped" in juniper.worklist()
    with willow.db.reading() as tx:
        assert referrals.listed(tx) == []


def test_a_refusal_that_is_taken_back_goes_nowhere(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic, willow: SimulatedClinic
) -> None:
    referred = refers_by_list(network, juniper, riverbend, willow)
    juniper.do(
        shortlist_course.permit_shortlisted, referred.patient_id, willow.name, juniper.a_form(willow.name)
    )
    declines(network, riverbend, referred)
    riverbend.moves(referred, "undo")
    network.settle()
    after_the_undo(network)
    assert juniper.do(read_course, referred.referral_id).later == ()
    assert "shortlist-stopped" not in juniper.worklist()


def test_a_continuation_is_known_to_be_of_the_same_patient(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic
) -> None:
    first = juniper.refers(juniper.registers(), riverbend)
    network.settle()
    there = riverbend.takes_in(first)
    for move, words in (("accept", {}), ("start", {}), ("complete", {"outcome": "treated"})):
        with pytest.raises(Refusal) as refused:
            juniper.refers(first.patient_id, riverbend, continues_referral_id=first.referral_id)
        assert refused.value.reason == "REFERRAL_NOT_COMPLETED"
        riverbend.moves(first, move, **words)
        network.settle()
    booster = juniper.refers(first.patient_id, riverbend, continues_referral_id=first.referral_id)
    network.settle()
    with riverbend.db.reading() as tx:
        told = referrals.of_episode(tx, booster.episode_id)
        assert told is not None
        assert (told.continues_referral_id, told.intake) == (first.referral_id, "linked")
        assert episodes.get(tx, booster.episode_id).patient_id == there
    assert "referral-continued" in riverbend.worklist()
    riverbend.moves(booster, "accept")
    network.settle()
    assert juniper.do(read_course, booster.referral_id).history[-1].state == "accepted"


def test_an_eligible_evaluation_ends_in_a_result_and_opens_shared_care(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic
) -> None:
    asked = riverbend.refers(riverbend.registers(), juniper, "medical-evaluation")
    network.settle()
    here = juniper.takes_in(asked)
    for move, words in (("accept", {}), ("start", {}), ("complete", {"outcome": "eligible"})):
        juniper.moves(asked, move, **words)
    network.settle()
    assert "shared-episode-to-open" in juniper.worklist()
    course = juniper.refers(here, riverbend, "shared-care", continues_referral_id=asked.referral_id)
    network.settle()
    with riverbend.db.reading() as tx:
        told = referrals.of_episode(tx, course.episode_id)
        assert told is not None
        assert (told.state, told.intake) == ("in_progress", "linked")
        assert episodes.get(tx, course.episode_id).patient_id == asked.patient_id
    juniper.grants(course, {Category.SCALE_SCORE})
    juniper.records(here, a_phq9(total=11, taken_at=network.clock.now()))
    network.settle()
    assert [each["content"]["total"] for each in riverbend.sees(Category.SCALE_SCORE)] == [11]


def test_who_came_by_phone_is_put_on_a_shared_episode_mid_course(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic
) -> None:
    course = juniper.refers(juniper.registers(), riverbend, "shared-care")
    network.settle()
    assert "inbound-referral" in riverbend.worklist()
    there = riverbend.takes_in(course)
    riverbend.grants(course, {Category.SCALE_SCORE})
    riverbend.records(there, a_phq9(total=9, taken_at=network.clock.now()))
    network.settle()
    assert [each["content"]["total"] for each in juniper.sees(Category.SCALE_SCORE)] == [9]
    assert {choice.move for choice in juniper.do(read_course, course.referral_id).choices} == {
        "request_cancel"
    }


def test_both_sides_see_appointments_progress_reports_and_the_thread(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic
) -> None:
    course = juniper.refers(juniper.registers(), riverbend, note="Please prepare her.")
    network.settle()
    there = riverbend.takes_in(course)
    riverbend.moves(course, "accept")
    network.settle()
    for side in (juniper, riverbend):
        side.grants(course, {Category.APPOINTMENT, Category.MESSAGE, Category.PROGRESS_SUMMARY})
    network.settle()
    starts_at = network.clock.now() + timedelta(days=1)
    booked = Appointment(
        appointment_id="1",
        session=SessionKind.PREPARATION,
        status=AppointmentStatus.BOOKED,
        starts_at=starts_at,
        ends_at=starts_at + timedelta(hours=1),
        time_zone="America/Denver",
        sessions_planned=2,
    )
    kept = replace(booked, appointment_id="2", status=AppointmentStatus.COMPLETED)
    called_off = replace(booked, status=AppointmentStatus.CANCELLED, cancelled_by=CancelledBy.PATIENT)
    for said in (booked, kept, called_off):
        network.advance(60)
        riverbend.records(there, said)
    juniper.records(course.patient_id, Message(author="Dr Hale", text="How is she?"))
    riverbend.records(
        there,
        CourseReport(
            stage=ReportStage.INTERIM,
            from_date=starts_at.date(),
            to_date=starts_at.date(),
            summary="Prepared.",
            written_by="Sam Ortiz",
        ),
    )
    network.settle()
    for side, patient_id in ((juniper, course.patient_id), (riverbend, there)):
        seen = side.do(read_episode_course, patient_id, course.episode_id)
        assert [(each.appointment_id, each.status, each.cancelled_by) for each in seen.appointments] == [
            ("1", "cancelled", "patient"),
            ("2", "completed", ""),
        ]
        (progress,) = seen.progress
        assert (progress.held, progress.planned, progress.missed) == (1, 2, 0)
        assert [item.content["summary"] for item in seen.reports] == ["Prepared."]
        assert [item.content["text"] for item in seen.thread] == ["Please prepare her.", "How is she?"]


def test_what_was_read_and_is_taken_back_is_hidden_and_waits_to_be_acknowledged(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic
) -> None:
    course = juniper.refers(juniper.registers(), riverbend)
    network.settle()
    there = riverbend.takes_in(course)
    juniper.grants(course, {Category.MESSAGE})
    read = juniper.records(course.patient_id, Message(author="Dr Hale", text="First"))
    network.settle()
    riverbend.plan(there)
    unread = juniper.records(course.patient_id, Message(author="Dr Hale", text="Second"))
    network.settle()
    for wrong in (read, unread):
        juniper.do(take_back_entry, wrong.record_id)
    network.settle()
    assert riverbend.worklist().count("entered-in-error") == 1
    assert riverbend.sees(Category.MESSAGE) == []


def test_a_misdirected_referral_is_returned_and_nothing_of_it_kept(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic
) -> None:
    wrong = juniper.refers(juniper.registers(), riverbend, note="For Willow, in truth.")
    network.settle()
    assert riverbend.sees(Category.IDENTITY_CONTACT)
    riverbend.do(referral_moves.refuse_referral_as_not_ours, wrong.referral_id, "misdirected")
    network.settle()
    assert riverbend.sees(Category.IDENTITY_CONTACT) == riverbend.sees(Category.REFERRAL_STATUS) == []
    ended = juniper.do(read_course, wrong.referral_id).history[-1]
    assert (ended.state, ended.reason) == ("declined", "misdirected")
    with riverbend.db.reading() as tx:
        attested = [each for each in audit.read(tx) if each.action == "misdirected-returned"]
    assert [each.staff_id for each in attested] == [riverbend.person.staff_id]
