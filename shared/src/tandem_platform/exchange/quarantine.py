"""Rows that could not be applied, parked with all later content of their episode, in order."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Row, Select, Table, bindparam, select, update

from tandem_platform.exchange.rows import Position
from tandem_platform.exchange.tables import tables_of
from tandem_platform.storage.database import Transaction
from tandem_platform.storage.inserts import insert_new


def park(
    tx: Transaction,
    log: str,
    position: Position,
    episode_id: str,
    body: bytes,
    reason: str,
    *,
    own_fault: bool,
    at: datetime,
) -> None:
    """Set a row aside; its log goes on without it. *reason* is a code without content."""
    table = tables_of(tx.database.metadata).quarantine
    parked = {
        "log": log,
        "sequence": position.sequence,
        "epoch": position.epoch,
        "episode_id": episode_id,
        "body": body,
        "reason": reason,
        "own_fault": own_fault,
        "parked_at": at,
    }
    insert_new(tx, table, parked)


def parked_episodes(tx: Transaction, log: str) -> set[str]:
    """Episodes whose content queues; rows without an episode are parked alone and hold nobody up."""
    table = tables_of(tx.database.metadata).quarantine
    return {row.episode_id for row in tx.all(_episodes(table), of=log)}


@cache
def _episodes(table: Table) -> Select[Any]:
    return (
        select(table.c.episode_id).where(table.c.log == bindparam("of"), table.c.episode_id != "").distinct()
    )


def rows_of(tx: Transaction, log: str, episode_id: str) -> Sequence[Row[Any]]:
    """An episode's parked rows, in their log's order."""
    table = tables_of(tx.database.metadata).quarantine
    return tx.all(
        select(table).where(table.c.log == log, table.c.episode_id == episode_id).order_by(table.c.sequence)
    )


def listed(tx: Transaction, log: str | None = None) -> Sequence[Row[Any]]:
    """All parked rows, without their content."""
    table = tables_of(tx.database.metadata).quarantine
    query = select(
        table.c.log,
        table.c.sequence,
        table.c.epoch,
        table.c.episode_id,
        table.c.reason,
        table.c.own_fault,
        table.c.parked_at,
        table.c.attempts,
    )
    if log is not None:
        query = query.where(table.c.log == log)
    return tx.all(query.order_by(table.c.log, table.c.sequence))


def release(tx: Transaction, log: str, sequence: int) -> None:
    table = tables_of(tx.database.metadata).quarantine
    tx.execute(table.delete().where(table.c.log == log, table.c.sequence == sequence))


def failed_again(tx: Transaction, log: str, sequence: int, reason: str, *, own_fault: bool) -> None:
    table = tables_of(tx.database.metadata).quarantine
    tx.execute(
        update(table)
        .where(table.c.log == log, table.c.sequence == sequence)
        .values(reason=reason, own_fault=own_fault, attempts=table.c.attempts + 1)
    )
