"""`tandem audit`: whether the hub's account is as it was written."""

import json
from dataclasses import asdict, astuple
from pathlib import Path

import click

from tandem_ops.account import Kept, check_account, kept_by
from tandem_ops.console import Exit, Output, Stop, counted
from tandem_ops.network.members import database_url
from tandem_ops.network.plan import Layout
from tandem_ops.options import directory_option, json_option

_EPILOG = """\b
Examples:
  tandem audit verify
  tandem audit verify --hub-database postgresql+psycopg://... --at-rest-key hub/at-rest.key \\
      --against juniper/tandem.db --against riverbend-roots.json
  tandem audit export juniper/tandem.db > juniper-roots.json
\b
The hub's database alone shows edits, deletions and reordering.
Only roots that clinics kept show what its owner could rewrite from end to end.
Exit code 1: something was found.
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """Check that nobody changed the hub's account of what it released, withheld and delivered."""


@command.command("verify", epilog=_EPILOG)
@click.option("--hub-database", metavar="URL", help="The hub's database. [default: the one in DIRECTORY]")
@click.option(
    "--at-rest-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The hub's at-rest key. [default: DIRECTORY/hub/at-rest.key]",
)
@click.option(
    "--against",
    multiple=True,
    metavar="DB_OR_EXPORT",
    help="A clinic's database, or an export of its roots. Repeatable. [default: all clinics in DIRECTORY]",
)
@directory_option
@json_option
@click.pass_context
def verify(
    context: click.Context,
    hub_database: str | None,
    at_rest_key: Path | None,
    against: tuple[str, ...],
    directory: Path,
    as_json: bool,
) -> None:
    """Hold the hub's account against what clinics kept.

    What they kept are roots: signatures of the hub's over its whole account, one each minute.
    """
    layout = Layout(directory)
    if hub_database is None:
        plan = layout.load_plan()
        hub_database = database_url(plan, layout, "hub")
        against = against or tuple(database_url(plan, layout, each.name) for each in plan.practices)
    key = at_rest_key or layout.hub / "at-rest.key"
    if not key.exists():
        raise Stop(Exit.USAGE, f"{key} is not there", "name the hub's own with --at-rest-key")
    kept = [kept_by(source) for source in against]
    findings = check_account(hub_database, key, kept)
    output = Output(as_json)
    if as_json:
        output.facts(
            {
                "findings": [asdict(each) for each in findings],
                "roots": sum(len(each.roots) for each in kept),
                "clinics": len(kept),
            }
        )
    else:
        output.rows("Findings", ("chain", "number", "fault"), [astuple(each) for each in findings])
        _tell_strength(output, kept)
    if findings:
        context.exit(Exit.FINDING)


def _tell_strength(output: Output, kept: list[Kept]) -> None:
    roots = sum(len(each.roots) for each in kept)
    if roots:
        output.say(f"Held against {counted(roots, 'root')} kept by {counted(len(kept), 'clinic')}.")
    elif kept:
        output.say("No clinic has kept a root yet; the hub publishes one each minute.", style="yellow")
    else:
        output.say(
            "Held against itself alone: an owner who rewrote everything would not be noticed. Use --against.",
            style="yellow",
        )


@command.command("export", epilog=_EPILOG)
@click.argument("clinic_database")
def export(clinic_database: str) -> None:
    """Print the roots that a clinic kept.

    It is for somebody else to check with: for --against. Nothing in it is secret.
    CLINIC_DATABASE is a URL, or the path of an SQLite file.
    """
    click.echo(json.dumps(kept_by(clinic_database, "CLINIC_DATABASE").to_json(), indent=1))
