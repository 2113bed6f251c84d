"""The migrations of each service make exactly the tables that its code works with."""

from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData

from tandem_platform.storage import Database
from tandem_platform.storage.migrations import bring_up_to_date
from tandem_prescriber.bootstrap import SERVICE as PRESCRIBER
from tandem_referral.bootstrap import MIGRATIONS
from tandem_referral.store.tables import metadata as hub_metadata
from tandem_therapy_provider.bootstrap import SERVICE as THERAPY_PROVIDER

SERVICES = {
    "referral": (hub_metadata, MIGRATIONS),
    "prescriber": (PRESCRIBER.metadata, PRESCRIBER.migrations),
    "therapy_provider": (THERAPY_PROVIDER.metadata, THERAPY_PROVIDER.migrations),
}


@pytest.mark.parametrize("service", SERVICES)
def test_migrating_an_empty_database_gives_the_tables_of_the_code(
    service: str, database_of: Callable[[str], str]
) -> None:
    metadata, migrations = SERVICES[service]
    assert _differences(database_of(service), metadata, migrations) == []


def test_migrating_twice_changes_nothing(database_of: Callable[[str], str]) -> None:
    url = database_of("twice")
    assert _differences(url, hub_metadata, MIGRATIONS) == []
    assert _differences(url, hub_metadata, MIGRATIONS) == []


def _differences(url: str, metadata: MetaData, migrations: Path) -> list[object]:
    database = Database(url, metadata)
    try:
        bring_up_to_date(database, migrations)
        with database.engine.connect() as connection:
            return list(compare_metadata(MigrationContext.configure(connection), metadata))
    finally:
        database.close()
