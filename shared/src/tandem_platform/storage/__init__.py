"""Transactions, column types and encryption at rest, alike on SQLite and PostgreSQL."""

from tandem_platform.storage.database import Database, Transaction

__all__ = ["Database", "Transaction"]
