"""A hub back from an older backup: its clinics bring what it lost, and until they have, it gives nothing away."""

from datetime import date
from typing import Any

import pytest

from support.care_examples import a_phq9
from support.network import SimulatedClinic
from tandem.exchange.v1.exchange_pb2 import PushRequest
from tandem_care.categories import Category
from tandem_platform.exchange import log
from tandem_platform.exchange.rows import sign_batch
from tandem_platform.exchange.signing import signer
from tandem_platform.rpc.local import unreachable

from .conftest import SCORES, Course, either_way

DOSES = Category.MEDICATION_MONITORING


def epochs(course: Course, clinic: SimulatedClinic) -> set[int]:
    (cursor,) = course.rows(clinic, "exchange_cursor")
    return {cursor.epoch}


def permission_state(course: Course, permission_id: str) -> str:
    (row,) = [row for row in course.hub_rows("permission") if row.permission_id == permission_id]
    return str(row.state)


def released_entries(course: Course) -> set[str]:
    return {row.entry_id for row in course.hub_rows("release") if row.result == "released"}


@either_way
def test_rows_that_it_lost_come_again_and_recipients_see_no_duplicate(course: Course) -> None:
    course.score_and_settle(1)
    backup = course.backup_hub()
    course.score_and_settle(2, 3)
    course.restore_hub(backup)
    course.network.settle()
    course.score_and_settle(4)
    assert course.seen() == [1, 2, 3, 4]
    assert set(course.times_received(course.riverbend)) == {1}
    assert len(course.hub_rows("entry")) >= 4
    course.assert_whole()


def test_the_downlink_goes_on_in_a_new_epoch_above_what_the_clinic_has(course: Course) -> None:
    backup = course.backup_hub()
    course.score_and_settle(1, 2)
    (before,) = course.rows(course.riverbend, "exchange_cursor")
    course.restore_hub(backup)
    course.network.settle()
    (after,) = course.rows(course.riverbend, "exchange_cursor")
    assert (after.epoch, after.sequence) > (before.epoch, before.sequence)
    assert after.epoch == before.epoch + 1
    assert course.riverbend.alerts() == []
    assert "hub-restored" in course.actions(course.riverbend)


@either_way
def test_commands_that_it_lost_are_replayed_in_order(course: Course) -> None:
    backup = course.backup_hub()
    course.juniper.revokes(course.permission)
    again = course.juniper.grants(course.referred, {SCORES})
    doses = course.juniper.grants(course.referred, {DOSES})
    course.juniper.holds(doses)
    course.network.settle()
    course.restore_hub(backup)
    course.network.settle()
    assert permission_state(course, course.permission) == "revoked"
    assert permission_state(course, again) == "active"
    assert permission_state(course, doses) == "held"
    course.score_and_settle(5)
    assert course.seen() == [5]
    course.assert_whole()


@either_way
@pytest.mark.parametrize("by", ["discloser", "recipient"])
def test_a_permission_that_was_revoked_does_not_come_alive_again(course: Course, by: str) -> None:
    """Whichever practice revoked: until its revocation is replayed, nothing of the scope is released."""
    revoker = course.juniper if by == "discloser" else course.riverbend
    backup = course.backup_hub()
    revoker.revokes(course.permission)
    course.network.settle()
    revoker.running = False
    course.restore_hub(backup)
    assert permission_state(course, course.permission) == "active", "the backup does not know"
    released = released_entries(course)
    course.scores(7)
    course.network.settle()
    assert released_entries(course) == released
    revoker.running = True
    course.scores(8)
    course.network.settle()
    assert permission_state(course, course.permission) == "revoked"
    assert course.seen() == []
    assert released_entries(course) == released
    course.assert_whole()


def test_nothing_is_released_to_a_recipient_who_may_have_revoked(course: Course) -> None:
    """The discloser has never heard of the recipient's revocation, and the hub has lost it."""
    backup = course.backup_hub()
    course.juniper.running = False
    course.riverbend.revokes(course.permission)
    course.network.settle()
    course.riverbend.running = False
    course.restore_hub(backup)
    course.juniper.running = True
    released = released_entries(course)
    course.score_and_settle(7)
    assert released_entries(course) == released
    course.riverbend.running = True
    course.network.settle()
    assert permission_state(course, course.permission) == "revoked"
    assert course.seen() == []
    course.assert_whole()


@either_way
def test_what_was_on_its_way_in_the_backup_is_not_given_before_its_discloser_is_heard(
    course: Course,
) -> None:
    """The backup holds a released row; a lost revocation had voided it; its recipient is back first."""
    course.riverbend.running = False
    course.score_and_settle(7)
    backup = course.backup_hub()
    course.network.settle()
    course.juniper.revokes(course.permission)
    course.network.settle()
    course.juniper.running = False
    course.broker.lose_all()
    course.restore_hub(backup)
    course.riverbend.running = True
    course.network.settle()
    assert course.seen() == []
    course.juniper.running = True
    course.network.settle()
    assert course.seen() == []
    assert permission_state(course, course.permission) == "revoked"
    course.assert_whole()


def test_what_was_on_its_way_and_is_still_permitted_arrives_when_its_discloser_is_back(
    course: Course,
) -> None:
    course.riverbend.running = False
    course.score_and_settle(7)
    course.juniper.running = False
    course.broker.lose_all()
    course.network.restart_hub()
    course.riverbend.running = True
    course.network.settle()
    assert course.seen() == []
    course.juniper.running = True
    course.network.settle()
    assert course.seen() == [7]
    assert set(course.times_received(course.riverbend)) == {1}
    course.assert_whole()


def test_a_new_command_does_not_overtake_those_that_were_lost(course: Course) -> None:
    """The journal is quicker than Sync: the hub does not take it before the clinic has synced."""
    backup = course.backup_hub()
    course.juniper.revokes(course.permission)
    course.network.settle()
    course.restore_hub(backup)
    order: list[str] = []

    def note(method: str, phase: str) -> None:
        if phase == "response":
            order.append(method.rpartition("/")[2])

    course.juniper.reach.hooks.append(note)
    again = course.juniper.grants(course.referred, {SCORES})
    course.juniper.node.journal.step()
    assert [row for row in course.hub_rows("permission") if row.permission_id == again] == []
    course.network.settle()
    sent = [name for name in order if name in ("RevokeConsent", "GrantConsent")]
    assert sent[-2:] == ["RevokeConsent", "GrantConsent"]
    assert permission_state(course, course.permission) == "revoked"
    assert permission_state(course, again) == "active"
    course.score_and_settle(3)
    assert course.seen() == [3]


@either_way
def test_nothing_of_a_clinic_takes_effect_before_it_has_synced(course: Course) -> None:
    """What the hub has lost of its commands may decide about its rows: an episode, or a revocation."""
    course.juniper.running = False
    course.scores(1)
    course.network.restart_hub()
    before = course.hub_rows("entry")
    if course.juniper.node.relay is not None:
        course.juniper.node.relay.step()
    clinic = course.juniper.clinic
    with course.juniper.db.reading() as tx:
        rows = log.read(tx, clinic.uplink, log.acknowledged(tx, clinic.uplink), 100)
    sign_batch(clinic.uplink, rows, signer(course.juniper.keys))
    clinic.gateway.ask(clinic.gateway.exchange.Push, PushRequest(rows=rows))
    course.network.settle()
    assert course.hub_rows("entry") == before
    course.juniper.running = True
    course.network.settle()
    assert course.seen() == [1]
    course.assert_whole()


def test_a_restarted_hub_that_lost_nothing_takes_up_where_it_was(course: Course) -> None:
    course.score_and_settle(1)
    before = epochs(course, course.riverbend)
    course.network.restart_hub()
    course.network.settle()
    course.score_and_settle(2)
    assert course.seen() == [1, 2]
    assert epochs(course, course.riverbend) == before
    assert "hub-restored" not in course.actions(course.riverbend)
    course.assert_whole()


@either_way
def test_both_restored(course: Course) -> None:
    hub, juniper = course.backup_hub(), course.backup(course.juniper)
    course.score_and_settle(1, 2)
    course.restore_hub(hub)
    course.restore(course.juniper, juniper)
    course.network.settle()
    course.score_and_settle(3, 4)
    # What both have lost cannot come back by either; its recipient has it.
    assert course.seen() == [1, 2, 3, 4]
    assert set(course.times_received(course.riverbend)) == {1}
    course.assert_whole()


def test_restored_twice(course: Course) -> None:
    backup = course.backup_hub()
    for total in (1, 2, 3):
        course.score_and_settle(total)
        course.restore_hub(backup)
        course.network.settle()
    course.score_and_settle(4)
    assert course.seen() == [1, 2, 3, 4]
    assert set(course.times_received(course.riverbend)) == {1}
    course.assert_whole()


@either_way
def test_restored_to_before_a_clinics_change_of_epoch(course: Course) -> None:
    course.score_and_settle(1)
    hub = course.backup_hub()
    juniper = course.backup(course.juniper)
    course.score_and_settle(2)
    course.restore(course.juniper, juniper)
    course.network.settle()
    course.score_and_settle(3)
    (head,) = course.rows(course.juniper, "exchange_head")
    assert head.epoch == 2
    course.restore_hub(hub)
    course.network.settle()
    course.score_and_settle(4)
    assert course.seen() == [1, 2, 3, 4]
    assert set(course.times_received(course.riverbend)) == {1}
    course.assert_whole()


def test_restored_before_two_changes_of_epoch(course: Course) -> None:
    hub = course.backup_hub()
    juniper = course.backup(course.juniper)
    for total in (1, 2):
        course.score_and_settle(total)
        course.restore(course.juniper, juniper)
        course.network.settle()
    course.restore_hub(hub)
    course.network.settle()
    course.score_and_settle(3)
    assert course.seen() == [1, 2, 3]
    course.assert_whole()


def test_a_lost_answer_to_the_first_sync_after_a_restore(course: Course) -> None:
    backup = course.backup_hub()
    course.score_and_settle(1, 2)
    course.restore_hub(backup)

    def lose(clinic: SimulatedClinic) -> Any:
        def once(method: str, phase: str) -> None:
            if method.endswith("/Sync") and phase == "response":
                clinic.reach.hooks.clear()
                raise unreachable()

        return once

    for clinic in (course.juniper, course.riverbend):
        clinic.reach.hooks.append(lose(clinic))
    course.network.settle()
    course.score_and_settle(3)
    assert course.seen() == [1, 2, 3]
    assert epochs(course, course.riverbend) == {2}
    course.assert_whole()


def test_kafka_brings_old_rows_between_the_restore_and_the_sync(course: Course) -> None:
    """The broker still holds what the lost hub had published; the clinic takes it, and then hears of the new epoch."""
    course.riverbend.running = False
    backup = course.backup_hub()
    course.network.settle()
    course.score_and_settle(1, 2)
    course.restore_hub(backup)
    course.riverbend.running = True
    course.network.settle()
    course.score_and_settle(3)
    assert course.seen() == [1, 2, 3]
    assert set(course.times_received(course.riverbend)) == {1}
    course.assert_whole()


def test_a_recipient_restored_to_before_the_hubs_change_of_epoch(course: Course) -> None:
    riverbend = course.backup(course.riverbend)
    hub = course.backup_hub()
    course.score_and_settle(1, 2)
    course.restore_hub(hub)
    course.network.settle()
    course.score_and_settle(3)
    course.restore(course.riverbend, riverbend)
    course.network.settle()
    course.score_and_settle(4)
    assert course.seen() == [1, 2, 3, 4]
    course.assert_whole()


def test_a_row_after_a_refused_command_does_not_wait_for_ever_at_a_hub_that_forgot_the_refusal(
    course: Course,
) -> None:
    """A refusal is not replayed; rows that came after that command must flow all the same."""
    doses = course.juniper.grants(course.referred, {DOSES})
    course.network.settle()
    backup = course.backup_hub()
    course.juniper.reach.away = True
    course.juniper.running = False
    course.riverbend.revokes(doses)
    course.network.settle()
    course.juniper.holds(doses)
    course.scores(1)
    course.juniper.reach.away = False
    course.juniper.running = True
    course.network.settle()
    assert "command-refused" in course.juniper.worklist()
    assert course.seen() == [1]
    course.restore_hub(backup)
    course.network.settle()
    course.score_and_settle(2)
    assert course.seen() == [1, 2]
    course.assert_whole()


@either_way
def test_a_closing_move_is_replayed_although_rows_are_lost_that_came_before_it(course: Course) -> None:
    """The hub takes rows only when everything is replayed, and a closing move else waits for the rows before it."""
    backup = course.backup_hub()
    course.score_and_settle(1)
    course.juniper.moves(course.referred, "cancel", reason="moved")
    course.network.settle()
    course.restore_hub(backup)
    course.network.settle()
    (state,) = [row.state for row in course.hub_rows("referral")]
    assert state == "cancelled"
    assert course.seen() == [1]
    course.assert_whole()


@either_way
def test_entries_of_an_episode_that_the_other_practice_has_to_bring_back(course: Course) -> None:
    """The recipient is back first, with entries of an episode whose referral only its referrer can replay."""
    backup = course.backup_hub()
    patient = course.juniper.registers("Morgan Example", date(1990, 1, 2))
    another = course.juniper.refers(patient, course.riverbend)
    course.network.settle()
    taken_in = course.riverbend.takes_in(another)
    course.riverbend.moves(another, "accept")
    course.network.settle()
    course.riverbend.grants(another, {SCORES})
    course.network.settle()
    course.riverbend.records(taken_in, a_phq9(total=5, taken_at=course.network.clock.now()))
    course.network.settle()
    course.restore_hub(backup)
    course.juniper.running = False
    course.network.settle()
    course.juniper.running = True
    course.network.settle(rounds=120)
    course.riverbend.records(taken_in, a_phq9(total=6, taken_at=course.network.clock.now()))
    course.network.settle()
    seen = [each["content"]["total"] for each in course.juniper.sees(SCORES, another.episode_id)]
    assert seen == [5, 6]
    assert set(course.times_received(course.juniper)) == {1}
    course.assert_whole()
