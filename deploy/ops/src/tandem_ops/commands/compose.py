"""`tandem compose`: the steps of docker-compose.yml that run once, each in a container of its own."""

import json
from pathlib import Path

import click

from tandem_ops.console import Exit, Output
from tandem_ops.network import containers

_EPILOG = """\b
They are called by docker-compose.yml:
  docker compose up --wait
  docker compose run --rm people
  docker compose run --rm account
"""

_root = click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("/network"),
    show_default=True,
    help="Below which the members' volumes are mounted.",
)


@click.group(epilog=_EPILOG)
def command() -> None:
    """Set up and look after the network of docker-compose.yml."""


@command.command("setup")
@_root
def setup(root: Path) -> None:
    """Make certificates, passwords and databases.

    The databases are made by a script that the server reads at its first start. What is there stays.
    """
    containers.prepare(root)
    click.echo("certificates and passwords are in the members' volumes")


@command.command("admit")
@_root
def admit(root: Path) -> None:
    """Register the practices at the hub."""
    new = containers.admit(root)
    click.echo(f"admitted: {', '.join(new) or 'all were members already'}")


@command.command("people")
@_root
def people(root: Path) -> None:
    """Give each practice a clinician, with a token.

    The tokens are printed as JSON. Who was added before keeps theirs.
    """
    click.echo(json.dumps(containers.people(root)))


@command.command("account")
@_root
@click.pass_context
def account(context: click.Context, root: Path) -> None:
    """Check the hub's account, after its next root.

    It is held against what the clinics kept. Takes up to 90 s.
    """
    found = containers.account(root)
    Output(as_json=True).facts(found)
    if found["findings"] or not found["covers_everything"]:
        context.exit(Exit.FINDING)
