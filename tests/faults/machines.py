"""What a process stands on, and how it fails: its database, its disk, its clock, and its life."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from faults.effects import Effects
from sqlalchemy import MetaData
from sqlalchemy.exc import OperationalError

from support.watched import Crash
from tandem_platform.clock import Clock
from tandem_platform.storage import Database, Transaction

_NO_LIMIT = 1_073_741_823
_LAST = 1_000_000
"""After everything else that a transaction does before its commit."""


@dataclass
class Machine:
    """Of the process *name*, "hub" or a clinic. Numbers count transactions down; at zero the fault happens."""

    name: str
    effects: Effects
    skew: timedelta = timedelta(0)
    database_away: bool = False
    disk_full: bool = False
    dies_before_commit: int = -1
    dies_after_commit: int = -1
    aborts: int = -1
    watched: int = 0
    """Above zero while the checker looks: it is not hindered."""
    was_full: bool = False

    @property
    def is_hub(self) -> bool:
        return self.name == "hub"

    def kind(self, fault: str) -> str:
        return f"{'hub' if self.is_hub else 'clinic'}-{fault}"

    def heal(self) -> None:
        self.skew = timedelta(0)
        self.database_away = self.disk_full = False
        self.dies_before_commit = self.dies_after_commit = self.aborts = -1

    @contextmanager
    def looked_into(self) -> Iterator[None]:
        """By the checker, whom nothing hinders."""
        self.watched += 1
        try:
            yield
        finally:
            self.watched -= 1

    def answers(self) -> None:
        """Raises what a driver raises when its server is gone."""
        if self.database_away and not self.watched:
            self.effects.note(self.kind("database-away"))
            raise _trouble("unable to open database file")

    def about_to_commit(self, tx: Transaction) -> None:
        self.dies_before_commit -= self.dies_before_commit >= 0
        self.aborts -= self.aborts >= 0
        if self.dies_before_commit == 0:
            self.dies_before_commit = -1
            self.effects.note(self.kind("crash-before-commit"))
            raise Crash(self.name)
        if self.aborts == 0:
            self.aborts = -1
            self.effects.note(self.kind("transaction-aborted"))
            raise _trouble("disk I/O error")
        self._note_clock()

    def has_committed(self) -> None:
        self.dies_after_commit -= self.dies_after_commit >= 0
        if self.dies_after_commit == 0:
            self.dies_after_commit = -1
            self.effects.note(self.kind("crash-after-commit"))
            raise Crash(self.name)

    def _note_clock(self) -> None:
        if self.skew:
            self.effects.note(self.kind("clock-forward" if self.skew > timedelta(0) else "clock-back"))


class Injected(OperationalError):
    """What the driver raises, by our hand."""


def _trouble(said: str) -> Injected:
    return Injected("", {}, sqlite3.OperationalError(said))


def was_injected(trouble: OperationalError) -> bool:
    return isinstance(trouble, Injected) or _is_for_want_of_space(trouble)


def _is_for_want_of_space(trouble: BaseException | None) -> bool:
    """SQLite ends the transaction itself then: of a savepoint in it, only that it is gone is told."""
    while trouble is not None:
        if isinstance(trouble, OperationalError) and "disk is full" in str(trouble.orig):
            return True
        trouble = trouble.__context__
    return False


@dataclass(frozen=True)
class SkewedClock:
    """The network's time, as far as this machine knows."""

    clock: Callable[[], Clock]
    machine: Machine

    def now(self) -> datetime:
        return self.clock().now() + self.machine.skew


class FailingDatabase(Database):
    """A real database that its machine takes away, aborts or leaves without space."""

    def __init__(self, url: str, metadata: MetaData, machine: Machine) -> None:
        super().__init__(url, metadata)
        self._machine = machine

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        machine = self._machine
        machine.answers()
        try:
            with super().transaction() as tx:
                self._limit(tx)
                tx.before_commit(machine.about_to_commit, rank=_LAST)
                yield tx
        except OperationalError as trouble:
            if _is_for_want_of_space(trouble):
                machine.effects.note(machine.kind("disk-full"))
            raise
        machine.has_committed()

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        self._machine.answers()
        with super().reading() as tx:
            yield tx

    @contextmanager
    def glancing(self) -> Iterator[Transaction]:
        self._machine.answers()
        with super().glancing() as tx:
            yield tx

    def _limit(self, tx: Transaction) -> None:
        """SQLite itself refuses what needs another page."""
        machine = self._machine
        machine.was_full |= machine.disk_full
        if machine.was_full:
            # The limit stays with the connection, and connections go back to a pool.
            pages = 1 if machine.disk_full else _NO_LIMIT
            tx.connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
