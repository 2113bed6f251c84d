"""What a test stands on, on either stack: databases of its own.

For a conftest to import: ``from support.stacks import database_of, postgres``.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.databases import PostgresServer, postgres_server

DatabaseOf = Callable[[str], str]
"""Gives a fresh, empty database's URL for a name; the same again for the same name."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL for all tests of the session that ask for it."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def database_of(stack: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[DatabaseOf]:
    """SQLite files on the embedded stack, databases of a real PostgreSQL on the production stack."""
    if stack == "embedded":
        yield lambda name: f"sqlite:///{tmp_path / name}.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    made: dict[str, str] = {}

    def fresh(name: str) -> str:
        if name not in made:
            made[name] = server.new_database()
        return made[name]

    yield fresh
    for url in made.values():
        server.drop_database(url)
