"""`tandem staff`: the first person of a clinic."""

import click

from tandem_clinic.domain.staff import Role
from tandem_clinic.store.tables import metadata
from tandem_ops.console import Exit, Output, Stop
from tandem_ops.network.tokens import add_person
from tandem_ops.opening import opened
from tandem_ops.options import json_option

_EPILOG = """\b
Examples:
  tandem staff add "Kim Admin" --role admin --database sqlite:////srv/juniper/tandem.db
  tandem staff add "Our EHR" --role integration --database postgresql+psycopg://...
\b
For the first administrator, whom nobody could add through the API; that one adds the others.
The clinic must have been started once. The token is shown this once.
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """Give a clinic its first person or system."""


@command.command("add", epilog=_EPILOG)
@click.argument("name")
@click.option(
    "--role",
    "roles",
    type=click.Choice([role.value for role in Role]),
    multiple=True,
    required=True,
    help="Repeatable.",
)
@click.option("--database", required=True, metavar="URL", help="The clinic's database.")
@json_option
def add(name: str, roles: tuple[str, ...], database: str, as_json: bool) -> None:
    """Add NAME with these roles, and print their access token."""
    if not name.strip():
        raise Stop(Exit.USAGE, "NAME is empty", "say who it is: people see it beside what was done")
    with opened("--database", database, metadata, "a clinic's") as clinic:
        token = add_person(clinic, name, frozenset(map(Role, roles)))
    Output(as_json).facts({"name": name, "roles": sorted(roles), "token": token})
