"""What becomes of a wrong call: it is named, it comes with a way out, and it leaves nothing behind."""

import json
import stat
from pathlib import Path

import pytest
from cryptography import x509

from tandem_ops import cli
from tandem_ops.cli import run
from tandem_ops.console import Exit
from tandem_ops.network.plan import TWO_PRACTICES, Layout, new_plan
from tandem_ops.options import json_option
from tandem_platform.errors import Code, Refusal


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code, and what was said on standard error."""
    code = run(arguments)
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    "asked",
    [
        ["--postgres", "nonsense"],
        ["--postgres", "sqlite:///x.db"],
        ["--postgres", "postgresql+nonsense://secret@h"],
        ["--kafka", "nonsense"],
        ["--kafka", "h:9092,other"],
        ["--kafka", ""],
    ],
)
@pytest.mark.parametrize("command", ["up", "demo"])
def test_a_server_that_cannot_be_one_is_refused_before_anything_is_made(
    tmp_path, monkeypatch, capsys, command, asked
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    directory = ["--directory", str(tmp_path / "n")] if command == "up" else []
    code, said = fails([command, *asked, *directory], capsys)
    assert code == Exit.USAGE
    assert asked[0] in said
    assert f"tandem {command} --help" in said
    assert "secret" not in said
    assert list(tmp_path.iterdir()) == []


def test_no_broker_and_a_broker_exclude_each_other_in_the_demonstration_too(capsys):
    code, said = fails(["demo", "--no-kafka", "--kafka", "127.0.0.1:9"], capsys)
    assert (code, "exclude each other" in said) == (Exit.USAGE, True)


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["up", "--directory", "{}"], "--directory"),
        (["certs", "ca", "--authority", "{}"], "--authority"),
    ],
)
def test_a_place_where_nothing_can_be_written_is_named_with_its_option(tmp_path, capsys, arguments, option):
    (tmp_path / "file").touch()
    place = str(tmp_path / "file" / "below")
    code, said = fails([each.format(place) for each in arguments], capsys)
    assert code == Exit.USAGE
    assert f"{option} {place}: Not a directory" in said


def test_a_certificate_that_cannot_be_written_is_named_with_its_option(tmp_path, capsys):
    authority, out = str(tmp_path / "ca"), tmp_path / "ca" / "ca.pem" / "below"
    run(["certs", "ca", "--authority", authority])
    code, said = fails(["certs", "hub", "--authority", authority, "--out", str(out)], capsys)
    assert (code, f"--out {out}" in said) == (Exit.USAGE, True)


ASKING_A_NETWORK = [
    ["practice", "list"],
    ["practice", "register", "prac_a", "--name", "A", "--role", "prescriber"],
    ["exchange", "status"],
    ["exchange", "reopen-uplink", "--practice", "juniper"],
    ["exchange", "resume-downlink", "--practice", "juniper"],
    ["quarantine", "list"],
    ["quarantine", "retry", "prac_a", "epi_a"],
    ["permission", "explain", "ent_a", "--practice", "juniper"],
    ["audit", "verify"],
]


@pytest.mark.parametrize("asked", ASKING_A_NETWORK, ids=" ".join)
def test_a_directory_without_a_network_is_told_alike_by_every_command(tmp_path, capsys, asked):
    code, said = fails([*asked, "--directory", str(tmp_path)], capsys)
    assert code == Exit.USAGE
    assert said.startswith(f"tandem: there is no network in {tmp_path}\n")
    assert f"tandem up --directory {tmp_path}" in said


@pytest.mark.parametrize("asked", ASKING_A_NETWORK, ids=" ".join)
def test_under_json_an_error_is_a_document_on_standard_error(tmp_path, capsys, asked):
    code = run([*asked, "--directory", str(tmp_path), "--json"])
    told = capsys.readouterr()
    error = json.loads(told.err)["error"]
    assert told.out == ""
    assert error["exit_code"] == code == Exit.USAGE
    assert str(tmp_path) in error["message"]
    assert error["way_out"]


def test_under_json_a_wrong_option_is_a_document_too(capsys):
    code, said = fails(["exchange", "status", "--json", "--nonsense"], capsys)
    assert json.loads(said)["error"]["exit_code"] == code == Exit.USAGE


@pytest.mark.parametrize("hub", ["nonsense", "", "h:", ":1", "h:99999"])
def test_an_address_that_cannot_be_the_hubs_is_a_usage_fault(tmp_path, capsys, hub):
    Layout(tmp_path).save_plan(new_plan(TWO_PRACTICES))
    code, said = fails(["exchange", "status", "--hub", hub, "--directory", str(tmp_path)], capsys)
    assert (code, "--hub" in said) == (Exit.USAGE, True)


def test_options_that_name_two_clinics_contradict_each_other(tmp_path, capsys):
    asked = ["permission", "explain", "ent_a", "--practice", "juniper", "--clinic", "http://127.0.0.1:1"]
    code, said = fails([*asked, "--directory", str(tmp_path)], capsys)
    assert code == Exit.USAGE
    assert "--practice and --clinic exclude each other" in said


@pytest.mark.parametrize("clinic", ["127.0.0.1:1", "ftp://h", "http://", "nonsense"])
def test_what_is_no_address_of_a_clinic_is_a_usage_fault(tmp_path, capsys, clinic):
    token = tmp_path / "token"
    token.write_text("t")
    asked = ["permission", "explain", "ent_a", "--clinic", clinic, "--token-file", str(token)]
    code, said = fails(asked, capsys)
    assert (code, "http://" in said) == (Exit.USAGE, True)


def test_a_directory_without_certificates_is_a_usage_fault(tmp_path, capsys):
    asked = ["exchange", "status", "--hub", "127.0.0.1:1", "--certificates", str(tmp_path)]
    code, said = fails(asked, capsys)
    assert code == Exit.USAGE
    assert "cert.pem is not there" in said
    for name in ("cert.pem", "key.pem", "ca.pem"):
        (tmp_path / name).write_text("nothing")
    code, said = fails(asked, capsys)
    assert (code, "--certificates" in said) == (Exit.USAGE, True)


@pytest.mark.parametrize("network", ["", "a b", "Upper", "a" * 50])
def test_what_cannot_be_a_networks_name_gets_no_authority(tmp_path, capsys, network):
    code, said = fails(["certs", "ca", "--authority", str(tmp_path / "ca"), "--network", network], capsys)
    assert (code, "--network" in said) == (Exit.USAGE, True)
    assert not (tmp_path / "ca").exists()


def test_an_authority_issues_for_its_own_network_without_being_told(tmp_path, capsys):
    ca, operator = str(tmp_path / "ca"), tmp_path / "operator"
    assert run(["certs", "ca", "--authority", ca, "--network", "care.example"]) == Exit.OK
    assert run(["certs", "operator", "kim", "--authority", ca, "--out", str(operator)]) == Exit.OK
    assert name_in(operator) == "spiffe://care.example/operator/kim"
    capsys.readouterr()
    other = ["certs", "hub", "--authority", ca, "--out", str(tmp_path / "hub"), "--network", "other.example"]
    code, said = fails(other, capsys)
    assert (code, "care.example" in said) == (Exit.USAGE, True)


def name_in(directory: Path) -> str:
    """Whom the certificate in *directory* names."""
    certificate = x509.load_pem_x509_certificate((directory / "cert.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return str(names.get_values_for_type(x509.UniformResourceIdentifier)[0])


def test_a_certificate_of_another_authority_is_not_said_to_be_revoked(tmp_path, capsys):
    ours, theirs, out = str(tmp_path / "ours"), str(tmp_path / "theirs"), tmp_path / "hub"
    for authority in (ours, theirs):
        run(["certs", "ca", "--authority", authority])
    run(["certs", "hub", "--authority", theirs, "--out", str(out)])
    capsys.readouterr()
    code, said = fails(["certs", "revoke", str(out / "cert.pem"), "--authority", ours], capsys)
    assert (code, "--authority" in said) == (Exit.USAGE, True)


def test_nobody_is_added_without_a_name(tmp_path, capsys):
    code, said = fails(["staff", "add", " ", "--role", "admin", "--database", "sqlite:///x.db"], capsys)
    assert (code, "NAME" in said) == (Exit.USAGE, True)


def test_a_group_without_a_subcommand_teaches_what_it_has(capsys):
    code, said = fails(["certs"], capsys)
    assert code == Exit.USAGE
    assert "\n  revoke " in said


@pytest.fixture
def breaks(tmp_path, monkeypatch):
    """Adds a subcommand with a mistake in it, `tandem broken`, and gives the directory for temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def with_fault(fault):
        @cli.tandem.command("broken")
        @json_option
        def fail(as_json):
            raise fault

        return tmp_path

    yield with_fault
    del cli.tandem.commands["broken"]


def test_a_fault_of_the_commands_own_is_one_line_and_a_file_for_whoever_mends_it(breaks, capsys):
    directory = breaks(ZeroDivisionError("secret"))
    code, said = fails(["broken"], capsys)
    (kept,) = directory.iterdir()
    reference = kept.stem.removeprefix("tandem-fault-")
    assert code == Exit.FAULT
    assert said.splitlines()[0].endswith(f"(ZeroDivisionError), reference {reference}")
    assert str(kept) in said
    assert "Traceback" not in said
    assert "secret" not in said
    assert "ZeroDivisionError\n" in kept.read_text()
    assert f'{Path(__file__).name}", line' in kept.read_text()
    assert "secret" not in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_fault_is_shown_whole_to_who_asks_for_it(breaks, capsys):
    directory = breaks(ZeroDivisionError("why"))
    code, said = fails(["--debug", "broken"], capsys)
    assert code == Exit.FAULT
    assert "Traceback" in said
    assert "ZeroDivisionError: why" in said
    assert list(directory.iterdir()) == []


def test_a_fault_under_json_is_a_document(breaks, capsys):
    breaks(ZeroDivisionError())
    code, said = fails(["broken", "--json"], capsys)
    assert json.loads(said)["error"]["exit_code"] == code == Exit.FAULT


def test_where_nothing_can_be_kept_of_a_fault_it_is_told_all_the_same(breaks, monkeypatch, capsys):
    breaks(ZeroDivisionError())
    monkeypatch.setattr("tempfile.tempdir", "/dev/null")
    code, said = fails(["broken"], capsys)
    assert (code, "--debug" in said) == (Exit.FAULT, True)


@pytest.mark.parametrize(
    ("fault", "code", "told"),
    [
        (PermissionError(13, "Permission denied", "/place"), Exit.USAGE, "/place: Permission denied"),
        (Refusal(Code.ABORTED, "WHY", "it is so", way_out="the way out"), Exit.FINDING, "the way out"),
        (KeyboardInterrupt(), Exit.INTERRUPTED, "stopped from the keyboard"),
        (OSError("without a file"), Exit.FAULT, "reference"),
    ],
)
def test_what_a_person_can_mend_is_no_fault_of_the_commands(breaks, capsys, fault, code, told):
    breaks(fault)
    assert (run(["broken"]), told in capsys.readouterr().err) == (code, True)
