"""One prepared network for all runs, copied for each."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from promises.p7.world import Copies, Prepared, prepare

from support.databases import PostgresServer, postgres_server

_MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory, where there is one; the directory in it is ours


@pytest.fixture(scope="session")
def p7_directory() -> Iterator[Path]:
    with TemporaryDirectory(prefix="tandem-p7-", dir=_MEMORY if _MEMORY.is_dir() else None) as made:
        yield Path(made)


@pytest.fixture(scope="session")
def p7_server(stack: str) -> Iterator[PostgresServer | None]:
    with postgres_server() if stack == "production" else contextlib.nullcontext() as server:
        yield server


@pytest.fixture(scope="session")
def prepared(p7_directory: Path, p7_server: PostgresServer | None) -> Prepared:
    url = f"sqlite:///{p7_directory / 'prepared.db'}" if p7_server is None else p7_server.new_database()
    return prepare(url, p7_directory)


@pytest.fixture(scope="session")
def copies(prepared: Prepared, p7_directory: Path, p7_server: PostgresServer | None) -> Copies:
    return Copies(prepared, p7_directory, p7_server)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Rows that are refused on purpose are not worth a line each."""
    caplog.set_level(logging.CRITICAL, "tandem_platform.exchange.reader")
