"""What only Apache Kafka does: topics that an operator provisions, and limits of its own."""

import pytest
from integration.platform_kafka.stage import numbered
from kafka import KafkaAdminClient

from support.brokers import Broker
from tandem_platform.exchange.transport.kafka import KafkaSettings, KafkaTransport
from tandem_platform.exchange.transport.port import PublishFailed


def test_where_the_operator_provisions_topics_none_is_created(
    broker: Broker, admin: KafkaAdminClient, topic: str
) -> None:
    transport = KafkaTransport(KafkaSettings(broker.bootstrap, create_topics=False))
    transport.ensure_topics([topic])

    with pytest.raises(PublishFailed) as failure:
        transport.publisher().publish(topic, numbered(1))

    assert failure.value.retriable
    assert topic not in admin.list_topics()
    transport.close()


def test_a_record_that_the_broker_finds_too_large_is_refused_for_good(
    transport: KafkaTransport, admin: KafkaAdminClient, topic: str
) -> None:
    shape = {"num_partitions": 1, "replication_factor": 1, "configs": {"max.message.bytes": "2000"}}
    admin.create_topics({topic: shape})

    with pytest.raises(PublishFailed) as refusal:
        transport.publisher().publish(topic, [(b"k", bytes(5000), ())])

    assert (refusal.value.too_large, refusal.value.retriable) == (True, False)
