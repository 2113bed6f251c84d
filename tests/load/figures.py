"""What a figure is: rows of measurements, one value a round, for Tandem and beside it for the floor."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from load.timings import median


@dataclass
class Row:
    """``floor`` stays empty where a bare script has nothing to compare."""

    name: str
    unit: str
    tandem: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)

    @property
    def of_tandem(self) -> float:
        return median(self.tandem)

    @property
    def of_floor(self) -> float | None:
        return median(self.floor) if self.floor else None

    @property
    def ratio(self) -> float | None:
        """Tandem's median over the floor's."""
        floor = self.of_floor
        return self.of_tandem / floor if floor else None


@dataclass
class Figure:
    """``curves``: points to draw, by name. ``notes``: what else a reader should know."""

    key: str
    title: str
    rows: dict[str, Row] = field(default_factory=dict)
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    axes: tuple[str, str] = ("", "")
    notes: list[str] = field(default_factory=list)

    def add(self, side: str, name: str, unit: str, value: float) -> None:
        row = self.rows.setdefault(name, Row(name, unit))
        (row.floor if side == "floor" else row.tandem).append(value)

    def to_json(self) -> Mapping[str, Any]:
        return {
            "title": self.title,
            "rows": [
                {
                    "name": row.name,
                    "unit": row.unit,
                    "tandem": row.of_tandem,
                    "floor": row.of_floor,
                    "ratio": row.ratio,
                    "rounds": {"tandem": row.tandem, "floor": row.floor},
                }
                for row in self.rows.values()
            ],
            "curves": self.curves,
            "axes": self.axes,
            "notes": self.notes,
        }

    def table(self) -> str:
        lines = [f"{self.title}", f"  {'':<38}{'Tandem':>12}{'floor':>12}{'ratio':>8}"]
        for row in self.rows.values():
            floor = "" if row.of_floor is None else _short(row.of_floor)
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            lines.append(f"  {f'{row.name}, {row.unit}':<38}{_short(row.of_tandem):>12}{floor:>12}{ratio:>8}")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def markdown(self) -> str:
        """A table for docs/performance.md."""
        lines = [f"**{self.title}**", "", "| | Tandem | floor | ratio |", "|---|---:|---:|---:|"]
        for row in self.rows.values():
            floor = "" if row.of_floor is None else _short(row.of_floor)
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            lines.append(f"| {row.name}, {row.unit} | {_short(row.of_tandem)} | {floor} | {ratio} |")
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes)])


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
