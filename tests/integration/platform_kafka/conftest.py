"""One broker of each kind for the session, and a stage that looks alike over each transport."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.platform_kafka.stage import MemoryBroker, Stage
from kafka import KafkaAdminClient

from support.brokers import Broker, apache_kafka, apache_kafka_is_missing, embedded_broker
from tandem_platform.exchange.transport.kafka import KafkaSettings, KafkaTransport
from tandem_platform.ids import new_id


@pytest.fixture(scope="session")
def embedded() -> Iterator[Broker]:
    broker = embedded_broker()
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker]:
    if why := apache_kafka_is_missing():
        pytest.skip(why)
    broker = apache_kafka()
    yield broker
    broker.close()


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Broker:
    """The broker of the stack under test."""
    broker: Broker = request.getfixturevalue(
        {"embedded": "embedded", "production": "kafka"}[request.config.getoption("--stack")]
    )
    return broker


@pytest.fixture
def admin(broker: Broker) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    yield client
    client.close()


@pytest.fixture
def transport(broker: Broker) -> Iterator[KafkaTransport]:
    transport = KafkaTransport(KafkaSettings(broker.bootstrap))
    yield transport
    transport.close()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The embedded broker has no limits and creates whatever it is asked about."""
    return (
        True
        if collection_path.stem == "test_apache_kafka" and config.getoption("--stack") == "embedded"
        else None
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "stage" in metafunc.fixturenames:
        stacks = {"embedded": ["memory", "embedded"], "production": ["kafka"]}
        metafunc.parametrize("stage", stacks[metafunc.config.getoption("--stack")], indirect=True)


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    if request.param == "memory":
        memory = MemoryBroker()
        stage = Stage(memory, lambda: memory.transport)
        yield stage
        stage.close()
        return
    broker: Broker = request.getfixturevalue(request.param)
    settings = KafkaSettings if request.param == "kafka" else KafkaSettings.for_embedded
    stage = Stage(broker, lambda: KafkaTransport(settings(broker.bootstrap)), broker.bootstrap)
    yield stage
    stage.close()
    broker.thaw()
    if not broker.running():
        broker.start()


@pytest.fixture
def topic() -> str:
    return f"tandem.{new_id('prac')}.up"
