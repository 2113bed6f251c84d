"""The command on a network that runs: what it answers, and what it says when it is asked for something else."""

import json
from collections.abc import Iterator

import pytest

from tandem_ops.cli import run
from tandem_ops.console import Exit
from tandem_ops.network.network import Network
from tandem_ops.network.plan import Layout, free_ports, new_plan


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code, and what was said on standard error."""
    code = run(arguments)
    return code, capsys.readouterr().err


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    directory = tmp_path_factory.mktemp("network")
    plan = new_plan(with_kafka=False)
    Layout(directory).save_plan(plan)
    network = Network(directory, plan)
    network.start()
    yield network
    network.drain()


@pytest.fixture
def directory(network: Network) -> list[str]:
    return ["--directory", str(network.layout.root)]


def test_practices_are_listed_as_data(directory, capsys):
    assert run(["practice", "list", "--json", *directory]) == Exit.OK
    juniper, riverbend = json.loads(capsys.readouterr().out)
    assert (juniper["practice_id"], juniper["roles"]) == ("prac_juniper", ["prescriber"])
    assert riverbend["states"] == ["OR"]
    assert (riverbend["openings"], riverbend["openings_stale"]) == (None, None)


def test_a_clinics_certificate_is_told_from_an_operators(network, directory, capsys):
    clinics = str(network.layout.root / "juniper" / "tls")
    code, said = fails(["exchange", "status", "--certificates", clinics, *directory], capsys)
    assert code == Exit.FINDING
    assert "--certificates" in said
    assert "tandem certs operator" in said


def test_what_the_hub_refuses_names_its_field_and_its_reason(directory, capsys):
    asked = ["practice", "register", "prac_new", "--name", "New", "--role", "prescriber", "--state", "Oregon"]
    code, said = fails([*asked, "--json", *directory], capsys)
    error = json.loads(said)["error"]
    assert (code, error["reason"]) == (Exit.FINDING, "PROFILE_NOT_ALLOWED")
    assert "licence_states" in error["message"]


def test_a_token_of_another_clinics_is_named_with_its_option(network, directory, capsys):
    token = str(network.layout.root / "riverbend" / "tokens" / "clinician.token")
    asked = ["permission", "explain", "ent_a", "--practice", "juniper", "--token-file", token]
    code, said = fails([*asked, *directory], capsys)
    assert (code, "--token-file" in said) == (Exit.FINDING, True)


def test_an_entry_that_another_clinic_may_have_written_comes_with_a_way_out(directory, capsys):
    code, said = fails(["permission", "explain", "ent_a", "--practice", "juniper", *directory], capsys)
    assert (code, "only the clinic that wrote" in said) == (Exit.FINDING, True)


def test_an_uplink_that_does_not_stand_still_is_not_reopened(directory, capsys):
    code, said = fails(["exchange", "reopen-uplink", "--practice", "juniper", "--json", *directory], capsys)
    error = json.loads(said)["error"]
    assert (code, error["reason"]) == (Exit.FINDING, "UPLINK_NOT_STOPPED")
    assert run(["exchange", "resume-downlink", "--practice", "juniper", *directory]) == Exit.OK
    assert "Alerts that are left: none" in capsys.readouterr().out


def test_what_answers_but_is_no_clinic_is_told_so(network, directory, capsys):
    port = network.plan.hub.http
    token = str(network.layout.root / "juniper" / "tokens" / "clinician.token")
    asked = ["permission", "explain", "ent_a", "--clinic", f"http://127.0.0.1:{port}", "--token-file", token]
    code, said = fails(asked, capsys)
    assert (code, "is no clinic of Tandem" in said) == (Exit.FINDING, True)


@pytest.mark.parametrize(
    ("option", "form"), [("--kafka", "{}"), ("--postgres", "postgresql+psycopg://u:secret@{}")]
)
def test_a_server_that_does_not_answer_is_not_kept_in_the_plan(tmp_path, capsys, option, form):
    (port,) = free_ports(1)
    asked = [option, form.format(f"127.0.0.1:{port}")]
    code, said = fails(["up", "--directory", str(tmp_path), *asked], capsys)
    assert code == Exit.UNREACHABLE
    assert f"127.0.0.1:{port}" in said
    assert option in said
    assert "secret" not in said
    assert not Layout(tmp_path).plan_file.exists()


def test_a_hub_that_does_not_answer_is_named_with_its_options(tmp_path, capsys):
    ca, operator = str(tmp_path / "ca"), str(tmp_path / "operator")
    run(["certs", "ca", "--authority", ca])
    run(["certs", "operator", "kim", "--authority", ca, "--out", operator])
    (port,) = free_ports(1)
    capsys.readouterr()
    asked = ["exchange", "status", "--hub", f"127.0.0.1:{port}", "--certificates", operator]
    code, said = fails(asked, capsys)
    assert code == Exit.UNREACHABLE
    assert "--hub" in said
    assert "--certificates" in said
