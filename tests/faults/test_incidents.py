"""What schedules of faults have found, each as short as it can be told."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from faults.restores import Backups, RestoringOracle
from faults.stage import FailingNetwork, Share, Stage, a_stage, refer

from support.care_examples import one_of_every_kind
from support.network import SimulatedClinic
from support.staged import a_place
from tandem.exchange.v1.exchange_pb2 import SyncRequest
from tandem.exchange.v1.exchange_pb2_grpc import ExchangeServiceStub
from tandem_care.categories import Category
from tandem_clinic.exchange.downlink import KEY_NOT_KNOWN
from tandem_clinic.store.tables import partner_key
from tandem_clinic.usecases import partner
from tandem_platform.errors import Refusal
from tandem_platform.exchange import quarantine
from tandem_platform.exchange.reader import place_of
from tandem_platform.exchange.rows import downlink
from tandem_platform.rpc.identity import Caller

_FEED, _CLINIC_FEED = 0, 5
VITALS = one_of_every_kind()["vitals"]
PREPARATION = one_of_every_kind()["preparation-summary"]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with a_place(None) as place:
        yield a_stage(place)


@pytest.fixture
def network(stage: Stage) -> Iterator[FailingNetwork]:
    with stage.place.copies() as copy_of:
        network = stage.start.continued(copy_of)
        network.settle()
        yield network
        network.close()


@pytest.fixture
def shared(stage: Stage) -> Share:
    """Between Juniper and Riverbend."""
    return stage.shares[0]


def _vitals(network: FailingNetwork, shared: Share) -> str:
    recorded = network.clinics["juniper"].records(shared.patients["juniper"], VITALS)
    return next(
        each
        for each in recorded.entry_ids
        if network.oracle.entries[each].episode == shared.referred.episode_id
    )


def test_a_row_that_is_read_while_the_hubs_clock_jumps_is_not_parked(
    network: FailingNetwork, shared: Share
) -> None:
    network.clinics["juniper"].grants(shared.referred, {Category.MEDICATION_MONITORING})
    network.settle()
    network.machine("hub").skew = timedelta(hours=2)
    entry_id = _vitals(network, shared)
    for _ in range(5):
        network.clinics["juniper"].step()
        with suppress(Refusal):
            network.step_hub_part(_FEED)
    network.machine("hub").skew = timedelta(0)
    network.settle()
    assert network.oracle.entries[entry_id].held_by_recipient
    network.heal()
    network.check()


def test_what_was_permitted_before_a_restart_does_not_lie_in_the_future(
    network: FailingNetwork, shared: Share
) -> None:
    """The hub's clock was ahead, and is set right while the hub is down."""
    network.machine("hub").skew = timedelta(minutes=4)
    network.clinics["juniper"].grants(shared.referred, {Category.MEDICATION_MONITORING})
    network.step_clinic(network.clinics["juniper"], "journal")
    network.machine("hub").skew = timedelta(0)
    network.restart_hub()
    entry_id = _vitals(network, shared)
    network.settle(10)
    network.advance(600)
    network.heal()
    assert network.oracle.entries[entry_id].held_by_recipient
    network.check()


def test_a_clinic_whose_clock_is_set_back_does_not_wait_for_the_old_time(
    network: FailingNetwork, shared: Share
) -> None:
    machine, line = network.machine("juniper"), network.line("juniper")
    machine.skew = timedelta(hours=2)
    line.cut = network.broker.down = True
    entry_id = _vitals(network, shared)
    network.settle(6)
    machine.skew = timedelta(0)
    line.cut = False
    network.settle(10)
    assert network.oracle.entries[entry_id].at_hub


@pytest.mark.parametrize(
    ("skew", "is_applied"),
    [(timedelta(0), True), (timedelta(hours=-2), False), (timedelta(hours=2), False)],
    ids=["right", "set back", "set forward"],
)
def test_a_copy_waits_for_a_sync_where_nobody_can_tell_how_long_ago_the_last_one_was(
    network: FailingNetwork, shared: Share, skew: timedelta, is_applied: bool
) -> None:
    """The list of revocations comes with Sync, and a copy from Kafka is applied only while that list is recent."""
    network.clinics["juniper"].grants(shared.referred, {Category.MEDICATION_MONITORING})
    network.settle()
    machine, line = network.machine("riverbend"), network.line("riverbend")
    line.cut, machine.skew = True, skew
    entry_id = _vitals(network, shared)
    network.settle(8)
    assert network.oracle.entries[entry_id].at_hub
    assert network.oracle.entries[entry_id].held_by_recipient == is_applied
    line.cut = False
    network.settle()
    assert network.oracle.entries[entry_id].held_by_recipient
    machine.skew = timedelta(0)
    network.heal()
    network.check()


def test_a_receipt_is_missed_for_what_was_permitted_late_although_the_hub_does_not_answer(
    network: FailingNetwork, shared: Share
) -> None:
    network.clinics["riverbend"].running = False
    juniper = network.clinics["juniper"]
    _vitals(network, shared)
    juniper.grants(
        shared.referred,
        {Category.MEDICATION_MONITORING},
        history_from=network.clock.now() - timedelta(days=1),
    )
    network.settle()
    network.line("juniper").cut = True
    juniper.restart()
    network.advance(25 * 3600)
    juniper.step()
    assert "receipt-overdue" in juniper.worklist()


def test_a_receipt_is_missed_for_what_was_permitted_late_although_that_has_ended_since(
    network: FailingNetwork, shared: Share
) -> None:
    network.clinics["riverbend"].running = False
    juniper = network.clinics["juniper"]
    _vitals(network, shared)
    now = network.clock.now()
    juniper.grants(
        shared.referred,
        {Category.MEDICATION_MONITORING},
        history_from=now - timedelta(days=1),
        ends_at=now + timedelta(hours=1),
    )
    network.settle()
    network.advance(2 * 3600)
    network.settle()
    juniper.step()
    assert "receipt-overdue" not in juniper.worklist()
    network.advance(25 * 3600)
    juniper.step()
    assert "receipt-overdue" in juniper.worklist()


@pytest.mark.parametrize(
    "category", [Category.MEDICATION_MONITORING, Category.MESSAGE], ids=["permitted", "for an emergency"]
)
def test_a_receipt_is_missed_although_the_wrap_was_taken_back_when_the_hub_had_it_already(
    network: FailingNetwork, shared: Share, category: Category
) -> None:
    """Nothing had acknowledged the row when a hold was queued; Kafka had brought it to the hub all the same.

    What an emergency may open is wrapped whether it is permitted or not.
    """
    network.clinics["riverbend"].running = False
    juniper = network.clinics["juniper"]
    held = juniper.grants(shared.referred, {category})
    network.settle()
    network.line("juniper").cut = True
    recorded_at = network.clock.now()
    _vitals(network, shared)
    network.step_clinic(juniper, "relay")
    network.step_hub_part(_FEED)
    juniper.holds(held)
    juniper.grants(shared.referred, {Category.MEDICATION_MONITORING}, history_from=recorded_at)
    network.line("juniper").cut = False
    network.settle()
    network.advance(25 * 3600)
    juniper.step()
    assert "receipt-overdue" in juniper.worklist()


def test_a_receipt_is_missed_for_what_was_wrapped_late_whatever_the_clock_said_when_it_was_sealed(
    network: FailingNetwork, shared: Share
) -> None:
    """By a clock two hours ahead the permission was over before the entry was written."""
    network.clinics["riverbend"].running = False
    juniper = network.clinics["juniper"]
    now = network.clock.now()
    juniper.grants(
        shared.referred, {Category.PROGRESS_SUMMARY}, starts_at=now, ends_at=now + timedelta(minutes=10)
    )
    network.machine("juniper").skew = timedelta(hours=2)
    recorded = juniper.records(shared.patients["juniper"], PREPARATION)
    network.settle()
    network.machine("juniper").skew = timedelta(0)
    network.advance(10)
    network.settle()
    assert any(network.oracle.entries[each].releases for each in recorded.entry_ids)
    network.advance(27 * 3600)
    juniper.step()
    assert "receipt-overdue" in juniper.worklist()


def test_what_comes_after_a_permission_has_begun_waits_for_what_the_permission_opens(
    network: FailingNetwork, shared: Share
) -> None:
    """The hub had not looked at its clock yet, but went by it."""
    juniper = network.clinics["juniper"]
    now = network.clock.now()
    juniper.grants(shared.referred, {Category.PROGRESS_SUMMARY})
    juniper.grants(
        shared.referred,
        {Category.MEDICATION_MONITORING},
        starts_at=now + timedelta(seconds=60),
        history_from=now - timedelta(days=1),
    )
    earlier = _vitals(network, shared)
    network.settle()
    assert not network.oracle.entries[earlier].releases
    network.clock.advance(timedelta(seconds=90))
    juniper.records(shared.patients["juniper"], PREPARATION)
    network.step_clinic(juniper, "relay")
    network.step_hub_part(_FEED)
    network.heal()
    assert network.oracle.entries[earlier].held_by_recipient
    network.check()


@pytest.mark.parametrize("ends", ["by itself", "by a revocation", "by a denial"])
def test_what_a_backup_lost_and_nobody_permitted_for_a_while_comes_when_it_is_permitted_again(
    network: FailingNetwork, shared: Share, tmp_path: Path, ends: str
) -> None:
    """To the hub it had arrived, and was not given twice."""
    juniper, riverbend = network.clinics["juniper"], network.clinics["riverbend"]
    backups = Backups(network, network.knowing, tmp_path)
    backup = backups.of_clinic(riverbend)
    began = network.clock.now()
    permission_id = juniper.grants(
        shared.referred, {Category.MEDICATION_MONITORING}, ends_at=began + timedelta(minutes=10)
    )
    entry_id = _vitals(network, shared)
    network.settle()
    assert network.oracle.entries[entry_id].held_by_recipient
    backups.restore_clinic(riverbend, backup)
    riverbend.running = False
    denial = ""
    if ends == "by itself":
        network.advance(15 * 60)
    elif ends == "by a revocation":
        juniper.revokes(permission_id)
    else:
        denial = juniper.denies(shared.referred, {Category.MEDICATION_MONITORING})
    network.settle()
    riverbend.running = True
    network.settle()
    assert not network.oracle.entries[entry_id].held_by_recipient
    network.check()
    if denial:
        juniper.revokes(denial)
    else:
        juniper.grants(shared.referred, {Category.MEDICATION_MONITORING}, history_from=began)
    network.settle()
    assert network.oracle.entries[entry_id].held_by_recipient
    network.check()


def test_what_a_backup_lost_is_under_way_again_for_a_revocation_that_follows(
    network: FailingNetwork, shared: Share, tmp_path: Path
) -> None:
    """Between the first Sync of the restored recipient and its reading."""
    juniper, riverbend = network.clinics["juniper"], network.clinics["riverbend"]
    backups = Backups(network, network.knowing, tmp_path)
    backup = backups.of_clinic(riverbend)
    permission_id = juniper.grants(shared.referred, {Category.MEDICATION_MONITORING})
    entry_id = _vitals(network, shared)
    network.settle()
    assert network.oracle.entries[entry_id].held_by_recipient
    backups.restore_clinic(riverbend, backup)
    with riverbend.db.reading() as tx:
        cursor, _ = place_of(tx, downlink("riverbend"))
    riverbend.running = False
    hub = ExchangeServiceStub(network.channel(Caller("practice", "riverbend")))
    hub.Sync(SyncRequest(downlink_cursor=cursor.to_message(), commands_known=0), timeout=30)
    juniper.revokes(permission_id)
    network.settle()
    assert network.oracle.entries[entry_id].releases[-1].voided == "revoked"
    riverbend.running = True
    network.heal()
    network.check()


def test_what_waits_for_the_partners_keys_is_not_missed(network: FailingNetwork, shared: Share) -> None:
    juniper = network.clinics["juniper"]
    juniper.grants(shared.referred, {Category.MEDICATION_MONITORING})
    network.settle()
    with juniper.db.transaction() as tx:
        tx.execute(partner_key.delete().where(partner_key.c.practice_id == "riverbend"))
    _vitals(network, shared)
    network.settle()
    network.advance(25 * 3600)
    juniper.step()
    assert "receipt-overdue" not in juniper.worklist()


def test_what_comes_before_its_key_is_taken_when_the_key_is_learned(
    network: FailingNetwork, shared: Share
) -> None:
    juniper, riverbend = network.clinics["juniper"], network.clinics["riverbend"]
    juniper.grants(shared.referred, {Category.MEDICATION_MONITORING})
    network.settle()
    juniper.keys = network.keys.rotated(juniper.keys, network.clock.now())
    juniper.restart()
    for _ in range(5):
        juniper.step()
        network.step_hub()
    entry_id = _vitals(network, shared)
    for _ in range(5):
        juniper.step()
        network.step_hub()
    riverbend.node.sync.step()
    riverbend.node.sync.read()
    assert _parked(riverbend) == [KEY_NOT_KNOWN]
    network.settle()
    network.look()
    assert _parked(riverbend) == []
    assert network.oracle.entries[entry_id].held_by_recipient


def test_what_a_hub_takes_back_at_its_start_is_gone_where_kafka_had_brought_it_meanwhile(
    network: FailingNetwork, shared: Share
) -> None:
    """The recipient catches up before the discloser, who revokes before it is given again."""
    juniper, riverbend = network.clinics["juniper"], network.clinics["riverbend"]
    permission_id = juniper.grants(shared.referred, {Category.MEDICATION_MONITORING})
    network.settle()
    entry_id = _vitals(network, shared)
    network.step_clinic(juniper, "relay")
    network.step_hub()
    line, goes_on = network.line("riverbend"), network.line("riverbend").meanwhile
    line.delayed, line.meanwhile = 1, lambda: network.step_clinic_part(riverbend, _CLINIC_FEED)
    network.restart_hub()
    riverbend.node.sync.step()
    line.meanwhile = goes_on
    network.look()
    assert network.oracle.entries[entry_id].held_by_recipient
    assert network.oracle.entries[entry_id].releases[-1].voided == "catching-up"
    juniper.revokes(permission_id)
    juniper.node.sync.step()
    network.step_clinic(juniper, "journal")
    network.heal()
    network.check()


def test_what_an_older_process_brings_the_hub_before_its_key_is_taken_when_the_key_is_published(
    network: FailingNetwork, shared: Share
) -> None:
    """A receipt, which a newer process of the clinic has signed."""
    network.clinics["juniper"].grants(shared.referred, {Category.MEDICATION_MONITORING})
    network.settle()
    _vitals(network, shared)
    network.clinics["juniper"].step()
    network.step_hub()
    riverbend = network.clinics["riverbend"]
    older = riverbend.node
    riverbend.keys = network.keys.rotated(riverbend.keys, network.clock.now())
    network.succeed_clinic(riverbend)
    riverbend.node.sync.step()
    riverbend.node.sync.read()
    assert older.relay is not None
    older.relay.step()
    network.step_hub_part(_FEED)
    with network.hub.database.reading() as tx:
        assert [row.reason for row in quarantine.listed(tx)] == [KEY_NOT_KNOWN]
    network.heal()
    with network.hub.database.reading() as tx:
        assert not quarantine.listed(tx)
    network.check()


def test_what_is_permitted_anew_is_not_shown_as_withdrawn_where_the_clock_is_behind(
    network: FailingNetwork, shared: Share
) -> None:
    """To the recipient the new permission seemed to begin later, and nothing was told again when it did."""
    juniper = network.clinics["juniper"]
    permission_id = juniper.grants(shared.referred, {Category.MEDICATION_MONITORING})
    network.settle()
    _vitals(network, shared)
    network.settle()
    network.machine("riverbend").skew = timedelta(minutes=-4)
    juniper.revokes(permission_id)
    network.settle()
    juniper.grants(
        shared.referred,
        {Category.MEDICATION_MONITORING},
        history_from=network.clock.now() - timedelta(hours=1),
    )
    network.settle()
    network.heal()
    network.check()


def test_a_closing_move_does_not_wait_for_rows_that_wait_for_a_key_behind_it(
    network: FailingNetwork, shared: Share
) -> None:
    riverbend = network.clinics["riverbend"]
    network.line("riverbend").cut = network.broker.down = True
    recorded = riverbend.records(shared.patients["riverbend"], VITALS)
    riverbend.moves(shared.referred, "fail", reason="moved")
    riverbend.keys = network.keys.rotated(riverbend.keys, network.clock.now())
    riverbend.restart()
    network.heal()
    assert all(network.oracle.entries[each].at_hub for each in recorded.entry_ids)
    network.check()


def test_from_now_on_by_a_clinic_whose_clock_is_ahead_is_from_now_on(
    network: FailingNetwork, shared: Share
) -> None:
    """The checker took it for a time to come, and what was released for released too early."""
    network.machine("juniper").skew = timedelta(hours=2)
    network.clinics["juniper"].grants(
        shared.referred,
        {Category.MEDICATION_MONITORING},
        history_from=network.clinics["juniper"].clinic.now(),
    )
    network.settle()
    network.machine("juniper").skew = timedelta(0)
    entry_id = _vitals(network, shared)
    network.settle()
    assert network.oracle.entries[entry_id].held_by_recipient
    network.check()


def _parked(clinic: SimulatedClinic) -> list[str]:
    with clinic.db.reading() as tx:
        return [row.reason for row in quarantine.listed(tx)]


def test_what_was_meant_for_a_referral_that_a_restored_hub_refused_stays_with_its_author(
    network: FailingNetwork, tmp_path: Path
) -> None:
    """The checker took it for lost: it trusted no refusal of a hub that had ever been set back."""
    juniper, riverbend = network.clinics["juniper"], network.clinics["riverbend"]
    backups = Backups(network, network.knowing, tmp_path)
    backups.restore_hub(backups.of_hub())
    network.settle()
    refused = refer(network, "juniper", "riverbend", juniper.registers("Dora Delta")).referred
    partnership_id = network.partnerships[frozenset({"juniper", "riverbend"})]
    riverbend.do(partner.suspend_partnership, partnership_id)
    riverbend.step()
    network.heal()
    network.check()
    entries = [each for each in network.oracle.entries.values() if each.episode == refused.episode_id]
    assert entries
    assert not any(each.at_hub for each in entries)
    assert "command-refused" in juniper.worklist()


@pytest.mark.parametrize(
    ("settled", "decided", "is_excused"),
    [({"req_a"}, set(), True), (set(), set(), False), ({"req_a"}, {"req_a"}, False)],
    ids=["settled for", "perhaps granted later", "granted before the hub forgot"],
)
def test_a_restored_hub_is_excused_only_by_a_refusal_that_stands(
    settled: set[str], decided: set[str], is_excused: bool
) -> None:
    oracle = RestoringOracle()
    oracle.refused_since["req_a"] = "epi_a"
    oracle.note_refusals(settled, decided)
    assert ("epi_a" in oracle.refused_episodes) == is_excused
