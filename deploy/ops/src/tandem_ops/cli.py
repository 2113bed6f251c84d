"""The `tandem` command: its subcommands, and what becomes of a failure."""

import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from tandem_ops import fault
from tandem_ops.console import Exit, Stop, complain
from tandem_platform.errors import Refusal

_COMMANDS = {
    "up": ("tandem_ops.commands.up", "Start a whole network on this machine."),
    "demo": ("tandem_ops.commands.demo", "Play one patient's course on real processes, and narrate it."),
    "certs": ("tandem_ops.commands.certs", "Issue and revoke certificates."),
    "practice": ("tandem_ops.commands.practice", "Admit practices to the network, and list them."),
    "staff": ("tandem_ops.commands.staff", "Give a clinic its first person or system."),
    "permission": ("tandem_ops.commands.permission", "Ask why an entry was or was not released."),
    "measures": ("tandem_ops.commands.measures", "See how well referrals come to their end."),
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
  4  a fault of tandem itself: the message names a file to report it with
  130  stopped by Ctrl-C
\b
With --json the answer is one JSON document on standard output.
An error, whatever its code, is one on standard error: {"error": {"message", "way_out", "reason", "exit_code"}}.
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
            return super().get_command(ctx, cmd_name)
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


@click.group(cls=_OnDemand, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, expose_value=False, help="Show a fault of tandem itself whole.")
@click.version_option(package_name="tandem-ops", prog_name="tandem")
def tandem() -> None:
    """Run and look after a Tandem network: two practices, one patient, care given together."""


def main(arguments: Sequence[str] | None = None) -> None:
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """The exit code, after everything to be said has been said."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # Not standalone, click gives back what a command passed to its context's exit().
        code = tandem.main(args=given, prog_name="tandem", standalone_mode=False)
        return int(code or Exit.OK)
    except click.exceptions.NoArgsIsHelpError as wrong:
        wrong.show()
        return Exit.USAGE
    except Exception as failed:  # noqa: BLE001 - the last resort: a person never sees a traceback unasked
        stop = _reason(failed)
        if stop is None and "--debug" in given:
            traceback.print_exception(failed)
            return Exit.FAULT
        stop = stop or fault.kept(failed)
    except KeyboardInterrupt:
        stop = _STOPPED
    complain(stop, as_json="--json" in given)
    return stop.code


_STOPPED = Stop(Exit.INTERRUPTED, "stopped from the keyboard")


def _reason(failed: Exception) -> Stop | None:
    """None where it is nothing that somebody who typed the command can mend."""
    match failed:
        case Stop():
            return failed
        case click.Abort():
            return _STOPPED
        case click.UsageError(ctx=click.Context() as at):
            return Stop(Exit.USAGE, failed.format_message(), f"see: {at.command_path} --help")
        case click.ClickException():
            return Stop(Exit.USAGE, failed.format_message(), "see: tandem --help")
        case Refusal():
            return Stop(Exit.FINDING, failed.message, failed.way_out or "", failed.reason)
        case OSError(filename=str() | Path() as path, strerror=str() as reason):
            return Stop(Exit.USAGE, f"{path}: {reason}", "see who may use it, and whether there is room")
    return None
