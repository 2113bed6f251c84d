"""A database with one small table, on the stack's kind."""

from collections.abc import Iterator

import pytest

from support.logs import a_database
from support.stacks import DatabaseOf, database_of, postgres
from tandem_platform.storage import Database

__all__ = ["database_of", "postgres"]


@pytest.fixture
def database(database_of: DatabaseOf) -> Iterator[Database]:
    made = a_database(database_of("storage"))
    yield made
    made.close()
