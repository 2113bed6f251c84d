"""Figures as SVG, without a library: bars of Tandem beside the floor, or curves."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from load.figures import Figure

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, ROW = 760, 420, 70, 50, 60, 28
COLOURS = ("#2f6f8f", "#b9722d", "#5d8a3a", "#8a4a7d")


def write(figure: Figure, directory: Path) -> Path:
    drawn = _curves(figure) if figure.curves else _bars(figure)
    file = directory / f"{figure.key}.svg"
    file.write_text(drawn, encoding="utf-8")
    return file


def _curves(figure: Figure) -> str:
    points = [point for curve in figure.curves.values() for point in curve]
    across, up = _Scale([x for x, _ in points]), _Scale([y for _, y in points])
    parts = []
    for colour, (name, curve) in zip(COLOURS, figure.curves.items(), strict=False):
        places = " ".join(f"{_x(across.share(x)):.1f},{_y(up.share(y)):.1f}" for x, y in curve)
        parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x, y = curve[-1]
        parts.append(_text(_x(across.share(x)) - 4, _y(up.share(y)) - 6, name, anchor="end", fill=colour))
    parts += [
        _text(_x(across.share(tick)), HEIGHT - BOTTOM + 18, _number(tick), anchor="middle")
        for tick in across.ticks()
    ]
    for tick in up.ticks():
        y = _y(up.share(tick))
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 6, y + 4, _number(tick), anchor="end"))
    parts.append(_text(WIDTH / 2, HEIGHT - 12, figure.axes[0], anchor="middle"))
    parts.append(_text(LEFT, TOP - 10, figure.axes[1]))
    return _picture(figure.title, parts)


def _bars(figure: Figure) -> str:
    """Two bars a row; rows of one unit have one scale."""
    values = [
        (row.unit, value)
        for row in figure.rows.values()
        for value in (row.of_tandem, row.of_floor)
        if value is not None
    ]
    largest = {unit: max(value for of, value in values if of == unit) or 1.0 for unit, _ in values}
    parts = []
    for number, row in enumerate(figure.rows.values()):
        y = TOP + number * ROW
        parts.append(_text(12, y + ROW * 0.55, f"{row.name}, {row.unit}", size=11))
        for place, value in enumerate((row.of_tandem, row.of_floor)):
            if value is None:
                continue
            top, wide = y + place * ROW * 0.42, 320 * value / largest[row.unit]
            parts.append(
                f'<rect x="320" y="{top:.1f}" width="{wide:.1f}" height="{ROW * 0.38:.1f}" fill="{COLOURS[place]}"/>'
            )
            parts.append(_text(326 + wide, top + ROW * 0.33, _number(value), size=10))
    parts.append(_text(WIDTH - 70, TOP - 12, "Tandem", anchor="end", fill=COLOURS[0]))
    parts.append(_text(WIDTH - 20, TOP - 12, "floor", anchor="end", fill=COLOURS[1]))
    return _picture(figure.title, parts, TOP + ROW * len(figure.rows) + 20)


class _Scale:
    """Linear, or by powers of ten where values span more than two of them and none is zero."""

    def __init__(self, values: Sequence[float]) -> None:
        self._log = min(values) > 0 and max(values) / min(values) > 100
        self._by = math.log10 if self._log else float
        low = min(values) if self._log else min(0.0, *values)
        self._low, self._high = self._by(low), self._by(max(values))

    def share(self, value: float) -> float:
        return (self._by(value) - self._low) / ((self._high - self._low) or 1.0)

    def ticks(self) -> Iterable[float]:
        steps = [self._low + (self._high - self._low) * part / 5 for part in range(6)]
        return [10**step for step in steps] if self._log else steps


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - 20)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _text(x: float, y: float, text: str, *, anchor: str = "start", fill: str = "#333", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" font-size="{size}">{escape(text)}</text>'


def _picture(title: str, parts: Iterable[str], height: float = HEIGHT) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" font-family="sans-serif">'
        f'<rect width="{WIDTH}" height="{height:g}" fill="white"/>'
    )
    return "\n".join([head, _text(12, 22, title, size=15), *parts, "</svg>\n"])
