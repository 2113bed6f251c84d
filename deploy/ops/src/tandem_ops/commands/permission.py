"""`tandem permission`: why an entry was or was not released."""

from pathlib import Path
from urllib.parse import quote

import click

from tandem_ops.console import Exit, Output, Stop
from tandem_ops.reach import ClinicAway, clinic_api, clinic_options, directory_option, json_option

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
@directory_option
@json_option
def explain(
    entry_id: str,
    practice: str | None,
    clinic: str | None,
    token_file: Path | None,
    directory: Path,
    as_json: bool,
) -> None:
    """The clinic's own view of ENTRY now, and what the hub decided under which permission and rule."""
    api = clinic_api(directory, practice, clinic, token_file)
    try:
        answer = api.call("GET", f"/api/v1/entries/{quote(entry_id, safe='')}/explain")
    except ClinicAway as away:
        raise Stop(Exit.UNREACHABLE, f"the clinic does not answer: {away}") from away
    if answer.is_refusal:
        raise Stop(Exit.FINDING, str(answer))
    Output(as_json).facts(dict(answer.body))
