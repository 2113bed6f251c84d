"""Bringing a database to its service's newest schema, at start."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tandem_platform.storage.database import Database

_LOCK = 7_203_411
"""PostgreSQL's advisory lock, so that several processes of a service start together."""


def bring_up_to_date(database: Database, migrations: Path) -> None:
    """Apply what is missing of the Alembic scripts in *migrations*. Repeating it, or running it twice at once, changes nothing."""
    config = Config()
    config.set_main_option("script_location", str(migrations))
    newest = ScriptDirectory.from_config(config).get_current_head()
    with database.engine.connect() as connection:
        if MigrationContext.configure(connection).get_current_revision() == newest:
            return
        connection.rollback()
        if database.is_sqlite:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        config.attributes["connection"] = connection
        config.attributes["metadata"] = database.metadata
        command.upgrade(config, "head")
        connection.commit()
