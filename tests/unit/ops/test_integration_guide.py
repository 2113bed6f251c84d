"""What the integration guide names exists: resources, kinds, commands."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from werkzeug.exceptions import HTTPException

from tandem_care import entry_kinds
from tandem_clinic.http.app import create_app
from tandem_ops.cli import run
from tandem_ops.console import Exit
from tandem_therapy_provider.http import notes, practice

GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "integration-guide.md").read_text()
NOBODY: Any = None
"""The map of resources needs no clinic behind it."""


@pytest.fixture(scope="module")
def resources():
    return create_app(NOBODY, [practice.api, notes.api]).url_map.bind("clinic")


NAMED = sorted(set(re.findall(r"(GET|POST|PUT) (/api/v1/[a-z0-9/{}.-]+)", GUIDE)))


@pytest.mark.parametrize(("method", "path"), NAMED)
def test_every_resource_that_it_names_exists(resources, method, path):
    try:
        resources.match(path.replace("{id}", "x"), method)
    except HTTPException as missing:
        pytest.fail(f"{method} {path}: {missing.name}")


def test_it_names_what_an_ehr_needs():
    paths = {path for _, path in NAMED}
    assert {"/api/v1/patients", "/api/v1/referrals", "/api/v1/permissions", "/api/v1/journal"} <= paths


def test_its_entry_is_a_valid_one():
    (example,) = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    entry = json.loads(example)
    assert entry_kinds.from_input(entry["kind"], entry["content"]).kind == "appointment"


@pytest.mark.parametrize("command", sorted(set(re.findall(r"\btandem ([a-z]+(?: [a-z]+)?)\b(?= |`)", GUIDE))))
def test_every_command_that_it_names_exists(command, capsys):
    assert run([*command.split(), "--help"]) == Exit.OK
    capsys.readouterr()
