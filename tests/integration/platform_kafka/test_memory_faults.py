"""The faults that the memory transport can be asked for do what their names say."""

import random
import threading

import pytest
from integration.platform_kafka.stage import numbered, numbers, read

from tandem_platform.exchange.transport.memory import (
    MemoryTransport,
    corrupting,
    duplicating,
    losing,
    reordering,
    together,
)
from tandem_platform.exchange.transport.port import PublishFailed

TOPIC = "tandem.prac.up"


def published(transport: MemoryTransport, count: int = 100) -> list[bytes]:
    transport.publisher().publish(TOPIC, numbered(count))
    return [record.value for record in read(transport.subscribe_one(TOPIC, 0), 2 * count, within=0.1)]


def values(count: int) -> list[bytes]:
    return [value for _, value, _ in numbered(count)]


def test_dropped_records_are_acknowledged_and_leave_no_trace() -> None:
    transport = MemoryTransport()
    transport.drop(3)

    assert published(transport, 5) == values(5)[3:]
    assert [record.offset for record in transport.subscribe_one(TOPIC, 0).poll(0)] == [0, 1]


def test_while_down_nothing_passes_and_afterwards_everything_is_still_there() -> None:
    transport = MemoryTransport()
    publisher, subscription = transport.publisher(), transport.subscribe_one(TOPIC, 0)
    publisher.publish(TOPIC, numbered(1))

    transport.down = True

    assert subscription.poll(0) == []
    assert not subscription.healthy()
    with pytest.raises(PublishFailed):
        publisher.publish(TOPIC, numbered(1, start=1))
    transport.down = False
    assert numbers(subscription.poll(0)) == [0]


def test_duplicates_follow_each_other() -> None:
    assert published(MemoryTransport(duplicating(1, random.Random(1))), 2) == [b"0", b"0", b"1", b"1"]


def test_lost_records_leave_the_rest_in_order() -> None:
    left = published(MemoryTransport(losing(0.3, random.Random(1))))

    assert 50 < len(left) < 90
    assert left == sorted(left, key=int)


def test_corrupted_records_differ_in_one_bit() -> None:
    corrupted = published(MemoryTransport(corrupting(1, random.Random(1))))

    for was, became in zip(values(100), corrupted, strict=True):
        differences = int.from_bytes(was) ^ int.from_bytes(became)
        assert differences.bit_count() == 1


def test_reordered_records_trade_places_and_none_is_lost() -> None:
    mixed = published(MemoryTransport(reordering(0.3, random.Random(1))))

    assert mixed != values(100)
    assert set(values(100)) - set(mixed) <= {b"99"}


def test_faults_add_up() -> None:
    chance = random.Random(1)
    both = together(losing(0.5, chance), duplicating(1, chance))

    mixed = published(MemoryTransport(both))

    assert len(mixed) == 2 * len(set(mixed)) < 200


def test_a_waiting_poll_wakes_on_publish() -> None:
    transport = MemoryTransport()
    found: list[int] = []
    waiting = threading.Thread(
        target=lambda: found.extend(numbers(transport.subscribe_one(TOPIC, 0).poll(30))), daemon=True
    )
    waiting.start()

    transport.publisher().publish(TOPIC, numbered(1))

    waiting.join(timeout=5)
    assert found == [0]
