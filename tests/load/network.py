"""What is measured: Tandem's network of real processes and, on the same database server and broker, the floor."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

from faults.field import Field
from kafka import KafkaAdminClient
from load.arrivals import Arrivals, Journey
from load.recorder import Order, Recorder
from load.rest import Rest

from support.brokers import Broker, apache_kafka, embedded_broker
from support.databases import PostgresServer, postgres_server
from tandem_ops.network.members import database_url
from tandem_platform.exchange.rows import downlink, uplink
from tandem_platform.rpc.tls import TlsFiles

Stack = Literal["embedded", "production"]
NAMES: dict[Stack, str] = {
    "embedded": "SQLite and the embedded broker",
    "production": "PostgreSQL and Apache Kafka",
}

HERE = Path(__file__).parent
_floors = count(1)
ROLES_BESIDE_A_RECORDER = "web,relay,reader,clock"
"""All but the gRPC interface for an EHR: a process that is not alone listens for others' commits."""


@dataclass
class Side:
    """Tandem or the floor: somebody who records, and somebody who sees it arrive."""

    name: str
    recorder: Recorder
    arrivals: Arrivals
    databases: Mapping[str, str]
    topics: Mapping[str, str]

    def send(self, order: Order) -> list[Journey]:
        return self.arrivals.follow(self.recorder, order)


class Ground:
    """A database server that waits for its disk, and a broker."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        self.stack = stack
        self.directory = directory
        self._parts = ExitStack()
        self.postgres: PostgresServer | None = None
        if stack == "production":
            self.postgres = self._parts.enter_context(postgres_server(durable=True))
        self.broker: Broker = apache_kafka() if stack == "production" else embedded_broker()
        self._parts.callback(self.broker.close)

    @property
    def fetch_wait_ms(self) -> int:
        """As Tandem has it for each of the brokers."""
        return 30 if self.broker.forgets else 100

    def databases(self, *names: str) -> dict[str, str]:
        if self.postgres is not None:
            return {name: self.postgres.new_database() for name in names}
        return {name: f"sqlite:///{(self.directory / name).resolve()}.db" for name in names}

    def close(self) -> None:
        self._parts.close()


class Tandem:
    """Two practices with patients between them; the broker is the ground's, and stays when the network is closed."""

    def __init__(self, ground: Ground, directory: Path, episodes: int) -> None:
        directory.mkdir(parents=True)
        directory.chmod(0o711)
        postgres = "" if ground.postgres is None else ground.postgres.new_database()
        self.field = Field(directory, postgres=postgres, broker=ground.broker)
        self.network = self.field.network
        self.network.clinics["juniper"]._settings["TANDEM_ROLES"] = ROLES_BESIDE_A_RECORDER
        try:
            self.field.start()
            shared = self.field.share(episodes)
        except BaseException:
            self.close()
            raise
        self._patients = [episode.patient_here for episode in shared]
        self.patients_there = [episode.patient_there for episode in shared]

    def database(self, name: str) -> str:
        return database_url(self.network.plan, self.network.layout, name)

    def address(self, name: str) -> str:
        return self.network.http_address(self.network.plan.practice(name))

    def rest(self, name: str) -> Rest:
        return Rest(self.address(name), self.network.token(name))

    def tls(self, name: str) -> TlsFiles:
        """Of the hub ("hub") or of a practice."""
        layout, plan = self.network.layout, self.network.plan
        home = layout.hub if name == "hub" else layout.practice(plan.practice(name))
        return TlsFiles.in_directory(home / "tls")

    def side(self) -> AbstractContextManager[Side]:
        """Entries come from a second process of clinic A, through the use case."""
        settings = self.network.clinics["juniper"]._settings
        return self._side("tandem", [sys.executable, "-m", "load.record", *self._patients], settings)

    def side_by_rest(self) -> AbstractContextManager[Side]:
        """Entries come through clinic A's REST interface."""
        call = ["-m", "load.record_by_rest", self.address("juniper"), self.network.token("juniper")]
        return self._side("tandem by REST", [sys.executable, *call, *self._patients], {})

    @contextmanager
    def _side(self, name: str, command: list[str], settings: dict[str, str]) -> Iterator[Side]:
        log = self.network.layout.logs / "recorder.log"
        with (
            Recorder(command, log, os.environ | settings) as recorder,
            closing(Arrivals(self.database("riverbend"), downlink("prac_riverbend"))) as arrivals,
        ):
            names = {"clinic A": "juniper", "hub": "hub", "clinic B": "riverbend"}
            databases = {member: self.database(own) for member, own in names.items()}
            topics = {"uplink": uplink("prac_juniper"), "downlink": downlink("prac_riverbend")}
            yield Side(name, recorder, arrivals, databases, topics)

    def pause(self) -> None:
        """Stop all members, each after what it has begun."""
        for member in reversed(self.network.members()):
            member.stop()

    def go_on(self) -> None:
        for member in self.network.members():
            member.start()
        for member in self.network.members():
            member.await_ready(60)

    def close(self) -> None:
        self.field.stop()
        self.field.ledger.close()


@contextmanager
def floor(ground: Ground) -> Iterator[Side]:
    """Each start has databases, topics and keys of its own."""
    name = f"floor{next(_floors)}"
    urls = [*ground.databases(f"{name}_a", f"{name}_hub", f"{name}_b").values()]
    admin = KafkaAdminClient(bootstrap_servers=ground.broker.bootstrap)
    admin.create_topics(
        {f"{name}.{way}": {"num_partitions": 1, "replication_factor": 1} for way in ("up", "down")}
    )
    admin.close()
    command = [sys.executable, str(HERE / "floor.py"), *urls]
    command += [ground.broker.bootstrap, str(ground.fetch_wait_ms), name]
    with (
        Recorder(command, ground.directory / "floor.log", os.environ) as recorder,
        closing(Arrivals(urls[-1], f"{name}.down")) as arrivals,
    ):
        databases = dict(zip(("clinic A", "hub", "clinic B"), urls, strict=True))
        yield Side(
            "floor", recorder, arrivals, databases, {"uplink": f"{name}.up", "downlink": f"{name}.down"}
        )
