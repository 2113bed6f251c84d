"""INSERT that leaves an existing row alone, on either database."""

from functools import cache
from typing import Any

from sqlalchemy import Executable, Table
from sqlalchemy.dialects import postgresql, sqlite

from tandem_platform.storage.database import Transaction


def insert_new(tx: Transaction, table: Table, values: dict[str, Any]) -> bool:
    """Whether the row is new; False if its key, or another unique column, was taken."""
    return tx.execute(_inserting(table, tx.dialect), values).first() is not None


@cache
def _inserting(table: Table, dialect: str) -> Executable:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(table).on_conflict_do_nothing().returning(next(iter(table.primary_key.columns)))
