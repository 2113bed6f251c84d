"""`tandem exchange`: how far every practice's logs have come."""

from pathlib import Path

import click

from tandem.exchange.v1 import exchange_pb2 as pb
from tandem.exchange.v1.exchange_pb2_grpc import ExchangeServiceStub
from tandem_ops.console import Exit, Output
from tandem_ops.reach import hub_options, json_option, operator_channel

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
\b
lag: rows that the practice has not yet acknowledged.
rescued: rows that Sync had to deliver although they were published.
stopped: why a log stands still; the exit code is then 1.
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """See how far every practice's logs have come. It takes an operator's certificate."""


@command.command("status", epilog=_EPILOG)
@hub_options
@json_option
@click.pass_context
def status(
    context: click.Context, directory: Path, hub: str | None, certificates: Path | None, as_json: bool
) -> None:
    """Every practice's logs: applied, written, acknowledged, parked, stopped."""
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
            log.last_sync_at.ToJsonString() if log.HasField("last_sync_at") else "never",
            log.stopped,
        )
        for log in logs
    ]
    Output(as_json).rows("Logs", _COLUMNS, rows)
    if any(log.stopped or log.parked_rows for log in logs):
        context.exit(Exit.FINDING)
