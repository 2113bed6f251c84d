"""A field of real processes on either stack."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.field import Field
from support.brokers import apache_kafka, behind_a_proxy, embedded_broker
from support.databases import postgres_server
from support.proxy import Proxy


@pytest.fixture
def a_field(stack: str, tmp_path: Path) -> Iterator[Field]:
    if stack == "production":
        server = postgres_server()
        made = Field(tmp_path, postgres=server.new_database(), broker=apache_kafka())
    else:
        made = Field(tmp_path, broker=embedded_broker().start())
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def a_field_with_proxy(stack: str, tmp_path: Path) -> Iterator[tuple[Field, Proxy]]:
    """As `a_field`, with everybody's connections to the broker through a proxy."""
    broker, proxy = behind_a_proxy(stack)
    postgres = postgres_server().new_database() if stack == "production" else ""
    made = Field(tmp_path, postgres=postgres, broker=broker)
    try:
        made.start()
        yield made, proxy
    finally:
        made.close()
        proxy.close()
