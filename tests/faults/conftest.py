"""A field of real processes on either stack."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.field import Field

from support.brokers import apache_kafka, behind_a_proxy, embedded_broker
from support.proxy import Proxy
from support.stacks import postgres

__all__ = ["a_field", "a_field_with_proxy", "postgres"]


@pytest.fixture
def a_field(stack: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Field]:
    broker = apache_kafka() if stack == "production" else embedded_broker()
    made = Field(tmp_path, postgres=_postgres(stack, request), broker=broker)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def a_field_with_proxy(
    stack: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[Field, Proxy]]:
    """As `a_field`, with everybody's connections to the broker through a proxy."""
    broker, proxy = behind_a_proxy(stack)
    made = Field(tmp_path, postgres=_postgres(stack, request), broker=broker)
    try:
        made.start()
        yield made, proxy
    finally:
        made.close()
        proxy.close()


def _postgres(stack: str, request: pytest.FixtureRequest) -> str:
    """Of a server of its own databases are made on, by the names that a network gives them; they are dropped by the next field."""
    if stack == "embedded":
        return ""
    server = request.getfixturevalue("postgres")
    url: str = server.new_database()
    for name in ("hub", "juniper", "riverbend"):
        server.drop_if_there(f"tandem_{name}")
    return url
