"""What every transport keeps: one suite for memory, the embedded broker and Apache Kafka."""

import contextlib
import itertools
import statistics
import threading
import time
from collections import defaultdict

import pytest
from integration.platform_kafka.stage import Stage, eventually, numbered, numbers, read

from tandem_platform.exchange.transport.port import MAX_RECORD_BYTES, Publisher, PublishFailed


def test_a_record_arrives_as_it_was_published(stage: Stage, topic: str) -> None:
    stage.publisher().publish(
        topic, [(b"key", b"value", [("ce_type", b"row"), ("traceparent", b"\x00\xff")])]
    )

    (record,) = read(stage.reads(topic), 1)

    assert (record.topic, record.offset, record.key, record.value) == (topic, 0, b"key", b"value")
    assert record.headers == (("ce_type", b"row"), ("traceparent", b"\x00\xff"))


def test_ten_thousand_records_are_read_in_the_order_of_publishing(stage: Stage, topic: str) -> None:
    publisher, subscription = stage.publisher(), stage.reads(topic)
    for start in range(0, 10_000, 500):
        publisher.publish(topic, numbered(500, start, size=1200))

    records = read(subscription, 10_000, within=60)

    assert numbers(records) == list(range(10_000))
    assert [record.offset for record in records] == list(range(10_000))


def test_threads_that_share_a_publisher_each_keep_their_order(stage: Stage, topic: str) -> None:
    publisher, topics = stage.publisher(), [f"{topic}{n}" for n in range(4)]

    def publish(name: str) -> None:
        for start in range(0, 400, 20):
            publisher.publish(name, numbered(20, start))

    threads = [threading.Thread(target=publish, args=(name,)) for name in topics]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for name in topics:
        assert numbers(read(stage.reads(name), 400)) == list(range(400))


def test_reading_starts_at_the_given_offset(stage: Stage, topic: str) -> None:
    stage.publisher().publish(topic, numbered(10))

    assert numbers(read(stage.reads(topic, offset=7), 3)) == [7, 8, 9]


def test_seek_reads_again(stage: Stage, topic: str) -> None:
    stage.publisher().publish(topic, numbered(10))
    subscription = stage.reads(topic)
    read(subscription, 10)

    subscription.seek(topic, 4)

    assert numbers(read(subscription, 6)) == [4, 5, 6, 7, 8, 9]


def test_an_offset_beyond_the_end_reads_from_the_earliest(stage: Stage, topic: str) -> None:
    stage.publisher().publish(topic, numbered(3))

    assert numbers(read(stage.reads(topic, offset=1000), 3)) == [0, 1, 2]


def test_an_offset_at_the_end_waits_for_what_comes(stage: Stage, topic: str) -> None:
    publisher, subscription = stage.publisher(), stage.reads(topic, offset=3)
    publisher.publish(topic, numbered(3))
    # Longer than the silence after which a subscription doubts the broker.
    assert read(subscription, 1, within=2.5) == []

    publisher.publish(topic, numbered(1, start=3))

    assert numbers(read(subscription, 1)) == [3]


def test_a_reader_may_come_before_the_topic(stage: Stage, topic: str) -> None:
    subscription = stage.reads(topic)
    assert read(subscription, 1, within=2.5) == []
    assert subscription.healthy()

    stage.publisher().publish(topic, numbered(2))

    assert numbers(read(subscription, 2)) == [0, 1]


def test_a_poll_without_records_lasts_as_long_as_asked(stage: Stage, topic: str) -> None:
    subscription = stage.reads(topic)
    stage.transport().ensure_topics([topic])
    subscription.poll(0.2)

    started = time.monotonic()
    assert subscription.poll(0.5) == []

    assert 0.4 < time.monotonic() - started < 1.5


def test_a_record_too_large_is_named_before_anything_is_sent(stage: Stage, topic: str) -> None:
    publisher = stage.publisher()
    batch = [*numbered(1), (b"k", bytes(MAX_RECORD_BYTES), ())]

    with pytest.raises(PublishFailed) as refusal:
        publisher.publish(topic, batch)

    assert (refusal.value.too_large, refusal.value.retriable, refusal.value.index) == (True, False, 1)
    publisher.publish(topic, numbered(1, start=5))
    assert numbers(read(stage.reads(topic), 1)) == [5]


def test_a_record_as_large_as_allowed_passes(stage: Stage, topic: str) -> None:
    value = bytes(MAX_RECORD_BYTES - 1)

    stage.publisher().publish(topic, [(b"k", value, ()), *numbered(1)])

    assert [len(record.value) for record in read(stage.reads(topic), 2)] == [len(value), 1]


def test_a_group_shares_its_topics_and_loses_nothing(stage: Stage, topic: str) -> None:
    topics = [f"{topic}{n}" for n in range(6)]
    stage.transport().ensure_topics(topics)
    publisher = stage.publisher()
    readers: dict[tuple[str, int], set[int]] = defaultdict(set)
    done = threading.Event()

    def take_part(number: int) -> None:
        member = stage.transport().subscribe_group(topics, topic)
        while not done.is_set():
            records = member.poll(0.3)
            for record in records:
                readers[record.topic, int(record.value)].add(number)
            member.commit({record.topic: record.offset + 1 for record in records})
        member.close()

    members = [threading.Thread(target=take_part, args=(number,)) for number in range(2)]
    for member in members:
        member.start()
    rounds = itertools.count()

    def half_each() -> bool:
        number = next(rounds)
        for name in topics:
            publisher.publish(name, numbered(1, number))
        eventually("all six arrive", lambda: all(readers[name, number] for name in topics), within=30)
        who = [tuple(readers[name, number]) for name in topics]
        return who.count((0,)) == who.count((1,)) == 3

    try:
        eventually("each member reads three topics", half_each, within=40)
    finally:
        done.set()
        for member in members:
            member.join()


def test_a_group_goes_on_where_its_last_member_committed(stage: Stage, topic: str) -> None:
    publisher = stage.publisher()
    publisher.publish(topic, numbered(10))
    first = stage.kept(stage.transport().subscribe_group([topic], topic))
    assert numbers(read(first, 10, within=30)) == list(range(10))
    first.commit({topic: 6})
    first.close()

    second = stage.kept(stage.transport().subscribe_group([topic], topic))

    assert numbers(read(second, 4, within=30)) == [6, 7, 8, 9]


def test_a_group_may_watch_more_topics(stage: Stage, topic: str) -> None:
    topics = [f"{topic}{n}" for n in range(4)]
    member = stage.kept(stage.transport().subscribe_group(topics[:1], topic))
    publisher = stage.publisher()

    for number, name in enumerate(topics):
        member.watch(topics[: number + 1])
        publisher.publish(name, numbered(1, start=number))
        (record,) = read(member, 1, within=30)
        assert (record.topic, record.value) == (name, str(number).encode())
        member.commit({name: 1})


def test_a_member_that_was_busy_while_its_group_settled_still_reads(stage: Stage, topic: str) -> None:
    member, elsewhere = (
        stage.kept(stage.transport().subscribe_group([topic], topic)),
        stage.reads(f"{topic}.quiet"),
    )
    publisher = stage.publisher()
    publisher.publish(topic, numbered(1))
    assert numbers(read(member, 1, within=30)) == [0]
    publisher.publish(f"{topic}.later", numbered(1, start=7))

    member.watch([topic, f"{topic}.later"])
    at_once = member.poll(0.1)
    # The embedded broker settles a group in two seconds.
    assert read(elsewhere, 1, within=3) == []

    assert numbers(at_once or read(member, 1, within=10)) == [7]


def test_a_group_may_begin_with_nothing_to_watch(stage: Stage, topic: str) -> None:
    member = stage.kept(stage.transport().subscribe_group([], topic))
    assert read(member, 1, within=2.5) == []
    assert member.healthy()

    member.watch([topic])

    stage.publisher().publish(topic, numbered(1))
    assert numbers(read(member, 1, within=30)) == [0]


def test_while_the_broker_is_gone_publishing_fails_in_time_and_polls_are_empty(
    stage: Stage, topic: str
) -> None:
    publisher, subscription = stage.publisher(), stage.reads(topic)
    publisher.publish(topic, numbered(1))
    assert numbers(read(subscription, 1)) == [0]
    assert subscription.healthy()

    stage.broker.kill()

    assert_publishing_fails(publisher, topic)
    eventually("the subscription notices", lambda: not (subscription.poll(0.1) or subscription.healthy()), 6)
    stage.broker.start()
    publish_again(publisher, topic, 1, start=1)
    eventually("the record arrives", lambda: 1 in numbers(subscription.poll(0.2)))
    assert subscription.healthy()


def test_publishing_gives_up_as_soon_as_the_broker_is_gone(stage: Stage, topic: str) -> None:
    """The client by itself would go on for four seconds, and keep a processor busy."""
    publisher = stage.publisher()
    publisher.publish(topic, numbered(1))
    stage.broker.kill()
    started = time.monotonic()
    assert_publishing_fails(publisher, topic)
    assert time.monotonic() - started < 3


def test_many_threads_at_a_dead_broker_all_fail_in_time(stage: Stage, topic: str) -> None:
    transport = stage.transport()
    publishers = [transport.publisher(), transport.publisher()]
    publishers[0].publish(topic, numbered(1))
    stage.broker.kill()
    took: list[float] = []

    def fail(publisher: Publisher) -> None:
        started = time.monotonic()
        with contextlib.suppress(PublishFailed):
            publisher.publish(topic, numbered(1))
            return
        took.append(time.monotonic() - started)

    threads = [threading.Thread(target=fail, args=(publishers[n % 2],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(took) == 8
    assert max(took) < 5


def test_everything_can_be_opened_before_the_broker(stage: Stage, topic: str) -> None:
    stage.broker.kill()
    transport = stage.transport()
    transport.ensure_topics([topic])
    publisher = transport.publisher()
    one, member = stage.reads(topic), stage.kept(transport.subscribe_group([topic], topic))
    assert one.poll(0.1) == member.poll(0.1) == []
    assert not one.healthy()
    assert not member.healthy()

    stage.broker.start()

    publish_again(publisher, topic, 3)
    assert numbers(read(one, 3)) == numbers(read(member, 3, within=30)) == [0, 1, 2]


def test_after_the_broker_lost_everything_both_sides_go_on(stage: Stage, topic: str) -> None:
    publisher, subscription = stage.publisher(), stage.reads(topic)
    publisher.publish(topic, numbered(100))
    read(subscription, 100)

    stage.broker.kill()
    stage.broker.empty()
    stage.broker.start()

    publish_again(publisher, topic, 3, start=100)
    records = read(subscription, 3, within=20)
    assert numbers(records) == [100, 101, 102]
    assert [record.offset for record in records] == [0, 1, 2]


def test_a_group_goes_on_after_the_broker_lost_everything(stage: Stage, topic: str) -> None:
    publisher = stage.publisher()
    publisher.publish(topic, numbered(100))
    member = stage.kept(stage.transport().subscribe_group([topic], topic))
    read(member, 100, within=30)
    member.commit({topic: 100})

    stage.broker.kill()
    stage.broker.empty()
    stage.broker.start()
    publish_again(publisher, topic, 3, start=100)

    assert numbers(read(member, 3, within=40)) == [100, 101, 102]


def test_committing_to_a_broker_that_is_gone_is_not_fatal(stage: Stage, topic: str) -> None:
    publisher = stage.publisher()
    publisher.publish(topic, numbered(1))
    member = stage.kept(stage.transport().subscribe_group([topic], topic))
    read(member, 1, within=30)

    stage.broker.kill()

    member.commit({topic: 1})
    started = time.monotonic()
    member.close()
    assert time.monotonic() - started < 5


def test_a_hung_broker_fails_publishing_in_time_and_is_used_again_when_it_wakes(
    stage: Stage, topic: str
) -> None:
    publisher, subscription = stage.publisher(), stage.reads(topic)
    publisher.publish(topic, numbered(1))
    assert numbers(read(subscription, 1)) == [0]

    stage.broker.freeze()

    assert_publishing_fails(publisher, topic)
    eventually("the subscription notices", lambda: not (subscription.poll(0.1) or subscription.healthy()), 6)
    stage.broker.thaw()
    publish_again(publisher, topic, 2, start=1)
    eventually("the last record arrives", lambda: 2 in numbers(subscription.poll(0.2)))
    eventually("the subscription is healthy", lambda: bool(subscription.poll(0.2)) or subscription.healthy())


def test_a_single_record_travels_fast(stage: Stage, topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    publisher, subscription = stage.publisher(), stage.reads(topic)
    publisher.publish(topic, numbered(1))
    read(subscription, 1)
    delays: list[float] = []

    def receive() -> None:
        while len(delays) < 100:
            delays.extend(time.monotonic() - float(record.value) for record in subscription.poll(0.5))

    reader = threading.Thread(target=receive)
    reader.start()
    for _ in range(100):
        publisher.publish(topic, [(b"k", str(time.monotonic()).encode(), ())])
    reader.join(timeout=30)

    median = statistics.median(delays) * 1000
    with capsys.disabled():
        print(f"\n{stage.broker.version}: median {median:.1f} ms from publish to poll")  # noqa: T201
    assert median < 60


def assert_publishing_fails(publisher: Publisher, topic: str) -> None:
    started = time.monotonic()
    with pytest.raises(PublishFailed) as failure:
        publisher.publish(topic, numbered(1, start=-1))
    assert failure.value.retriable
    assert time.monotonic() - started < 5


def publish_again(publisher: Publisher, topic: str, count: int, start: int = 0) -> None:
    """As the relay does: the same batch until it passes."""

    def published() -> bool:
        try:
            publisher.publish(topic, numbered(count, start))
        except PublishFailed as failure:
            if not failure.retriable:
                raise
            return False
        return True

    eventually("publishing works again", published, within=20)
