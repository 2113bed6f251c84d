"""A writer's database and a reader's, on the stack's kind of database."""

from collections.abc import Iterator

import pytest

from support.logs import Notes, Reader, Writer, a_database
from support.stacks import DatabaseOf, database_of, postgres

__all__ = ["database_of", "postgres"]


@pytest.fixture
def writer(database_of: DatabaseOf) -> Iterator[Writer]:
    database = a_database(database_of("writer"))
    yield Writer(database)
    database.close()


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def reader(database_of: DatabaseOf, notes: Notes) -> Iterator[Reader]:
    database = a_database(database_of("reader"))
    yield Reader(database, notes)
    database.close()
