"""The suite's own promises: nothing is silently left out on a build machine, unit tests reach no network."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]


def outcome_of(folder: Path, conftest: str, test: str, **environment: str) -> str:
    """What pytest says of a project that holds only *test*, under the given conftest of ours."""
    shutil.copy(TESTS / conftest, folder / "conftest.py")
    (folder / "test_planted.py").write_text(test)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "PYTEST"))}
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--override-ini",
            f"pythonpath={TESTS}",
            "--rootdir",
            str(folder),
            str(folder),
        ],
        cwd=folder,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    ).stdout


SKIPPING = 'import pytest\ndef test_planted(): pytest.skip("no engine")\n'
CONNECTING = 'import socket\ndef test_planted(): socket.create_connection(("127.0.0.1", 9), timeout=1)\n'


def test_a_laptop_may_skip_with_a_reason(tmp_path: Path) -> None:
    assert "1 skipped" in outcome_of(tmp_path, "conftest.py", SKIPPING)


def test_a_build_machine_may_not_skip(tmp_path: Path) -> None:
    output = outcome_of(tmp_path, "conftest.py", SKIPPING, CI="true")
    assert "1 failed" in output
    assert "no engine" in output


def test_a_unit_test_reaches_no_network(tmp_path: Path) -> None:
    assert "SocketBlockedError" in outcome_of(tmp_path, "unit/conftest.py", CONNECTING)


def test_an_unknown_stack_is_refused() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--stack=other",
            "--collect-only",
            "-q",
            str(TESTS / "architecture"),
        ],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
