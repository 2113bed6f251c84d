"""`tandem measures`: how well the loop between practices closes, as one clinic sees it."""

from pathlib import Path
from typing import Any

import click

from tandem_ops.console import Output
from tandem_ops.options import clinic_options, json_option
from tandem_ops.reach import ask, clinic_api

_EPILOG = """\b
Examples:
  tandem measures --practice juniper
  tandem measures --clinic https://ehr.example --token-file token --days 30 --json
"""


@click.command("measures", epilog=_EPILOG)
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=90,
    show_default=True,
    help="Count referrals that were requested in so many days.",
)
@clinic_options
@json_option
def command(
    days: int,
    practice: str | None,
    clinic: str | None,
    token_file: Path | None,
    directory: Path,
    as_json: bool,
) -> None:
    """Count referrals accepted and completed, how long it took, and what waits for a person."""
    api = clinic_api(directory, practice, clinic, token_file)
    found: dict[str, Any] = ask(api, "GET", f"/api/v1/measures?days={days}")
    if as_json:
        Output(as_json).facts(found)
        return
    waiting = found.pop("waiting", [])
    Output(as_json).facts(found)
    rows = [[each["kind"], each["items"], each["oldest_hours"]] for each in waiting]
    Output(as_json).rows("Waiting for a person", ["kind", "items", "oldest, hours"], rows)
