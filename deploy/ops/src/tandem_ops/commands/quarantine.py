"""`tandem quarantine`: rows that could not be applied, and the way back for them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tandem.directory.v1.directory_pb2 import GetPracticeRequest
from tandem.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from tandem.exchange.v1 import exchange_pb2 as pb
from tandem.exchange.v1.exchange_pb2_grpc import ExchangeServiceStub
from tandem_ops.console import Exit, Output
from tandem_ops.options import hub_options, json_option
from tandem_ops.reach import operator_channel
from tandem_platform.ids import new_id

_COLUMNS = ("practice_id", "episode_id", "sequence", "reason", "parked_at")

_EPILOG = """\b
Examples:
  tandem quarantine list
  tandem quarantine list --practice prac_...
  tandem quarantine retry prac_... epi_...
\b
A parked row holds back the later ones of its episode; other episodes flow.
The exit code is 1 while something is parked.
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """Look at parked rows, and apply them again. It takes an operator's certificate."""


@command.command("list", epilog=_EPILOG)
@click.option(
    "--practice",
    "practice_id",
    default="",
    metavar="PRACTICE_ID",
    help="Only rows that this practice sent: its id, as `tandem practice list` shows it.",
)
@hub_options
@json_option
@click.pass_context
def list_parked(
    context: click.Context,
    practice_id: str,
    directory: Path,
    hub: str | None,
    certificates: Path | None,
    as_json: bool,
) -> None:
    """Show parked rows, and the reason as a code. What they hold is sealed and stays so."""
    with operator_channel(directory, hub, certificates) as channel:
        if practice_id:
            # A misspelt practice has no parked rows either: refused as not known, it is no all-clear.
            DirectoryServiceStub(channel).GetPractice(GetPracticeRequest(practice_id=practice_id))
        parked = list(_parked(ExchangeServiceStub(channel), practice_id))
    rows = [
        (
            each.practice_id,
            each.episode_id,
            each.row.sequence,
            each.row.reason,
            each.row.parked_at.ToJsonString(),
        )
        for each in parked
    ]
    Output(as_json).rows("Parked rows", _COLUMNS, rows)
    if rows:
        context.exit(Exit.FINDING)


@command.command("retry", epilog=_EPILOG)
@click.argument("practice_id")
@click.argument("episode_id")
@hub_options
@json_option
@click.pass_context
def retry(
    context: click.Context,
    practice_id: str,
    episode_id: str,
    directory: Path,
    hub: str | None,
    certificates: Path | None,
    as_json: bool,
) -> None:
    """Apply one episode's parked rows again, in order.

    PRACTICE_ID and EPISODE_ID stand beside them in `tandem quarantine list`.
    """
    request = pb.RetryQuarantineRequest(
        request_id=new_id("req"), practice_id=practice_id, episode_id=episode_id
    )
    with operator_channel(directory, hub, certificates) as channel:
        answer = ExchangeServiceStub(channel).RetryQuarantine(request)
    Output(as_json).facts({"applied": answer.applied, "still_parked": answer.still_parked})
    if answer.still_parked:
        context.exit(Exit.FINDING)


def _parked(stub: Any, practice_id: str) -> Iterator[Any]:

    token = ""
    while True:
        page = stub.ListQuarantine(
            pb.ListQuarantineRequest(practice_id=practice_id, page_size=500, page_token=token)
        )
        yield from page.parked
        token = page.next_page_token
        if not token:
            return
