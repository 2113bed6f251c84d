"""`tandem permission`: why an entry was or was not released."""

import re
from pathlib import Path

import click

from tandem_ops.console import Exit, Output, Stop
from tandem_ops.options import clinic_options, json_option
from tandem_ops.reach import ask, clinic_api

_ID = re.compile("[A-Za-z0-9_-]+")

_EPILOG = """\b
Examples:
  tandem permission explain ent_... --practice juniper
  tandem permission explain ent_... --clinic https://ehr.example --token-file token
\b
Only the clinic that wrote the entry can ask; to any other it does not exist.
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """Ask why an entry was or was not released."""


@command.command("explain", epilog=_EPILOG)
@click.argument("entry_id", metavar="ENTRY")
@clinic_options
@json_option
def explain(
    entry_id: str,
    practice: str | None,
    clinic: str | None,
    token_file: Path | None,
    directory: Path,
    as_json: bool,
) -> None:
    """Say why ENTRY was or was not released.

    ENTRY is its id, as the clinic's API gives it. The answer is the clinic's own view of it now,
    and what the hub decided, under which permission and rule.
    """
    if not _ID.fullmatch(entry_id):
        raise Stop(Exit.USAGE, f"ENTRY: {entry_id!r} is no entry's id", "ids look like ent_4tq2...")
    api = clinic_api(directory, practice, clinic, token_file)
    alone = "only the clinic that wrote the entry can ask"
    Output(as_json).facts(ask(api, "GET", f"/api/v1/entries/{entry_id}/explain", alone))
