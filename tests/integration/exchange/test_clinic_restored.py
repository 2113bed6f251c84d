"""A clinic back from an older backup: nothing it had sent is lost to it, nothing its partner had is doubled or skipped."""

import json

from sqlalchemy import select

from support.care_examples import a_phq9
from support.network import SimulatedClinic
from tandem.exchange.v1.exchange_pb2 import EntryLabels, RowBody
from tandem_care.categories import Category
from tandem_clinic.exchange.restore import RESTORED
from tandem_clinic.store import entries
from tandem_clinic.store.tables import own_entry, sealed_entry
from tandem_clinic.usecases.entries import amend_entry, take_back_entry
from tandem_platform.exchange import log
from tandem_platform.ids import new_id
from tandem_platform.rpc import words
from tandem_platform.sealing import seal
from tandem_platform.storage import Transaction

from .conftest import SCORES, Course, either_way


def own_totals(clinic: SimulatedClinic, patient_id: str) -> list[int]:
    """The scores in the clinic's own records, oldest first."""
    with clinic.db.reading() as tx:
        records = entries.own_of_patient(tx, clinic.clinic.vault, patient_id)
    return [json.loads(each.content)["content"]["total"] for each in records if each.category == SCORES]


def head_of(clinic: SimulatedClinic) -> tuple[int, int]:
    with clinic.db.reading() as tx:
        head = log.head_of(tx, clinic.clinic.uplink)
    return head.epoch, head.sequence


@either_way
def test_what_was_lost_comes_back_as_its_own_records(course: Course) -> None:
    course.score_and_settle(1)
    backup = course.backup(course.juniper)
    course.score_and_settle(2, 3)
    before = head_of(course.juniper)
    course.restore(course.juniper, backup)
    assert own_totals(course.juniper, course.referred.patient_id) == [1]
    course.network.settle()
    assert own_totals(course.juniper, course.referred.patient_id) == [1, 2, 3]
    assert course.seen() == [1, 2, 3]
    assert head_of(course.juniper)[0] == before[0] + 1
    course.assert_whole()
    authors = [row.author_id for row in course.rows(course.juniper, "own_entry")]
    assert authors.count(RESTORED) == 2


@either_way
def test_it_is_an_alert_until_both_sides_are_level_again_and_in_the_account_for_ever(course: Course) -> None:
    backup = course.backup(course.juniper)
    course.score_and_settle(1, 2)
    course.restore(course.juniper, backup)
    course.scores(3)
    for _ in range(2):
        course.juniper.node.sync.step()
        assert course.juniper.alerts() == ["restored-from-backup"]
    course.network.settle()
    assert course.juniper.alerts() == []
    assert course.actions(course.juniper).count("restored-from-backup") == 1


def test_it_goes_on_in_a_new_epoch_and_its_partner_misses_nothing(course: Course) -> None:
    backup = course.backup(course.juniper)
    course.score_and_settle(1, 2)
    course.restore(course.juniper, backup)
    course.network.settle()
    course.score_and_settle(3, 4)
    assert course.seen() == [1, 2, 3, 4]
    assert set(course.times_received(course.riverbend)) == {1}
    course.assert_whole()


@either_way
def test_what_it_wrote_after_the_backup_while_the_hub_was_away_is_kept_beside_what_was_lost(
    course: Course,
) -> None:
    backup = course.backup(course.juniper)
    course.score_and_settle(1, 2)
    course.restore(course.juniper, backup)
    course.juniper.reach.away = True
    course.broker.down = True
    for total in (7, 8, 9):
        course.scores(total)
        course.network.settle()
    course.juniper.reach.away = False
    course.broker.down = False
    course.network.settle()
    assert sorted(own_totals(course.juniper, course.referred.patient_id)) == [1, 2, 7, 8, 9]
    assert sorted(course.seen()) == [1, 2, 7, 8, 9]
    assert set(course.times_received(course.riverbend)) == {1}
    course.assert_whole()


def test_a_fork_that_is_shorter_than_what_was_lost(course: Course) -> None:
    backup = course.backup(course.juniper)
    course.score_and_settle(1, 2, 3, 4)
    course.restore(course.juniper, backup)
    course.juniper.reach.away = True
    course.broker.down = True
    course.scores(9)
    course.juniper.reach.away = False
    course.broker.down = False
    course.network.settle()
    assert sorted(course.seen()) == [1, 2, 3, 4, 9]
    assert sorted(own_totals(course.juniper, course.referred.patient_id)) == [1, 2, 3, 4, 9]
    course.assert_whole()


def test_a_fork_of_the_same_length_as_what_was_lost(course: Course) -> None:
    backup = course.backup(course.juniper)
    course.score_and_settle(1)
    course.restore(course.juniper, backup)
    course.juniper.reach.away = True
    course.broker.down = True
    course.scores(9)
    course.juniper.reach.away = False
    course.broker.down = False
    course.network.settle()
    assert sorted(course.seen()) == [1, 9]
    course.assert_whole()


def test_a_fork_that_kafka_carries_before_the_first_sync(course: Course) -> None:
    """The relay is faster than Sync: copies of the forked rows reach the hub first, and are dropped."""
    backup = course.backup(course.juniper)
    course.score_and_settle(1, 2)
    course.restore(course.juniper, backup)
    for total in (7, 8, 9):
        course.scores(total)
    if course.juniper.node.relay is not None:
        course.juniper.node.relay.step()
    course.network.step_hub()
    course.network.settle()
    assert sorted(course.seen()) == [1, 2, 7, 8, 9]
    course.assert_whole()


def test_rows_that_the_backup_held_and_nobody_had_heard_of_go_once(course: Course) -> None:
    course.juniper.reach.away = True
    course.broker.down = True
    course.scores(1)
    backup = course.backup(course.juniper)
    course.juniper.reach.away = False
    course.broker.down = False
    course.network.settle()
    course.score_and_settle(2)
    course.restore(course.juniper, backup)
    course.network.settle()
    assert course.seen() == [1, 2]
    assert sorted(own_totals(course.juniper, course.referred.patient_id)) == [1, 2]
    assert set(course.times_received(course.riverbend)) == {1}
    course.assert_whole()


@either_way
def test_restored_twice_to_the_same_backup(course: Course) -> None:
    backup = course.backup(course.juniper)
    course.score_and_settle(1)
    for total in (2, 3):
        course.restore(course.juniper, backup)
        course.network.settle()
        course.score_and_settle(total)
    assert course.seen() == [1, 2, 3]
    assert own_totals(course.juniper, course.referred.patient_id) == [1, 2, 3]
    assert set(course.times_received(course.riverbend)) == {1}
    course.assert_whole()


def test_a_crash_in_the_middle_of_the_restore_is_gone_through_again(course: Course) -> None:
    """The epoch is open at the hub, and the clinic's own transaction did not happen."""
    backup = course.backup(course.juniper)
    course.score_and_settle(1, 2)
    course.restore(course.juniper, backup)

    def crash(method: str, phase: str) -> None:
        if method.endswith("/OpenEpoch") and phase == "response":
            course.juniper.reach.hooks.clear()
            raise KeyboardInterrupt

    course.juniper.reach.hooks.append(crash)
    try:
        course.network.settle()
    except KeyboardInterrupt:
        course.juniper.restart()
    course.network.settle()
    course.score_and_settle(3)
    assert course.seen() == [1, 2, 3]
    assert own_totals(course.juniper, course.referred.patient_id) == [1, 2, 3]
    course.assert_whole()


@either_way
def test_its_journal_repeats_commands_without_effect(course: Course) -> None:
    """A grant that the hub had taken is queued in the backup: sent again, it is answered and not made twice."""
    course.juniper.reach.away = True
    granted = course.juniper.grants(course.referred, {Category.MEDICATION_MONITORING})
    backup = course.backup(course.juniper)
    course.juniper.reach.away = False
    course.network.settle()
    before = [row for row in course.hub_rows("permission") if row.permission_id == granted]
    course.restore(course.juniper, backup)
    course.network.settle()
    assert [row for row in course.hub_rows("permission") if row.permission_id == granted] == before
    assert len([row for row in course.hub_rows("permission_version") if row.permission_id == granted]) == 1
    course.assert_whole()


def test_a_recipient_restored_reads_its_downlink_again(course: Course) -> None:
    backup = course.backup(course.riverbend)
    course.score_and_settle(1, 2, 3)
    course.restore(course.riverbend, backup)
    assert course.seen() == []
    course.network.settle()
    course.score_and_settle(4)
    assert course.seen() == [1, 2, 3, 4]
    course.assert_whole()


def test_what_was_voided_before_the_hub_had_it_goes_again_when_its_replacement_was_lost(
    course: Course,
) -> None:
    """A hold takes the partner's wraps back: the rows that the hub was brought are empty, and those that say it again are gone."""
    course.juniper.reach.away = course.broker.down = True
    course.scores(1)
    backup = course.backup(course.juniper)
    course.scores(2)
    course.juniper.holds(course.permission)
    course.juniper.reach.away = False
    course.juniper.node.sync.push()
    course.restore(course.juniper, backup)
    course.broker.down = False
    course.network.settle()
    assert len(course.hub_rows("entry")) == len(course.rows(course.juniper, "sealed_entry"))
    assert course.seen() == [1]
    course.assert_whole()


@either_way
def test_a_recipient_restored_does_not_get_what_was_revoked_meanwhile(course: Course) -> None:
    backup = course.backup(course.riverbend)
    course.score_and_settle(1, 2)
    course.juniper.revokes(course.permission)
    course.network.settle()
    course.restore(course.riverbend, backup)
    course.network.settle()
    assert course.seen() == []
    contents = [
        row.content for row in course.rows(course.riverbend, "received_entry") if row.category == SCORES
    ]
    assert not any(contents)
    course.assert_whole()


def test_receipts_told_twice_are_accounted_for_once(course: Course) -> None:
    backup = course.backup(course.riverbend)
    course.score_and_settle(1, 2)
    course.juniper.revokes(course.permission)
    course.network.settle()
    records = len(course.hub_rows("audit_record"))
    course.restore(course.riverbend, backup)
    course.network.settle()
    new = [row.record for row in course.hub_rows("audit_record")[records:] if row.chain == "juniper"]
    # What it had lost, and may not have again, is taken back; of receipts there is nothing.
    assert len(new) == 2
    assert all(b"ended-before-a-restore" in record for record in new)


def test_amendments_and_withdrawals_come_back_as_such(course: Course) -> None:
    backup = course.backup(course.juniper)
    first = course.juniper.records(
        course.referred.patient_id, a_phq9(total=1, taken_at=course.network.clock.now())
    )
    second = course.juniper.records(
        course.referred.patient_id, a_phq9(total=2, taken_at=course.network.clock.now())
    )
    course.juniper.do(amend_entry, first.record_id, a_phq9(total=11, taken_at=course.network.clock.now()))
    course.juniper.do(take_back_entry, second.record_id)
    course.network.settle()
    states = sorted(row.state for row in course.rows(course.juniper, "own_entry") if row.category == SCORES)
    course.restore(course.juniper, backup)
    course.network.settle()
    restored = sorted(row.state for row in course.rows(course.juniper, "own_entry") if row.category == SCORES)
    assert restored == states
    assert sorted(course.seen()) == [1, 11]
    course.assert_whole()


def test_one_record_shared_in_two_episodes_comes_back_as_one(course: Course) -> None:
    backup = course.backup(course.juniper)
    course.score_and_settle(1)
    course.restore(course.juniper, backup)
    course.network.settle()
    with course.juniper.db.reading() as tx:
        records = {row.record_id for row in tx.all(select(sealed_entry.c.record_id))}
        known = {row.record_id for row in tx.all(select(own_entry.c.record_id))}
    assert records <= known


def test_a_lost_row_that_says_nothing_readable_stays_a_row_and_is_on_the_worklist(course: Course) -> None:
    """What a later version wrote, for one: Sync comes to its end, and what can be read comes back."""
    juniper = course.juniper
    backup = course.backup(juniper)
    course.score_and_settle(1)
    entry_id = _send_unreadable(juniper, course.referred.episode_id)
    course.score_and_settle(2)
    course.restore(juniper, backup)
    course.network.settle()
    assert own_totals(juniper, course.referred.patient_id) == [1, 2]
    assert "restored-from-backup" in course.actions(juniper)
    (item,) = [row for row in course.rows(juniper, "worklist_item") if row.kind == "entry-not-restored"]
    assert (item.subject_id, item.facts) == (entry_id, {"reason": "content-invalid"})
    course.score_and_settle(3)
    assert course.seen() == [1, 2, 3]
    course.assert_whole()


def _send_unreadable(clinic: SimulatedClinic, episode_id: str) -> str:
    """An entry that only the clinic itself can open, and nobody can read."""
    labels = EntryLabels(
        entry_id=new_id("ent"),
        episode_id=episode_id,
        origin_practice_id=clinic.name,
        category=words.category_number(SCORES),
    )
    labels.authored_at.FromDatetime(clinic.clinic.now())
    sealed = seal(labels, b'{"kind":"of-tomorrow","version":1,"content":{}}', clinic.keys, None)

    def send(tx: Transaction) -> None:
        log.stage(tx, clinic.clinic.uplink, RowBody(entry=sealed), entry_id=labels.entry_id)

    clinic.db.run(send)
    return labels.entry_id
