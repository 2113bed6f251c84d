"""INSERT alike on either database: of a row that may be there already, and of many rows at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Column, Insert, LargeBinary, Table
from sqlalchemy.dialects import postgresql, sqlite

from tandem_platform.storage.database import Transaction

FEWEST_AS_ARRAYS = 3
"""Fewer rows cost less as a message each."""


def insert_new(tx: Transaction, table: Table, values: Mapping[str, Any]) -> bool:
    """Whether the row is new; False if its key, or another unique column, was taken."""
    return tx.execute(_inserting_new(table, tx.dialect), values).first() is not None


@cache
def _inserting_new(table: Table, dialect: str) -> Any:
    return (
        insert_into(table, dialect).on_conflict_do_nothing().returning(next(iter(table.primary_key.columns)))
    )


def insert_into(table: Table, dialect: str) -> Any:
    """The dialect's own INSERT, which knows ``ON CONFLICT``."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def insert_rows(tx: Transaction, statement: Table | Insert, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert *rows*, all with the same keys.

    statement: a table, or an INSERT that is built once, whose ON CONFLICT clause has no values of its own.
    PostgreSQL takes a column as an array, so that many rows are one message, where they would be one each.
    """
    if tx.dialect == "postgresql" and len(rows) >= FEWEST_AS_ARRAYS:
        inserting = _inserting_arrays(statement, tuple(rows[0]), tx.connection.dialect)
        tx.drive(inserting.text, inserting.arrays_of(rows))
    elif rows:
        tx.execute(_plain(statement), rows)


@dataclass(frozen=True, slots=True)
class _Arrays:
    text: str
    columns: tuple[tuple[str, Callable[[Any], Any] | None], ...]
    """Each column's key, and what makes the driver's value of ours."""

    def arrays_of(self, rows: Sequence[Mapping[str, Any]]) -> tuple[list[Any], ...]:
        return tuple(
            [row[name] for row in rows] if value_of is None else [value_of(row[name]) for row in rows]
            for name, value_of in self.columns
        )


@cache
def _plain(statement: Table | Insert) -> Insert:
    return statement.insert() if isinstance(statement, Table) else statement


@cache
def _inserting_arrays(statement: Table | Insert, keys: tuple[str, ...], dialect: Any) -> _Arrays:
    whole = _plain(statement)
    table = whole.table
    assert isinstance(table, Table)
    columns = [table.c[key] for key in keys]
    compiled = str(whole.compile(dialect=dialect, column_keys=list(keys)))
    _, on_conflict, clause = compiled.partition(" ON CONFLICT ")
    preparer = dialect.identifier_preparer
    names = ", ".join(preparer.format_column(column) for column in columns)
    arrays = ", ".join(f"%b::{_type_name(column, dialect)}[]" for column in columns)
    into = f"INSERT INTO {preparer.format_table(table)} ({names})"
    return _Arrays(
        # All of it comes from a table's own definition.
        f"{into} SELECT * FROM unnest({arrays}){on_conflict}{clause}",  # noqa: S608
        tuple((column.key, _processor(column, dialect)) for column in columns),
    )


def _type_name(column: Column[Any], dialect: Any) -> str:
    # Without a length, to which a cast would cut what an INSERT refuses.
    return str(column.type.compile(dialect=dialect)).partition("(")[0]


def _processor(column: Column[Any], dialect: Any) -> Callable[[Any], Any] | None:
    # The driver takes bytes as they are.
    if isinstance(column.type, LargeBinary):
        return None
    made: Callable[[Any], Any] | None = column.type.dialect_impl(dialect).bind_processor(dialect)
    return made
