"""What the hub knows of each clinic's connection, and of its own run."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.dialects import postgresql, sqlite

from tandem_platform.storage import Transaction
from tandem_referral.store.tables import hub_state, practice_sync

current_run = select(hub_state.c.run).where(hub_state.c.id == 1).scalar_subquery()
"""The hub's run that all its processes are in; a new one begins with every start of a process that clinics call."""


def caught_up(tx: Transaction, practice_ids: Iterable[str]) -> set[str]:
    """Which of them have synced and replayed in this run of the hub."""
    query = select(practice_sync.c.practice_id).where(
        practice_sync.c.practice_id.in_(list(practice_ids)), practice_sync.c.caught_up_in_run == current_run
    )
    return {row.practice_id for row in tx.all(query)}


def note(
    tx: Transaction,
    practice_id: str,
    now: datetime,
    *,
    caught_up: bool,
    commands_known: int,
    kafka_failing: bool,
) -> None:
    """The practice has synced. Once caught up in a run it stays so, whatever a late answer of an older call says."""
    insert = postgresql.insert if tx.dialect == "postgresql" else sqlite.insert
    values = {"last_sync_at": now, "commands_known": commands_known, "kafka_failing": kafka_failing}
    if caught_up:
        values["caught_up_in_run"] = current_run
    tx.execute(
        insert(practice_sync)
        .values(practice_id=practice_id, **values)
        .on_conflict_do_update(index_elements=["practice_id"], set_=values)
    )


def all_practices(tx: Transaction) -> Sequence[Row[Any]]:
    return tx.all(select(practice_sync).order_by(practice_sync.c.practice_id))


def begin_run(tx: Transaction, run: str, now: datetime) -> None:
    """A process of the hub has started: what it knows may come from a backup."""
    insert = postgresql.insert if tx.dialect == "postgresql" else sqlite.insert
    tx.execute(
        insert(hub_state)
        .values(id=1, high_water=now, run=run)
        .on_conflict_do_update(index_elements=["id"], set_={"run": run})
    )


def high_water(tx: Transaction) -> datetime | None:
    row = tx.first(select(hub_state.c.high_water).where(hub_state.c.id == 1))
    return None if row is None else row.high_water


def raise_high_water(tx: Transaction, to: datetime) -> None:
    tx.execute(
        update(hub_state).where(hub_state.c.id == 1, hub_state.c.high_water < to).values(high_water=to)
    )
