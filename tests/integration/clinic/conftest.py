"""A clinic on either stack's database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clinics import AClinic, a_clinic
from support.stacks import DatabaseOf, database_of, postgres

__all__ = ["database_of", "juniper", "postgres"]


@pytest.fixture
def juniper(tmp_path: Path, database_of: DatabaseOf) -> Iterator[AClinic]:
    made = a_clinic(tmp_path, database_of("juniper"))
    yield made
    made.db.close()
