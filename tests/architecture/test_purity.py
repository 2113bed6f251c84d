"""Clinical knowledge and every domain folder reach no framework, no database, no network."""

import ast
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# These may be imported by a domain and are therefore held to the same rule.
PURE_PLATFORM = frozenset({"tandem_platform.clock", "tandem_platform.errors", "tandem_platform.ids"})

# In the standard library, and yet a way out of the process.
IMPURE_STDLIB = frozenset(
    {"asyncio", "http", "multiprocessing", "os", "select", "socket", "sqlite3", "subprocess", "urllib"}
)


def imports_of(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their package in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(name: str, allowed: Iterable[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in allowed)


def impurities(source: str, ours: Iterable[str]) -> set[str]:
    """Imports of *source* that are neither harmless standard library nor among *ours*."""
    return {
        name
        for name in imports_of(source)
        if not within(name, ours)
        and (name.split(".")[0] not in sys.stdlib_module_names or within(name, IMPURE_STDLIB))
    }


def pure_modules() -> list[tuple[Path, frozenset[str]]]:
    """Each module under the rule, with what of ours it may import."""
    shared = ROOT / "shared" / "src"
    modules = [(path, frozenset({"tandem_care"})) for path in shared.glob("tandem_care/**/*.py")]
    modules += [(shared / f"{name.replace('.', '/')}.py", PURE_PLATFORM) for name in PURE_PLATFORM]
    for domain in [*ROOT.glob("services/*/src/*/domain"), *shared.glob("tandem_clinic/**/domain")]:
        own = ".".join(domain.relative_to(domain.parents[1]).parts)
        modules += [(path, PURE_PLATFORM | {"tandem_care", own}) for path in domain.rglob("*.py")]
    return modules


@pytest.mark.parametrize(
    ("path", "ours"), [pytest.param(*each, id=str(each[0].relative_to(ROOT))) for each in pure_modules()]
)
def test_a_pure_module_imports_only_what_it_may(path: Path, ours: frozenset[str]) -> None:
    assert impurities(path.read_text(), ours) == set()


@pytest.mark.parametrize(
    "statement",
    [
        "import sqlalchemy",
        "from flask import Flask",
        "import grpc",
        "import socket",
        "from os import environ",
        "from tandem_platform import storage",
        "from tandem_platform.storage import Database",
        "from tandem_referral.store import tables",
        "from tandem.referral.v1 import referral_pb2",
    ],
)
def test_a_planted_import_in_a_domain_is_caught(statement: str) -> None:
    assert impurities(statement, PURE_PLATFORM | {"tandem_care", "tandem_referral.domain"})


@pytest.mark.parametrize(
    "statement",
    ["import json", "from tandem_care import scales", "from tandem_platform.errors import Refusal"],
)
def test_what_a_domain_may_import_is_let_through(statement: str) -> None:
    assert not impurities(statement, PURE_PLATFORM | {"tandem_care"})


def test_no_domain_is_overlooked() -> None:
    covered = {path.parent for path, _ in pure_modules()}
    for service in ROOT.glob("services/*/src/*/"):
        assert service / "domain" in covered
