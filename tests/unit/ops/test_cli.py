"""The command as its users meet it: help, exit codes, JSON."""

import json

import pytest

from tandem_ops.cli import run
from tandem_ops.console import Exit


def test_help_names_every_command_and_exit_code(capsys):
    assert run(["--help"]) == Exit.OK
    said = capsys.readouterr().out
    for word in ("up", "demo", "certs", "practice", "permission", "audit", "exchange", "quarantine"):
        assert f"\n  {word} " in said
    assert "3  a service did not answer" in said


@pytest.mark.parametrize(
    "name", ["up", "demo", "certs", "practice", "permission", "audit", "exchange", "quarantine"]
)
def test_every_command_teaches_by_example(capsys, name):
    assert run([name, "--help"]) == Exit.OK
    assert f"tandem {name}" in capsys.readouterr().out.partition("Examples:")[2]


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["certs", "practice"], ["exchange", "status", "--nonsense"]]
)
def test_a_wrong_call_is_a_usage_fault(arguments, capsys):
    assert run(arguments) == Exit.USAGE
    assert capsys.readouterr().err


def test_certificates_are_issued_and_revoked(tmp_path, capsys):
    authority = str(tmp_path / "ca")
    assert run(["certs", "ca", "--authority", authority]) == Exit.OK
    out = tmp_path / "juniper"
    assert run(["certs", "practice", "prac_juniper", "--authority", authority, "--out", str(out)]) == Exit.OK
    assert sorted(path.name for path in out.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]
    capsys.readouterr()
    assert run(["certs", "revoke", str(out / "cert.pem"), "--authority", authority, "--json"]) == Exit.OK
    revoked = json.loads(capsys.readouterr().out)["revoked"]
    assert revoked in (tmp_path / "ca" / "revoked.txt").read_text()


def test_a_name_that_the_hub_would_refuse_gets_no_certificate(tmp_path, capsys):
    run(["certs", "ca", "--authority", str(tmp_path)])
    out = tmp_path / "out"
    assert run(["certs", "practice", "Prac A", "--authority", str(tmp_path), "--out", str(out)]) == Exit.USAGE
    assert not out.exists()
    assert "cannot be a name" in capsys.readouterr().err


def test_no_certificate_without_an_authority(tmp_path, capsys):
    nowhere = str(tmp_path / "none")
    assert run(["certs", "hub", "--authority", nowhere, "--out", str(tmp_path)]) == Exit.USAGE
    assert f"tandem certs ca --authority {nowhere}" in capsys.readouterr().err


def test_asking_a_network_that_does_not_run_says_how_to_start_it(tmp_path, capsys):
    assert run(["exchange", "status", "--directory", str(tmp_path)]) == Exit.UNREACHABLE
    assert f"tandem up --directory {tmp_path}" in capsys.readouterr().err
