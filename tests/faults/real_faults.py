"""What is done to a network of real processes: each fault lasts as long as its block, and notes an effect where one shows."""

import contextlib
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from faults.checker import query, read_ledger
from faults.field import Field, Load, until
from faults.real_effects import RealEffects, Stack
from faults.transactions import kill, revive

from support.databases import PostgresServer
from support.proxy import Proxy

CLINICS = ("juniper", "riverbend")
DOWNTIME = 0.5
"""Seconds for which a database server stays away."""

Fault = AbstractContextManager[None]


@dataclass
class Scene:
    """A field under load, and everything that can be hurt of it."""

    field: Field
    load: Load
    broker_line: Proxy
    server: PostgresServer | None
    effects: RealEffects
    backups: dict[str, str] = field(default_factory=dict)
    """By practice: where its database was copied to."""

    @property
    def stack(self) -> Stack:
        return "embedded" if self.server is None else "production"

    def acknowledged(self) -> int:
        return self.field.ledger.acknowledged

    def taken(self) -> int:
        """Rows of the prescriber's uplink that the hub has."""
        return self._number("hub", "SELECT count(*) FROM exchange_log WHERE log = 'tandem.prac_juniper.up'")

    def arrived(self) -> int:
        return self._number("riverbend", "SELECT count(*) FROM received_entry")

    def records(self, name: str) -> int:
        table = "own_entry" if name == "juniper" else "received_entry"
        return self._number(name, f"SELECT count(*) FROM {table}")  # noqa: S608 - one of two names

    def _number(self, name: str, statement: str) -> int:
        return int(query(self.field.url(name), statement)[0][0])

    def line(self, name: str) -> Proxy:
        return self.broker_line if name == "broker" else self.field.lines[name]


@contextmanager
def killed(scene: Scene, name: str) -> Iterator[None]:
    if kill(scene.field, name):
        scene.effects.note(f"{name}-killed")
    yield
    revive(scene.field.member(name))


@contextmanager
def broker_killed(scene: Scene, *, emptied: bool = False) -> Iterator[None]:
    broker = scene.field.broker
    had_read = query(
        scene.field.url("riverbend"),
        "SELECT kafka_offset FROM exchange_cursor WHERE log = 'tandem.prac_riverbend.down'",
    )
    broker.kill()
    before = scene.arrived()
    yield
    if scene.arrived() > before:
        scene.effects.note("broker-killed")
    if emptied and not broker.forgets:
        broker.empty()
    if (emptied or broker.forgets) and had_read and had_read[0][0] > 0:
        scene.effects.note("broker-emptied")
    broker.start()


@contextmanager
def hung(scene: Scene, name: str) -> Iterator[None]:
    member = scene.field.member(name)
    member.freeze()
    try:
        with _stand_still(scene, name, f"{name}-hung"):
            yield
    finally:
        member.thaw()


@contextmanager
def broker_hung(scene: Scene) -> Iterator[None]:
    scene.field.broker.freeze()
    try:
        before = scene.arrived()
        yield
        if scene.arrived() > before:
            scene.effects.note("broker-hung")
    finally:
        scene.field.broker.thaw()


@contextmanager
def disk_full(scene: Scene, name: str) -> Iterator[None]:
    """The running process may write to no file. Its own soft limit, so that nobody has to be root."""
    pid = scene.field.member(name).pid
    if pid is None:
        raise AssertionError(f"{name} runs")
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))
    try:
        with _stand_still(scene, name, f"{name}-disk-full"):
            yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


@contextmanager
def _stand_still(scene: Scene, name: str, kind: str) -> Iterator[None]:
    """Notes *kind* if what goes through the process stood still, and something should have gone through it."""
    through: Callable[[], int] = {
        "hub": scene.taken,
        "juniper": scene.acknowledged,
        "riverbend": scene.arrived,
    }[name]
    time.sleep(0.1)  # an answer may be on its way still
    before, asked = through(), scene.acknowledged()
    yield
    if through() == before and (name == "juniper" or scene.acknowledged() > asked):
        scene.effects.note(kind)


@contextmanager
def line_cut(scene: Scene, name: str) -> Iterator[None]:
    line = scene.line(name)
    before = line.refused
    line.refuse()
    yield
    if line.refused > before:
        scene.effects.note(f"{name}-line-cut")
    line.heal()


@contextmanager
def line_half_open(scene: Scene, name: str) -> Iterator[None]:
    line = scene.line(name)
    before = line.vanished
    line.lose()
    yield
    if line.vanished > before:
        scene.effects.note(f"{name}-line-half-open")
    line.heal()


@contextmanager
def line_slow(scene: Scene, name: str) -> Iterator[None]:
    line = scene.line(name)
    before = line.delayed
    line.delay = 0.15
    yield
    if line.delayed > before:
        scene.effects.note(f"{name}-line-slow")
    line.delay = 0.0


@contextmanager
def line_reset(scene: Scene, name: str) -> Iterator[None]:
    broken = scene.line(name).reset()
    yield
    broken += scene.line(name).reset()
    if broken:
        scene.effects.note(f"{name}-line-reset")


@contextmanager
def database_killed(scene: Scene) -> Iterator[None]:
    server = _server(scene)
    connections = _of_server(
        scene, "SELECT count(*) FROM pg_stat_activity WHERE datname IN %s" % _names("hub", *CLINICS)
    )
    before = scene.load.repeated
    server.kill()
    time.sleep(DOWNTIME)
    server.start()
    yield
    if connections and scene.load.repeated > before:
        scene.effects.note("database-killed")


@contextmanager
def backends_ended(scene: Scene, name: str) -> Iterator[None]:
    """Again and again, until one of them had a write transaction open."""
    end_all = (
        "SELECT coalesce(bool_or(backend_xid IS NOT NULL AND pg_terminate_backend(pid)), false)"  # noqa: S608
        f" FROM pg_stat_activity WHERE datname IN {_names(name)}"
        " AND (backend_xid IS NOT NULL OR %s)"
    )
    caught = False
    for attempt in range(200):
        caught = bool(_of_server(scene, end_all % ("true" if attempt == 0 else "false")))
        if caught:
            scene.effects.note(f"{name}-backends-ended")
            break
        time.sleep(0.005)
    _of_server(
        scene,
        f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname IN {_names(name)}",  # noqa: S608
    )
    yield


@contextmanager
def second_hub(scene: Scene) -> Iterator[None]:
    """The provider is served by the second process, the prescriber by the first."""
    line, second = scene.field.lines["riverbend"], scene.field.a_second_hub()
    second.start()
    second.await_ready(30)
    first_port, line.target_port = line.target_port, second.port
    line.reset()
    forwarded, before = line.forwarded, scene.arrived()
    try:
        yield
        if line.forwarded > forwarded and scene.arrived() > before:
            scene.effects.note("second-hub")
    finally:
        line.target_port = first_port
        second.kill()


@contextmanager
def restored(scene: Scene, name: str) -> Iterator[None]:
    """Back to the backup that `back_up` made, as a machine is after its disk was lost."""
    scene.load.pause()
    try:
        had = scene.records(name)
        scene.field.member(name).kill()
        if name == "juniper":
            _note_what_nobody_else_has(scene)
        _put_back(scene, name)
        if scene.records(name) < had:
            scene.effects.note(f"{name}-restored")
        revive(scene.field.member(name))
        if name == "juniper":
            until(lambda: _hub_was_told(scene), "the restored practice has read its lost rows back")
    finally:
        scene.load.resume()
    yield


def back_up(scene: Scene, name: str) -> None:
    """Copy the practice's database while its process is stopped."""
    member = scene.field.member(name)
    member.stop()
    if scene.server is None:
        home = Path(scene.field.url(name).removeprefix("sqlite:///")).parent
        kept = scene.field.directory / f"backup-of-{name}"
        kept.mkdir()
        for file in home.glob("tandem.db*"):
            shutil.copy2(file, kept)
        scene.backups[name] = str(kept)
    else:
        # A template needs a database without connections: whoever has just left may be there for a moment still.
        until(lambda: not _of_server(scene, _USERS % _names(name)), "the database is left")
        scene.backups[name] = scene.server.new_database(scene.field.url(name))
    revive(member)


_USERS = "SELECT count(*) FROM pg_stat_activity WHERE datname IN %s"


def _put_back(scene: Scene, name: str) -> None:
    if scene.server is None:
        home = Path(scene.field.url(name).removeprefix("sqlite:///")).parent
        for file in home.glob("tandem.db*"):
            file.unlink()
        for file in Path(scene.backups[name]).iterdir():
            shutil.copy2(file, home)
        return
    backup = scene.backups[name].partition("@/")[2].partition("?")[0]
    scene.server.drop_if_there(f"tandem_{name}")
    _of_server(scene, f'CREATE DATABASE "tandem_{name}" TEMPLATE "{backup}"')


def _note_what_nobody_else_has(scene: Scene) -> None:
    at_hub = {
        row[0]
        for row in query(
            scene.field.url("hub"), "SELECT entry_id FROM exchange_log WHERE log = 'tandem.prac_juniper.up'"
        )
    }
    entry_ids = [line["entry_id"] for line in read_ledger(scene.field.ledger.path) if line["op"] == "record"]
    scene.field.ledger.note(op="may-be-gone", entry_ids=[each for each in entry_ids if each not in at_hub])


def _hub_was_told(scene: Scene) -> bool:
    """That the clinic is back shows in its own account; with the backup's last row everything may have been there."""
    return bool(
        query(
            scene.field.url("juniper"),
            "SELECT 1 FROM exchange_head h WHERE h.log = 'tandem.prac_juniper.up' AND h.epoch > 1",
        )
    )


def _server(scene: Scene) -> PostgresServer:
    if scene.server is None:
        raise AssertionError("a fault of PostgreSQL's needs PostgreSQL")
    return scene.server


def _names(*members: str) -> str:
    return "(" + ", ".join(f"'tandem_{name}'" for name in members) + ")"


def _of_server(scene: Scene, statement: str) -> object:
    """The first value of the answer, asked beside the databases of the members."""
    url = _server_url(scene)
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def _server_url(scene: Scene) -> str:
    home = scene.field.url("hub").partition("host=")[2]
    return f"postgresql://postgres@/postgres?host={home}"


def _of_clinics_and_hub() -> Iterator[tuple[str, Callable[[Scene], Fault]]]:
    for name in ("hub", *CLINICS):
        yield f"{name}-killed", lambda scene, name=name: killed(scene, name)
        yield f"{name}-hung", lambda scene, name=name: hung(scene, name)
        yield f"{name}-disk-full", lambda scene, name=name: disk_full(scene, name)
        yield f"{name}-backends-ended", lambda scene, name=name: backends_ended(scene, name)


def _of_lines() -> Iterator[tuple[str, Callable[[Scene], Fault]]]:
    for name in (*CLINICS, "broker"):
        yield f"{name}-line-cut", lambda scene, name=name: line_cut(scene, name)
        yield f"{name}-line-half-open", lambda scene, name=name: line_half_open(scene, name)
        yield f"{name}-line-slow", lambda scene, name=name: line_slow(scene, name)
        yield f"{name}-line-reset", lambda scene, name=name: line_reset(scene, name)


FAULTS: dict[str, Callable[[Scene], Fault]] = {
    **dict(_of_clinics_and_hub()),
    **dict(_of_lines()),
    "broker-killed": broker_killed,
    "broker-emptied": lambda scene: broker_killed(scene, emptied=True),
    "broker-hung": broker_hung,
    "database-killed": database_killed,
    "second-hub": second_hub,
    "juniper-restored": lambda scene: restored(scene, "juniper"),
    "riverbend-restored": lambda scene: restored(scene, "riverbend"),
}
