"""Two practices that share a patient's episode, and backups of all their databases."""

import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from support.care_examples import a_phq9
from support.databases import PostgresServer
from support.network import Network, Referred, SimulatedClinic
from support.stacks import postgres
from tandem_care.categories import Category
from tandem_clinic.store.tables import metadata as clinic_metadata
from tandem_platform.exchange.rows import downlink, uplink
from tandem_platform.exchange.transport.memory import MemoryTransport
from tandem_referral.store.tables import metadata as hub_metadata

__all__ = ["postgres"]

SCORES = Category.SCALE_SCORE
CopyOf = Callable[[str], str]
"""A copy of the database behind a URL, and its URL. On PostgreSQL nobody may be connected to the first."""


@pytest.fixture
def copy_of(stack: str, tmp_path: Path, request: pytest.FixtureRequest) -> CopyOf:
    if stack == "embedded":
        return partial(_copied_file, tmp_path, itertools.count())
    server: PostgresServer = request.getfixturevalue("postgres")
    # They go with the server: dropping each costs a checkpoint, and more time than the test.
    return lambda url: server.new_database(template=url)


def _copied_file(directory: Path, numbers: Iterator[int], url: str) -> str:
    copy = directory / f"copy-{next(numbers)}.db"
    with (
        closing(sqlite3.connect(make_url(url).database or "")) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    return f"sqlite:///{copy}"


@dataclass
class Course:
    """Juniper has referred a patient to Riverbend, who accepted, and shares scores with it."""

    network: Network
    juniper: SimulatedClinic
    riverbend: SimulatedClinic
    referred: Referred
    permission: str
    copy_of: CopyOf

    def scores(self, total: int) -> None:
        """Juniper records a score."""
        taken_at = self.network.clock.now()
        self.juniper.records(self.referred.patient_id, a_phq9(total=total, taken_at=taken_at))

    def score_and_settle(self, *totals: int) -> None:
        for total in totals:
            self.scores(total)
            self.network.settle()

    def seen(self) -> list[int]:
        """The scores that Riverbend sees, oldest first."""
        return [each["content"]["total"] for each in self.riverbend.sees(SCORES)]

    @property
    def broker(self) -> MemoryTransport:
        """What carries the rows, with its faults."""
        assert isinstance(self.network.transport, MemoryTransport)
        return self.network.transport

    def backup(self, clinic: SimulatedClinic) -> str:
        """A copy of the clinic's database as it stands; its process is started again for it."""
        clinic.node.close()
        copy = self.copy_of(clinic.url)
        clinic.connect()
        return copy

    def restore(self, clinic: SimulatedClinic, backup: str) -> None:
        """The clinic's process starts on the backup, as often as one likes."""
        clinic.restart(self.copy_of(backup))

    def backup_hub(self) -> str:
        self.network.hub.close()
        copy = self.copy_of(self.network.hub_url)
        self.network.restart_hub()
        return copy

    def restore_hub(self, backup: str) -> None:
        self.network.restart_hub(self.copy_of(backup))

    def hub_rows(self, table: str) -> list[Any]:
        with self.network.hub.database.reading() as tx:
            return list(tx.all(select(hub_metadata.tables[table])))

    def rows(self, clinic: SimulatedClinic, table: str) -> list[Any]:
        with clinic.db.reading() as tx:
            return list(tx.all(select(clinic_metadata.tables[table])))

    def actions(self, clinic: SimulatedClinic) -> list[str]:
        """What the clinic's own account says was done, oldest first."""
        return [row.action for row in sorted(self.rows(clinic, "audit_record"), key=lambda row: row.number)]

    def times_received(self, clinic: SimulatedClinic) -> list[int]:
        """How often each entry was taken in, by the clinic's own account."""
        audit = clinic_metadata.tables["audit_record"]
        with clinic.db.reading() as tx:
            counted = select(func.count().label("times")).where(audit.c.action == "received")
            return [row.times for row in tx.all(counted.group_by(audit.c.subject_id))]

    def assert_whole(self) -> None:
        """Both logs of both clinics stand alike at writer and reader, and nothing stands still or aside."""
        hub = {row.log: row for row in self.hub_rows("exchange_cursor")}
        heads = {row.log: row for row in self.hub_rows("exchange_head")}
        assert self.hub_rows("exchange_quarantine") == []
        for clinic in (self.juniper, self.riverbend):
            (own_head,) = [
                row for row in self.rows(clinic, "exchange_head") if row.log == uplink(clinic.name)
            ]
            (own_cursor,) = self.rows(clinic, "exchange_cursor")
            there, head = hub[uplink(clinic.name)], heads[downlink(clinic.name)]
            assert (own_head.epoch, own_head.sequence, own_head.hash) == (
                there.epoch,
                there.sequence,
                there.hash,
            )
            assert (own_cursor.epoch, own_cursor.sequence, own_cursor.hash) == (
                head.epoch,
                head.sequence,
                head.hash,
            )
            assert (there.stopped, own_cursor.stopped) == ("", "")
            assert self.rows(clinic, "exchange_quarantine") == []
            assert [row for row in self.rows(clinic, "command") if row.state == "queued"] == []


CARRIERS = ["kafka", "grpc-only"]

either_way = pytest.mark.parametrize("beginning", CARRIERS, indirect=True, scope="session")
"""With Kafka and in a network that has none. Every test is run so in the long form, with TANDEM_LONG=1."""


@pytest.fixture(scope="session", params=CARRIERS if os.environ.get("TANDEM_LONG") else ["kafka"])
def beginning(
    request: pytest.FixtureRequest, stack: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Network, Referred, str]:
    """What every course begins with, made once. Without Kafka the network passes the same tests."""
    directory = tmp_path_factory.mktemp("beginning")
    database_of = None
    if stack == "production":
        server: PostgresServer = request.getfixturevalue("postgres")
        database_of = lambda name: server.new_database()  # noqa: E731
    network = Network(directory, database_of, kafka=request.param == "kafka")
    juniper = network.clinic("juniper", "prescriber")
    riverbend = network.clinic("riverbend", "therapy_provider")
    juniper.partners_with(riverbend)
    referred = juniper.refers(juniper.registers(), riverbend)
    network.settle()
    riverbend.takes_in(referred)
    riverbend.moves(referred, "accept")
    network.settle()
    permission = juniper.grants(referred, {SCORES})
    network.settle()
    network.close()
    return network, referred, permission


@pytest.fixture
def course(beginning: tuple[Network, Referred, str], copy_of: CopyOf) -> Iterator[Course]:
    start, referred, permission = beginning
    network = start.continued(copy_of)
    network.settle()
    yield Course(
        network, network.clinics["juniper"], network.clinics["riverbend"], referred, permission, copy_of
    )
    network.close()
