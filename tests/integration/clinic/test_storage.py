"""What a clinic's database must guarantee, on SQLite and on PostgreSQL."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from support.clinics import PARTNERSHIP, RIVERBEND, AClinic, a_form, a_summary, an_identity
from tandem.exchange.v1.exchange_pb2 import RowBody
from tandem_care.categories import Category
from tandem_clinic.domain.staff import Role
from tandem_clinic.http.app import create_app
from tandem_clinic.http.entrance import Entrance
from tandem_clinic.hub import journal
from tandem_clinic.store import audit, episodes, patients, staff
from tandem_clinic.store.tables import audit_record, own_entry
from tandem_clinic.usecases.entries import ExternalIdentifier, amend_entry, record_entry, take_back_entry
from tandem_clinic.usecases.permissions import grant_permission, revoke_permission, terms_from
from tandem_clinic.usecases.plan import read_care_plan
from tandem_clinic.usecases.referrals import Requested, request_referral
from tandem_platform.errors import Refusal
from tandem_platform.exchange import log
from tandem_platform.sealing.entries import has_wrap_for
from tandem_platform.storage import Transaction
from tandem_platform.storage.encryption import DataKeyDestroyed


def refers(clinic: AClinic, patient_id: str) -> Requested:
    return clinic.db.run(
        lambda tx: request_referral(
            tx, clinic.clinic, clinic.clinician, patient_id, PARTNERSHIP, "psychotherapy", a_form()
        )
    )


def records(clinic: AClinic, patient_id: str, **more: Any):
    return clinic.db.run(
        lambda tx: record_entry(tx, clinic.clinic, clinic.clinician, patient_id, a_summary(), **more)
    )


def at_once(count: int, work: Callable[[], object]) -> list[BaseException]:
    """Run *work* in *count* threads that start together; what any of them raised."""
    barrier = threading.Barrier(count)
    faults: list[BaseException] = []

    def run() -> None:
        barrier.wait()
        try:
            work()
        except BaseException as fault:  # noqa: BLE001 - it is looked at by the test
            faults.append(fault)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return faults


def test_a_whole_course_is_kept_and_read_back(juniper):
    patient_id = juniper.registers()
    asked = refers(juniper, patient_id)
    terms = terms_from([Category.PROGRESS_SUMMARY], "treatment")
    granted = juniper.db.run(
        lambda tx: grant_permission(tx, juniper.clinic, juniper.clinician, asked.episode_id, terms, a_form())
    )
    first = records(juniper, patient_id)
    juniper.db.run(
        lambda tx: amend_entry(tx, juniper.clinic, juniper.clinician, first.record_id, a_summary("Better"))
    )
    second = records(juniper, patient_id)
    juniper.db.run(lambda tx: take_back_entry(tx, juniper.clinic, juniper.clinician, second.record_id))
    juniper.db.run(lambda tx: revoke_permission(tx, juniper.clinic, juniper.clinician, granted.subject_id))
    plan = juniper.db.run(lambda tx: read_care_plan(tx, juniper.clinic, juniper.clinician, patient_id))
    summaries = sorted(item.state for item in plan if item.kind == "integration-summary")
    assert summaries == ["active", "amended", "entered-in-error"]
    sent = [body.entry for body in juniper.uplink() if body.HasField("entry")]
    assert not any(has_wrap_for(entry, RIVERBEND) for entry in sent)
    with juniper.db.reading() as tx:
        assert list(audit.findings(tx)) == []


def test_what_fails_leaves_nothing_behind(juniper):
    """The record, its sealing, its uplink row and its line in the account are one."""
    patient_id = juniper.registers()
    refers(juniper, patient_id)
    with juniper.db.reading() as tx:
        lines = len(audit.read(tx))
    rows = len(juniper.uplink_rows())

    def fails(tx: Any) -> None:
        record_entry(tx, juniper.clinic, juniper.clinician, patient_id, a_summary())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        juniper.db.run(fails)
    assert len(juniper.uplink_rows()) == rows
    with juniper.db.reading() as tx:
        assert len(audit.read(tx)) == lines
        assert (
            tx.first(select(own_entry.c.record_id).where(own_entry.c.kind == "integration-summary")) is None
        )


def test_an_entry_of_the_ehr_arriving_many_times_at_once_is_recorded_once(juniper):
    patient_id = juniper.registers()
    known = ExternalIdentifier("urn:ehr", "note-1")
    faults = at_once(8, lambda: records(juniper, patient_id, identifier=known))
    assert [fault for fault in faults if not isinstance(fault, Refusal)] == []
    with juniper.db.reading() as tx:
        assert len(tx.all(select(own_entry.c.record_id))) == 1


def test_a_request_arriving_many_times_at_once_is_done_once(juniper):
    app = create_app(Entrance(juniper.clinic, juniper.journal, dict))
    with juniper.db.transaction() as tx:
        member = staff.add(tx, "Somebody", frozenset({Role.CLINICIAN}), juniper.clinic.now())
        token = staff.issue_token(tx, member.staff_id, juniper.clinic.now())
    answers = []

    def ask() -> None:
        answers.append(
            app.test_client().post(
                "/api/v1/patients",
                json={"identity": an_identity().to_fields()},
                headers={"Authorization": f"Bearer {token}", "Idempotency-Key": "one"},
            )
        )

    assert at_once(8, ask) == []
    registered = {answer.get_json()["patient_id"] for answer in answers if answer.status_code == 201}
    assert len(registered) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    with juniper.db.reading() as tx:
        assert len(patients.listed(tx, juniper.clinic.vault)) == 1


def test_two_episodes_with_one_partner_are_never_open_together(juniper):
    patient_id = juniper.registers()
    faults = at_once(6, lambda: refers(juniper, patient_id))
    assert len(faults) == 5
    with juniper.db.reading() as tx:
        assert [each.is_open for each in episodes.of_patient(tx, patient_id)] == [True]


def test_commands_queued_at_once_keep_one_order_without_gaps(juniper):
    patient_ids = [juniper.registers(acknowledge_duplicates=True) for _ in range(6)]
    waiting = iter(patient_ids)
    lock = threading.Lock()

    def ask() -> None:
        with lock:
            patient_id = next(waiting)
        refers(juniper, patient_id)

    assert at_once(6, ask) == []
    with juniper.db.reading() as tx:
        assert [command.position for command in journal.queued(tx)] == [1, 2, 3, 4, 5, 6]
        assert list(audit.findings(tx)) == []


def test_an_edited_account_is_found(juniper):
    juniper.registers()
    juniper.registers(acknowledge_duplicates=True)
    with juniper.db.transaction() as tx:
        tx.execute(update(audit_record).where(audit_record.c.number == 1).values(staff_id="staff_other"))
    with juniper.db.reading() as tx:
        assert list(audit.findings(tx)) == [(1, "not-what-was-hashed")]


def test_a_truncated_account_is_found(juniper):
    juniper.registers()
    juniper.registers(acknowledge_duplicates=True)
    with juniper.db.transaction() as tx:
        tx.execute(audit_record.delete().where(audit_record.c.number == 2))
    with juniper.db.reading() as tx:
        assert list(audit.findings(tx)) == [(1, "head-differs")]


def test_nothing_of_a_patient_is_readable_in_the_database(juniper):
    patient_id = juniper.registers(an_identity(legal_name="Zebulon Quartermain"))
    refers(juniper, patient_id)
    records(juniper, patient_id)
    with juniper.db.engine.connect() as connection:
        for table in juniper.db.metadata.sorted_tables:
            stored = repr([tuple(row) for row in connection.execute(select(table))])
            assert "Zebulon" not in stored, table.name
            assert "Integration went well" not in stored, table.name


def test_a_shredded_key_leaves_nothing_to_read(juniper):
    patient_id = juniper.registers()
    juniper.db.run(lambda tx: juniper.clinic.vault.shred(tx, patient_id))
    with juniper.db.reading() as tx, pytest.raises(DataKeyDestroyed):
        patients.get(tx, juniper.clinic.vault, patient_id)
    with pytest.raises(DataKeyDestroyed):
        records(juniper, patient_id)


def test_a_failed_savepoint_takes_its_data_key_back(juniper):
    """A cipher that remembered a key which was rolled back would write what nobody can read."""

    def work(tx: Transaction) -> bytes:
        vault = juniper.clinic.vault
        vault.encrypt(tx, b"one", "a.b", "row", "pat_first")
        with contextlib.suppress(ZeroDivisionError), tx.savepoint():
            vault.encrypt(tx, b"two", "a.b", "row", "pat_second")
            raise ZeroDivisionError
        kept: bytes = vault.encrypt(tx, b"three", "a.b", "row", "pat_second")
        return kept

    stored = juniper.db.run(work)
    with juniper.db.reading() as tx:
        assert juniper.clinic.vault.decrypt(tx, stored, "a.b", "row", "pat_second") == b"three"


def test_rows_of_one_transaction_stand_in_the_order_of_staging(juniper):
    patient_id = juniper.registers()
    refers(juniper, patient_id)

    def work(tx: Transaction) -> list[str]:
        made: list[str] = []
        for number in range(5):
            recorded = record_entry(
                tx, juniper.clinic, juniper.clinician, patient_id, a_summary(f"Number {number}")
            )
            made += recorded.entry_ids
        return made

    made = juniper.db.run(work)
    with juniper.db.reading() as tx:
        rows = log.read(tx, juniper.clinic.uplink, 0, 100)
    sent = [RowBody.FromString(row.body).entry.labels.entry_id for row in rows]
    assert sent[-5:] == made
