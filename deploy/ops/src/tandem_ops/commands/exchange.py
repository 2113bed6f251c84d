"""`tandem exchange`: how far every practice's logs have come, and the ways out when one stands still."""

from pathlib import Path

import click

from tandem.exchange.v1 import exchange_pb2 as pb
from tandem.exchange.v1.exchange_pb2_grpc import ExchangeServiceStub
from tandem_ops.console import Exit, Output
from tandem_ops.options import clinic_options, hub_options, json_option
from tandem_ops.reach import ClinicApi, ask, clinic_api, operator_channel

_COLUMNS = (
    "practice_id",
    "uplink_applied",
    "downlink_written",
    "downlink_acknowledged",
    "lag",
    "parked_rows",
    "rescued",
    "last_sync_at",
    "stopped",
)

_EPILOG = """\b
Examples:
  tandem exchange status
  tandem exchange status --json
  tandem exchange reopen-uplink --practice juniper
  tandem exchange resume-downlink --clinic https://ehr.example --token-file token
\b
The numbers count rows: the uplink's are what the practice sent, the downlink's what the hub has for it.
  uplink applied           so far the hub has taken the practice's rows in
  downlink written         so far the hub has rows for the practice
  downlink acknowledged    so far the practice has taken them in
  lag                      rows between the last two
  parked rows              look at them with: tandem quarantine list
  rescued                  rows that gRPC had to bring although Kafka should have
  stopped                  why the hub stopped the uplink; the way out is reopen-uplink
Exit code 1: a log is stopped, or rows are parked; after a remedy, an alert is left.
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """See how far every practice's logs have come, and let one go on that stands still."""


@command.command("status", epilog=_EPILOG)
@hub_options
@json_option
@click.pass_context
def status(
    context: click.Context, directory: Path, hub: str | None, certificates: Path | None, as_json: bool
) -> None:
    """Show how far every practice's logs have come. It takes an operator's certificate."""
    with operator_channel(directory, hub, certificates) as channel:
        logs = ExchangeServiceStub(channel).GetExchangeStatus(pb.GetExchangeStatusRequest()).logs
    rows = [
        (
            log.practice_id,
            log.uplink_cursor.sequence,
            log.downlink_head.sequence,
            log.downlink_acknowledged.sequence,
            log.downlink_head.sequence - log.downlink_acknowledged.sequence,
            log.parked_rows,
            log.rescued_total,
            log.last_sync_at.ToJsonString() if log.HasField("last_sync_at") else None,
            log.stopped,
        )
        for log in logs
    ]
    Output(as_json).rows("Logs", _COLUMNS, rows)
    if any(log.stopped or log.parked_rows for log in logs):
        context.exit(Exit.FINDING)


@command.command("reopen-uplink", epilog=_EPILOG)
@clinic_options
@json_option
def reopen_uplink(
    practice: str | None, clinic: str | None, token_file: Path | None, directory: Path, as_json: bool
) -> None:
    """Let an uplink go on that the hub has stopped.

    First see that no second process works on a copy of the clinic's database: it would stop it again.
    Then rows that the hub has and the clinic lacks come back, and rows that the hub lacks go again,
    in a new epoch; nothing is lost or doubled. An uplink that is not stopped is left as it is, with exit code 1.
    It takes an administrator's token.
    """
    _remedy("uplink/reopen", clinic_api(directory, practice, clinic, token_file), as_json)


@command.command("resume-downlink", epilog=_EPILOG)
@clinic_options
@json_option
def resume_downlink(
    practice: str | None, clinic: str | None, token_file: Path | None, directory: Path, as_json: bool
) -> None:
    """Let a downlink go on that the clinic has stopped.

    The clinic tries again to apply what the hub gives it. Where nothing was stopped nothing changes.
    It takes an administrator's token.
    """
    _remedy("downlink/resume", clinic_api(directory, practice, clinic, token_file), as_json)


def _remedy(path: str, api: ClinicApi, as_json: bool) -> None:
    """The exit code is 1 while an alert is left."""
    left = ask(api, "POST", f"/api/v1/exchange/{path}")
    rows = [(each["kind"], each["subject_id"], each["raised_at"]) for each in left]
    Output(as_json).rows("Alerts that are left", ("kind", "subject_id", "raised_at"), rows)
    if rows:
        click.get_current_context().exit(Exit.FINDING)
