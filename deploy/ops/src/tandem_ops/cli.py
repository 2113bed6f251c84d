"""The `tandem` command: its subcommands, and what becomes of a failure."""

import importlib
import sys
from collections.abc import Sequence

import click

from tandem_ops.console import Exit, Stop, complain

_COMMANDS = {
    "up": ("tandem_ops.commands.up", "Start a whole network on this machine."),
    "demo": ("tandem_ops.commands.demo", "Play one patient's course on real processes, and narrate it."),
    "certs": ("tandem_ops.commands.certs", "Issue and revoke certificates."),
    "practice": ("tandem_ops.commands.practice", "Admit practices to the network, and list them."),
    "staff": ("tandem_ops.commands.staff", "Give a clinic its first person or system."),
    "permission": ("tandem_ops.commands.permission", "Ask why an entry was or was not released."),
    "audit": ("tandem_ops.commands.audit", "Check that nobody changed the account."),
    "exchange": ("tandem_ops.commands.exchange", "See how far every practice's logs have come."),
    "quarantine": ("tandem_ops.commands.quarantine", "Look at parked rows, and apply them again."),
    "compose": ("tandem_ops.commands.compose", "The steps of docker-compose.yml."),
}

_EPILOG = """\b
Exit codes:
  0  done, and everything is as it should be
  1  an expectation failed, something was found, or a service refused
  2  a wrong option, a missing file or setting
  3  a service did not answer
\b
Begin with:
  tandem demo
  tandem up --directory .tandem
"""


class _OnDemand(click.Group):
    """Loads a subcommand when it is called: the others may import half of the system."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


@click.group(cls=_OnDemand, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tandem-ops", prog_name="tandem")
def tandem() -> None:
    """Run and look after a Tandem network: two practices, one patient, care given together."""


def main(arguments: Sequence[str] | None = None) -> None:
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """The exit code, after everything to be said has been said."""
    try:
        # Not standalone, click gives back what a command passed to its context's exit().
        code = tandem.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except Stop as stop:
        complain(stop)
        return stop.code
    except click.ClickException as wrong:
        wrong.show()
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        complain(Stop(Exit.FINDING, "stopped from the keyboard"))
        return Exit.FINDING
    return int(code or Exit.OK)
