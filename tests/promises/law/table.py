"""Reads a decision table that is kept as data. Imports nothing of ours, so that the table stands apart from the engine."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, product
from math import prod
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

Box = tuple[frozenset[str], ...]
"""For each axis, the values that are meant: every combination of them."""


@dataclass(frozen=True, slots=True)
class Outcome:
    rule: str
    law: tuple[str, ...]
    release: bool
    notice: bool | None
    """Whether 42 CFR 2.32 wants its notice; None where the table does not say."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A box of combinations that a row decides alike."""

    row: int
    outcome: Outcome
    box: Box

    @property
    def size(self) -> int:
        return prod(map(len, self.box))

    def combinations(self) -> Iterator[tuple[str, ...]]:
        return product(*map(sorted, self.box))


@dataclass(frozen=True, slots=True)
class Table:
    axes: Mapping[str, tuple[str, ...]]
    cells: tuple[Cell, ...]
    rows: int
    beside: Mapping[str, Any]
    """What else the file holds, as it stands there."""

    @property
    def size(self) -> int:
        return prod(map(len, self.axes.values()))

    def facts(self, values: tuple[str, ...]) -> dict[str, str]:
        return dict(zip(self.axes, values, strict=True))

    def decided(self) -> int:
        return sum(cell.size for cell in self.cells)

    def overlaps(self) -> list[tuple[int, int]]:
        """Pairs of rows that decide the same combination."""
        return [
            (one.row, other.row)
            for one, other in combinations(self.cells, 2)
            if not is_empty(meet(one.box, other.box))
        ]

    def at(self, values: tuple[str, ...]) -> Outcome:
        (found,) = (
            cell.outcome
            for cell in self.cells
            if all(value in allowed for value, allowed in zip(values, cell.box, strict=True))
        )
        return found


def meet(one: Box, other: Box) -> Box:
    return tuple(left & right for left, right in zip(one, other, strict=True))


def is_empty(box: Box) -> bool:
    return not all(box)


def without(box: Box, taken: Box) -> Iterator[Box]:
    """What is left of *box*, in boxes that do not overlap."""
    for place, (left, right) in enumerate(zip(box, taken, strict=True)):
        if left - right:
            yield (*box[:place], left - right, *box[place + 1 :])
        box = (*box[:place], left & right, *box[place + 1 :])


def read(name: str) -> Table:
    """The table in this folder's file *name*. Raises where it names what it does not define."""
    written = tomllib.loads((HERE / name).read_text())
    axes = {axis: tuple(values) for axis, values in written.pop("axes").items()}
    areas, groups = written.pop("areas", {}), written.pop("groups", {})
    rows = written.pop("rows")

    def box_of(entry: Mapping[str, Any]) -> Box:
        where = {
            axis: [values] if isinstance(values, str) else values
            for axis, values in entry.get("where", {}).items()
        }
        for axis, values in where.items():
            assert set(values) <= set(axes[axis]), f"{name}: {values} are not values of {axis}"
        own = tuple(frozenset(where.get(axis, values)) for axis, values in axes.items())
        named = [box_of(areas[entry["of"]])] if "of" in entry else []
        return reduce(meet, named, own)

    cells = []
    for number, row in enumerate(rows, start=1):
        assert set(row) <= {"rule", "law", "where", "of", "among", "unless", "release", "notice"}, row
        assert row["law"], f"{name}: row {number} cites nothing"
        for area in groups[row["among"]] if "among" in row else [row.get("of")]:
            whole = box_of({"where": row.get("where", {})} | ({"of": area} if area else {}))
            assert not is_empty(whole) or "among" in row, f"{name}: row {number} holds nowhere"
            other = areas.get(row.get("unless"))
            if other is None:
                cells.append(Cell(number, _outcome(row), whole))
            else:
                taken = box_of(other)
                cells += [Cell(number, _outcome(row), left) for left in without(whole, taken)]
                cells.append(Cell(number, _outcome(other), meet(whole, taken)))
    cells = [cell for cell in cells if not is_empty(cell.box)]
    assert {cell.row for cell in cells} == set(range(1, len(rows) + 1)), f"{name}: a row holds nowhere"
    return Table(axes, tuple(cells), len(rows), written)


def _outcome(entry: Mapping[str, Any]) -> Outcome:
    release = entry.get("release", False)
    notice = entry.get("notice", False) if release and entry["rule"] == "permitted" else None
    return Outcome(entry["rule"], tuple(entry["law"]), release, notice)
