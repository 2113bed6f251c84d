"""Kafka's copies are hints: whatever they are, nothing wrong comes of them, and what is right takes effect."""

import random

import pytest
from sqlalchemy import select

from support.logs import JUNIPER, Notes, Reader, Writer, an_entry, tables
from tandem.exchange.v1.exchange_pb2 import LogRow
from tandem_platform.exchange.feed import MOST_BYTES_HELD, MOST_HELD, KafkaFeed
from tandem_platform.exchange.reader import ReaderStopped
from tandem_platform.exchange.relay import Relay
from tandem_platform.exchange.rows import uplink
from tandem_platform.exchange.transport.memory import (
    MemoryTransport,
    corrupting,
    duplicating,
    losing,
    reordering,
    together,
)
from tandem_platform.exchange.transport.port import Fault

LETTERS = list("abcdefghij")


@pytest.fixture
def transport() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def relay(writer: Writer, transport: MemoryTransport) -> Relay:
    return Relay(writer.database, transport, writer.sign, "juniper")


def a_feed(reader: Reader, transport: MemoryTransport, offset: int = 0) -> KafkaFeed:
    return KafkaFeed(transport.subscribe_one(JUNIPER, offset), reader.log_reader, in_group=False)


def a_group_feed(reader: Reader, transport: MemoryTransport) -> KafkaFeed:
    return KafkaFeed(transport.subscribe_group([JUNIPER], "hub"), reader.log_reader, in_group=True)


def offset_of(reader: Reader) -> int:
    with reader.database.reading() as tx:
        row = tx.first(select(tables.cursor.c.kafka_offset))
    return 0 if row is None else int(row.kafka_offset)


def test_copies_take_effect(writer: Writer, reader: Reader, relay: Relay, transport: MemoryTransport) -> None:
    feed = a_feed(reader, transport)
    writer.words(LETTERS)
    relay.step()
    feed.step()
    assert reader.words == LETTERS
    assert offset_of(reader) == 10


def test_after_a_restart_reading_goes_on_where_it_was(
    writer: Writer, reader: Reader, relay: Relay, transport: MemoryTransport
) -> None:
    writer.words(LETTERS[:4])
    relay.step()
    a_feed(reader, transport).step()
    writer.words(LETTERS[4:])
    relay.step()
    again = a_feed(reader, transport, offset_of(reader))
    again.step()
    assert again.heard == 6
    assert reader.words == LETTERS


def test_at_a_gap_the_offset_stays_and_what_grpc_brings_closes_it(
    writer: Writer, reader: Reader, relay: Relay, transport: MemoryTransport
) -> None:
    feed = a_feed(reader, transport)
    writer.words(LETTERS[:2])
    relay.step()
    feed.step()
    transport.drop(1)
    writer.words(LETTERS[2:])
    relay.step()
    feed.step()
    assert (reader.words, offset_of(reader)) == (LETTERS[:2], 2)
    reader.pushed(writer.batch(after=2, limit=1))
    feed.step()
    assert (reader.words, offset_of(reader)) == (LETTERS, 9)


def test_a_broken_copy_is_dropped_and_the_true_row_comes_by_grpc(
    writer: Writer, reader: Reader, relay: Relay, transport: MemoryTransport
) -> None:
    transport.faults = corrupting(1.0, random.Random(7))
    feed = a_feed(reader, transport)
    writer.words(LETTERS)
    relay.step()
    feed.step()
    assert reader.words == []
    reader.pushed(writer.batch())
    transport.faults = None
    writer.words(["k"])
    relay.step()
    feed.step()
    assert reader.words == [*LETTERS, "k"]


@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_broker_does_nothing_is_wrong_and_push_completes_it(
    seed: int, writer: Writer, reader: Reader, relay: Relay, transport: MemoryTransport
) -> None:
    chance = random.Random(seed)
    faults: list[Fault] = [
        losing(0.1, chance),
        duplicating(0.2, chance),
        corrupting(0.1, chance),
        reordering(0.2, chance),
    ]
    transport.faults = together(*faults)
    words = [f"w{number}" for number in range(40)]
    feed = a_feed(reader, transport)
    for word in words:
        writer.words([word])
        if chance.random() < 0.5:
            relay.step()
        if chance.random() < 0.5:
            feed.step()
        if chance.random() < 0.05:
            transport.lose_all()
        if chance.random() < 0.1:
            feed = a_feed(reader, transport, offset_of(reader))
        assert reader.words == words[: len(reader.words)]
    reader.pushed(writer.batch(after=reader.cursor().sequence))
    assert reader.words == words


def test_copies_are_held_until_they_may_be_applied(
    writer: Writer, reader: Reader, relay: Relay, transport: MemoryTransport
) -> None:
    trusted = False
    feed = KafkaFeed(
        transport.subscribe_one(JUNIPER, 0), reader.log_reader, in_group=False, may_apply=lambda: trusted
    )
    writer.words(LETTERS)
    relay.step()
    feed.step()
    assert reader.words == []
    trusted = True
    feed.step()
    assert reader.words == LETTERS


def test_a_group_commits_only_what_took_effect(
    writer: Writer, reader: Reader, relay: Relay, transport: MemoryTransport, notes: Notes
) -> None:
    notes.waits_for = {"req_1"}
    writer.writes(an_entry("a"), an_entry("b", after="req_1"))
    relay.step()
    feed = a_group_feed(reader, transport)
    feed.step()
    assert reader.words == ["a"]
    feed.close()
    notes.waits_for = set()
    another = a_group_feed(reader, transport)
    another.step()
    assert (reader.words, another.heard) == (["a", "b"], 2)
    another.close()
    assert not a_group_feed(reader, transport).step(), "everything was committed"


def test_a_broker_that_came_back_empty_is_read_from_its_beginning(
    writer: Writer, reader: Reader, relay: Relay, transport: MemoryTransport
) -> None:
    writer.words(LETTERS[:6])
    relay.step()
    a_feed(reader, transport).step()
    assert offset_of(reader) == 6
    transport.lose_all()
    writer.words(LETTERS[6:])
    relay.step()
    a_feed(reader, transport, offset_of(reader)).step()
    assert (reader.words, offset_of(reader)) == (LETTERS, 4)


def test_a_stopped_log_does_not_stop_the_others(
    writer: Writer, reader: Reader, relay: Relay, transport: MemoryTransport
) -> None:
    other = Writer(writer.database, uplink("riverbend"))
    feed = KafkaFeed(
        transport.subscribe_group([JUNIPER, other.name], "hub"), reader.log_reader, in_group=True
    )
    writer.words(["a"])
    other.words(["r"])
    relay.step()
    reader.pushed(writer.batch())
    reader.database.run(
        lambda tx: tx.execute(
            tables.cursor.update().where(tables.cursor.c.log == JUNIPER).values(stopped="hash-mismatch")
        )
    )
    feed.step()
    assert reader.words == ["a", "r"]


def test_a_reader_that_has_stopped_says_so_at_every_step(
    writer: Writer, reader: Reader, relay: Relay, transport: MemoryTransport, notes: Notes
) -> None:
    """The loop's fault stands in the process's health until an operator starts it again."""
    words = [f"e{number}" for number in range(12)]
    writer.writes(*[an_entry(word, f"epi_{word}") for word in words])
    relay.step()
    notes.faults = {word: ValueError() for word in words}
    feed = a_feed(reader, transport)
    for _ in range(3):
        with pytest.raises(ReaderStopped):
            feed.step()
    assert offset_of(reader) == 0


def test_rows_behind_a_gap_are_not_held_beyond_a_size_and_other_logs_keep_theirs(
    writer: Writer, reader: Reader, transport: MemoryTransport
) -> None:
    """Else whoever may write to one log could fill the memory of the process that reads them all."""
    other = Writer(writer.database, uplink("riverbend"))
    other.words(["r"])
    (waiting,) = other.batch()
    large = LogRow(epoch=1, body=bytes(900_000))
    may_apply = False
    feed = KafkaFeed(
        transport.subscribe_group([JUNIPER, other.name], "hub"),
        reader.log_reader,
        in_group=True,
        may_apply=lambda: may_apply,
    )
    publisher = transport.publisher()
    publisher.publish(other.name, [(b"", waiting.SerializeToString(), ())])
    sizes = []
    for sequence in range(2, 2 + 2 * MOST_BYTES_HELD // len(large.body)):
        large.sequence = sequence
        publisher.publish(JUNIPER, [(b"", large.SerializeToString(), ())])
        feed.step()
        sizes.append(sum(size for held in feed._held.values() for _, _, size in held.values()))
    assert 0.9 * MOST_BYTES_HELD < max(sizes) <= MOST_BYTES_HELD
    may_apply = True
    feed.step()
    assert reader.words == ["r"]


def test_what_is_held_is_bounded(
    writer: Writer, reader: Reader, relay: Relay, transport: MemoryTransport
) -> None:
    feed = a_feed(reader, transport)
    writer.writes(*[an_entry(str(number)) for number in range(MOST_HELD + 100)])
    transport.drop(1)
    while relay.step():
        pass
    while feed.step():
        pass
    assert reader.words == []
    for after in range(0, MOST_HELD + 100, 500):
        reader.pushed(writer.batch(after=after))
    assert len(reader.words) == MOST_HELD + 100
