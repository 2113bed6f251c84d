"""One hub for all tests of a module: every fixture brings practices of its own."""

from collections.abc import Iterator

import pytest

from support.databases import PostgresServer
from support.fixtures_rpc import WholeHub
from support.stacks import database_of, postgres

__all__ = ["database_of", "postgres"]


@pytest.fixture(scope="module")
def hub(
    stack: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[WholeHub]:
    directory = tmp_path_factory.mktemp("hub")
    url = f"sqlite:///{directory}/hub.db"
    if stack == "production":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.new_database()
    hub = WholeHub(url, directory)
    yield hub
    hub.parts.close()
