"""Migrations of the hub's database."""

from tandem_platform.storage import alembic_environment
from tandem_referral.store.tables import metadata

alembic_environment.run(metadata)
