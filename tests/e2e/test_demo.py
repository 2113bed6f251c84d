"""The whole course on real processes, as `make demo` plays it, on the databases and the broker of the stack."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from support.brokers import apache_kafka
from support.databases import postgres_server


@pytest.fixture
def stack_options(stack: str) -> Iterator[list[str]]:
    if stack == "embedded":
        yield []
        return
    broker = apache_kafka()
    try:
        with postgres_server() as server:
            yield ["--kafka", broker.bootstrap, "--postgres", server.new_database()]
    finally:
        broker.close()


@pytest.mark.timeout(400)
def test_the_demo_shows_what_it_says(stack_options):
    told = subprocess.run(
        [sys.executable, "-m", "tandem_ops", "demo", *stack_options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-3000:]
    assert "a revocation voids what is on its way" in told.stdout.partition("What was shown")[2]
