"""docs/privacy.md names everything that a practice can observe, and nothing that it cannot."""

import re
from pathlib import Path

import pytest

from support.observation import observable_messages

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "privacy.md").read_text()


def rows(page: str) -> list[tuple[set[str], str]]:
    """Of each row of the tables of what is seen: the names in its first cell, and its rule."""
    found = []
    for line in page.splitlines():
        if line.startswith("| `tandem."):
            seen, rule = line.strip("| ").split("|", 1)
            found.append((set(re.findall(r"`(tandem\.[\w.]+)`", seen)), rule.strip()))
    return found


def missing(page: str) -> list[str]:
    named = set[str]().union(*(names for names, _ in rows(page)))
    return [
        field.full_name
        for message in observable_messages()
        for field in message.fields
        if not {message.full_name, field.full_name} & named
    ]


def unknown(page: str) -> set[str]:
    known = {message.full_name for message in observable_messages()}
    known |= {field.full_name for message in observable_messages() for field in message.fields}
    return set[str]().union(*(names for names, _ in rows(page))) - known


def test_every_field_that_can_reach_a_practice_has_a_row() -> None:
    assert missing(PAGE) == []


def test_every_row_names_something_that_can_reach_a_practice_and_has_a_rule() -> None:
    assert unknown(PAGE) == set()
    assert all(rule for _, rule in rows(PAGE))


@pytest.mark.parametrize("name", ["tandem.exchange.v1.PermissionRevoked", "tandem.audit.v1.AuditRecord"])
def test_a_row_left_out_is_noticed(name: str) -> None:
    without = PAGE.replace(f"`{name}`", "`something`")
    assert any(field.startswith(f"{name}.") for field in missing(without))


def test_a_row_of_what_does_not_exist_is_noticed() -> None:
    assert unknown(PAGE + "\n| `tandem.exchange.v1.Gone` | rule |") == {"tandem.exchange.v1.Gone"}


@pytest.mark.parametrize("promise", range(1, 10))
def test_every_promise_is_weighed_against_everybody(promise: int) -> None:
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| P{promise} ")]
    assert len([cell for cell in row.strip("|").split("|") if cell.strip()]) == 5
