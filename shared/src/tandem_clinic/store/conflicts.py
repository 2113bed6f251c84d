"""INSERT that leaves an existing row alone, on either database."""

from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

from tandem_platform.storage.database import Transaction


def insert_new(tx: Transaction, table: Table, values: dict[str, Any]) -> bool:
    """Whether the row is new; False if its key, or another unique column, was taken."""
    insert = postgresql.insert if tx.dialect == "postgresql" else sqlite.insert
    key = next(iter(table.primary_key.columns))
    statement = insert(table).values(values).on_conflict_do_nothing().returning(key)
    return tx.execute(statement).first() is not None
