"""Numbers without gaps, in the order of commit."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from support.logs import JUNIPER, Writer, a_receipt, an_entry, tables, word_of
from support.sealing import NOON
from tandem.exchange.v1.exchange_pb2 import RowBody
from tandem_platform.exchange import log
from tandem_platform.exchange.rows import START, chain, downlink
from tandem_platform.storage import Transaction


class Mistake(Exception):
    pass


def words_in_log(writer: Writer) -> list[str]:
    return [word_of(RowBody.FromString(row.body)) for row in writer.all()]


def test_rows_are_numbered_from_one_and_chained(writer: Writer) -> None:
    writer.writes(an_entry("a"), an_entry("b"))
    writer.writes(an_entry("c"))
    rows = writer.all()
    assert [(row.epoch, row.sequence) for row in rows] == [(1, 1), (1, 2), (1, 3)]
    assert chain(JUNIPER, START, rows)[-1] == writer.head
    assert words_in_log(writer) == ["a", "b", "c"]


def test_concurrent_writers_leave_no_gap_and_some_of_them_fail(writer: Writer) -> None:
    def write(number: int) -> None:
        chance = random.Random(number)
        for turn in range(10):
            fails = chance.random() < 0.3

            def work(tx: Transaction, fails: bool = fails, turn: int = turn) -> None:
                for part in range(chance.randint(1, 3)):
                    log.stage(tx, JUNIPER, an_entry(f"{number}-{turn}-{part}"), at=NOON)
                if fails:
                    raise Mistake

            if fails:
                with pytest.raises(Mistake):
                    writer.database.run(work)
            else:
                writer.database.run(work)

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(write, number) for number in range(8)]:
            done.result()
    rows = writer.all()
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
    assert len(chain(JUNIPER, START, rows)) == len(rows) > 80


def test_the_order_of_commit_is_the_order_of_number(writer: Writer) -> None:
    """Whoever looks later sees a longer log, and never a row below one that it has seen."""
    writer.words(["first"])
    stop = threading.Event()
    looks: list[list[int]] = []

    def look() -> None:
        while not stop.is_set():
            with writer.database.reading() as tx:
                looks.append([row.sequence for row in tx.all(select(tables.log.c.sequence))])

    watcher = threading.Thread(target=look)
    watcher.start()
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda number: writer.words([f"{number}-{turn}" for turn in range(8)]), range(6)))
    stop.set()
    watcher.join()
    assert len(looks) > 3
    for seen in looks:
        assert sorted(seen) == list(range(1, len(seen) + 1))


def test_logs_are_numbered_apart_and_appended_together(writer: Writer) -> None:
    def work(tx: Transaction) -> None:
        for turn in range(3):
            log.stage(tx, downlink("riverbend"), a_receipt(f"r{turn}"), at=NOON)
            log.stage(tx, JUNIPER, a_receipt(f"j{turn}"), at=NOON)

    writer.database.run(work)
    other = Writer(writer.database, downlink("riverbend"))
    assert words_in_log(writer) == ["j0", "j1", "j2"]
    assert words_in_log(other) == ["r0", "r1", "r2"]
    assert [row.sequence for row in other.all()] == [1, 2, 3]


def test_transactions_that_write_the_same_logs_in_any_order_do_not_wait_for_each_other_for_ever(
    writer: Writer,
) -> None:
    names = [downlink(f"practice-{number}") for number in range(4)]

    def write(number: int) -> None:
        chance = random.Random(number)
        for _ in range(12):

            def work(tx: Transaction) -> None:
                for name in chance.sample(names, 3):
                    log.stage(tx, name, a_receipt("x"), at=NOON)

            writer.database.run(work)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    assert sum(len(Writer(writer.database, name).all()) for name in names) == 4 * 12 * 3


def test_what_a_savepoint_undoes_is_not_appended(writer: Writer) -> None:
    def fail(tx: Transaction, word: str) -> None:
        with tx.savepoint():
            log.stage(tx, JUNIPER, an_entry(word), at=NOON)
            raise Mistake

    def work(tx: Transaction) -> None:
        with pytest.raises(Mistake):
            fail(tx, "undone before anything")
        log.stage(tx, JUNIPER, an_entry("kept"), at=NOON)
        with pytest.raises(Mistake):
            fail(tx, "undone")
        with tx.savepoint():
            log.stage(tx, JUNIPER, an_entry("kept too"), at=NOON)

    writer.database.run(work)
    assert words_in_log(writer) == ["kept", "kept too"]


def test_a_staged_row_can_be_taken_back(writer: Writer) -> None:
    def work(tx: Transaction) -> None:
        for word in ("a", "b", "c"):
            log.stage(tx, JUNIPER, an_entry(word), at=NOON, entry_id=word)
        log.unstage_entries(tx, ["b"])

    writer.database.run(work)
    assert words_in_log(writer) == ["a", "c"]


def test_a_void_keeps_its_number_and_its_hash(writer: Writer) -> None:
    writer.words(["a", "b", "c"])
    before = writer.all()
    writer.database.run(lambda tx: log.void(tx, JUNIPER, [2], "revoked"))
    after = writer.all()
    assert [(row.body, row.void_reason) for row in after][1] == (b"", "revoked")
    assert [row.body_hash for row in after] == [row.body_hash for row in before]
    assert chain(JUNIPER, START, after)[-1] == writer.head
    writer.database.run(lambda tx: log.void(tx, JUNIPER, [2], "closed"))
    assert writer.all()[1].void_reason == "revoked"


def test_a_body_is_not_readable_in_the_database(writer: Writer) -> None:
    writer.words(["canary-of-the-log"])
    with writer.database.engine.connect() as connection:
        (stored,) = connection.exec_driver_sql("SELECT body FROM exchange_log").one()
    assert b"canary" not in bytes(stored)


def test_a_batch_is_bounded_by_its_size_but_never_empty(writer: Writer) -> None:
    writer.writes(*[an_entry(word, size=1_000) for word in "xyz"])
    with writer.database.reading() as tx:
        assert len(log.read(tx, JUNIPER, 0, 500, max_bytes=2_500)) == 2
        assert len(log.read(tx, JUNIPER, 2, 500, max_bytes=10)) == 1
        assert len(log.read(tx, JUNIPER, 0, 2)) == 2
