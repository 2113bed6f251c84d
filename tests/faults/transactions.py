"""Stopping a process while it has a write transaction open, which is when a kill hurts most."""

import sqlite3
import time
from collections.abc import Callable

import psycopg
from faults.field import Field

from tandem_ops.network.members import database_url
from tandem_ops.network.process import MemberProcess


def caught_in_transaction(field: Field, name: str) -> bool:
    """Stop the process again and again until it stands still with a transaction open; it is left stopped."""
    member = field.member(name)
    open_now = _probe(field, name)
    for _ in range(150):
        member.freeze()
        if open_now():
            return True
        member.thaw()
        time.sleep(0.004)
    member.freeze()
    return False


def kill(field: Field, name: str) -> bool:
    """Kill the process, with a write transaction open if it can be caught in one: whether it was."""
    in_transaction = caught_in_transaction(field, name)
    field.member(name).kill()
    return in_transaction


def revive(member: MemberProcess) -> None:
    member.start()
    member.await_ready(30)


def _probe(field: Field, name: str) -> Callable[[], bool]:
    url = database_url(field.network.plan, field.network.layout, name)
    if url.startswith("sqlite"):
        return lambda: _sqlite_is_being_written(url.removeprefix("sqlite:///"))
    return lambda: _postgres_is_being_written(url.replace("postgresql+psycopg://", "postgresql://"))


def _sqlite_is_being_written(path: str) -> bool:
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return True
    finally:
        connection.close()
    return False


def _postgres_is_being_written(url: str) -> bool:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL"
        ).fetchone()
    return bool(row and row[0])
