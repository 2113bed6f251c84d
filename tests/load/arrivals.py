"""When an entry can be read in the partner's database: seen from outside, through a connection of its own."""

import sqlite3
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from load.recorder import Committed, Order, Recorder

LOOK_EVERY = 0.002
"""Seconds between two looks, which is as late as an arrival may be noticed, and the same for Tandem and the floor."""
ASK_FOR, ASK_AGAIN = 400, 0.25


class DidNotArrive(Exception):
    """Entries that were committed are not at the partner in time."""


@dataclass(frozen=True, slots=True)
class Journey:
    """``due``: when its timetable wanted it; latency is counted from there, so that a stall hides nothing."""

    due: float
    committed: float
    visible: float


class Arrivals:
    """Looks whether the reader's cursor has moved, and only then which entries are there."""

    def __init__(self, url: str, log: str) -> None:
        self._log = log
        self._mark = "?" if url.startswith("sqlite") else "%s"
        self._connection: Any
        if url.startswith("sqlite"):
            self._connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        else:
            import psycopg

            self._connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)

    def follow(self, recorder: Recorder, order: Order, patience: float = 60.0) -> list[Journey]:
        """Have *order* recorded and give every entry's journey. *patience*: seconds without any arrival."""
        journeys: list[Journey] = []
        under_way: deque[Committed] = deque()
        before, asked = -1, 0.0
        heard = time.monotonic()
        recorder.record(order)
        while len(journeys) < order.entries:
            fresh, cursor, now = recorder.committed(), self._cursor(), time.monotonic()
            under_way.extend(fresh)
            if under_way and (fresh or cursor != before or now - asked > ASK_AGAIN):
                before, asked = cursor, now
                there = self._there([each.entry_id for each in islice(under_way, ASK_FOR)])
                now = time.monotonic()
                journeys += [Journey(each.due, each.at, now) for each in under_way if each.entry_id in there]
                under_way = deque(each for each in under_way if each.entry_id not in there)
                heard = now if there else heard
                if len(there) == ASK_FOR:
                    before = -1
                    continue
            if now - heard > patience:
                raise DidNotArrive(
                    f"{self._log}: {order.entries - len(journeys)} of {order.entries} entries, for {patience:g} s"
                )
            time.sleep(LOOK_EVERY)
        return journeys

    def _cursor(self) -> int:
        query = f"SELECT sequence FROM exchange_cursor WHERE log = {self._mark}"  # noqa: S608 - a placeholder
        row = self._connection.execute(query, (self._log,)).fetchone()
        return 0 if row is None else int(row[0])

    def _there(self, entry_ids: list[str]) -> set[str]:
        marks = ", ".join([self._mark] * len(entry_ids))
        query = f"SELECT entry_id FROM received_entry WHERE entry_id IN ({marks})"  # noqa: S608 - placeholders
        return {row[0] for row in self.query(query, entry_ids)}

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return list(self._connection.execute(statement, values).fetchall())

    def close(self) -> None:
        self._connection.close()
