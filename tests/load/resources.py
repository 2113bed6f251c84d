"""What running costs: CPU and memory of every process that the bench started, bytes in databases and on the broker."""

import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil

_MEMBERS = {
    "tandem_referral": "hub",
    "tandem_prescriber": "clinic A",
    "tandem_therapy_provider": "clinic B",
    "load.record": "recorder",
    "floor.py": "floor",
    "load.floor_calls": "floor",
    "kafka.Kafka": "broker",
    "tansu": "broker",
    "postgres": "database",
}
"""By a word of the command line."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds."""

    user: float = 0.0
    system: float = 0.0

    def __add__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.user + other.user, self.system + other.system)

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.user - other.user, self.system - other.system)


def _ours() -> Iterable[tuple[str, psutil.Process]]:
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            command = " ".join(process.cmdline())
            member = next((name for word, name in _MEMBERS.items() if word in command), None)
            if member is not None:
                yield member, process


def cpu() -> dict[str, Cpu]:
    """So far, by member, with children that have ended."""
    used: dict[str, Cpu] = defaultdict(Cpu)
    for member, process in _ours():
        with suppress(psutil.Error):
            times = process.cpu_times()
            used[member] += Cpu(times.user + times.children_user, times.system + times.children_system)
    return dict(used)


def spent(before: Mapping[str, Cpu]) -> dict[str, Cpu]:
    """CPU since *before*."""
    return {member: total - before.get(member, Cpu()) for member, total in cpu().items()}


def memory() -> dict[str, float]:
    """Megabytes by member; what processes share, such as a database's buffers, is counted once where the system tells."""
    used: dict[str, float] = defaultdict(float)
    for member, process in _ours():
        with suppress(psutil.Error):
            info = process.memory_full_info()
            used[member] += getattr(info, "pss", info.rss) / 1e6
    return dict(used)


def stored_bytes(url: str) -> int:
    """Of a database, with its indexes."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        try:
            pages, size = (
                connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
            )
            return int(pages * size)
        finally:
            connection.close()
    import psycopg

    with psycopg.connect(url.replace("+psycopg", "")) as server:
        row = server.execute("SELECT pg_database_size(current_database())").fetchone()
        return int(row[0]) if row else 0


def record_bytes(bootstrap: str, topic: str, last: int) -> float:
    """Mean size of the *last* records of a topic: key, value and headers."""
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, enable_auto_commit=False)
    try:
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek_to_beginning()
        sizes: list[int] = []
        heard = time.monotonic()
        while time.monotonic() - heard < 1.0:
            for records in consumer.poll(200).values():
                heard = time.monotonic()
                sizes += [_size(record) for record in records]
        return sum(sizes[-last:]) / max(1, len(sizes[-last:]))
    finally:
        consumer.close(autocommit=False)


def _size(record: object) -> int:
    key, value, headers = (getattr(record, name) for name in ("key", "value", "headers"))
    return len(key or b"") + len(value or b"") + sum(len(name) + len(held) for name, held in headers)
