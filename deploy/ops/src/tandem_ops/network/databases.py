"""Each member's own database. SQLite files make themselves; on PostgreSQL somebody has to."""

from tandem_ops.console import Exit, Stop
from tandem_ops.network.plan import Layout, NetworkPlan


def provide_databases(layout: Layout, plan: NetworkPlan) -> None:
    for home in (layout.hub, *(layout.practice(practice) for practice in plan.practices)):
        home.mkdir(parents=True, exist_ok=True)
    if plan.postgres:
        _provide_on_server(plan.postgres, ["hub", *(practice.name for practice in plan.practices)])


def _provide_on_server(url: str, names: list[str]) -> None:
    from sqlalchemy import create_engine, make_url, text
    from sqlalchemy.exc import OperationalError

    engine = create_engine(make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            there = set(connection.scalars(text("SELECT datname FROM pg_database")))
            for name in names:
                if f"tandem_{name}" not in there:
                    connection.execute(text(f'CREATE DATABASE "tandem_{name}"'))
    except OperationalError as failed:
        raise Stop(
            Exit.UNREACHABLE,
            "the PostgreSQL server does not answer, or refuses this user",
            "give --postgres as postgresql+psycopg://user:password@host:port, of a user who may create databases",
        ) from failed
    finally:
        engine.dispose()
