"""Clocks with owners, cover, hand-over, attempts: what waits for whom, and when it comes."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from support.network import DATABASE_OF, Network, Referred, SimulatedClinic
from tandem_clinic.domain.staff import Role, Staff
from tandem_clinic.store import staff, worklist
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.usecases import turns
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
def shared(network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic) -> Referred:
    """Received by Riverbend, and taken in."""
    referred = juniper.refers(juniper.registers(), riverbend)
    network.settle()
    riverbend.takes_in(referred)
    return referred


def joins(clinic: SimulatedClinic, name: str) -> Staff:
    return clinic.db.run(lambda tx: staff.add(tx, name, frozenset({Role.CLINICIAN}), clinic.clinic.now()))


def waits_for(clinic: SimulatedClinic, person: Staff) -> list[str]:
    return [item.kind for item in clinic.db.run(lambda tx: turns.read_worklist(tx, clinic.clinic, person))]


def looks(network: Network, **later: float) -> None:
    network.clock.advance(timedelta(**later))
    network.settle()


def test_the_owner_is_reminded_before_a_clock_runs_out_and_the_cover_called_after(
    network: Network, riverbend: SimulatedClinic, shared: Referred
) -> None:
    sam, kim = joins(riverbend, "Sam"), joins(riverbend, "Kim")
    riverbend.moves(shared, "accept")
    riverbend.moves(shared, "start")
    riverbend.do(turns.assign_referral, shared.referral_id, sam.staff_id)
    network.settle()
    assert "referral-due" not in waits_for(riverbend, sam)
    looks(network, days=178, minutes=10)
    assert "referral-due" in waits_for(riverbend, sam)
    assert "referral-due" not in waits_for(riverbend, kim)
    now = network.clock.now()
    riverbend.do(turns.be_away, sam.staff_id, kim.staff_id, now + timedelta(days=30))
    assert "referral-due" in waits_for(riverbend, kim)
    looks(network, days=3)
    with riverbend.db.reading() as tx:
        late = worklist.find(tx, turns.OVERDUE, shared.referral_id)
    assert late is not None
    assert late.staff_id == kim.staff_id


def test_a_reminder_that_was_done_comes_back_for_the_next_clock_only(
    network: Network, riverbend: SimulatedClinic, shared: Referred
) -> None:
    looks(network, days=12, minutes=10)
    assert riverbend.worklist().count("referral-due") == 1
    with riverbend.db.transaction() as tx:
        known = worklist.find(tx, turns.DUE, shared.referral_id)
        assert known is not None
        worklist.finish(tx, known.item_id, riverbend.person, network.clock.now())
    looks(network, hours=1)
    assert "referral-due" not in riverbend.worklist()
    riverbend.moves(shared, "waitlist")
    network.settle()
    looks(network, days=88, minutes=10)
    assert "referral-due" in riverbend.worklist()


def test_an_undelivered_referral_is_the_referrers_worry(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic
) -> None:
    riverbend.running = False
    juniper.refers(juniper.registers(), riverbend)
    network.settle()
    looks(network, days=1, minutes=10)
    assert "referral-overdue" in juniper.worklist()


def test_the_clocks_end_is_told_to_both_and_takes_the_reminders_away(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    looks(network, days=13)
    assert "referral-due" in riverbend.worklist()
    looks(network, days=2)
    assert "referral-due" not in riverbend.worklist()
    assert "referral-ended" in juniper.worklist()
    assert "referral-ended" in riverbend.worklist()


def test_a_question_waits_for_the_referrer_and_its_answer_for_the_recipient(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    riverbend.moves(shared, "ask", reason="clinical-question", comment="Which dose?")
    network.settle()
    assert "information-wanted" in juniper.worklist()
    juniper.moves(shared, "answer", comment="40 mg")
    network.settle()
    assert "information-wanted" not in juniper.worklist()
    assert "information-given" in riverbend.worklist()


def test_what_is_handed_over_waits_for_the_other(
    network: Network, riverbend: SimulatedClinic, shared: Referred
) -> None:
    sam, kim = joins(riverbend, "Sam"), joins(riverbend, "Kim")
    riverbend.do(turns.assign_referral, shared.referral_id, sam.staff_id)
    looks(network, days=12, minutes=10)
    assert "referral-due" in waits_for(riverbend, sam)
    assert riverbend.do(turns.hand_over, sam.staff_id, kim.staff_id) == [shared.referral_id]
    assert "referral-due" in waits_for(riverbend, kim)
    assert "referral-due" not in waits_for(riverbend, sam)


def test_nobody_who_has_left_is_given_a_referral(
    network: Network, riverbend: SimulatedClinic, shared: Referred
) -> None:
    sam = joins(riverbend, "Sam")
    riverbend.db.run(lambda tx: staff.disable(tx, sam.staff_id, network.clock.now()))
    with pytest.raises(NotKnown):
        riverbend.do(turns.assign_referral, shared.referral_id, sam.staff_id)


def test_a_patient_is_lost_only_after_enough_attempts(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    words = {"reason": "lost-to-follow-up", "comment": "Three calls, no answer."}
    for channel, reached in (("phone", False), ("phone", True), ("text", False), ("phone", False)):
        looks(network, hours=1)
        riverbend.do(turns.log_attempt, shared.referral_id, channel, reached=reached)
    with pytest.raises(Refusal) as refused:
        riverbend.moves(shared, "decline", **words)
    assert refused.value.reason == "ATTEMPTS_MISSING"
    looks(network, hours=1)
    riverbend.do(turns.log_attempt, shared.referral_id, "post", reached=False)
    assert "not-reached" in riverbend.worklist()
    riverbend.moves(shared, "decline", **words)
    network.settle()
    history = juniper.do(read_course, shared.referral_id).history
    assert [(line.move, line.reason) for line in history] == [
        ("request", ""),
        ("receive", ""),
        ("decline", "lost-to-follow-up"),
    ]
    assert (history[0].staff_id, history[-1].staff_id) == (juniper.person.staff_id, "")
    assert riverbend.do(read_course, shared.referral_id).history[-1].staff_id == riverbend.person.staff_id


def test_the_referrer_learns_when_the_referral_was_first_opened(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    riverbend.moves(shared, "open")
    network.settle()
    course = juniper.do(read_course, shared.referral_id)
    assert course.first_opened_at is not None
    assert course.history[-1].move == "receive"
