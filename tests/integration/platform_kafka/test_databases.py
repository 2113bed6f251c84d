"""The PostgreSQL that tests get keeps what was committed, whatever is done to it."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from integration.platform_kafka.stage import eventually
from sqlalchemy import create_engine, text

from support.databases import PostgresServer, postgres_server
from tandem_platform.broker.leash import LeashedProcess


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


def run(url: str, statement: str) -> list[object]:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            return list(result.scalars()) if result.returns_rows else []
    finally:
        engine.dispose()


def test_each_database_is_its_own(server: PostgresServer) -> None:
    one, other = server.new_database(), server.new_database()
    run(one, "CREATE TABLE kept (n int)")

    assert run(one, "SELECT count(*) FROM kept") == [0]
    assert run(other, "SELECT count(*) FROM pg_tables WHERE tablename = 'kept'") == [0]


def test_a_database_can_be_copied_from_a_prepared_one(server: PostgresServer) -> None:
    prepared = server.new_database()
    run(prepared, "CREATE TABLE kept AS SELECT 7 AS n")

    assert run(server.new_database(template=prepared), "SELECT n FROM kept") == [7]


def test_a_dropped_database_is_gone(server: PostgresServer) -> None:
    url = server.new_database()

    server.drop_database(url)

    with pytest.raises(Exception, match="does not exist"):
        run(url, "SELECT 1")


def test_commits_survive_a_killed_server(server: PostgresServer) -> None:
    url = server.new_database()
    run(url, "CREATE TABLE kept (n int)")
    for _ in range(50):
        run(url, "INSERT INTO kept SELECT count(*) FROM kept")

    server.kill()
    with pytest.raises(Exception, match="connection"):
        run(url, "SELECT 1")
    server.start()

    assert run(url, "SELECT n FROM kept ORDER BY n") == list(range(50))


def test_the_settings_say_whether_the_disk_is_waited_for(server: PostgresServer) -> None:
    url = server.new_database()
    assert run(url, "SHOW fsync") == ["off"]
    assert run(url, "SHOW synchronous_commit") == ["on"]
    with postgres_server(durable=True) as durable:
        assert run(durable.new_database(), "SHOW fsync") == ["on"]


def test_the_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import time\nfrom support.databases import PostgresServer\n"
        "server = PostgresServer()\nprint(server.new_database(), flush=True)\ntime.sleep(600)\n"
    )
    owner = LeashedProcess(
        [sys.executable, "-c", program],
        log=tmp_path / "log",
        environment={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    eventually("it started", lambda: "host=" in (tmp_path / "log").read_text(), within=30)
    home = (tmp_path / "log").read_text().strip().partition("host=")[2]

    owner.kill()

    def refuses() -> bool:
        try:
            psycopg.connect(host=home, user="postgres", dbname="postgres").close()
        except psycopg.OperationalError:
            return True
        return False

    eventually("the server ended", refuses, within=10)
    shutil.rmtree(home)
