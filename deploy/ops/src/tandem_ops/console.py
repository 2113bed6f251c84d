"""How the command talks: tables and colour for people on a terminal, JSON for programs, an exit code for both."""

import json
import sys
from collections.abc import Sequence
from enum import IntEnum
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


class Stop(Exception):
    """The command ends here. The message says what is the case, *way_out* what can be done about it."""

    def __init__(self, code: Exit, message: str, way_out: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.way_out = way_out


class Output:
    """Where the answer of one command goes: as a table, or as one JSON document on standard output."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        # Folding a table to 80 columns serves a terminal of that width, and nobody who reads a file.
        width = None if sys.stdout.isatty() else _WIDTH_OF_FILES
        self.console = Console(highlight=False, soft_wrap=True, width=width)

    def rows(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A list of like things. JSON gets one object per row, with the columns' names as keys."""
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
            table.add_row(*("" if cell is None else str(cell) for cell in row))
        self.console.print(table)

    def facts(self, facts: dict[str, Any]) -> None:
        """One thing with several properties."""
        if self.as_json:
            self._json(facts)
            return
        for name, value in facts.items():
            self.console.print(f"{name.replace('_', ' ')}: {value}", markup=False)

    def say(self, text: str, style: str = "") -> None:
        """A sentence for people; programs do not get it."""
        if not self.as_json:
            self.console.print(text, style=style, markup=False)

    def _json(self, value: object) -> None:
        json.dump(value, sys.stdout, indent=2, default=str)
        sys.stdout.write("\n")


def complain(stop: Stop) -> None:
    """Say on standard error why the command ends."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    errors.print(f"tandem: {stop.message}", style="red", markup=False)
    if stop.way_out:
        errors.print(f"        {stop.way_out}", markup=False)
