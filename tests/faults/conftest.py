"""A field of real processes on either stack."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.field import Field
from support.brokers import apache_kafka, embedded_broker
from support.databases import postgres_server


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
