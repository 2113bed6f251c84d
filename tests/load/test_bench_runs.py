"""The bench itself: with a handful of entries it gives every figure, finite. What the values are is not for a test to say."""

import json
import math
from collections.abc import Iterator
from typing import Any

from load.bench import GROUPS, Size, run
from load.network import Stack

HANDFUL = Size(
    rounds=1,
    episodes=2,
    seconds=0.2,
    entries=20,
    referrals=4,
    reads=8,
    entries_read=2,
    practices=12,
    largest=1050,
)
FIGURES = {
    "bytes",
    "commands",
    "practices",
    "propagation",
    "reads",
    "referrals",
    "rest",
    "start",
    "stored",
    "throughput",
}
COMPARED = {"commands", "propagation", "throughput"}


def test_the_bench_gives_every_figure(tmp_path, stack: Stack):
    tmp_path.chmod(0o711)

    file = run(stack, HANDFUL, [], tmp_path, lambda text: None)

    figures = json.loads(file.read_text())["figures"]
    assert figures.keys() == FIGURES
    assert [where for where, value in numbers(figures) if not math.isfinite(value)] == []
    assert [key for key, figure in figures.items() if not figure["rows"]] == []
    for key in COMPARED:
        assert all(row["ratio"] for row in figures[key]["rows"] if " at " in row["name"]), key
    assert {drawing.stem for drawing in (tmp_path / stack).glob("*.svg")} == FIGURES
    assert not (tmp_path / f"{stack}-running").exists()


def test_every_group_can_be_asked_for_by_name():
    names = [name for group in GROUPS for name in group]
    assert len(names) == len(set(names)) > 0


def numbers(found: Any, where: str = "") -> Iterator[tuple[str, float]]:
    match found:
        case dict():
            for key, inner in found.items():
                yield from numbers(inner, f"{where}/{key}")
        case list():
            for place, inner in enumerate(found):
                yield from numbers(inner, f"{where}/{place}")
        case int() | float():
            yield where, found
