"""What runs on one stack only is listed, with a reason, and is there."""

from pathlib import Path

from conftest import one_stack_only

ROOT = Path(__file__).resolve().parents[2]


def test_every_exception_names_tests_that_exist_and_says_why() -> None:
    for path, reason in one_stack_only().items():
        assert (ROOT / path).exists(), path
        assert len(reason) > 10, path
