"""A network that somebody else runs: addresses and tokens of its practices, and commands that hurt its members."""

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tandem_ops.console import Exit, Stop
from tandem_ops.network.plan import PracticePlan, new_plan
from tandem_ops.network.process import MemberDidNotStart

Command = Sequence[str]

_PATIENCE = 180.0
_PAUSE = 0.2


def run(command: Command, timeout: float = _PATIENCE) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        list(command), capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=timeout
    )


@dataclass(frozen=True)
class MemberElsewhere:
    """Hub, broker or clinic. *ready*: a command that ends well once the member may be called."""

    name: str
    kill_with: Command
    stop_with: Command
    start_with: Command
    ready: Command

    def kill(self) -> None:
        self._do(self.kill_with)

    def stop(self) -> bool:
        self._do(self.stop_with)
        return True

    def start(self) -> None:
        self._do(self.start_with)

    def await_ready(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while (answer := run(self.ready)).returncode != 0:
            if time.monotonic() > deadline:
                raise MemberDidNotStart(f"{self.name} is not ready after {timeout:g} s: {_said(answer)}")
            time.sleep(_PAUSE)

    def _do(self, command: Command) -> None:
        answer = run(command)
        if answer.returncode != 0:
            raise Stop(Exit.FINDING, f"{' '.join(command)} failed: {_said(answer)}")


@dataclass(frozen=True)
class NetworkElsewhere:
    """Read from the file that `tandem demo --against` is given.

    account: prints what `tandem compose account` prints.
    searched: whatever these print must hold no word about a patient.
    """

    practices: tuple[PracticePlan, ...]
    addresses: Mapping[str, str]
    tokens: Mapping[str, str]
    broker: MemberElsewhere
    hub: MemberElsewhere
    clinics: Mapping[str, MemberElsewhere]
    account: Command
    searched: Mapping[str, Command] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> "NetworkElsewhere":
        """Raises Stop where the file does not say all of it."""
        try:
            said = json.loads(file.read_text())
            names = tuple(said["practices"])
            members = {name: _member(name, each) for name, each in said["members"].items()}
            return cls(
                practices=new_plan(names).practices,
                addresses={name: said["practices"][name]["address"] for name in names},
                tokens={name: said["practices"][name]["token"] for name in names},
                broker=members["broker"],
                hub=members["hub"],
                clinics={name: members[name] for name in names},
                account=said["account"],
                searched=said["searched"],
            )
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OSError) as broken:
            raise Stop(
                Exit.USAGE,
                f"{file} does not describe a network: {type(broken).__name__} {broken}",
                "it needs practices, members, account and searched; deploy/docker/check writes one",
            ) from None

    def practice_plans(self) -> tuple[PracticePlan, ...]:
        return self.practices

    def http_address(self, practice: PracticePlan) -> str:
        return self.addresses[practice.name]

    def token(self, name: str, role: str = "clinician") -> str:
        return self.tokens[name]


def _member(name: str, said: Mapping[str, Any]) -> MemberElsewhere:
    return MemberElsewhere(name, said["kill"], said["stop"], said["start"], said["ready"])


def _said(answer: subprocess.CompletedProcess[bytes]) -> str:
    return (answer.stderr or answer.stdout).decode(errors="replace")[-600:].strip()
