"""The command as its users meet it: help, exit codes, JSON."""

import json
from datetime import UTC, datetime

import pytest

from tandem_clinic.domain.staff import Role
from tandem_clinic.store import staff
from tandem_clinic.store.tables import metadata
from tandem_ops.cli import run
from tandem_ops.console import Exit
from tandem_ops.network.plan import TWO_PRACTICES, Layout, new_plan
from tandem_platform.storage import Database


def test_help_names_every_command_and_exit_code(capsys):
    assert run(["--help"]) == Exit.OK
    said = capsys.readouterr().out
    for word in (
        "up",
        "demo",
        "certs",
        "practice",
        "staff",
        "permission",
        "measures",
        "audit",
        "exchange",
        "quarantine",
    ):
        assert f"\n  {word} " in said
    assert "3  a service did not answer" in said


def test_a_second_network_does_not_start_on_the_first_ones_databases(tmp_path, capsys):
    with Layout(tmp_path).alone():
        assert run(["up", "--directory", str(tmp_path)]) == Exit.USAGE
    assert "runs already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["certs", "practice", "staff", "permission", "measures", "audit", "exchange", "quarantine"]
)
def test_what_a_subcommand_does_is_said_to_the_end_of_its_line(capsys, name):
    assert run([name, "--help"]) == Exit.OK
    assert "...\n" not in capsys.readouterr().out.partition("Commands:")[2].partition("Examples:")[0]


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (["--no-kafka"], "--no-kafka"),
        (["--kafka", "127.0.0.1:9"], "--kafka"),
        (["--postgres", "postgresql+psycopg://127.0.0.1:9"], "--postgres"),
        (["--practice", "alder"], "--practice"),
        (["--no-kafka", "--kafka", "127.0.0.1:9"], "exclude each other"),
    ],
)
def test_options_that_contradict_the_network_that_stands_are_not_ignored(tmp_path, capsys, asked, named):
    Layout(tmp_path).save_plan(new_plan(TWO_PRACTICES, with_kafka=True, kafka="", postgres=""))
    assert run(["up", "--directory", str(tmp_path), *asked]) == Exit.USAGE
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    ["up", "demo", "certs", "practice", "staff", "permission", "measures", "audit", "exchange", "quarantine"],
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
    Layout(tmp_path).save_plan(new_plan(TWO_PRACTICES))
    assert run(["exchange", "status", "--directory", str(tmp_path)]) == Exit.UNREACHABLE
    assert f"tandem up --directory {tmp_path}" in capsys.readouterr().err


def test_the_first_person_of_a_clinic_gets_a_token_that_opens_it(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/clinic.db"
    clinic = Database(url, metadata)
    clinic.create_all()
    assert run(["staff", "add", "Kim Admin", "--role", "admin", "--database", url, "--json"]) == Exit.OK
    token = json.loads(capsys.readouterr().out)["token"]
    with clinic.reading() as tx:
        found = staff.with_token(tx, token, datetime.now(UTC))
    clinic.close()
    assert found is not None
    assert found.roles == {Role.ADMIN}


def test_there_is_nobody_to_add_where_no_clinic_was_started(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/none.db"
    assert run(["staff", "add", "Kim", "--role", "admin", "--database", url]) == Exit.USAGE
    assert "once it was started" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("clinic", "token"),
    [
        ("http://[", b"t"),
        ("http://127.0.0.1:99999", b"t"),
        ("http://127.0.0.1:1", b"two\nlines"),
        ("http://127.0.0.1:1", b"\xff\xfe"),
        ("http://127.0.0.1:1", "é".encode()),
    ],
)
def test_an_address_or_token_that_is_none_is_a_usage_fault(tmp_path, clinic, token, capsys):
    file = tmp_path / "token"
    file.write_bytes(token)
    assert (
        run(["permission", "explain", "ent_a", "--clinic", clinic, "--token-file", str(file)]) == Exit.USAGE
    )
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("damaged", ["ca.key", "ca.pem"])
def test_a_damaged_authority_is_a_usage_fault(tmp_path, damaged, capsys):
    authority = tmp_path / "ca"
    assert run(["certs", "ca", "--authority", str(authority)]) == Exit.OK
    (authority / damaged).write_bytes(b"-----BEGIN")
    assert run(["certs", "hub", "--authority", str(authority), "--out", str(tmp_path / "hub")]) == Exit.USAGE
    assert "damaged" in capsys.readouterr().err
