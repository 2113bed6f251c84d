"""`tandem up`: a whole network on this machine."""

from pathlib import Path

import click

from tandem_ops.console import Exit, Output, Stop
from tandem_ops.network.network import Network
from tandem_ops.network.plan import TWO_PRACTICES, Layout, NetworkPlan, new_plan
from tandem_ops.network.process import MemberDidNotStart
from tandem_ops.network.servers import broker_answers, require_servers
from tandem_ops.network.supervision import end, interruptions, supervise
from tandem_ops.options import directory_option, server_options
from tandem_platform.broker.embedded import BrokerDidNotStart, BrokerNotInstalled

_EPILOG = """\b
Examples:
  tandem up
  tandem up --directory ~/tandem --no-kafka
  tandem up --postgres postgresql+psycopg://user:password@127.0.0.1:5432
\b
The first start makes DIRECTORY/network.json: practices, and ports where you want fixed ones (0: any free port).
Later starts find everything where it was. Ctrl-C drains; a second Ctrl-C ends everything at once.
All of it listens on the loopback interface only. It is for development, not for patients.
"""


@click.command(epilog=_EPILOG)
@directory_option
@server_options
@click.option(
    "--practice",
    "names",
    type=click.Choice(["juniper", "riverbend", "alder", "larkspur"]),
    multiple=True,
    help="Which practices a new network has. Repeatable. [default: juniper, riverbend]",
)
def command(directory: Path, with_kafka: bool, kafka: str, postgres: str, names: tuple[str, ...]) -> None:
    """Start broker, hub and clinics as processes of their own, and watch them until Ctrl-C."""
    output = Output(as_json=False)
    layout = Layout(directory)
    asked = new_plan(names or TWO_PRACTICES, with_kafka=with_kafka, kafka=kafka, postgres=postgres)
    with layout.alone(), interruptions() as noted:
        if layout.plan_file.exists():
            plan = layout.load_plan()
            _refuse_what_is_settled(layout, plan, asked, names)
            if plan.kafka and not broker_answers(plan):
                output.say(f"no broker answers at {plan.kafka}: everything goes by gRPC until one does")
        else:
            plan = asked
            # Before the plan is kept: what cannot be reached was perhaps misspelt.
            require_servers(plan)
            layout.save_plan(plan)
        network = Network(directory, plan, output.say)
        try:
            network.start()
        except (MemberDidNotStart, BrokerDidNotStart, BrokerNotInstalled) as failed:
            raise Stop(Exit.FINDING, str(failed)) from failed
        _tell_how_to_begin(output, layout, network)
        try:
            supervise(network, noted, output.say)
        finally:
            end(network, noted, output.say)


def _refuse_what_is_settled(
    layout: Layout, plan: NetworkPlan, asked: NetworkPlan, names: tuple[str, ...]
) -> None:
    """Raises Stop where an option asks for something else than the network that stands."""
    wanted = {
        "--no-kafka": not asked.with_kafka and plan.with_kafka,
        "--kafka": asked.kafka not in ("", plan.kafka),
        "--postgres": asked.postgres not in ("", plan.postgres),
        "--practice": bool(names) and set(names) != {each.name for each in plan.practices},
    }
    different = [option for option, is_different in wanted.items() if is_different]
    if different:
        raise Stop(
            Exit.USAGE,
            f"{' and '.join(different)}: the network in {layout.root} is made already, and otherwise",
            f"change {layout.plan_file}, or make another with: tandem up --directory DIR",
        )


def _tell_how_to_begin(output: Output, layout: Layout, network: Network) -> None:
    first = network.plan.practices[0]
    output.say("")
    for practice in network.plan.practices:
        output.say(
            f"{practice.display_name}: {network.http_address(practice)}/api/v1/  ({practice.practice_id})"
        )
        output.say(f"  token: {layout.token_file(practice, 'clinician')}")
    output.say("")
    output.say("Ask the first one for its partners:")
    output.say(
        f'  curl -H "Authorization: Bearer $(cat {layout.token_file(first, "clinician")})"'
        f" {network.http_address(first)}/api/v1/partners"
    )
    output.say("Ctrl-C drains and ends.")
