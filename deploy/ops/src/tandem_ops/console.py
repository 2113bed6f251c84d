"""How the command talks: tables and colour for people on a terminal, JSON for programs, an exit code for both."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

_WIDTH_OF_FILES = 220


class Exit(IntEnum):
    """What the caller of the command can rely on."""

    OK = 0
    FINDING = 1
    """An expectation failed, something is not as it should be, or a service refused."""
    USAGE = 2
    """A wrong option, a missing file or setting."""
    UNREACHABLE = 3
    """A service did not answer."""
    FAULT = 4
    """A fault of the command's own."""
    INTERRUPTED = 130
    """Ctrl-C before the end."""


class Stop(Exception):
    """The command ends here.

    message: what is the case. way_out: what can be done about it. reason: the same for a program, where a service said it.
    """

    def __init__(self, code: Exit, message: str, way_out: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.way_out = way_out
        self.reason = reason


@contextmanager
def usable(option: str, path: Path) -> Iterator[None]:
    """What the machine refuses to do with *path*, which *option* named, ends the command with the reason."""
    try:
        yield
    except OSError as failed:
        raise Stop(
            Exit.USAGE,
            f"{option} {path}: {failed.strerror}",
            f"name another place with {option}, or see who may write there",
        ) from None


class Output:
    """Where the answer of one command goes: as a table, or as one JSON document on standard output."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        # Folding a table to 80 columns serves a terminal of that width, and nobody who reads a file.
        width = None if sys.stdout.isatty() else _WIDTH_OF_FILES
        self.console = Console(highlight=False, soft_wrap=True, width=width)

    def rows(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A list of like things. JSON gets one object per row, with the columns' names as keys.

        A cell is the value itself: None for what is not known, a list for several.
        """
        if self.as_json:
            self._json([dict(zip(columns, row, strict=True)) for row in rows])
            return
        if not rows:
            self.console.print(f"{title}: none", markup=False)
            return
        table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        for column in columns:
            table.add_column(column.replace("_", " "), overflow="fold")
        for row in rows:
            table.add_row(*map(_shown, row))
        self.console.print(table)

    def facts(self, facts: dict[str, Any]) -> None:
        """One thing with several properties."""
        if self.as_json:
            self._json(facts)
            return
        for name, value in facts.items():
            self.console.print(f"{name.replace('_', ' ')}: {_shown(value)}", markup=False)

    def say(self, text: str, style: str = "") -> None:
        """A sentence for people; programs do not get it."""
        if not self.as_json:
            self.console.print(text, style=style, markup=False)

    def _json(self, value: object) -> None:
        json.dump(value, sys.stdout, indent=2, default=str)
        sys.stdout.write("\n")


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def complain(stop: Stop, *, as_json: bool = False) -> None:
    """Say on standard error why the command ends: as a JSON document where the answer would have been one."""
    if as_json:
        error = {
            "message": stop.message,
            "way_out": stop.way_out,
            "reason": stop.reason,
            "exit_code": int(stop.code),
        }
        json.dump({"error": error}, sys.stderr, indent=2)
        sys.stderr.write("\n")
        return
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    errors.print(f"tandem: {stop.message}", style="red", markup=False)
    if stop.way_out:
        errors.print(f"        {stop.way_out}", markup=False)


def _shown(cell: object) -> str:
    if isinstance(cell, list | tuple):
        return ", ".join(map(_shown, cell))
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return "" if cell is None else str(cell)
