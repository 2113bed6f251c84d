"""Migrations of the prescriber's database."""

from tandem_platform.storage import alembic_environment
from tandem_prescriber.store.tables import metadata

alembic_environment.run(metadata)
