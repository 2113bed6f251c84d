"""What the hub knows of each clinic's connection, and of its own run."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, func, select, update

from tandem_platform.exchange.log import ROWS
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_into
from tandem_platform.storage.lists import among
from tandem_referral.store.tables import exchange, hub_state, practice_sync

SWEEPS = "sweeps"
"""The topic that a commit wakes when a scope is to be swept."""

current_run = select(hub_state.c.run).where(hub_state.c.id == 1).scalar_subquery()
"""The hub's run that all its processes are in; a new one begins with every start of a process that clinics call."""


CAUGHT_UP = (ROWS, SWEEPS)
"""What a practice that has caught up sets free: its downlink, and the sweeps of what it discloses or receives."""


def caught_up(tx: Transaction, practice_ids: Iterable[str]) -> set[str]:
    """Which of them have synced and replayed in this run of the hub."""
    return {row.practice_id for row in tx.all(_CAUGHT_UP, practices=list(practice_ids))}


HAS_CAUGHT_UP = practice_sync.c.caught_up_in_run == current_run
"""Of a practice's row: it has synced and replayed in this run of the hub."""
_CAUGHT_UP = select(practice_sync.c.practice_id).where(
    among(practice_sync.c.practice_id, "practices"), HAS_CAUGHT_UP
)


def note_caught_up(tx: Transaction, practice_id: str) -> None:
    """In the run in which its commands are taken. It stays so in this run, whatever a late answer of an older call says."""
    tx.execute(
        update(practice_sync)
        .where(practice_sync.c.practice_id == practice_id, practice_sync.c.commands_in_run == current_run)
        .values(caught_up_in_run=current_run)
    )
    tx.wake(*CAUGHT_UP)


def takes_commands(tx: Transaction, practice_id: str) -> bool:
    """Whether commands of this caller are served now. Whoever has never synced has nothing that this database could have lost."""
    row = tx.first(_TAKES_COMMANDS, of=practice_id)
    return row is None or bool(row[0])


_TAKES_COMMANDS = select(practice_sync.c.commands_in_run == current_run).where(
    practice_sync.c.practice_id == bindparam("of")
)


def is_replaying(tx: Transaction, practice_id: str) -> bool:
    """Whether the practice's commands are taken and it has not caught up: what comes now are those that were lost."""
    query = select(practice_sync.c.practice_id).where(
        practice_sync.c.practice_id == practice_id,
        practice_sync.c.commands_in_run == current_run,
        practice_sync.c.caught_up_in_run != current_run,
    )
    return tx.first(query) is not None


def kafka_failing(tx: Transaction, practice_id: str) -> bool:
    """Whether the practice last said so."""
    row = tx.first(select(practice_sync.c.kafka_failing).where(practice_sync.c.practice_id == practice_id))
    return row is None or bool(row.kafka_failing)


def note(
    tx: Transaction,
    practice_id: str,
    now: datetime,
    *,
    takes_commands: bool,
    commands_known: int,
    kafka_failing: bool,
) -> None:
    """The practice has synced."""
    values = {"last_sync_at": now, "commands_known": commands_known, "kafka_failing": kafka_failing}
    if takes_commands:
        values["commands_in_run"] = current_run
    tx.execute(
        insert_into(practice_sync, tx.dialect)
        .values(practice_id=practice_id, **values)
        .on_conflict_do_update(index_elements=["practice_id"], set_=values)
    )


def rescued_total(tx: Transaction) -> int:
    """Rows of all uplinks that only Push has brought although Kafka worked, as far as anybody knew."""
    row = tx.first(select(func.coalesce(func.sum(exchange.cursor.c.rescued_total), 0)))
    return 0 if row is None else int(row[0])


def all_practices(tx: Transaction) -> Sequence[Row[Any]]:
    return tx.all(select(practice_sync).order_by(practice_sync.c.practice_id))


def begin_run(tx: Transaction, run: str, now: datetime) -> None:
    """A process of the hub has started: what it knows may come from a backup."""
    tx.execute(
        insert_into(hub_state, tx.dialect)
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
