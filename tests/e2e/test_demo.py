"""The whole course on real processes, as `make demo` plays it."""

import subprocess
import sys

import pytest


@pytest.mark.timeout(290)
def test_the_demo_shows_what_it_says():
    told = subprocess.run(
        [sys.executable, "-m", "tandem_ops", "demo"], capture_output=True, text=True, timeout=280, check=False
    )
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-3000:]
    assert "a revocation voids what is on its way" in told.stdout.partition("What was shown")[2]
