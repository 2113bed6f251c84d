"""What every file of the project keeps to."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Written in pieces, so that this file does not contain what it looks for.
MACHINE_PATHS = re.compile(
    "|".join(["/wo" + "rk/", "/tm" + "p/plan", "/opt/" + "tandem-", "/home/" + r"\w+/"])
)
DOWNLOAD_HOSTS = re.compile(
    "|".join(
        [
            r"py" + r"pi\.org",
            r"python" + r"hosted\.org",
            r"repo1?\.maven" + r"\.",
            r"npm" + r"js\.(org|com)",
            r"deb\.deb" + r"ian\.org",
            r"docker" + r"\.io/",
            "index" + "-url",
            "find" + "-links",
        ]
    )
)
EMPTY_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"})


def tracked_files() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def tracked_text() -> Iterator[tuple[Path, str]]:
    for path in tracked_files():
        try:
            yield path, path.read_text()
        except UnicodeDecodeError:
            continue


def own_python() -> list[Path]:
    return [
        path
        for path in tracked_files()
        if path.suffix == ".py" and not path.is_relative_to(ROOT / "protos" / "gen")
    ]


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}"
        for path, text in tracked_text()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_no_file_names_a_path_of_one_machine() -> None:
    assert lines_with(MACHINE_PATHS) == []


def test_no_file_names_a_download_host() -> None:
    assert lines_with(DOWNLOAD_HOSTS) == []


@pytest.mark.parametrize("line", ["cd /wo" + "rk/main", "source /opt/" + "tandem-venv/bin/activate"])
def test_a_machine_path_would_be_seen(line: str) -> None:
    assert MACHINE_PATHS.search(line)


@pytest.mark.parametrize("line", ["https://" + "py" + "pi.org/simple", "--index" + "-url=x"])
def test_a_download_host_would_be_seen(line: str) -> None:
    assert DOWNLOAD_HOSTS.search(line)


def test_every_module_says_in_its_first_line_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in own_python()
        if "migrations" not in path.parts and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_no_module_has_an_empty_name() -> None:
    named = [path for path in own_python() if EMPTY_NAMES & {path.stem, path.parent.name}]
    assert named == []


def members() -> list[Path]:
    return [path.parent for path in tracked_files() if path.name == "pyproject.toml" and path.parent != ROOT]


def test_every_member_is_installed_by_the_makefile() -> None:
    (line,) = re.findall(r"^MEMBERS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {ROOT / name for name in line.split()} == set(members())


def test_every_member_ships_its_types() -> None:
    for member in members():
        settings = tomllib.loads((member / "pyproject.toml").read_text())
        for package in settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
            assert (member / package / "py.typed").exists(), package


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements() -> set[str]:
    """Names of everything that a member or the development group asks for, our own distributions left out."""
    wanted: list[str] = []
    own = set()
    for member in members():
        project = tomllib.loads((member / "pyproject.toml").read_text())["project"]
        own.add(canonical(project["name"]))
        wanted += project["dependencies"]
        wanted += [each for extra in project.get("optional-dependencies", {}).values() for each in extra]
    wanted += tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    return {canonical(re.split(r"[\[<>=~! ;]", each)[0]) for each in wanted} - own


def pinned() -> dict[str, str]:
    """What constraints.txt pins, each with its lines."""
    blocks = re.split(r"^(?=[a-z0-9])", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    return {canonical(block.split("==")[0]): block for block in blocks if "==" in block}


def test_every_requirement_is_pinned_with_hashes() -> None:
    pins = pinned()
    assert requirements() <= set(pins)
    assert [name for name, block in pins.items() if "--hash=sha256:" not in block] == []


def test_every_dependency_has_its_reason_on_record() -> None:
    (record,) = (ROOT / "docs" / "adr").glob("0004-*.md")
    text = record.read_text()
    assert sorted(name for name in requirements() if f"`{name}`" not in text) == []
