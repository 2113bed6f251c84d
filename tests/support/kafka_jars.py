"""What Apache Kafka needs to start from its jars: fetched, formatted and warmed up once a machine, then kept."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tandem_platform.broker.embedded import LOOPBACK, await_listener, free_port
from tandem_platform.broker.leash import LeashedProcess

KAFKA_VERSION = "4.1.1"
_SLF4J_VERSION = "1.7.36"
_CLUSTER_ID = "dGFuZGVtLXRlc3RzLTAwMQ"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tandem" / f"kafka-{KAFKA_VERSION}"
_JARS = _CACHE / "jars"


@dataclass(frozen=True, slots=True)
class Prepared:
    """data: a formatted, empty directory to copy. classes: an archive that spares Java half of the work of a start."""

    data: Path
    classes: Path


def jars_are_cached() -> bool:
    return _JARS.is_dir()


def prepared() -> Prepared:
    """Formatting and the archive of classes each take a Java of their own; copying and mapping do not."""
    home = _CACHE / "prepared"
    if not home.is_dir():
        _fetch_the_jars()
        with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
            made = Path(scratch, "prepared")
            made.mkdir()
            _format(made / "data", Path(scratch))
            _archive(made / "classes.jsa", made / "data", Path(scratch))
            _publish(made, home)
    return Prepared(home / "data", home / "classes.jsa")


def java(classes: Path | None = None) -> list[str]:
    """Java with Kafka's jars. A test's broker lives for seconds: compiling fast matters more than compiling well."""
    return [
        "java",
        "-Xms128m",
        "-Xmx256m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        *([f"-XX:SharedArchiveFile={classes}"] if classes else []),
        "-Djava.net.preferIPv4Stack=true",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
        f"{_JARS}/*",
    ]


def server_properties(data: Path, *, port: int, controller_port: int, advertised: str) -> str:
    """One node, broker and controller in one, on loopback."""
    return "\n".join(
        (
            "node.id=1",
            "process.roles=broker,controller",
            f"listeners=PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
            f"advertised.listeners=PLAINTEXT://{advertised}",
            f"controller.quorum.voters=1@{LOOPBACK}:{controller_port}",
            "controller.listener.names=CONTROLLER",
            f"log.dirs={data}",
            "auto.create.topics.enable=false",
            "offsets.topic.num.partitions=1",
            "offsets.topic.replication.factor=1",
            "transaction.state.log.num.partitions=1",
            "transaction.state.log.replication.factor=1",
            "transaction.state.log.min.isr=1",
            "group.initial.rebalance.delay.ms=0",
            # A killed broker is let in again only when its old session is over, after 9 s by default.
            "broker.heartbeat.interval.ms=200",
            "broker.session.timeout.ms=1000",
            "group.coordinator.rebalance.protocols=classic",
            "",
        )
    )


def _fetch_the_jars() -> None:
    """By Maven, into the cache."""
    if jars_are_cached():
        return
    _CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
        Path(scratch, "pom.xml").write_text(
            '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
            "<groupId>tandem</groupId><artifactId>kafka-for-tests</artifactId><version>1</version>"
            "<packaging>pom</packaging><dependencies><dependency><groupId>org.apache.kafka</groupId>"
            f"<artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version></dependency>"
            # Without a logger behind it, a Kafka that does not start would not say why.
            "<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId>"
            f"<version>{_SLF4J_VERSION}</version></dependency></dependencies></project>",
            encoding="ascii",
        )
        fetched = Path(scratch, "jars")
        subprocess.run(
            [
                "mvn",
                "-q",
                "-B",
                "-Dstyle.color=never",
                "dependency:copy-dependencies",
                "-DincludeScope=runtime",
                f"-DoutputDirectory={fetched}",
            ],
            cwd=scratch,
            check=True,
            timeout=540,
            stdin=subprocess.DEVNULL,
        )
        _publish(fetched, _JARS)


def _format(data: Path, scratch: Path) -> None:
    properties = scratch / "format.properties"
    properties.write_text(server_properties(data, port=1, controller_port=2, advertised=f"{LOOPBACK}:1"))
    tool = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(properties)]
    subprocess.run([*java(), *tool], check=True, timeout=60, capture_output=True, stdin=subprocess.DEVNULL)


def _archive(classes: Path, data: Path, scratch: Path) -> None:
    """Start a broker on a copy of *data* and end it in order, which is when Java writes down what it had loaded."""
    shutil.copytree(data, scratch / "data")
    port = free_port()
    properties = scratch / "server.properties"
    properties.write_text(
        server_properties(
            scratch / "data", port=port, controller_port=free_port(), advertised=f"{LOOPBACK}:{port}"
        )
    )
    java_first, *rest = java()
    broker = LeashedProcess(
        [java_first, f"-XX:ArchiveClassesAtExit={classes}", *rest, "kafka.Kafka", str(properties)],
        log=scratch / "kafka.log",
    )
    try:
        await_listener(broker, port, timeout=60)
        await_answers(f"{LOOPBACK}:{port}", timeout=60)
        broker.terminate(timeout=60)
    finally:
        broker.kill()


def await_answers(bootstrap: str, timeout: float) -> None:
    """Return when the broker at *bootstrap* answers a request, not merely a connection."""
    from kafka import KafkaAdminClient

    admin = KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=int(timeout * 1000))
    admin.close()


def _publish(made: Path, wanted: Path) -> None:
    """Move a finished directory into place, unless another test run was faster."""
    try:
        made.rename(wanted)
    except OSError:
        if not wanted.is_dir():
            raise
