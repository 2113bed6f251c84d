"""`tandem practice`: admission to the network."""

from pathlib import Path

import click

from tandem.directory.v1 import directory_pb2 as pb
from tandem.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from tandem.exchange.v1 import exchange_pb2
from tandem.exchange.v1.exchange_pb2_grpc import ExchangeServiceStub
from tandem_ops.console import Output
from tandem_ops.options import hub_options, json_option
from tandem_ops.reach import operator_channel
from tandem_platform.ids import new_id

_COLUMNS = ("practice_id", "display_name", "roles", "states", "openings", "openings_stale", "last_sync_at")

_EPILOG = """\b
Examples:
  tandem practice list
  tandem practice register prac_... --name "Juniper Psychiatry" --role prescriber \\
      --state OR --phone "+1 503 555 0110" --on-call "+1 503 555 0111"
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """Admit practices to the network, and list them. It takes an operator's certificate."""


@command.command("register", epilog=_EPILOG)
@click.argument("practice_id")
@click.option("--name", required=True, help="How the practice is called in the directory.")
@click.option(
    "--role",
    "roles",
    type=click.Choice(["prescriber", "therapy_provider"]),
    multiple=True,
    required=True,
    help="What it does in the network. Repeatable.",
)
@click.option("--state", "states", multiple=True, help="Two-letter code of a state of licence. Repeatable.")
@click.option("--modality", "modalities", multiple=True, help="For example cbt. Repeatable.")
@click.option("--language", "languages", multiple=True, help="For example en. Repeatable.")
@click.option("--telehealth", is_flag=True, help="It sees patients by video, too.")
@click.option("--phone", default="", help="For the public.")
@click.option("--on-call", default="", help="For a partner with a question that cannot wait.")
@click.option("--part2", is_flag=True, help="The practice is a 42 CFR Part 2 programme.")
@click.option("--treatment-basis", is_flag=True, help="It accepts a treatment relationship as a basis.")
@hub_options
@json_option
def register(
    practice_id: str,
    name: str,
    roles: tuple[str, ...],
    states: tuple[str, ...],
    modalities: tuple[str, ...],
    languages: tuple[str, ...],
    telehealth: bool,
    phone: str,
    on_call: str,
    part2: bool,
    treatment_basis: bool,
    directory: Path,
    hub: str | None,
    certificates: Path | None,
    as_json: bool,
) -> None:
    """Admit a practice to the network.

    PRACTICE_ID is the one that its certificate names: see `tandem certs practice`.
    """
    practice = pb.Practice(
        practice_id=practice_id,
        display_name=name,
        roles=roles,
        licence_states=states,
        modalities=modalities,
        languages=languages,
        telehealth=telehealth,
        contact_phone=phone,
        on_call_phone=on_call,
        part2_program=part2,
        allows_treatment_basis=treatment_basis,
    )
    with operator_channel(directory, hub, certificates) as channel:
        answer = DirectoryServiceStub(channel).RegisterPractice(
            pb.RegisterPracticeRequest(request_id=new_id("req"), practice=practice)
        )
    Output(as_json).facts({"registered": answer.practice.practice_id, "version": answer.practice.version})


@command.command("list", epilog=_EPILOG)
@hub_options
@json_option
def list_practices(directory: Path, hub: str | None, certificates: Path | None, as_json: bool) -> None:
    """Show every practice, and when it last synced.

    openings: places that it has published; empty where it has not.
    openings stale: whether that was too long ago to count on.
    """
    rows = []
    with operator_channel(directory, hub, certificates) as channel:
        status = ExchangeServiceStub(channel).GetExchangeStatus(exchange_pb2.GetExchangeStatusRequest())
        stub = DirectoryServiceStub(channel)
        for log in status.logs:
            practice = stub.GetPractice(pb.GetPracticeRequest(practice_id=log.practice_id)).practice
            stated = practice.HasField("capacity")
            rows.append(
                (
                    practice.practice_id,
                    practice.display_name,
                    list(practice.roles),
                    list(practice.licence_states),
                    practice.capacity.openings if stated else None,
                    practice.capacity.stale if stated else None,
                    log.last_sync_at.ToJsonString() if log.HasField("last_sync_at") else None,
                )
            )
    Output(as_json).rows("Practices", _COLUMNS, rows)
