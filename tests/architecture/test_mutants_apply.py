"""Every mutant still fits the code that it breaks, and names a test that exists."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("mutants_run", ROOT / "tests" / "mutants" / "run.py")
assert _spec is not None
assert _spec.loader is not None
run = importlib.util.module_from_spec(_spec)
import sys  # noqa: E402 - a dataclass looks its module up there

sys.modules["mutants_run"] = run
_spec.loader.exec_module(run)


@pytest.mark.parametrize("mutant", run.mutants(), ids=lambda mutant: mutant.patch)
def test_it_applies_and_its_test_is_there(mutant: "run.Mutant") -> None:  # type: ignore[name-defined]
    assert run.applies(mutant)
    path, _, name = mutant.test.partition("::")
    assert not name or f"def {name.partition('[')[0]}(" in (ROOT / path).read_text()


def test_every_promise_has_a_mutant() -> None:
    promises = {mutant.promise for mutant in run.mutants()}
    assert promises >= {f"P{number}" for number in range(1, 10)} | {"cursor lock", "scope lock"}
