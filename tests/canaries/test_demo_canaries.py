"""The demo's course on real processes, with a canary in every text: none gets out, and one that does is found.

The search is the command `python tests/support/canaries.py`, run as anybody would run it.
"""

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from sqlalchemy import Boolean, Column, Connection, LargeBinary, String, create_engine, delete, insert, select
from sqlalchemy.engine import make_url

import support.canaries
from support.aviary import SPECIES, Canaries
from support.brokers import Broker, apache_kafka, apache_kafka_is_missing
from support.databases import PostgresServer, postgres_server
from tandem_clinic.usecases.entries import content_from
from tandem_clinic.usecases.patients import identity_from
from tandem_clinic.usecases.permissions import evidence_from
from tandem_ops.commands.demo import CAST
from tandem_ops.console import Output
from tandem_ops.network.members import database_url
from tandem_ops.network.network import Network
from tandem_ops.network.plan import LOOPBACK, Layout, new_plan
from tandem_ops.reach import Answer, ClinicApi
from tandem_ops.story.course import CHAPTERS, the_broker_is_lost
from tandem_ops.story.narrator import Narrator
from tandem_ops.story.people import ROBIN, SAM, SPOKEN
from tandem_ops.story.practice import Practice
from tandem_ops.story.stage import Stage
from tandem_platform.exchange.rows import uplink
from tandem_platform.storage import at_rest
from tandem_platform.storage.types import EncryptedBytes, UtcTime
from tandem_referral.store.tables import metadata as hub_tables

CODES = frozenset(
    {
        *("patient_id", "partnership_id", "practice_id", "episode_id", "replaces_referral_id"),
        *(
            "kind",
            "basis",
            "purpose",
            "categories",
            "history_from",
            "reason",
            "outcome",
            "digits",
            "required",
        ),
    }
)
"""What a request of the story holds besides words: ids, codes, times and the digits of public keys."""

CHECKS: dict[str, Callable[[dict[str, Any]], Callable[[Any], object]]] = {
    "identity": lambda body: identity_from,
    "evidence": lambda body: lambda fields: evidence_from(body["basis"], fields),
    "content": lambda body: lambda fields: content_from(body["kind"], fields),
}
"""What says which text of a document may be any."""

WORDS = ("note", "comment", "text")


class SingingApi(ClinicApi):
    """Puts a canary beside every text that it is given to send."""

    def __init__(self, address: str, token: str, practice: str, canaries: Canaries) -> None:
        super().__init__(address, token)
        self._practice = practice
        self._canaries = canaries

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        return super().call(method, path, body if body is None else self._sung(path, body), **more)

    def _sung(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        unknown = set(body) - CODES - set(CHECKS) - set(WORDS)
        assert not unknown, f"{path} has fields of which this test does not know whether they hold words"
        where = f"{self._practice} {path.rpartition('/')[2]}"
        sung = dict(body)
        for field in CHECKS.keys() & body.keys():
            check = CHECKS[field](body)
            sung[field] = self._canaries.in_fields(body[field], check, f"{where}.{field}", beside=True)
        for field in body.keys() & set(WORDS):
            sung[field] = f"{body[field]} {self._canaries.word(f'{where}.{field}')}"
        return sung


FIELDS = frozenset(
    {
        *("legal_name", "used_name", "pronouns", "address"),
        *("patient", "discloser", "recipient", "information", "purpose", "right_to_revoke", "expiry"),
        *("signed_by", "signature_ref", "note", "comment", "text", "summary", "dose_feedback"),
        *("written_by", "logged_by", "assessed_by", "evaluated_by", "driver", "reason", "conditions"),
    }
)
"""In each of these there is a canary, whatever else the story may come to say."""

ARRIVING = frozenset(
    {"legal_name", "used_name", "address", "summary", "written_by", "conditions", "logged_by"}
)
"""Of these, the partner has at least one."""

practice = hub_tables.tables["practice"]


@dataclass(frozen=True)
class Surroundings:
    """What the network stands on, besides its own files: servers of the production stack."""

    broker: Broker | None = None
    postgres: PostgresServer | None = None


@pytest.fixture(scope="module")
def surroundings(stack: str) -> Iterator[Surroundings]:
    if stack == "embedded":
        yield Surroundings()
        return
    if why := apache_kafka_is_missing():
        pytest.skip(why)
    broker = apache_kafka()
    try:
        with postgres_server() as server:
            yield Surroundings(broker, server)
    finally:
        broker.close()


class Course:
    """The story, played to its end; then everybody's services are killed, and what they leave lies there to be searched."""

    def __init__(self, surroundings: Surroundings, scratch: Path) -> None:
        self._scratch = scratch
        self._surroundings = surroundings
        broker, server = surroundings.broker, surroundings.postgres
        plan = new_plan(
            CAST,
            kafka=broker.bootstrap if broker else "",
            postgres=server.new_database() if server else "",
        )
        layout = Layout(scratch / "network")
        layout.save_plan(plan)
        self.canaries = Canaries()
        self.network = Network(layout.root, plan)
        self.network.start()
        self.stage = Stage(self.network, Narrator(Output(as_json=False)))
        for each in plan.practices:
            api = SingingApi(
                self.network.http_address(self.network.plan.practice(each.name)),
                self.network.token(each.name),
                each.name,
                self.canaries,
            )
            self.stage.practices[each.name] = Practice(
                each.display_name, each.practice_id, each.on_call_phone, api
            )

    def play(self) -> None:
        """told: canaries of the story, and where. found: what was seen of them, or of its other words, before any was planted."""
        self.found: list[str] = []
        for chapter in CHAPTERS:
            if chapter is the_broker_is_lost:
                # The embedded broker takes what is on its topics with it.
                self.found += search(self._words(), [self.topics])
            chapter(self.stage)
        self.read = {name: everything_at(practice) for name, practice in self.stage.practices.items()}
        self.told = dict(self.canaries.made)
        self._keep_metrics()
        self.keep_as_the_hub_reads()
        # Killed, not drained: a gentle end would fold the WAL into the database.
        for member in self.network.members():
            member.kill()
        self.wals = self._wals()
        self.found += search(self._words(), self.places)

    def _words(self) -> list[str]:
        """Canaries, and what the story says where no word fits: dates and numbers."""
        whole = [each for each in SPOKEN if len(each) >= 8]
        return sorted({SPECIES, *whole, *(str(each["birth_date"]) for each in (ROBIN, SAM))})

    @property
    def hub_url(self) -> str:
        return database_url(self.network.plan, self.network.layout, "hub")

    @property
    def bootstrap(self) -> str:
        return self.network.broker.bootstrap if self.network.broker else self.network.plan.kafka

    @property
    def topics(self) -> str:
        return f"kafka://{self.bootstrap}"

    @property
    def places(self) -> list[str]:
        """Everything that anybody but a clinic's own staff could get hold of."""
        server = self._surroundings.postgres
        places = [str(self._scratch), self.topics]
        if self.disk is not None:
            places.append(str(self.disk))
        if server is not None:
            places.append(str(server.log.parent))
            names = ["hub", *(each.name for each in self.network.plan.practices)]
            urls = [database_url(self.network.plan, self.network.layout, name) for name in names]
            places += [
                make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
                for url in urls
            ]
        return places

    @property
    def disk(self) -> Path | None:
        """The broker's. The embedded one keeps everything in memory."""
        if self._surroundings.broker is None:
            return None
        copied = self._scratch / "broker"
        copied.mkdir(exist_ok=True)
        return self._surroundings.broker.disk(copied)

    def _wals(self) -> dict[Path, int]:
        """Each file of the hub's write-ahead log, with its size."""
        server, hub = self._surroundings.postgres, self.network.layout.hub
        files = hub.glob("*-wal") if server is None else (server.log.parent / "data/pg_wal").glob("0*")
        return {file: file.stat().st_size for file in files}

    @property
    def logs(self) -> list[Path]:
        """Of every process, and the numbers that each shows."""
        files = [*self.network.layout.logs.iterdir(), *self.metrics.iterdir()]
        if self._surroundings.postgres is not None:
            files.append(self._surroundings.postgres.log)
        return sorted(files)

    @property
    def metrics(self) -> Path:
        return self._scratch / "metrics"

    @property
    def as_the_hub_reads(self) -> Path:
        return self._scratch / "as-the-hub-reads"

    def _keep_metrics(self) -> None:
        self.metrics.mkdir()
        ports = {"hub": self.network.plan.hub.http}
        ports |= {each.name: each.ports.http for each in self.network.plan.practices}
        for name, port in ports.items():
            connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
            connection.request("GET", "/metrics")
            (self.metrics / f"{name}.txt").write_bytes(connection.getresponse().read())
            connection.close()

    def keep_as_the_hub_reads(self) -> None:
        """Every column of the hub's tables, with its key for what it encrypts at rest."""
        self.as_the_hub_reads.mkdir(exist_ok=True)
        at_rest.install((self.network.layout.hub / "at-rest.key").read_bytes())
        with self.hub_database() as connection:
            for table in hub_tables.sorted_tables:
                for column in table.columns:
                    values = connection.execute(select(column)).scalars()
                    lines = [
                        bytes(each) if isinstance(each, (bytes, memoryview)) else str(each).encode()
                        for each in values
                    ]
                    (self.as_the_hub_reads / f"{table.name}.{column.name}").write_bytes(b"\n".join(lines))

    def line_of(self, table: str, column: str, is_bytes: bool) -> str:
        """How the command calls a column of the hub's database."""
        if self.network.plan.postgres:
            return f"^public\\.{table}{' bytea' if is_bytes else ''}: "
        file = re.escape(str(self.network.layout.hub / "tandem.db"))
        return f"^{file} table {table} column {column}: "

    @contextmanager
    def hub_database(self) -> Iterator[Connection]:
        """As its owner opens it who wants to spoil it: references are not checked, the WAL is left as it is."""
        engine = create_engine(self.hub_url)
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA wal_autocheckpoint=0")
            else:
                connection.exec_driver_sql("SET session_replication_role = replica")
            connection.commit()
            yield connection
        engine.dispose()

    def close(self) -> None:
        self.network.kill()


def everything_at(practice: Practice) -> str:
    """All that a clinic's staff can read there, as one text."""
    read: list[Any] = [practice.ask("/referrals"), practice.ask("/worklist"), practice.ask("/journal")]
    for patient in practice.ask("/patients")["items"]:
        here = f"/patients/{patient['patient_id']}"
        read += [patient, practice.plan(patient["patient_id"])]
        read.append(practice.try_to_ask(f"{here}/psychotherapy-notes").body)
        for episode in practice.ask(f"{here}/episodes"):
            for permission in practice.ask("/permissions", episode_id=episode["episode_id"]):
                evidence = f"/permissions/{permission['permission_id']}/evidence"
                read += [permission, practice.try_to_ask(evidence).body]
    return json.dumps(read, ensure_ascii=False)


def search(words: list[str], places: list[str]) -> list[str]:
    """What the command prints: a line for each place where a word was found."""
    command = [sys.executable, support.canaries.__file__, "/dev/stdin", *places]
    answer = subprocess.run(
        command, input="\n".join(words), capture_output=True, text=True, timeout=120, check=False
    )
    lines = answer.stdout.splitlines()
    assert answer.returncode == (1 if lines else 0), answer.stderr
    return lines


@pytest.fixture(scope="module")
def course(surroundings: Surroundings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    course = Course(surroundings, tmp_path_factory.mktemp("course"))
    try:
        course.play()
        yield course
    finally:
        course.close()


def test_the_story_is_full_of_canaries_and_their_clinics_read_them(course: Course) -> None:
    fields = {part for where in course.told.values() for part in where.split(".")}
    assert fields >= FIELDS
    unread = {where for word, where in course.told.items() if word not in course.read[where.split()[0]]}
    assert unread == set()


def test_what_was_shared_arrived_with_its_canaries(course: Course) -> None:
    """They travelled: else it would be no wonder that nothing is found on the way."""
    there = {"juniper": "riverbend", "riverbend": "juniper"}
    arrived = {where for word, where in course.told.items() if word in course.read[there[where.split()[0]]]}
    assert {part for where in arrived for part in where.split(".")} >= ARRIVING


def test_no_canary_got_out(course: Course) -> None:
    assert course.wals
    assert all(course.wals.values())
    assert len(course.logs) >= 8
    assert course.found == []


def test_what_the_hub_may_know_is_found_by_the_same_command(course: Course) -> None:
    """The search reads what was there all along, not only what is planted for it."""
    found = "\n".join(search(["prac_riverbend"], course.places))
    topic = "tandem.prac_juniper.up"
    wanted = [rf"^{topic} record \d+ value: ", course.line_of("partnership", "partner_practice_id", False)]
    wanted += [f"^{re.escape(str(next(iter(course.wals)).parent))}/.*: "]
    if course.disk is not None:
        wanted.append(rf"^{re.escape(str(course.disk))}.*{topic}-0/\d+\.log: ")
    assert [each for each in wanted if not re.search(each, found, re.MULTILINE)] == []


def test_a_canary_planted_in_any_place_is_found_by_the_same_command(course: Course) -> None:
    deleted = course.canaries.word("planted, and deleted again")
    in_topic = planted_in_a_topic(course)
    in_logs = planted_in_logs(course)
    with course.hub_database() as database:
        in_wal = planted_in_the_wal(course, database, deleted)
        in_tables = planted_in_tables(course, database)
        course.keep_as_the_hub_reads()
        found = "\n".join(search([SPECIES, deleted], course.places))
    wanted = [*in_topic, *in_logs, *in_wal, *in_tables]
    assert [each for each in wanted if not re.search(each, found, re.MULTILINE)] == []


def planted_in_a_topic(course: Course) -> list[str]:
    """Unsealed, in each part of a record, plain and compressed. Gives what the search has to print."""
    word = course.canaries.word("planted in a topic")
    topic = uplink("prac_juniper")
    for packing in (None, "gzip", "zstd"):
        producer = KafkaProducer(bootstrap_servers=course.bootstrap, compression_type=packing)
        for parts in (
            {"key": word.encode(), "value": b"v"},
            {"value": word.encode()},
            {"value": b"v", "headers": [("note", word.encode())]},
        ):
            producer.send(topic, **parts)
        producer.close()
    wanted = [rf"^{topic} record \d+ {part}: '{SPECIES}" for part in ("key", "value", "header note")]
    if course.disk is not None:
        segment = rf"^{re.escape(str(course.disk))}.*{topic}-0/\d+\.log"
        wanted += [
            rf"{segment}: '{SPECIES}",
            *(rf"{segment} > {packing} at " for packing in ("gzip", "zstd")),
        ]
    return wanted


def planted_in_logs(course: Course) -> list[str]:
    for log in course.logs:
        with log.open("a") as file:
            file.write(json.dumps({"event": "entry-recorded", "patient": course.canaries.word("log")}) + "\n")
    return [f"^{re.escape(str(log))}: '{SPECIES}" for log in course.logs]


def planted_in_the_wal(course: Course, database: Connection, word: str) -> list[str]:
    """No table holds it any longer."""
    row = {column.name: stand_in(column, word) for column in practice.columns}
    database.execute(insert(practice).values(row))
    database.commit()
    database.execute(delete(practice).where(practice.c.practice_id == word))
    database.commit()
    wals = "|".join(re.escape(str(wal)) for wal in course.wals)
    return [f"^({wals}): '{word}'"]


def planted_in_tables(course: Course, database: Connection) -> list[str]:
    """A row in each of the hub's tables, with a canary in each column that takes one."""
    wanted, dump = [], re.escape(str(course.as_the_hub_reads))
    for table in hub_tables.sorted_tables:
        row = {
            column.name: stand_in(column, course.canaries.word(f"{table}.{column.name}"))
            for column in table.columns
        }
        database.execute(insert(table).values(row))
        for column in table.columns:
            if isinstance(row[column.name], (str, bytes)):
                encrypted = isinstance(column.type, EncryptedBytes)
                wanted.append(f"^{dump}/{table.name}\\.{column.name}: ")
                if not encrypted:
                    wanted.append(
                        course.line_of(table.name, column.name, isinstance(row[column.name], bytes))
                    )
    database.commit()
    return wanted


def stand_in(column: Column[Any], word: str) -> Any:
    """*word*, or a value of the column's own type where it takes none."""
    match column.type:
        case String():
            return word
        case LargeBinary() | EncryptedBytes():
            return word.encode()
        case UtcTime():
            return datetime(2026, 11, 22, tzinfo=UTC)
        case Boolean():
            return False
        case _:
            return 7_000_001
