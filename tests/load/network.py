"""What is measured: Tandem's network of real processes and, on the same database server and broker, the floor."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faults.field import Episode, Field
from load.arrivals import Arrivals, Journey
from load.recorder import Order, Recorder

from support.brokers import Broker, apache_kafka, embedded_broker
from support.databases import PostgresServer, postgres_server
from tandem_ops.network.members import database_url
from tandem_platform.exchange.rows import downlink

Stack = Literal["embedded", "production"]
NAMES: dict[Stack, str] = {
    "embedded": "SQLite and the embedded broker",
    "production": "PostgreSQL and Apache Kafka",
}

EPISODES = 12
HERE = Path(__file__).parent
ROLES_BESIDE_A_RECORDER = "web,relay,reader,clock"
"""All but the gRPC interface for an EHR: a process that is not alone listens for others' commits."""


@dataclass
class Side:
    """Tandem or the floor: somebody who records, and somebody who sees it arrive."""

    name: str
    recorder: Recorder
    arrivals: Arrivals

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

    def __init__(self, ground: Ground, directory: Path, episodes: int = EPISODES) -> None:
        directory.mkdir(parents=True)
        directory.chmod(0o711)
        postgres = "" if ground.postgres is None else ground.postgres.new_database()
        self.field = Field(directory, postgres=postgres, broker=ground.broker)
        self.network = self.field.network
        self.network.clinics["juniper"]._settings["TANDEM_ROLES"] = ROLES_BESIDE_A_RECORDER
        began = time.monotonic()
        self.field.start()
        self.seconds_to_start = time.monotonic() - began
        self.episodes: list[Episode] = self.field.share(episodes)

    def database(self, name: str) -> str:
        return database_url(self.network.plan, self.network.layout, name)

    @contextmanager
    def side(self) -> Iterator[Side]:
        environment = os.environ | self.network.clinics["juniper"]._settings
        patients = [episode.patient_here for episode in self.episodes]
        command = [sys.executable, "-m", "load.record", *patients]
        with Recorder(command, self.network.layout.logs / "recorder.log", environment) as recorder:
            arrivals = Arrivals(self.database("riverbend"), downlink("prac_riverbend"))
            try:
                yield Side("tandem", recorder, arrivals)
            finally:
                arrivals.close()

    def close(self) -> None:
        self.field.stop()
        self.field.ledger.close()


@contextmanager
def floor(ground: Ground) -> Iterator[Side]:
    urls = ground.databases("floor_a", "floor_hub", "floor_b")
    command = [sys.executable, str(HERE / "floor.py"), *urls.values()]
    command += [ground.broker.bootstrap, str(ground.fetch_wait_ms)]
    with Recorder(command, ground.directory / "floor.log", os.environ) as recorder:
        arrivals = Arrivals(urls["floor_b"], "floor.down")
        try:
            yield Side("floor", recorder, arrivals)
        finally:
            arrivals.close()
