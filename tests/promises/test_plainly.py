"""Each promise once, in a few steps; the oracle watches all of them, and checks the rest at the end."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import grpc
import pytest
from sqlalchemy import select

from support.care_examples import a_phq9, one_of_every_kind
from support.network import Referred, SimulatedClinic
from support.watched import WatchedNetwork
from tandem.exchange.v1.exchange_pb2 import RowBody
from tandem.referral.v1.referral_pb2 import CancelReferralRequest
from tandem.referral.v1.referral_pb2_grpc import ReferralServiceStub
from tandem_care.categories import Category
from tandem_care.entry_kinds import Content, Message
from tandem_clinic.store.tables import command, exchange
from tandem_clinic.usecases import partner
from tandem_clinic.usecases.entries import amend_entry, record_entry, take_back_entry
from tandem_clinic.usecases.permissions import hold_permission, revoke_permission
from tandem_platform.exchange.transport.memory import losing
from tandem_platform.ids import new_id
from tandem_platform.rpc.client import refusal_of
from tandem_platform.rpc.identity import Caller
from tandem_platform.rpc.local import unreachable
from tandem_platform.storage import Database, Transaction
from tandem_referral.store.tables import metadata as hub_metadata

SCORES, VITALS, MESSAGES = Category.SCALE_SCORE, Category.MEDICATION_MONITORING, Category.MESSAGE
CANARY = "the heron keeps its own counsel"


@pytest.fixture
def network(watched: Any) -> WatchedNetwork:
    network: WatchedNetwork = watched.network
    return network


@pytest.fixture
def juniper(watched: Any) -> SimulatedClinic:
    clinic: SimulatedClinic = watched.juniper
    return clinic


@pytest.fixture
def riverbend(watched: Any) -> SimulatedClinic:
    clinic: SimulatedClinic = watched.riverbend
    return clinic


@pytest.fixture
def shared(watched: Any) -> Referred:
    referred: Referred = watched.shared
    return referred


def a_score(network: WatchedNetwork) -> Content:
    return a_phq9(total=18, taken_at=network.clock.now())


def bring_by_kafka(
    network: WatchedNetwork, origin: SimulatedClinic, recipient: SimulatedClinic | None
) -> None:
    """From the one to the other (or to Kafka only) without a Sync on the way."""
    assert origin.node.relay is not None
    origin.node.relay.step()
    network.step_hub()
    if recipient is not None:
        recipient.node.step_feed()
        network.watch.look_at(recipient)


def every_promise(network: WatchedNetwork) -> None:
    network.heal()
    network.check()


def test_p1_a_denial_wins_over_a_permission(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    juniper.grants(shared, {SCORES, VITALS})
    juniper.denies(shared, {VITALS})
    network.settle()
    juniper.records(shared.patient_id, one_of_every_kind()["vitals"])
    juniper.records(shared.patient_id, a_score(network))
    every_promise(network)
    assert riverbend.sees(VITALS) == []
    assert len(riverbend.sees(SCORES)) == 1


def test_p1_nothing_is_given_while_the_partnership_is_suspended(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    juniper.grants(shared, {VITALS}, history_from=network.clock.now())
    partnership_id = network.partnerships[frozenset({"juniper", "riverbend"})]
    riverbend.do(partner.suspend_partnership, partnership_id)
    network.step_clinic_part(riverbend, 1)
    juniper.records(shared.patient_id, one_of_every_kind()["vitals"])
    network.settle()
    assert riverbend.sees(VITALS) == []
    riverbend.do(partner.resume_partnership, partnership_id)
    every_promise(network)


def test_p1_a_permission_ends_when_it_says(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    juniper.grants(shared, {VITALS}, ends_at=network.clock.now() + timedelta(minutes=30))
    network.settle()
    network.advance(3600)
    juniper.records(shared.patient_id, one_of_every_kind()["vitals"])
    every_promise(network)
    assert riverbend.sees(VITALS) == []


def test_p2_what_kafka_brings_late_does_not_outlive_a_revocation(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    permission = juniper.grants(shared, {VITALS})
    network.settle()
    riverbend.running = False
    juniper.records(shared.patient_id, one_of_every_kind()["vitals"])
    network.settle()
    juniper.revokes(permission)
    network.settle()
    every_promise(network)
    assert riverbend.sees(VITALS) == []


def test_p2_what_was_taken_and_not_acknowledged_is_given_up_again(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    start = network.clock.now()
    permission = juniper.grants(shared, {VITALS})
    network.settle()
    juniper.records(shared.patient_id, one_of_every_kind()["vitals"])
    bring_by_kafka(network, juniper, riverbend)
    assert len(riverbend.sees(VITALS)) == 1
    juniper.revokes(permission)
    juniper.node.journal.step()
    network.settle()
    assert riverbend.sees(VITALS) == []
    every_promise(network)
    juniper.grants(shared, {VITALS}, history_from=start)
    every_promise(network)
    assert len(riverbend.sees(VITALS)) == 1


def test_p2_what_somebody_has_read_stays_and_the_discloser_hears_of_it(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    permission = juniper.grants(shared, {VITALS})
    network.settle()
    recorded = juniper.records(shared.patient_id, one_of_every_kind()["vitals"])
    bring_by_kafka(network, juniper, riverbend)
    patient_id = riverbend.takes_in(shared)
    assert [item.content != {} for item in riverbend.plan(patient_id) if item.category == VITALS] == [True]
    network.oracle.read(recorded.entry_ids[0], network.clock.now())
    juniper.revokes(permission)
    juniper.node.journal.step()
    every_promise(network)
    assert [item.state for item in riverbend.plan(patient_id) if item.category == VITALS] == ["revoked"]


def test_p2_once_sync_has_told_of_a_revocation_no_copy_is_taken(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    permission = juniper.grants(shared, {VITALS})
    network.settle()
    juniper.records(shared.patient_id, one_of_every_kind()["vitals"])
    bring_by_kafka(network, juniper, None)
    juniper.revokes(permission)
    juniper.node.journal.step()
    riverbend.node.step_sync()
    riverbend.node.step_feed()
    assert riverbend.sees(VITALS) == []
    every_promise(network)


def test_p2_the_other_practice_may_revoke_as_well(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    permission = juniper.grants(shared, {VITALS})
    network.settle()
    riverbend.revokes(permission)
    network.step_clinic_part(riverbend, 1)
    juniper.records(shared.patient_id, one_of_every_kind()["vitals"])
    every_promise(network)
    assert riverbend.sees(VITALS) == []


def test_p3_what_is_permitted_arrives_once_and_in_order_whatever_kafka_loses(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    juniper.grants(shared, {SCORES, VITALS, MESSAGES})
    network.settle()
    network.memory.faults = losing(1.0, random.Random(3))
    for content in (
        a_score(network),
        one_of_every_kind()["vitals"],
        Message(author="Lena", text="Later."),
        a_score(network),
    ):
        juniper.records(shared.patient_id, content)
        network.settle(2)
    network.restart_hub()
    riverbend.restart()
    every_promise(network)
    assert len(riverbend.sees(SCORES)) == 2


def test_p3_an_amendment_is_withheld_with_what_it_amends(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    recorded = juniper.records(shared.patient_id, one_of_every_kind()["vitals"])
    network.settle()
    juniper.grants(shared, {VITALS})
    network.settle()
    amended = juniper.do(amend_entry, recorded.record_id, one_of_every_kind()["vitals"])
    juniper.do(take_back_entry, amended.record_id)
    every_promise(network)
    assert riverbend.sees(VITALS) == []


def test_p3_history_comes_before_what_is_new(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    start = network.clock.now()
    juniper.records(shared.patient_id, one_of_every_kind()["vitals"])
    network.settle()
    juniper.grants(shared, {VITALS}, history_from=start)
    juniper.node.journal.step()
    juniper.records(shared.patient_id, one_of_every_kind()["vitals"])
    juniper.node.sync.push()
    every_promise(network)
    assert len(riverbend.sees(VITALS)) == 2


def test_p4_once_work_has_begun_the_referrer_can_only_ask_to_cancel(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    riverbend.moves(shared, "start")
    network.settle()
    version = network.oracle.referrals[shared.referral_id].version
    stub = ReferralServiceStub(network.channel(Caller("practice", "juniper")))
    with pytest.raises(grpc.RpcError) as refused:
        stub.CancelReferral(
            CancelReferralRequest(
                request_id=new_id("req"), referral_id=shared.referral_id, version=version, reason="moved"
            ),
            timeout=30,
        )
    assert refusal_of(refused.value).reason == "MOVE_NOT_ALLOWED"
    every_promise(network)


def test_p4_a_move_that_crosses_another_is_refused_and_both_sides_agree(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    juniper.moves(shared, "cancel", reason="moved")
    riverbend.moves(shared, "start")
    every_promise(network)
    assert sorted(juniper.worklist() + riverbend.worklist()).count("command-refused") == 1


def test_p5_the_hub_holds_nothing_that_was_said(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    """Searched with everything decrypted that is encrypted at rest, and in every record that Kafka has."""
    juniper.grants(shared, {MESSAGES})
    network.settle()
    juniper.records(shared.patient_id, Message(author="Lena Fischer", text=CANARY))
    every_promise(network)
    assert [each["content"]["text"] for each in riverbend.sees(MESSAGES)] == [CANARY]
    held = b"".join(_everything(network.hub.database)) + repr(network.memory.copy()._topics).encode()
    for said in (CANARY, "Lena Fischer", "Casey Example"):
        assert said.encode() not in held


def _everything(database: Database) -> list[bytes]:
    found = []
    with database.reading() as tx:
        for table in hub_metadata.sorted_tables:
            for row in tx.all(select(table)):
                found += [each if isinstance(each, bytes) else str(each).encode() for each in row]
    return found


def test_p8_every_decision_stands_in_the_account_once(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    """Given, withheld, voided on its way, given anew."""
    start = network.clock.now()
    juniper.records(shared.patient_id, Message(author="Lena Fischer", text="Nobody permitted this."))
    juniper.records(shared.patient_id, one_of_every_kind()["vitals"])
    network.settle()
    permission = juniper.grants(shared, {VITALS}, history_from=start)
    network.settle()
    riverbend.running = False
    juniper.records(shared.patient_id, one_of_every_kind()["vitals"])
    network.settle()
    juniper.revokes(permission)
    network.settle()
    juniper.grants(shared, {VITALS}, history_from=start)
    every_promise(network)
    assert len(riverbend.sees(VITALS)) == 2


def test_p9_alone_a_clinic_works_on_and_says_what_is_queued(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    juniper.reach.away = True
    network.memory.down = True
    juniper.grants(shared, {VITALS})
    recorded = juniper.records(shared.patient_id, one_of_every_kind()["vitals"])
    network.settle()
    assert recorded.record_id in [item.id for item in juniper.plan(shared.patient_id)]
    with juniper.db.reading() as tx:
        assert [
            row.state for row in tx.all(select(command.c.state).order_by(command.c.position.desc()).limit(1))
        ] == ["queued"]
    assert riverbend.sees(VITALS) == []
    every_promise(network)
    assert len(riverbend.sees(VITALS)) == 1


def test_found_a_wrap_refused_while_a_denial_is_on_its_way_is_given_afterwards(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    """The hub asks for a wrap once; the clinic has to remember that it refused for the time being."""
    lost = True

    def lose(method: str, phase: str) -> None:
        if lost and phase == "response" and method.endswith("/DenyConsent"):
            raise unreachable()

    juniper.reach.hooks.append(lose)
    later = juniper.refers(juniper.registers("Robin Sample"), riverbend)
    juniper.denies(later, {MESSAGES})
    network.settle()
    assert riverbend.sees(Category.IDENTITY_CONTACT, later.episode_id) == []
    lost = False
    every_promise(network)
    assert len(riverbend.sees(Category.IDENTITY_CONTACT, later.episode_id)) == 1


def test_found_whoever_proposed_a_partnership_can_suspend_and_resume_it(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    """Its version had moved with the partner's confirmation, of which the proposer was told nothing but the state."""
    partnership_id = network.partnerships[frozenset({"juniper", "riverbend"})]
    for side in (juniper, riverbend, juniper):
        side.do(partner.suspend_partnership, partnership_id)
        network.settle()
        assert network.oracle.suspended[frozenset({"juniper", "riverbend"})] == {side.name}
        side.do(partner.resume_partnership, partnership_id)
        network.settle()
        assert not network.oracle.suspended[frozenset({"juniper", "riverbend"})]
    assert "command-refused" not in juniper.worklist() + riverbend.worklist()
    every_promise(network)


def test_found_a_closing_move_does_not_wait_for_what_was_recorded_after_it(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    """It brings the uplink to the hub first, where the new row waits for it."""
    juniper.moves(shared, "cancel", reason="moved")
    juniper.records(shared.patient_id, a_score(network))
    every_promise(network)
    assert network.oracle.referrals[shared.referral_id].state == "cancelled"


def test_found_what_was_entered_in_error_is_taken_anew_when_a_revocation_had_emptied_it(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    """The revocation removed its content and left it marked as in error; given anew, it was taken for one already here."""
    juniper.grants(shared, {VITALS})
    also = juniper.grants(shared, {VITALS})
    network.settle()
    recorded = juniper.records(shared.patient_id, one_of_every_kind()["vitals"])
    juniper.do(take_back_entry, recorded.record_id)
    bring_by_kafka(network, juniper, riverbend)
    juniper.revokes(also)
    juniper.node.journal.step()
    every_promise(network)
    given = [entry for entry in network.oracle.entries.values() if entry.category == VITALS]
    assert [[each.voided for each in entry.releases] for entry in given] == [["revoked", ""]] * 2
    patient_id = riverbend.takes_in(shared)
    items = [item for item in riverbend.plan(patient_id) if item.category == VITALS]
    assert [(item.state, item.content) for item in items] == [("entered-in-error", {})]


def test_found_what_a_person_has_read_stays_read_when_it_is_given_anew(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    """It was taken for something new, which the next revocation removed although a person had acted on it."""
    first, also = juniper.grants(shared, {VITALS}), juniper.grants(shared, {VITALS})
    network.settle()
    recorded = juniper.records(shared.patient_id, one_of_every_kind()["vitals"])
    bring_by_kafka(network, juniper, riverbend)
    patient_id = riverbend.takes_in(shared)
    (read,) = (item for item in riverbend.plan(patient_id) if item.category == VITALS)
    network.oracle.read(recorded.entry_ids[0], network.clock.now())
    network.advance(1)
    for permission, seen in ((also, 1), (first, 0)):
        juniper.revokes(permission)
        juniper.node.journal.step()
        bring_by_kafka(network, juniper, riverbend)
        assert len(riverbend.sees(VITALS)) == seen
    assert [each.voided for each in network.oracle.entries[recorded.entry_ids[0]].releases] == ["revoked"] * 2
    every_promise(network)
    (shown,) = (item for item in riverbend.plan(patient_id) if item.category == VITALS)
    assert (shown.state, shown.content) == ("revoked", read.content)
    assert (shown.received_at, shown.first_read_at) == (read.received_at, read.received_at)


def test_found_what_a_revocation_has_emptied_is_not_read_by_looking_at_the_plan(
    network: WatchedNetwork, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    permission = juniper.grants(shared, {VITALS})
    network.settle()
    juniper.records(shared.patient_id, one_of_every_kind()["vitals"])
    bring_by_kafka(network, juniper, riverbend)
    juniper.revokes(permission)
    juniper.node.journal.step()
    network.settle()
    patient_id = riverbend.takes_in(shared)
    for _ in range(2):
        (shown,) = (item for item in riverbend.plan(patient_id) if item.category == VITALS)
        assert (shown.state, shown.content, shown.first_read_at) == ("revoked", {}, None)
    every_promise(network)


@pytest.mark.parametrize("withdraw", [revoke_permission, hold_permission])
def test_p2_what_was_recorded_in_the_transaction_of_a_withdrawal_goes_without_the_partners_wrap(
    network: WatchedNetwork,
    juniper: SimulatedClinic,
    shared: Referred,
    withdraw: Callable[..., Any],
) -> None:
    """Requests that come at once are committed at once: the withdrawal finds what is not in the log yet."""
    permission = juniper.grants(shared, [SCORES])
    network.settle()

    def work(tx: Transaction) -> None:
        record_entry(tx, juniper.clinic, juniper.person, shared.patient_id, a_score(network))
        withdraw(tx, juniper.clinic, juniper.person, permission)

    juniper.db.run(work)
    rows = exchange.log
    with juniper.db.reading() as tx:
        newest = tx.first(
            select(rows.c.body).where(rows.c.log == juniper.clinic.uplink).order_by(rows.c.sequence.desc())
        )
    assert newest is not None
    sent = RowBody.FromString(newest.body)
    assert [wrap.practice_id for wrap in sent.entry.wraps] == [juniper.name]
    assert sent.after_request_id
    network.settle()
    network.check()
