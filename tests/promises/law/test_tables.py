"""The tables by themselves: each combination of facts is decided once, and every row says where the law stands."""

import re
from collections.abc import Callable

import pytest
from conftest import SAID
from promises.law.table import Table, read

NAMES = ("decisions.toml", "forms.toml", "signers.toml")
CITATION = re.compile(r"42 CFR 2\.\d+(\([a-z0-9]+\))*|45 CFR 16[04]\.\d+(\([a-z0-9]+\))*|house")


@pytest.fixture(scope="module", params=NAMES)
def table(request: pytest.FixtureRequest) -> Table:
    return read(request.param)


def test_no_combination_is_decided_twice(table: Table) -> None:
    assert table.overlaps() == []


def test_every_combination_is_decided(
    table: Table, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    name = request.node.callspec.params["table"]
    record_property(
        SAID, f"{name}: {table.rows} rows decide {table.size:,} combinations of {len(table.axes)} axes"
    )
    assert table.decided() == table.size


def test_every_row_cites_its_section(table: Table) -> None:
    for cell in table.cells:
        assert all(CITATION.fullmatch(section) for section in cell.outcome.law), cell.outcome.law
        assert set(cell.outcome.law) != {"house"}, f"row {cell.row} rests on nothing but our own word"


def test_every_value_of_every_axis_matters_somewhere(table: Table) -> None:
    """A value that no row tells from all others would be a fact that decides nothing."""
    for place, (axis, values) in enumerate(table.axes.items()):
        told_apart = {
            value
            for value in values
            if any(value in cell.box[place] and len(cell.box[place]) < len(values) for cell in table.cells)
        }
        assert told_apart == set(values), axis


def test_a_combination_that_two_rows_decide_would_be_seen() -> None:
    table = read("forms.toml")
    twice = Table(table.axes, (*table.cells, table.cells[0]), table.rows, {})
    assert twice.overlaps() != []
    assert twice.decided() != table.size
