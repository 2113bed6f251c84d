"""What only a transport over real brokers can be asked."""

import gc
import logging
import threading
from dataclasses import replace

import psutil
import pytest
from integration.platform_kafka.stage import eventually, numbered, numbers, read
from kafka import KafkaAdminClient, TopicPartition

from tandem_platform.broker.embedded import LOOPBACK, free_port
from tandem_platform.exchange.transport.kafka import KafkaSettings, KafkaTransport
from tandem_platform.exchange.transport.port import PublishFailed


def test_a_topic_has_one_partition(transport: KafkaTransport, admin: KafkaAdminClient, topic: str) -> None:
    transport.ensure_topics([topic])
    transport.ensure_topics([topic, f"{topic}.other"])

    described = admin.describe_topics([topic, f"{topic}.other"])

    assert [len(found["partitions"]) for found in described] == [1, 1]


def test_an_outage_leaves_no_threads_and_no_descriptors_behind(
    topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    # The test's own record of log messages would keep every failed socket alive.
    caplog.set_level(logging.CRITICAL, logger="kafka")
    there_is_none = KafkaSettings(f"{LOOPBACK}:{free_port()}", create_topics=False, connect_ms=100)
    transport = KafkaTransport(there_is_none)
    creating = KafkaTransport(replace(there_is_none, create_topics=True))
    publisher = transport.publisher()
    one, member = transport.subscribe_one(topic, 0), transport.subscribe_group([topic], topic)
    process = psutil.Process()

    def everyone_tries() -> tuple[int, int]:
        with pytest.raises(PublishFailed):
            publisher.publish(topic, numbered(1))
        creating.ensure_topics([topic])
        # One poll waits until connecting may be tried again, the other tries.
        assert [subscription.poll(0.6) for subscription in (one, one, member, member)] == [[]] * 4
        gc.collect()
        return threading.active_count(), process.num_fds()

    before = everyone_tries()
    for _ in range(3):
        after = everyone_tries()

    assert after[0] <= before[0]
    # A leak would show as dozens; a socket or two may still be closing.
    assert after[1] < before[1] + 6


def test_a_commit_reaches_the_broker_while_the_member_lives(
    transport: KafkaTransport, admin: KafkaAdminClient, topic: str
) -> None:
    transport.publisher().publish(topic, numbered(3))
    member = transport.subscribe_group([topic], topic)
    assert numbers(read(member, 3, within=30)) == [0, 1, 2]

    member.commit({topic: 2})

    def committed() -> bool:
        offsets = admin.list_group_offsets({topic: [TopicPartition(topic, 0)]})[topic]
        return [found.offset for found in offsets.values()] == [2]

    eventually("the offset is committed", committed)
    member.close()
