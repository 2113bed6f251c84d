"""Whoever records entries, as a process of its own: Tandem's and the floor's take the same orders.

An order is a line of JSON on standard input: how many ``entries``, how many ``together`` in one transaction, at what
``rate`` a second (0: one transaction after another). After each commit a line comes back: when it was due, when it was
committed, the ids of its entries. Times are of the machine's monotonic clock, which all its processes share.
"""

import json
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class Order:
    entries: int
    together: int = 1
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Committed:
    entry_id: str
    due: float
    at: float


class RecorderEnded(Exception):
    """It did not start, or has ended by itself; its log says why."""


class Recorder:
    """Ends with its ``with`` block, and if this process ends, because its input does."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        self._committed: deque[Committed] = deque()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=dict(environment),
                text=True,
            )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RecorderEnded(f"{command[1:3]} did not start: see {log}")
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def record(self, order: Order) -> None:
        """Begin; `committed` gives what is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()

    def committed(self) -> list[Committed]:
        """Entries committed since the last call."""
        if self._process.poll() is not None:
            raise RecorderEnded(f"the recorder has ended: see {self._log}")
        found = []
        while self._committed:
            found.append(self._committed.popleft())
        return found

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            due, at, entry_ids = json.loads(line)
            self._committed.extend(Committed(entry_id, due, at) for entry_id in entry_ids)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(5)
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
