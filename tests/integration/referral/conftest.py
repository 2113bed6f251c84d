"""A fresh hub for each test, on the database of the stack."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.databases import PostgresServer, postgres_server
from support.hub import HubAlone


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def database_url(stack: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if stack == "production":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.new_database()
    return f"sqlite:///{tmp_path}/hub.db"


@pytest.fixture
def hub(database_url: str, tmp_path: Path) -> Iterator[HubAlone]:
    hub = HubAlone(database_url, tmp_path)
    yield hub
    hub.close()
