"""What the ``env.py`` of every service's migrations does."""

from typing import Any

from alembic import context
from sqlalchemy import MetaData, create_engine


def run(metadata: MetaData) -> None:
    """Migrate on the connection that was handed over, or on the URL that the command line gave."""
    connection: Any = context.config.attributes.get("connection")
    if connection is not None:
        _migrate(connection, metadata)
        return
    engine = create_engine(context.config.get_main_option("sqlalchemy.url") or "")
    with engine.begin() as own:
        _migrate(own, metadata)


def _migrate(connection: Any, metadata: MetaData) -> None:
    # No transaction of Alembic's own: the caller's commits schema and version together.
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transactional_ddl=False,
        compare_type=True,
        render_item=context.config.attributes.get("render_item"),
    )
    context.run_migrations()
