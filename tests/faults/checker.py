"""Compares the ledger with what the databases hold. Imports nothing of Tandem: what it knows, it knows from outside.

What it reads: the ledger's lines; of the recipient, which entries it received; of the hub, its downlink rows in order.
"""

import json
import math
import sqlite3
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Verdict:
    acknowledged: int = 0
    permitted: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    without_permission: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (
            self.lost or self.doubled or self.out_of_order or self.without_permission or self.given_up
        )

    def __str__(self) -> str:
        faults = {name: len(value) for name, value in vars(self).items() if isinstance(value, list)}
        return f"{self.acknowledged} acknowledged, {self.permitted} permitted; " + ", ".join(
            f"{name} {count}" for name, count in faults.items()
        )


def read_ledger(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Rows of a database, by its SQLAlchemy URL, without SQLAlchemy."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()
    import psycopg

    with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://")) as connected:
        return connected.execute(statement.encode()).fetchall()


def check(ledger: Path, recipient_url: str, hub_url: str, recipient: str, permitted_category: str) -> Verdict:
    """Every acknowledged entry of the permitted category is at the recipient once, in order within its episode; no other is.

    What the ledger says besides: of an episode whose permission was revoked, nothing that was asked for after that
    was acknowledged is there, and what was under way may be there or not; a revocation "to be" is under way itself.
    What only a restored practice had may be gone.
    """
    verdict = Verdict()
    records: dict[str, list[dict[str, Any]]] = defaultdict(list)
    revoked_at: dict[str, float] = {}
    may_be_gone: set[str] = set()
    for line in read_ledger(ledger):
        if line["op"] == "record":
            verdict.acknowledged += 1
            records[line["episode"]].append(line)
        elif line["op"] in ("gave-up", "refused"):
            verdict.given_up.append(json.dumps(line))
        elif line["op"] in ("revoked", "to-be-revoked"):
            revoked_at[line["episode"]] = line["at"] if line["op"] == "revoked" else math.inf
        elif line["op"] == "may-be-gone":
            may_be_gone.update(line["entry_ids"])
    entry_ids = Counter(line["entry_id"] for lines in records.values() for line in lines)
    verdict.doubled += [entry_id for entry_id, times in entry_ids.items() if times > 1]

    received = {
        row[0]: row[1] for row in query(recipient_url, "SELECT entry_id, category FROM received_entry")
    }
    downlink = query(
        hub_url,
        f"SELECT entry_id, sequence FROM exchange_log WHERE log = 'tandem.{recipient}.down'"  # noqa: S608 - the test's own name
        " AND entry_id IS NOT NULL ORDER BY void_reason <> '', sequence",
    )
    # A voided row may have been read already, as a copy of Kafka's; where the entry was released again, that counts.
    first_place: dict[str, int] = {}
    for entry_id, sequence in downlink:
        first_place.setdefault(entry_id, sequence)

    for episode, lines in records.items():
        lines.sort(key=lambda line: line["number"])
        wanted = [line for line in lines if line["category"] == permitted_category]
        verdict.permitted += len(wanted)
        if episode not in revoked_at:
            verdict.lost += [
                line["text"] for line in wanted if line["entry_id"] not in received.keys() | may_be_gone
            ]
        there = [line for line in wanted if line["entry_id"] in received.keys() | first_place.keys()]
        places = [first_place.get(line["entry_id"], 0) for line in there]
        verdict.out_of_order += [
            line["text"]
            for line, place, before in zip(there[1:], places[1:], places, strict=False)
            if place <= before
        ]
        revoked = revoked_at.get(episode, math.inf)
        verdict.without_permission += [
            line["text"]
            for line in lines
            if (line["category"] != permitted_category or line["asked_at"] > revoked)
            and (line["entry_id"] in received or line["entry_id"] in first_place)
        ]
    return verdict


def seconds_to_arrive(origin_url: str, recipient_url: str) -> dict[str, float]:
    """By entry: from the moment within the origin's transaction to the moment within the recipient's."""
    sealed = dict(query(origin_url, "SELECT entry_id, sealed_at FROM sealed_entry"))
    received = dict(query(recipient_url, "SELECT entry_id, received_at FROM received_entry"))
    return {
        entry_id: (received[entry_id] - sealed[entry_id]) / 1e6 for entry_id in received if entry_id in sealed
    }


def waiting_for_a_person(hub_url: str, clinic_urls: list[str]) -> list[str]:
    """Rows that were parked, and readers that have stopped: nothing of it goes on by itself."""
    found = []
    for url in (hub_url, *clinic_urls):
        found += [
            f"parked {row}" for row in query(url, "SELECT log, sequence, reason FROM exchange_quarantine")
        ]
        found += [
            f"stopped {row}"
            for row in query(url, "SELECT log, stopped FROM exchange_cursor WHERE stopped <> ''")
        ]
    return found
