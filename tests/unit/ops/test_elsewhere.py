"""A network that somebody else runs, known by a file of addresses, tokens and commands."""

import json

import pytest

from tandem_ops.console import Output, Stop
from tandem_ops.network.elsewhere import NetworkElsewhere, run
from tandem_ops.network.process import MemberDidNotStart
from tandem_ops.story.endings_elsewhere import endings_on
from tandem_ops.story.narrator import Narrator
from tandem_ops.story.stage import Stage


def a_description(marker, **changes):
    member = {
        "kill": ["rm", str(marker)],
        "stop": ["rm", str(marker)],
        "start": ["touch", str(marker)],
        "ready": ["test", "-e", str(marker)],
    }
    return {
        "practices": {"juniper": {"address": "http://127.0.0.1:9", "token": "a-token"}},
        "members": dict.fromkeys(("hub", "broker", "juniper"), member),
        "account": ["true"],
        "searched": {},
    } | changes


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "runs"


def a_network(tmp_path, description):
    file = tmp_path / "network.json"
    file.write_text(json.dumps(description))
    return NetworkElsewhere.read(file)


def test_its_practices_are_reached_where_the_file_says(tmp_path, marker):
    network = a_network(tmp_path, a_description(marker))
    (juniper,) = network.practice_plans()
    assert (juniper.practice_id, network.http_address(juniper), network.token("juniper")) == (
        "prac_juniper",
        "http://127.0.0.1:9",
        "a-token",
    )


def test_members_are_started_and_killed_by_the_commands_of_the_file(tmp_path, marker):
    hub = a_network(tmp_path, a_description(marker)).hub
    hub.start()
    hub.await_ready(5)
    hub.kill()
    assert not marker.exists()


def test_a_member_that_does_not_get_ready_is_named(tmp_path, marker):
    with pytest.raises(MemberDidNotStart, match="hub is not ready"):
        a_network(tmp_path, a_description(marker)).hub.await_ready(0)


def test_a_command_that_fails_says_what_it_said(tmp_path, marker):
    with pytest.raises(Stop, match=r"runs.* failed"):
        a_network(tmp_path, a_description(marker)).hub.kill()


@pytest.mark.parametrize("missing", ["practices", "members", "account", "searched"])
def test_a_file_that_lacks_something_is_refused_with_what_it_lacks(tmp_path, marker, missing):
    description = a_description(marker)
    del description[missing]
    with pytest.raises(Stop, match=missing):
        a_network(tmp_path, description)


def on_stage(network):
    return Stage(network, Narrator(Output(as_json=True)))


@pytest.mark.parametrize("printed", ["Robin Ashgrove", "\\x" + b"Robin Ashgrove".hex()])
def test_a_patients_name_is_found_as_text_and_as_a_database_prints_bytes(tmp_path, marker, printed):
    network = a_network(tmp_path, a_description(marker, searched={"the log": ["echo", printed]}))
    *_, search = endings_on(network)
    with pytest.raises(Exception, match="the log holds no name"):
        search(on_stage(network))


def test_a_search_that_reads_nothing_proves_nothing(tmp_path, marker):
    network = a_network(tmp_path, a_description(marker, searched={"the log": ["true"]}))
    *_, search = endings_on(network)
    stage = on_stage(network)
    with pytest.raises(Exception, match="the log can be read"):
        search(stage)
    assert stage.narrator.shown == []


def test_an_account_with_findings_ends_the_story(tmp_path, marker):
    network = a_network(tmp_path, a_description(marker, account=["false"]))
    _, check, _ = endings_on(network)
    with pytest.raises(Exception, match="account is as it was written"):
        check(on_stage(network))


def test_a_command_has_no_standard_input_to_wait_for():
    assert run(["cat"], timeout=5).returncode == 0
