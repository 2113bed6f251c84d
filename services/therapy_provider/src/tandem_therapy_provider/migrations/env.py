"""Migrations of the therapy provider's database."""

from tandem_platform.storage import alembic_environment
from tandem_therapy_provider.store.tables import metadata

alembic_environment.run(metadata)
