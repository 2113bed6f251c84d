"""The import rules hold, and each of them notices a planted violation."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = {contract["name"]: contract for contract in SETTINGS["tool"]["importlinter"]["contracts"]}

ONE_WAY = "Imports point one way: operations, services, clinic, platform and knowledge, contracts"
APART = "Services never import each other"
HUB = "The hub holds nothing that belongs to a clinic"


def source_folders(root: Path) -> list[Path]:
    return [
        root / "protos" / "gen",
        root / "shared" / "src",
        root / "deploy" / "ops" / "src",
        *sorted(root.glob("services/*/src")),
    ]


def service_packages() -> set[str]:
    return {path.parent.name for path in ROOT.glob("services/*/src/*/__init__.py")}


@dataclass(frozen=True)
class Verdict:
    passed: bool
    broken: frozenset[str]
    output: str


@dataclass(frozen=True)
class Copy:
    """A copy of the sources in which a violation may be planted."""

    root: Path

    def lint(self) -> Verdict:
        done = subprocess.run(
            [Path(sys.executable).parent / "lint-imports", "--no-cache"],
            cwd=self.root,
            env={
                **os.environ,
                "COLUMNS": "200",
                "PYTHONPATH": os.pathsep.join(str(folder) for folder in source_folders(self.root)),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        broken = frozenset(name for name in CONTRACTS if f"{name} BROKEN" in done.stdout)
        return Verdict(done.returncode == 0, broken, done.stdout + done.stderr)

    def plant(self, package: str, statement: str) -> Path:
        (folder,) = [folder / package for folder in source_folders(self.root) if (folder / package).is_dir()]
        planted = folder / "planted.py"
        planted.write_text(f'"""Planted."""\n\n{statement}\n')
        return planted


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    root = tmp_path_factory.mktemp("sources")
    shutil.copy(ROOT / "pyproject.toml", root)
    for folder in source_folders(ROOT):
        shutil.copytree(
            folder, root / folder.relative_to(ROOT), ignore=shutil.ignore_patterns("__pycache__", "static")
        )
    return Copy(root)


@pytest.fixture
def planted(copy: Copy, request: pytest.FixtureRequest) -> Iterator[Verdict]:
    package, statement = request.param
    module = copy.plant(package, statement)
    yield copy.lint()
    module.unlink()


def test_the_sources_keep_every_import_rule(copy: Copy) -> None:
    verdict = copy.lint()
    assert verdict.passed, verdict.output


@pytest.mark.parametrize(
    ("planted", "rule"),
    [
        (("tandem_platform", "import tandem_clinic"), ONE_WAY),
        (("tandem_platform", "import tandem_care"), ONE_WAY),
        (("tandem_platform", "import tandem_referral"), ONE_WAY),
        (("tandem_care", "import tandem_platform"), ONE_WAY),
        (("tandem_clinic", "import tandem_prescriber"), ONE_WAY),
        (("tandem_referral", "import tandem_ops"), ONE_WAY),
        (("tandem", "import tandem_platform"), ONE_WAY),
        (("tandem_referral", "import tandem_prescriber"), APART),
        (("tandem_prescriber", "import tandem_therapy_provider"), APART),
        (("tandem_therapy_provider", "import tandem_referral"), APART),
        (("tandem_referral", "import tandem_clinic"), HUB),
    ],
    indirect=["planted"],
)
def test_a_planted_import_is_caught_by_its_rule(planted: Verdict, rule: str) -> None:
    assert not planted.passed
    assert rule in planted.broken, planted.output


def test_every_service_is_named_in_the_import_rules() -> None:
    services = service_packages()
    layers = CONTRACTS[ONE_WAY]["layers"]
    assert set(CONTRACTS[APART]["modules"]) == services
    assert any(set(layer.split(" | ")) == services for layer in layers)


def test_every_package_of_ours_is_a_root_of_the_import_rules() -> None:
    packages = {
        package.parent.name for folder in source_folders(ROOT) for package in folder.glob("*/__init__.py")
    }
    assert packages == set(SETTINGS["tool"]["importlinter"]["root_packages"])
