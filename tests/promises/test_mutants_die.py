"""A few of the mutants, run: the tests that guard the promises do notice. `make mutants` runs them all."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

_RUN = Path(__file__).resolve().parents[1] / "mutants" / "run.py"
CHOSEN = ("p1-end-ignored.patch", "p3-history-overtaken.patch", "p8-voids-not-accounted.patch")


@pytest.fixture(scope="module")
def run() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("mutants_that_die", _RUN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up there.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_three_mutants_are_killed_in_a_copy_of_the_tree(run: ModuleType, tmp_path: Path) -> None:
    run.copy_of_the_tree(tmp_path)
    tree = tmp_path / "tree"
    assert run.imports_its_own(tree)
    chosen = [mutant for mutant in run.mutants() if mutant.patch in CHOSEN]
    assert len(chosen) == len(CHOSEN)
    sound: dict[tuple[str, str], bool] = {}
    assert {mutant.patch: run.judge(tree, mutant, sound) for mutant in chosen} == dict.fromkeys(
        CHOSEN, "killed"
    )
