"""`tandem demo`: one patient's course, on real processes."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from tandem_ops.console import Exit, Output, Stop
from tandem_ops.network.elsewhere import NetworkElsewhere
from tandem_ops.network.network import Network
from tandem_ops.network.plan import Layout, new_plan
from tandem_ops.network.process import MemberDidNotStart
from tandem_ops.network.servers import require_servers
from tandem_ops.options import server_options
from tandem_ops.reach import ClinicAway
from tandem_ops.story.endings_elsewhere import endings_on
from tandem_ops.story.expectations import ExpectationFailed
from tandem_ops.story.narrator import Narrator
from tandem_ops.story.stage import Stage
from tandem_ops.story.telling import tell_story, tell_summary
from tandem_platform.broker.embedded import BrokerDidNotStart, BrokerNotInstalled

_EPILOG = """\b
Examples:
  tandem demo
  tandem demo --pace slow
  tandem demo --keep          leaves the network's files, and says where
  tandem demo --against FILE  on a network that runs already
\b
Exit code 1: an expectation failed. The last lines say which, and what was seen instead.
All people in it are invented.
"""

CAST = ("juniper", "riverbend", "alder")


@click.command(epilog=_EPILOG)
@click.option("--keep", is_flag=True, help="Keep databases and logs afterwards.")
@click.option(
    "--pace",
    type=click.Choice(["fast", "slow"]),
    default="fast",
    show_default=True,
    help="slow: with pauses for reading.",
)
@server_options
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON with addresses and tokens of a network that runs elsewhere, and commands that hurt its members;"
    " deploy/docker/check writes one.",
)
def command(keep: bool, pace: str, with_kafka: bool, kafka: str, postgres: str, against: Path | None) -> None:
    """Play a patient's course over three practices and a hub, and say in plain words who sees what, and why."""
    if against is not None:
        if keep or kafka or postgres or not with_kafka:
            raise Stop(
                Exit.USAGE, "--against plays on a network that is there already", "leave the others away"
            )
        _play_against(NetworkElsewhere.read(against), Narrator(Output(as_json=False), pace))
        return
    plan = new_plan(CAST, with_kafka=with_kafka, kafka=kafka, postgres=postgres)
    require_servers(plan)
    directory = Path(tempfile.mkdtemp(prefix="tandem-demo-"))
    narrator = Narrator(Output(as_json=False), pace)
    Layout(directory).save_plan(plan)
    network = Network(directory, plan, narrator.tells)
    failed = True
    try:
        _play(network, narrator)
        failed = False
    finally:
        network.kill()
        if keep or failed:
            narrator.output.say(f"Files and logs: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)


def _play_against(network: NetworkElsewhere, narrator: Narrator) -> None:
    with _stops():
        stage = Stage.set_on(network, narrator)
        tell_story(stage, endings_on(network))
        tell_summary(stage)


def _play(network: Network, narrator: Narrator) -> None:
    with _stops():
        narrator.chapter("A network starts on this machine: a broker, a hub, three practices")
        network.start()
        stage = Stage.set_on(network, narrator)
        tell_story(stage)
        tell_summary(stage)
        network.drain()


@contextmanager
def _stops() -> Iterator[None]:
    """What is not as it should be ends the command with a reason."""
    try:
        yield
    except ExpectationFailed as unmet:
        raise Stop(Exit.FINDING, str(unmet)) from unmet
    except (MemberDidNotStart, BrokerDidNotStart, BrokerNotInstalled) as unmet:
        raise Stop(Exit.FINDING, str(unmet)) from unmet
    except ClinicAway as away:
        raise Stop(Exit.UNREACHABLE, f"a practice did not answer: {away}") from away
