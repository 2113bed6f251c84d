"""Kafka is fed after every commit, again after every failure, and never waited for by the log."""

from collections.abc import Sequence

import pytest
from sqlalchemy import select

from support.logs import JUNIPER, Reader, Writer, a_receipt, an_entry, tables
from support.sealing import NOON
from tandem.exchange.v1.exchange_pb2 import LogRow
from tandem_platform.exchange import log
from tandem_platform.exchange.relay import BATCH_ROWS, LARGEST_RECORD, Relay
from tandem_platform.exchange.rows import downlink
from tandem_platform.exchange.transport.memory import MemoryTransport
from tandem_platform.exchange.transport.port import Message, Publisher, PublishFailed


@pytest.fixture
def transport() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def relay(writer: Writer, transport: MemoryTransport) -> Relay:
    return Relay(writer.database, transport, writer.sign, "juniper")


def published(transport: MemoryTransport, name: str = JUNIPER) -> list[LogRow]:
    found: list[LogRow] = []
    subscription = transport.subscribe_one(name, 0)
    while records := subscription.poll(0):
        found += [LogRow.FromString(record.value) for record in records]
    return found


def sequences(rows: Sequence[LogRow]) -> list[int]:
    return [row.sequence for row in rows]


def grpc_only(writer: Writer) -> list[int]:
    with writer.database.reading() as tx:
        return [row.sequence for row in tx.all(select(tables.log).where(tables.log.c.grpc_only))]


def runs(relay: Relay) -> None:
    while relay.step():
        pass


def test_what_is_committed_is_published_once_and_in_order(
    writer: Writer, relay: Relay, transport: MemoryTransport
) -> None:
    writer.words(["a", "b", "c"])
    runs(relay)
    writer.words(["d"])
    runs(relay)
    assert sequences(published(transport)) == [1, 2, 3, 4]


def test_a_reader_takes_what_the_relay_published(
    writer: Writer, relay: Relay, transport: MemoryTransport, reader: Reader
) -> None:
    writer.writes(*[an_entry(str(number)) for number in range(BATCH_ROWS + 7)])
    runs(relay)
    reader.copied(published(transport))
    assert len(reader.words) == BATCH_ROWS + 7


def test_what_nobody_waits_for_goes_with_what_somebody_does_or_at_the_next_look(
    writer: Writer, relay: Relay, transport: MemoryTransport
) -> None:
    def receipt() -> None:
        writer.database.run(lambda tx: log.stage(tx, JUNIPER, a_receipt("r"), at=NOON, urgent=False))

    woken = writer.database.wakeup(log.ROWS).count
    receipt()
    assert writer.database.wakeup(log.ROWS).count == woken
    assert not relay.step(only_urgent=True)
    assert published(transport) == []
    writer.words(["a"])
    assert writer.database.wakeup(log.ROWS).count == woken + 1
    assert relay.step(only_urgent=True)
    assert sequences(published(transport)) == [1, 2]
    receipt()
    assert not relay.step(only_urgent=True)
    runs(relay)
    assert sequences(published(transport)) == [1, 2, 3]


def test_a_record_says_what_it_is_and_nothing_of_anybody(
    writer: Writer, relay: Relay, transport: MemoryTransport
) -> None:
    writer.words(["a"])
    runs(relay)
    (record,) = transport.subscribe_one(JUNIPER, 0).poll(0)
    headers = dict(record.headers)
    assert record.key == JUNIPER.encode()
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_type"] == b"tandem.exchange.v1.LogRow"
    assert headers["ce_source"] == b"juniper"
    assert headers["ce_id"] == f"{JUNIPER}/1/1".encode()
    assert headers["content-type"] == b"application/protobuf"


def test_after_a_failure_the_same_rows_go_again(
    writer: Writer, relay: Relay, transport: MemoryTransport
) -> None:
    writer.words(["a", "b"])
    transport.down = True
    assert not relay.step()
    assert relay.failing
    writer.words(["c"])
    transport.down = False
    runs(relay)
    assert sequences(published(transport)) == [1, 2, 3]
    assert not relay.failing


def test_a_relay_that_waits_too_long_for_kafka_says_so_meanwhile(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.words(["a"])
    said: list[bool] = []

    class Hesitant(MemoryTransport):
        def publisher(self) -> Publisher:  # type: ignore[override]
            said.append(patient.failing)
            monkeypatch.setattr("tandem_platform.exchange.relay.SLOW", -1.0)
            said.append(patient.failing)
            return super().publisher()

    patient = Relay(writer.database, Hesitant(), writer.sign, "juniper")
    runs(patient)
    assert said == [False, True]
    assert not patient.failing


def test_a_relay_that_died_before_it_noted_what_it_published_publishes_it_again(
    writer: Writer, relay: Relay, transport: MemoryTransport, reader: Reader
) -> None:
    writer.words(["a", "b"])
    runs(relay)
    writer.database.run(lambda tx: tx.execute(tables.head.update().values(published=0)))
    runs(Relay(writer.database, transport, writer.sign, "juniper"))
    assert sequences(published(transport)) == [1, 2, 1, 2]
    reader.copied(published(transport)[:2])
    reader.copied(published(transport)[2:])
    assert reader.words == ["a", "b"]


def test_a_row_too_large_for_kafka_goes_by_grpc_and_blocks_nobody(
    writer: Writer, relay: Relay, transport: MemoryTransport, reader: Reader
) -> None:
    writer.writes(an_entry("a"), an_entry("x", size=LARGEST_RECORD + 1), an_entry("b"))
    runs(relay)
    assert sequences(published(transport)) == [1, 3]
    assert grpc_only(writer) == [2]
    reader.copied(published(transport))
    assert reader.words == ["a"]
    reader.pushed(writer.batch(after=1, limit=1))
    reader.copied(published(transport))
    assert reader.words[-1] == "b"


def test_a_row_that_the_broker_refuses_goes_by_grpc_and_blocks_nobody(writer: Writer) -> None:
    transport = MemoryTransport(max_record_bytes=5_000)
    relay = Relay(writer.database, transport, writer.sign, "juniper")
    writer.writes(an_entry("a"), an_entry("x", size=6_000), an_entry("b"))
    runs(relay)
    assert sequences(published(transport)) == [1, 3]
    assert grpc_only(writer) == [2]


class PoisonedTransport(MemoryTransport):
    """Its publishers fail for good after a number of batches; only a new one works again."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.batches = batches
        self.made = 0

    def publisher(self) -> Publisher:  # type: ignore[override]
        self.made += 1
        return PoisonedPublisher(self, super().publisher())


class PoisonedPublisher:
    def __init__(self, transport: PoisonedTransport, publisher: Publisher) -> None:
        self._left = transport.batches
        self._publisher = publisher

    def publish(self, topic: str, batch: Sequence[Message]) -> None:
        if not self._left:
            raise PublishFailed("a producer that will never do it again", retriable=False)
        self._left -= 1
        self._publisher.publish(topic, batch)

    def close(self) -> None:
        self._publisher.close()


def test_a_producer_that_will_never_do_it_again_is_built_anew(writer: Writer) -> None:
    transport = PoisonedTransport(batches=2)
    relay = Relay(writer.database, transport, writer.sign, "juniper")
    for word in "abcdefg":
        writer.words([word])
        runs(relay)
    assert sequences(published(transport)) == [1, 2, 3, 4, 5, 6, 7]
    assert transport.made == 4
    assert grpc_only(writer) == []


def test_a_void_is_published_as_a_void(writer: Writer, relay: Relay, transport: MemoryTransport) -> None:
    writer.words(["a", "b"])
    writer.database.run(lambda tx: log.void(tx, JUNIPER, [1], "revoked"))
    runs(relay)
    assert [(row.body == b"", row.void_reason) for row in published(transport)] == [
        (True, "revoked"),
        (False, ""),
    ]


def test_logs_that_may_not_leave_yet_stay(writer: Writer, transport: MemoryTransport) -> None:
    other = downlink("riverbend")
    writer.words(["a"])
    writer.database.run(lambda tx: log.stage(tx, other, a_receipt("r"), at=NOON))
    allowed = {other}
    relay = Relay(
        writer.database, transport, writer.sign, "hub", lambda tx, names: allowed.intersection(names)
    )
    runs(relay)
    assert (sequences(published(transport)), sequences(published(transport, other))) == ([], [1])
    allowed.add(JUNIPER)
    runs(relay)
    assert sequences(published(transport)) == [1]


def test_a_commit_wakes_the_relay(writer: Writer) -> None:
    seen = writer.database.wakeup(log.ROWS).count
    writer.words(["a"])
    assert writer.database.wakeup(log.ROWS).wait(seen, 0) != seen
