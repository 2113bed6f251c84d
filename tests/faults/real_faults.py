"""What is done to a network of real processes: each fault lasts as long as its block, and notes an effect where one shows."""

import dataclasses
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg
from faults.checker import query, read_ledger
from faults.field import Field, Load, until
from faults.real_effects import RealEffects, Stack
from faults.transactions import kill, revive
from sqlalchemy.engine import make_url

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
    backups: dict[str, str] = dataclasses.field(default_factory=dict)
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
    connected = _of_server(scene, _CONNECTED, [_database(name) for name in ("hub", *CLINICS)])
    before = scene.load.repeated
    server.kill()
    time.sleep(DOWNTIME)
    server.start()
    yield
    if connected and scene.load.repeated > before:
        scene.effects.note("database-killed")


@contextmanager
def backends_ended(scene: Scene, name: str) -> Iterator[None]:
    """Those that write are ended until one was met; then all."""
    database = [_database(name)]
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        if _of_server(scene, _END_WRITING, database):
            scene.effects.note(f"{name}-backends-ended")
            break
        time.sleep(0.005)
    _of_server(scene, _END, database)
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
        until(lambda: not _of_server(scene, _CONNECTED, [_database(name)]), "the database is left")
        scene.backups[name] = scene.server.new_database(scene.field.url(name))
    revive(member)


_CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE datname = ANY(%s)"
_END = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = ANY(%s)"
_END_WRITING = f"{_END} AND backend_xid IS NOT NULL"


def _put_back(scene: Scene, name: str) -> None:
    if scene.server is None:
        home = Path(scene.field.url(name).removeprefix("sqlite:///")).parent
        for file in home.glob("tandem.db*"):
            file.unlink()
        for file in Path(scene.backups[name]).iterdir():
            shutil.copy2(file, home)
        return
    backup = make_url(scene.backups[name]).database
    scene.server.drop_if_there(_database(name))
    _of_server(scene, f'CREATE DATABASE "{_database(name)}" TEMPLATE "{backup}"')


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


def _database(name: str) -> str:
    return f"tandem_{name}"


def _of_server(scene: Scene, statement: str, databases: list[str] | None = None) -> object:
    """The first value of the answer, asked beside the databases of the members."""
    url = make_url(scene.field.url("hub")).set(drivername="postgresql", database="postgres")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), None if databases is None else [databases])
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


Begin = Callable[[Scene], Fault]


def _of_each(names: tuple[str, ...], faults: dict[str, Callable[..., Fault]]) -> dict[str, Begin]:
    return {f"{name}-{what}": partial(fault, name=name) for name in names for what, fault in faults.items()}


FAULTS: dict[str, Begin] = {
    **_of_each(
        ("hub", *CLINICS),
        {"killed": killed, "hung": hung, "disk-full": disk_full, "backends-ended": backends_ended},
    ),
    **_of_each(
        (*CLINICS, "broker"),
        {
            "line-cut": line_cut,
            "line-half-open": line_half_open,
            "line-slow": line_slow,
            "line-reset": line_reset,
        },
    ),
    **_of_each(CLINICS, {"restored": restored}),
    "broker-killed": broker_killed,
    "broker-emptied": partial(broker_killed, emptied=True),
    "broker-hung": broker_hung,
    "database-killed": database_killed,
    "second-hub": second_hub,
}
