"""Seeded schedules of faults on a network of real processes under load.

A seed decides which faults come, in which order, which two at once, and when a permission is revoked.
How the processes' own threads fall between them it cannot decide: the plan is the same each time, the timing is not.

usage: PYTHONPATH=tests python -m faults.real_schedules SEED [--through LAST] [--stack embedded|production]
"""

import argparse
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from faults.checker import Verdict, check, read_ledger, waiting_for_a_person
from faults.field import PERMITTED, Field, Load, until
from faults.real_effects import RealEffects, Stack, kinds
from faults.real_faults import CLINICS, FAULTS, Scene, back_up

from support.brokers import Broker, behind_a_proxy
from support.databases import PostgresServer, postgres_server
from support.proxy import Proxy
from tandem_ops.network.process import MemberDidNotStart
from tandem_ops.reach import ClinicApi, ClinicAway
from tandem_platform.ids import new_id

TURNS = 8
EPISODES = 6
RATE = 40
SETTLE = 60.0
FAILURES = (AssertionError, MemberDidNotStart, ClinicAway, sqlite3.Error, psycopg.Error, OSError)
"""What a broken promise looks like, or a member that is not there when it should be."""


@dataclass(frozen=True)
class Turn:
    kinds: tuple[str, ...]
    """One fault, or two of which the second begins and ends within the first."""
    lasting: float
    before: float
    """Seconds of load without a fault before it."""

    def __str__(self) -> str:
        return f"{' with '.join(self.kinds)} for {self.lasting:.1f} s"


@dataclass(frozen=True)
class Plan:
    turns: tuple[Turn, ...]
    revoke_at: int
    revoked_by: str
    back_up_at: int
    restores: str
    """Whose database is set back; nobody's where empty."""


@dataclass
class Outcome:
    seed: int
    trail: list[str] = field(default_factory=list)
    broken: str = ""
    verdict: Verdict = field(default_factory=Verdict)
    took: float = 0.0


def plan_of(seed: int, stack: Stack) -> Plan:
    chance = random.Random(seed)
    deck = [kind for kind in kinds(stack) if not kind.endswith("-restored")]
    chance.shuffle(deck)
    turns = []
    for _ in range(TURNS):
        chosen = [deck.pop()]
        if chance.random() < 0.4:
            chosen += _beside(chosen[0], deck)
        turns.append(Turn(tuple(chosen), chance.uniform(0.8, 2.5), chance.uniform(0.2, 0.8)))
    restores = chance.choice(("", "", "juniper", "riverbend"))
    back_up_at = chance.randrange(TURNS // 2)
    if restores:
        place = chance.randrange(back_up_at + 1, TURNS + 1)
        turns.insert(place, Turn((f"{restores}-restored",), 1.0, chance.uniform(0.5, 1.5)))
    # What only the restored practice knew, it no longer knows: a revocation that had not reached the hub, too.
    revoked_by = chance.choice([name for name in CLINICS if name != restores])
    return Plan(tuple(turns), chance.randrange(2, TURNS - 2), revoked_by, back_up_at, restores)


_ALONE = ("second-hub", "database-killed")
"""What needs everybody else running in order to have an effect."""


def _beside(first: str, deck: list[str]) -> list[str]:
    """The deck's next kind that hurts something else."""
    if first in _ALONE or "-backends-" in first:
        return []
    for kind in reversed(deck):
        apart = kind.partition("-")[0] != first.partition("-")[0]
        if apart and kind not in _ALONE and "-backends-" not in kind:
            deck.remove(kind)
            return [kind]
    return []


def run_real_schedule(seed: int, scene: Scene) -> Outcome:
    """Everything that *seed* decides, then healed, settled and checked. The field runs, and was not used before."""
    plan, outcome, began = plan_of(seed, scene.stack), Outcome(seed), time.monotonic()
    scene.load.start()
    revoking: threading.Thread | None = None
    try:
        for number, turn in enumerate(plan.turns):
            if plan.restores and number == plan.back_up_at:
                back_up(scene, plan.restores)
            if number == plan.revoke_at:
                revoking = _revoke_meanwhile(scene, plan.revoked_by)
            outcome.trail.append(str(turn))
            _play(scene, turn)
            _expect_kept(scene, settled=False)
        if revoking is not None:
            revoking.join(60)
        scene.load.stop()
        outcome.verdict = _expect_settled(scene)
    except FAILURES as broken:
        outcome.broken = f"{type(broken).__name__}: {broken} (after {'; '.join(outcome.trail)})"
    finally:
        scene.load.stop()
    outcome.took = time.monotonic() - began
    return outcome


def _play(scene: Scene, turn: Turn) -> None:
    time.sleep(turn.before)
    with ExitStack() as faults:
        for kind in turn.kinds:
            faults.enter_context(FAULTS[kind](scene))
            time.sleep(turn.lasting / len(turn.kinds))
    fallen = [member.name for member in scene.field.network.members() if not member.running()]
    assert not fallen, f"ended by themselves: {fallen}"


def _revoke_meanwhile(scene: Scene, name: str) -> threading.Thread:
    """A person revokes the first patient's permission, and asks until somebody answers.

    The discloser holds back from its own answer on; what the recipient revokes is revoked when the hub has confirmed it.
    """
    field, episode = scene.field, scene.load.episodes[0]
    plan = field.network.plan.practice(name)
    api = ClinicApi(field.network.http_address(plan), field.network.token(name))
    request, path = new_id("req"), f"/api/v1/permissions/{episode.permission_id}/revoke"

    def ask() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                answer = api.call("POST", path, {}, idempotency_key=request, timeout=5)
            except ClinicAway:
                answer = None
            if answer is not None and not answer.is_refusal:
                confirmed = name == "juniper" or answer.status == 200
                field.ledger.note(op="revoked" if confirmed else "to-be-revoked", episode=episode.episode_id)
                return
            if answer is not None and answer.status < 500:
                field.ledger.note(op="refused", status=answer.status, body=answer.body)
                return
            time.sleep(0.1)
        field.ledger.note(op="gave-up", what="to revoke")

    thread = threading.Thread(target=ask, name="revokes", daemon=True)
    thread.start()
    return thread


def _verdict(scene: Scene) -> Verdict:
    field = scene.field
    return check(field.ledger.path, field.url("riverbend"), field.url("hub"), "prac_riverbend", PERMITTED)


def _expect_kept(scene: Scene, *, settled: bool) -> Verdict:
    """Nothing doubled, out of order, given without permission or given up; when all is settled, nothing lost either."""
    verdict = _verdict(scene)
    said = {
        name: value[:5]
        for name, value in vars(verdict).items()
        if isinstance(value, list) and value and (settled or name != "lost")
    }
    assert not said, f"{verdict}: {said}"
    return verdict


def _expect_settled(scene: Scene) -> Verdict:
    deadline = time.monotonic() + SETTLE
    while _verdict(scene).lost and time.monotonic() < deadline:
        time.sleep(0.2)
    verdict = _expect_kept(scene, settled=True)
    field = scene.field
    waiting = waiting_for_a_person(field.url("hub"), [field.url(name) for name in field.network.clinics])
    assert not waiting, f"needs a person: {waiting[:5]}"
    asked = any(line["op"].endswith("revoked") for line in read_ledger(field.ledger.path))
    assert asked, "somebody could revoke the permission"
    permission = scene.load.episodes[0].permission_id
    until(
        lambda: field.juniper.permission(permission)["state"] == "revoked",
        "everybody knows of the revocation",
    )
    _expect_true_accounts(scene)
    return verdict


def _expect_true_accounts(scene: Scene) -> None:
    """The hub's account as an operator checks it, each clinic's as its auditor does."""
    field = scene.field
    command = [sys.executable, "-m", "tandem_ops", "audit", "verify", "--hub-database", field.url("hub")]
    command += ["--at-rest-key", str(field.network.layout.hub / "at-rest.key")]
    for name in field.network.clinics:
        command += ["--against", field.url(name)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, f"tandem audit verify: {told.stdout} {told.stderr}"
    for name in field.network.clinics:
        plan = field.network.plan.practice(name)
        api = ClinicApi(field.network.http_address(plan), field.network.token(name, "auditor"))
        answer = api.call("GET", "/api/v1/audit/findings", timeout=30)
        assert answer.status == 200, f"{name}: {answer}"
        assert answer.body == [], f"{name}'s own account: {answer}"


@contextmanager
def a_scene(directory: Path, broker: Broker, line: Proxy, server: PostgresServer | None) -> Iterator[Scene]:
    """A network that runs, with patients and writers who have not begun. All of it is closed in the end, but for *server*."""
    if server is not None:
        for name in ("hub", "juniper", "riverbend"):
            server.drop_if_there(f"tandem_{name}")
    made = Field(
        directory,
        postgres="" if server is None else server.new_database(),
        broker=broker,
        with_lines=True,
    )
    try:
        made.start()
        yield Scene(made, Load(made, made.share(EPISODES), RATE), line, server, RealEffects())
    finally:
        made.close()
        line.close()


def run_seed(seed: int, directory: Path, server: PostgresServer | None) -> tuple[Outcome, RealEffects]:
    """On a new network in *directory*: with Kafka where *server* is given, embedded otherwise."""
    directory.mkdir(parents=True, exist_ok=True)
    broker, line = behind_a_proxy("embedded" if server is None else "production")
    with a_scene(directory, broker, line, server) as scene:
        return run_real_schedule(seed, scene), scene.effects


def replay(seed: int, stack: Stack) -> str:
    return f"PYTHONPATH=tests python -m faults.real_schedules {seed} --stack {stack}"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--through", type=int)
    parser.add_argument("--stack", choices=("embedded", "production"), default="embedded")
    chosen = parser.parse_args(arguments)
    stack: Stack = chosen.stack
    effects, broken = RealEffects(), 0
    with ExitStack() as stays:
        # Interrupted, too, it says what it has seen.
        stays.callback(lambda: sys.stdout.write(f"{effects.table(stack)}\n"))
        server = stays.enter_context(postgres_server()) if stack == "production" else None
        for seed in range(chosen.seed, (chosen.through or chosen.seed) + 1):
            broken += not _run_and_tell(seed, effects, server)
    return 1 if broken else 0


def _run_and_tell(seed: int, effects: RealEffects, server: PostgresServer | None) -> bool:
    """Whether every promise held. The files of a seed that broke one are kept."""
    directory = Path(tempfile.mkdtemp(prefix=f"tandem-seed-{seed}-"))
    began = time.monotonic()
    outcome, seen = run_seed(seed, directory, server)
    effects.update(seen)
    whole = time.monotonic() - began
    sys.stdout.write(f"seed {seed}: {outcome.took:.0f} s, {whole:.0f} s with its start\n")
    if outcome.broken:
        sys.stdout.write(f"  BROKEN: {outcome.broken}\n  its files: {directory}\n")
        return False
    sys.stdout.write(f"  {'; '.join(outcome.trail)}\n  {outcome.verdict}\n")
    shutil.rmtree(directory)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
