"""Databases grown by copies of what a real run left in them, with ids that are spread as real ones are.

Copies have logs, episodes and patients of their own, so that nobody reads or counts them: they only lie there.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import MetaData, Table, create_engine, func, select, text
from sqlalchemy.engine import Connection

AT_ONCE = 5000
SAMPLE = 500
Change = Callable[[Any, int, int], Any]
"""The value of the copied row, the number of the copy, and the number of the row among all copies; gives the new value."""


def spread(value: str | None, copy: int, _: int) -> str | None:
    """Another id of the same form; the same for the same id in another table."""
    if not value:
        return value
    return value[:4] + hashlib.md5(f"{value}{copy}".encode(), usedforsecurity=False).hexdigest()[:26]


def numbered(_: object, __: int, number: int) -> int:
    return 1_000_000_000 + number


def apart(value: str, _: int, __: int) -> str:
    """The name of a log or chain that nobody reads."""
    return value.replace("prac_", "prac_grown_") if "prac_" in value else "prac_grown"


ENTRY = {"entry_id": spread, "episode_id": spread}
LOG = ENTRY | {"log": apart, "sequence": numbered}
CLINIC_A: Mapping[str, Mapping[str, Change]] = {
    "own_entry": {"record_id": spread, "patient_id": spread},
    "sealed_entry": ENTRY | {"record_id": spread},
    "receipt": {"entry_id": spread},
    "exchange_log": LOG,
    "audit_record": {"number": numbered, "patient_id": spread, "subject_id": spread},
}
HUB: Mapping[str, Mapping[str, Change]] = {
    "entry": ENTRY | {"uplink_sequence": numbered},
    "release": ENTRY,
    "exchange_log": LOG,
    "audit_record": {"chain": apart, "number": numbered},
}
CLINIC_B: Mapping[str, Mapping[str, Change]] = {
    "received_entry": ENTRY,
    "exchange_log": LOG,
    "audit_record": {"number": numbered, "patient_id": spread, "subject_id": spread},
}


def grow(url: str, tables: Mapping[str, Mapping[str, Change]], entries: int, per: str) -> None:
    """Copy rows until table *per* holds *entries*; the others grow in proportion."""
    engine = create_engine(url)
    metadata = MetaData()
    metadata.reflect(engine, only=[*tables])
    try:
        with engine.begin() as connection:
            have = _count(connection, metadata.tables[per])
            for name, changes in tables.items():
                table = metadata.tables[name]
                wanted = round(_count(connection, table) * (entries - have) / have)
                rows = _sample(connection, table)
                _copy(connection, table, rows, changes, max(0, wanted), have * 1_000_000)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # What either server does by itself after a while.
            if connection.dialect.name == "postgresql":
                connection.execute(text("VACUUM ANALYZE"))
                connection.execute(text("CHECKPOINT"))
            else:
                connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    finally:
        engine.dispose()


def _count(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _sample(connection: Connection, table: Table) -> list[dict[str, Any]]:
    """Rows of the run itself, none that is a copy; the last of them, since the first set the network up."""
    keys = list(table.primary_key.columns)
    query = select(table).order_by(*(key.desc() for key in keys))
    for name in ("log", "chain"):
        if name in table.c:
            query = query.where(table.c[name].not_like("%prac\\_grown%", escape="\\"))
    if "number" in table.c or "sequence" in table.c:
        query = query.where(table.c["number" if "number" in table.c else "sequence"] < 1_000_000_000)
    return [dict(row) for row in connection.execute(query.limit(SAMPLE)).mappings()]


def _copy(
    connection: Connection,
    table: Table,
    sample: Sequence[Mapping[str, Any]],
    changes: Mapping[str, Change],
    wanted: int,
    first_copy: int,
) -> None:
    start = _count(connection, table)
    batch: list[dict[str, Any]] = []
    for number, row in enumerate(_endless(sample, wanted)):
        copy = first_copy + number // len(sample)
        batch.append(
            dict(row) | {name: change(row[name], copy, start + number) for name, change in changes.items()}
        )
        if len(batch) == AT_ONCE:
            connection.execute(table.insert(), batch)
            batch = []
    if batch:
        connection.execute(table.insert(), batch)


def _endless(sample: Sequence[Mapping[str, Any]], wanted: int) -> Iterator[Mapping[str, Any]]:
    for number in range(wanted):
        yield sample[number % len(sample)]
