"""Once each and in order, whoever brings the rows."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.logs import JUNIPER, Notes, Reader, Writer, an_entry
from support.stacks import DatabaseOf
from tandem.exchange.v1.exchange_pb2 import LogRow
from tandem_platform.exchange import log
from tandem_platform.exchange.reader import LogStopped, restart
from tandem_platform.exchange.rows import sign_batch, uplink
from tandem_platform.storage import Transaction

LETTERS = list("abcdefghij")


def altered(rows: list[LogRow], index: int, **changes: object) -> list[LogRow]:
    copies = [LogRow.FromString(row.SerializeToString()) for row in rows]
    for name, value in changes.items():
        setattr(copies[index], name, value)
    return copies


def test_rows_take_effect_once_each_and_in_order(writer: Writer, reader: Reader) -> None:
    writer.words(LETTERS)
    reader.pushed(writer.batch(limit=4))
    reader.copied(writer.batch())
    reader.pushed(writer.batch(after=2))
    assert reader.words == LETTERS
    assert reader.cursor() == writer.head


def test_what_is_known_is_skipped(writer: Writer, reader: Reader) -> None:
    writer.words(LETTERS)
    reader.pushed(writer.batch())
    assert reader.pushed(writer.batch()).rows == 0
    assert reader.copied(writer.batch(limit=3)).rows == 0
    assert reader.words == LETTERS


def test_a_gap_is_not_stepped_over(writer: Writer, reader: Reader) -> None:
    writer.words(LETTERS)
    assert reader.copied(writer.batch(after=3)).gap
    assert reader.pushed(writer.batch(after=3)).gap
    assert reader.words == []
    reader.pushed(writer.batch(limit=3))
    reader.copied(writer.batch(after=3))
    assert reader.words == LETTERS


def test_a_gap_within_a_batch_ends_what_it_can_bring(writer: Writer, reader: Reader) -> None:
    writer.words(LETTERS)
    rows = writer.batch(limit=4) + writer.batch(after=6)
    applied = reader.copied(rows)
    assert (applied.rows, applied.gap) == (4, True)
    assert reader.words == LETTERS[:4]


@pytest.mark.parametrize("field", ["previous_hash", "body_hash", "body"])
def test_a_wrong_hash_stops_the_log_and_in_a_copy_only_drops_it(
    field: str, writer: Writer, reader: Reader
) -> None:
    writer.words(LETTERS)
    bad = altered(writer.batch(), 4, **{field: b"\x07" * 32})
    assert reader.copied(bad).broken
    assert reader.pushed(writer.batch(limit=2)).rows == 2
    with pytest.raises(LogStopped):
        reader.pushed(bad)
    with pytest.raises(LogStopped):
        reader.pushed(writer.batch())
    with pytest.raises(LogStopped):
        reader.copied(writer.batch())
    assert reader.words == LETTERS[:2]
    reader.database.run(lambda tx: restart(tx, JUNIPER))
    reader.pushed(writer.batch())
    assert reader.words == LETTERS


def test_an_unknown_epoch_stops_the_log_and_in_a_copy_only_drops_it(writer: Writer, reader: Reader) -> None:
    writer.words(["a"])
    reader.pushed(writer.batch())
    writer.database.run(lambda tx: log.open_epoch(tx, JUNIPER, 2, writer.head, 1))
    writer.words(["b"])
    ahead = writer.batch(after=1)
    assert ahead[0].epoch == 2
    assert reader.copied(ahead).broken == "unknown-epoch"
    with pytest.raises(LogStopped, match="unknown-epoch"):
        reader.pushed(ahead)


def test_a_batch_never_spans_two_epochs(writer: Writer, reader: Reader) -> None:
    writer.words(["a", "b"])
    writer.database.run(lambda tx: log.open_epoch(tx, JUNIPER, 2, writer.head, 2))
    writer.words(["c"])
    assert [row.epoch for row in writer.batch()] == [1, 1]
    assert [row.epoch for row in writer.batch(after=2)] == [2]


def test_a_signature_by_another_key_brings_nothing_and_stops_nothing(writer: Writer, reader: Reader) -> None:
    writer.words(LETTERS)
    stranger = Writer(writer.database, key=Ed25519PrivateKey.generate())
    assert reader.copied(stranger.batch()).broken == "bad-signature"
    assert reader.pushed(stranger.batch()).broken == "bad-signature"
    assert reader.words == []
    reader.pushed(writer.batch())
    assert reader.words == LETTERS


def test_a_row_of_another_log_does_not_pass(writer: Writer, reader: Reader) -> None:
    writer.words(LETTERS)
    assert reader.copied(writer.batch(), uplink("riverbend")).broken
    assert reader.words == []


def test_rows_after_the_last_signature_wait_for_one(writer: Writer, reader: Reader) -> None:
    writer.words(LETTERS)
    rows = writer.batch(limit=4) + writer.batch(after=4, signed=False)
    applied = reader.copied(rows)
    assert (applied.rows, applied.unsigned) == (4, 6)
    assert reader.copied(writer.batch(after=4, signed=False)).unsigned == 6
    assert reader.words == LETTERS[:4]
    reader.copied(writer.batch(after=4))
    assert reader.words == LETTERS


def test_one_signature_covers_all_rows_before_it(writer: Writer, reader: Reader) -> None:
    writer.words(LETTERS)
    rows = writer.batch()
    assert [bool(row.signature) for row in rows] == [False] * 9 + [True]
    reader.copied(rows)
    assert reader.words == LETTERS


def test_a_void_moves_the_cursor_and_nothing_else(writer: Writer, reader: Reader) -> None:
    writer.words(LETTERS)
    writer.database.run(lambda tx: log.void(tx, JUNIPER, [3, 10], "revoked"))
    reader.pushed(writer.batch())
    assert reader.words == [each for each in LETTERS if each not in "cj"]
    assert reader.cursor() == writer.head


def test_whoever_holds_the_broker_cannot_empty_a_row(writer: Writer, reader: Reader) -> None:
    writer.words(LETTERS)
    emptied = altered(writer.batch(), 4, body=b"", void_reason="revoked")
    sign_batch(JUNIPER, emptied, writer.sign)
    assert reader.copied(emptied).broken == "void-in-copy"
    reader.pushed(writer.batch())
    assert reader.words == LETTERS


def test_nothing_takes_effect_before_the_reader_is_ready(
    writer: Writer, reader: Reader, notes: Notes
) -> None:
    writer.words(LETTERS)
    notes.ready = False
    assert reader.pushed(writer.batch()).waiting
    bad = altered(writer.batch(), 4, body_hash=b"x")
    assert reader.pushed(bad).waiting, "a log is not judged before its writer has synced"
    notes.ready = True
    reader.pushed(writer.batch())
    assert reader.words == LETTERS


def test_a_row_waits_for_its_command_and_all_after_it_do(
    writer: Writer, reader: Reader, notes: Notes
) -> None:
    writer.writes(an_entry("a"), an_entry("b", after="req_1"), an_entry("c", episode="epi_b"))
    notes.waits_for = {"req_1"}
    applied = reader.pushed(writer.batch())
    assert (applied.rows, applied.waiting) == (1, True)
    assert reader.pushed(writer.batch()).rows == 0
    notes.waits_for = set()
    reader.copied(writer.batch())
    assert reader.words == ["a", "b", "c"]


def test_the_cursor_lock_fences_two_readers(writer: Writer, reader: Reader, notes: Notes) -> None:
    """Two who both saw the same cursor outside still apply one after the other."""
    writer.words(LETTERS)
    inside = threading.Event()
    overlapping: list[str] = []
    lock = threading.Lock()

    def between() -> None:
        if not lock.acquire(blocking=False):
            overlapping.append("both at once")
            return
        try:
            inside.set()
            inside.wait(0.01)
        finally:
            lock.release()

    notes.between = between
    paths: list[Callable[[list[LogRow]], object]] = [reader.pushed, reader.copied] * 3
    with ThreadPoolExecutor(6) as threads:
        for done in [threads.submit(path, writer.batch()) for path in paths]:
            done.result()
    assert overlapping == []
    assert reader.words == LETTERS


def test_a_crash_between_effect_and_commit_leaves_neither(writer: Writer, reader: Reader) -> None:
    writer.words(LETTERS)

    class Crash(BaseException):
        pass

    def applied_and_crashed(tx: Transaction) -> None:
        reader.log_reader._apply(tx, JUNIPER, writer.batch(), True, None)
        raise Crash

    with pytest.raises(Crash):
        reader.database.run(applied_and_crashed)
    assert (reader.words, reader.cursor().sequence) == ([], 0)
    reader.pushed(writer.batch())
    assert reader.words == LETTERS


@pytest.fixture
def a_reader(database_of: DatabaseOf, reader: Reader) -> Callable[[], Reader]:
    def emptied() -> Reader:
        with reader.database.transaction() as tx:
            for table in reversed(reader.database.metadata.sorted_tables):
                tx.execute(table.delete())
        return Reader(reader.database, keep=True)

    return emptied


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(1, 10)), max_size=12))
def test_any_mixture_of_copies_and_pushes_converges(
    writer: Writer, a_reader: Callable[[], Reader], moves: list[tuple[bool, int, int]]
) -> None:
    if not writer.all():
        writer.words(LETTERS)
    reader = a_reader()
    for authoritative, after, limit in moves:
        path = reader.pushed if authoritative else reader.copied
        path(writer.batch(after=after, limit=limit))
        assert reader.words == LETTERS[: reader.cursor().sequence]
    reader.pushed(writer.batch(after=reader.cursor().sequence))
    assert reader.words == LETTERS
    kept = Writer(reader.database).all()
    assert [row.body for row in kept] == [row.body for row in writer.all()]
