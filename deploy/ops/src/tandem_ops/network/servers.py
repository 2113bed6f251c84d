"""Servers that somebody else runs, and a network may use: PostgreSQL, with a database for each member, and a broker."""

import contextlib
import socket

from tandem_ops.console import Exit, Stop
from tandem_ops.network.plan import NetworkPlan

_PATIENCE = 2.0


def require_servers(plan: NetworkPlan) -> None:
    """As `provide_databases`, and the plan's broker answers. Raises Stop."""
    provide_databases(plan)
    if plan.kafka and not broker_answers(plan):
        raise Stop(
            Exit.UNREACHABLE,
            f"no broker answers at {plan.kafka}",
            "start it, correct --kafka, or leave it away: then one is started along",
        )


def provide_databases(plan: NetworkPlan) -> None:
    """On a PostgreSQL server; SQLite files make themselves. Raises Stop."""
    if plan.postgres:
        _provide_on_server(plan.postgres, ["hub", *(practice.name for practice in plan.practices)])


def broker_answers(plan: NetworkPlan) -> bool:
    for address in plan.kafka.split(","):
        host, _, port = address.rpartition(":")
        with contextlib.suppress(OSError, UnicodeError):
            socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
            return True
    return False


def _provide_on_server(url: str, names: list[str]) -> None:
    from sqlalchemy import create_engine, make_url, text
    from sqlalchemy.exc import DatabaseError

    engine = create_engine(make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            there = set(connection.scalars(text("SELECT datname FROM pg_database")))
            for name in names:
                if f"tandem_{name}" not in there:
                    connection.execute(text(f'CREATE DATABASE "tandem_{name}"'))
    except DatabaseError as failed:
        raise Stop(
            Exit.UNREACHABLE,
            f"{make_url(url)!r} does not answer, or refuses this user",
            "see that it runs; --postgres names it and a user who may create databases",
        ) from failed
    finally:
        engine.dispose()
