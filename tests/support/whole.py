"""A hub, or a clinic, with everything in it, for all tests of a module: every fixture brings practices and patients of its own.

For a conftest to import: ``from support.whole import clinic, hub``.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.databases import PostgresServer
from support.fixtures_rpc import WholeHub
from support.fixtures_rpc_clinic import WholeClinic


def _database(stack: str, directory: Path, request: pytest.FixtureRequest) -> str:
    if stack == "embedded":
        return f"sqlite:///{directory}/whole.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture(scope="module")
def hub(
    stack: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[WholeHub]:
    directory = tmp_path_factory.mktemp("hub")
    made = WholeHub(_database(stack, directory, request), directory)
    yield made
    made.parts.close()


@pytest.fixture(scope="module")
def clinic(
    stack: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[WholeClinic]:
    directory = tmp_path_factory.mktemp("clinic")
    made = WholeClinic(_database(stack, directory, request), directory)
    yield made
    made.close()
