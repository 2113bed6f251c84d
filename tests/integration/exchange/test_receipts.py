"""Receipts: whose word counts, for what, and how much of it at once."""

from collections.abc import Sequence

import pytest
from sqlalchemy import func, select

from support.network import SimulatedClinic, a_practice_id
from tandem.exchange.v1.exchange_pb2 import EntriesReceived, RowBody, SealedEntry
from tandem_clinic.store.tables import audit_record, receipt, sealed_entry
from tandem_clinic.usecases.incoming import receipt_returned
from tandem_platform.exchange import log
from tandem_platform.exchange.rows import downlink, uplink
from tandem_platform.ids import new_id
from tandem_platform.sealing import sign_received
from tandem_platform.sealing.entries import MOST_RECEIVED
from tandem_referral.store.tables import exchange

from .conftest import Course


def sent_score(course: Course) -> SealedEntry:
    """What Juniper keeps of the newest entry that it sealed."""
    with course.juniper.db.reading() as tx:
        row = tx.first(select(sealed_entry.c.sealed).order_by(sealed_entry.c.sealed_at.desc()).limit(1))
    assert row is not None
    return SealedEntry.FromString(row.sealed)


def receipts(course: Course, sealed: SealedEntry) -> list[str]:
    """Who gave one for it, by Juniper's account."""
    with course.juniper.db.reading() as tx:
        query = select(receipt.c.recipient_practice_id).where(receipt.c.entry_id == sealed.labels.entry_id)
        return [row.recipient_practice_id for row in tx.all(query)]


def deliveries(course: Course, sealed: SealedEntry) -> int:
    query = select(func.count().label("times")).where(
        audit_record.c.action == "delivered", audit_record.c.subject_id == sealed.labels.entry_id
    )
    with course.juniper.db.reading() as tx:
        return int(tx.all(query)[0].times)


def third_practice(course: Course) -> SimulatedClinic:
    """Another partner of Juniper's. Its name is new, because the courses of a run grow from one beginning."""
    third = course.network.clinic(a_practice_id(), "therapy_provider")
    course.juniper.partners_with(third)
    return third


def returned(course: Course, given: EntriesReceived) -> None:
    """As if the hub had passed it on, whatever an honest hub would do."""
    course.juniper.db.run(lambda tx: receipt_returned(tx, course.juniper.clinic, given))


def sends(clinic: SimulatedClinic, given: EntriesReceived) -> None:
    """On its uplink."""
    clinic.db.run(
        lambda tx: log.stage(
            tx, clinic.clinic.uplink, RowBody(entries_received=given), at=clinic.clinic.now()
        )
    )


def parked(course: Course, name: str) -> list[str]:
    return [row.reason for row in course.hub_rows("exchange_quarantine") if row.log == name]


def test_another_practices_word_takes_no_receipts_place(course: Course) -> None:
    """Neither before the partner's own nor after it; an honest hub passes none on, so whoever does is to be looked at."""
    third = third_practice(course)
    course.riverbend.running = False
    course.score_and_settle(7)
    sealed = sent_score(course)
    returned(course, sign_received(third.keys, "juniper", [sealed]))
    assert (receipts(course, sealed), deliveries(course, sealed)) == ([], 0)
    assert "receipt-differs" in course.juniper.alerts()
    course.riverbend.running = True
    course.network.settle()
    assert (receipts(course, sealed), deliveries(course, sealed)) == (["riverbend"], 1)
    returned(course, sign_received(third.keys, "juniper", [sealed]))
    returned(course, sign_received(course.riverbend.keys, "juniper", [sealed]))
    assert (receipts(course, sealed), deliveries(course, sealed)) == (["riverbend"], 1)


def test_the_hub_accounts_for_no_delivery_on_another_practices_word(course: Course) -> None:
    third = third_practice(course)
    course.riverbend.running = False
    course.score_and_settle(7)
    records, rows = len(course.hub_rows("audit_record")), head(course)
    sends(third, sign_received(third.keys, "juniper", [sent_score(course)]))
    course.network.settle()
    assert cursor(course, third.clinic.uplink) == len(uplink_of(third)), "it was read"
    delivered = [
        row for row in course.hub_rows("audit_record")[records:] if row.chain in ("juniper", third.name)
    ]
    assert (delivered, head(course)) == ([], rows)
    course.riverbend.running = True
    course.network.settle()
    assert receipts(course, sent_score(course)) == ["riverbend"]
    course.assert_whole()


def uplink_of(clinic: SimulatedClinic) -> Sequence[object]:
    with clinic.db.reading() as tx:
        return log.read(tx, clinic.clinic.uplink, 0, 1_000)


def cursor(course: Course, name: str) -> int:
    return next(int(row.sequence) for row in course.hub_rows("exchange_cursor") if row.log == name)


def head(course: Course) -> int:
    """How many rows Juniper's downlink has, roots of the account left out."""
    with course.network.hub.database.reading() as tx:
        rows = tx.all(select(exchange.log.c.body).where(exchange.log.c.log == downlink("juniper")))
    bodies = [RowBody.FromString(row.body) for row in rows if row.body is not None]
    return len([body for body in bodies if not body.HasField("audit_root_published")])


def of_so_many(course: Course, clinic: SimulatedClinic, count: int) -> EntriesReceived:
    """Signed by *clinic*; the last is for the newest entry, the others are for nothing."""
    others = []
    for _ in range(count - 1):
        other = SealedEntry(content_hash=bytes(32))
        other.labels.entry_id = new_id("ent")
        others.append(other)
    return sign_received(clinic.keys, "juniper", [*others, sent_score(course)])


@pytest.mark.parametrize("over", [0, 1])
def test_a_receipt_names_so_many_entries_and_no_more(course: Course, over: int) -> None:
    """At the hub it is parked without holding anybody up, and its origin never sees it."""
    course.riverbend.reach.away = True
    course.network.advance(120)
    course.scores(7)
    for _ in range(4):
        course.juniper.step()
        course.network.step_hub()
    sealed = sent_score(course)
    course.riverbend.reach.away = False
    sends(course.riverbend, of_so_many(course, course.riverbend, MOST_RECEIVED + over))
    course.network.settle()
    assert parked(course, uplink("riverbend")) == ["receipt-too-long"] * over
    assert receipts(course, sealed) == ["riverbend"], "its reader's own receipt comes all the same"
    assert course.seen() == [7]


def test_an_origin_takes_no_longer_receipt_from_its_hub_either(course: Course) -> None:
    course.riverbend.running = False
    course.score_and_settle(7)
    sealed = sent_score(course)
    body = RowBody(receipt_returned=of_so_many(course, course.riverbend, MOST_RECEIVED + 1))
    hub = course.network.hub.database
    hub.run(lambda tx: log.stage(tx, downlink("juniper"), body, at=course.network.clock.now()))
    course.network.settle()
    reasons = [row.reason for row in course.rows(course.juniper, "exchange_quarantine")]
    assert (reasons, receipts(course, sealed)) == (["receipt-too-long"], [])
