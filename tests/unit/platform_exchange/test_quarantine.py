"""A bad row parks its episode; everybody else goes on."""

from typing import cast

import pytest

from support.logs import JUNIPER, Notes, Reader, Writer, a_receipt, an_entry
from support.sealing import NOON
from tandem.exchange.v1.exchange_pb2 import RowBody
from tandem_platform.exchange import log
from tandem_platform.exchange.reader import FaultWindow, ReaderStopped, RowFault


class OurMistake(Exception):
    """The reader's own code fails."""


class Gibberish:
    """A body by a writer of another make."""

    def SerializeToString(self, *, deterministic: bool) -> bytes:
        return b"\xff\xff not a message"


def test_a_fault_parks_its_episode_and_the_others_flow(writer: Writer, reader: Reader, notes: Notes) -> None:
    writer.writes(
        an_entry("a1", "epi_a"), an_entry("b1", "epi_b"), an_entry("a2", "epi_a"), an_entry("b2", "epi_b")
    )
    notes.faults = {"a1": RowFault("seal-broken")}
    reader.pushed(writer.batch())
    assert reader.words == ["b1", "b2"]
    assert reader.parked() == [(1, "epi_a", "seal-broken"), (3, "epi_a", "queued-behind")]
    assert reader.cursor() == writer.head


def test_later_batches_queue_behind_a_parked_row(writer: Writer, reader: Reader, notes: Notes) -> None:
    notes.faults = {"a1": RowFault("seal-broken")}
    writer.writes(an_entry("a1"))
    reader.pushed(writer.batch())
    writer.writes(an_entry("a2"), an_entry("b1", "epi_b"))
    reader.copied(writer.batch(after=1))
    assert reader.words == ["b1"]
    assert [sequence for sequence, *_ in reader.parked()] == [1, 2]


def test_what_is_not_content_never_waits_behind_content(writer: Writer, reader: Reader, notes: Notes) -> None:
    notes.faults = {"a1": RowFault("seal-broken")}
    writer.writes(an_entry("a1"), a_receipt("revocation"), an_entry("a2"))
    reader.pushed(writer.batch())
    assert reader.words == ["revocation"]


def test_retry_restores_order(writer: Writer, reader: Reader, notes: Notes) -> None:
    notes.faults = {"a1": RowFault("seal-broken")}
    writer.words(["a1", "a2", "a3"])
    reader.pushed(writer.batch())
    assert reader.log_reader.retry(JUNIPER, "epi_a") == (0, 3)
    notes.faults = {"a2": RowFault("keys-missing")}
    assert reader.log_reader.retry(JUNIPER, "epi_a") == (1, 2)
    assert reader.parked() == [(2, "epi_a", "keys-missing"), (3, "epi_a", "queued-behind")]
    writer.words(["a4"])
    reader.pushed(writer.batch(after=3))
    notes.faults = {}
    assert reader.log_reader.retry(JUNIPER, "epi_a") == (3, 0)
    writer.words(["a5"])
    reader.pushed(writer.batch(after=4))
    assert reader.words == ["a1", "a2", "a3", "a4", "a5"]


def test_a_bad_row_does_not_undo_its_neighbours(writer: Writer, reader: Reader, notes: Notes) -> None:
    writer.writes(*[an_entry(f"e{number}", f"epi_{number}") for number in range(20)])
    notes.faults = {"e7": RowFault("seal-broken"), "e13": OurMistake()}
    reader.pushed(writer.batch())
    assert reader.words == [f"e{number}" for number in range(20) if number not in (7, 13)]
    assert [(sequence, reason) for sequence, _, reason in reader.parked()] == [
        (8, "seal-broken"),
        (14, "internal"),
    ]


def test_a_body_that_does_not_parse_is_parked_whole_and_alone(writer: Writer, reader: Reader) -> None:
    writer.writes(an_entry("a1"))
    writer.database.run(lambda tx: log.stage(tx, JUNIPER, cast(RowBody, Gibberish()), at=NOON))
    writer.writes(an_entry("a2"))
    reader.pushed(writer.batch())
    assert reader.words == ["a1", "a2"]
    assert reader.parked() == [(2, "", "nothing-in-it")]
    assert reader.log_reader.retry(JUNIPER, "") == (0, 1)


def test_rows_without_an_episode_do_not_hold_each_other_up(
    writer: Writer, reader: Reader, notes: Notes
) -> None:
    notes.faults = {"r1": RowFault("a"), "r2": RowFault("b")}
    writer.writes(a_receipt("r1"), a_receipt("r2"), a_receipt("r3"))
    reader.pushed(writer.batch())
    assert reader.words == ["r3"]
    notes.faults = {"r1": RowFault("a")}
    assert reader.log_reader.retry(JUNIPER, "") == (1, 1)
    assert reader.words == ["r3", "r2"]


def test_our_own_exceptions_beyond_the_share_stop_the_reader_and_lose_nothing(
    writer: Writer, reader: Reader, notes: Notes
) -> None:
    words = [f"e{number}" for number in range(60)]
    writer.writes(*[an_entry(word, f"epi_{word}") for word in words])
    notes.faults = {word: OurMistake() for word in words[20:]}
    with pytest.raises(ReaderStopped):
        reader.pushed(writer.batch())
    assert (reader.words, reader.parked(), reader.cursor().sequence) == ([], [], 0)
    with pytest.raises(ReaderStopped):
        reader.copied(writer.batch())
    notes.faults = {}
    with pytest.raises(ReaderStopped):
        reader.pushed(writer.batch())
    # The process is started again, with what failed mended.
    again = Reader(reader.database, notes)
    again.pushed(writer.batch())
    assert again.words == words


def test_faults_of_content_never_stop_the_reader(writer: Writer, reader: Reader, notes: Notes) -> None:
    words = [f"e{number}" for number in range(60)]
    writer.writes(*[an_entry(word, f"epi_{word}") for word in words])
    notes.faults = {word: RowFault("seal-broken") for word in words}
    reader.pushed(writer.batch())
    assert len(reader.parked()) == 60
    writer.writes(an_entry("fine", "epi_fine"))
    reader.pushed(writer.batch(after=60))
    assert reader.words == ["fine"]


def test_a_few_exceptions_of_our_own_among_many_rows_are_parked() -> None:
    window = FaultWindow(size=100, limit=10)
    for _ in range(50):
        window.note(True, *[False] * 10)
    assert not window.exceeded
    window.note(*[True] * 11)
    assert window.exceeded


def test_parked_rows_keep_their_bodies_encrypted(writer: Writer, reader: Reader, notes: Notes) -> None:
    notes.faults = {"canary-word": RowFault("seal-broken")}
    writer.words(["canary-word"])
    reader.pushed(writer.batch())
    with reader.database.engine.connect() as connection:
        (stored,) = connection.exec_driver_sql("SELECT body FROM exchange_quarantine").one()
    assert b"canary" not in bytes(stored)
    assert RowBody.FromString(writer.all()[0].body).entry.labels.entry_id == "canary-word"
