"""The authority: what it issues, what it trusts, and who can read its key."""

import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from tandem_ops.certs import CertificateNotTrusted, DevelopmentCA, Wish
from tandem_platform.clock import SimulatedClock

START = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def clock():
    return SimulatedClock(START)


@pytest.fixture
def ca(tmp_path, clock):
    return DevelopmentCA(tmp_path / "ca", "care.test", clock)


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_readable_by_their_owner_alone(ca, tmp_path):
    files = ca.issue_practice("prac_a").write(tmp_path / "prac_a")
    assert (mode(ca.directory), mode(ca.directory / "ca.key"), mode(files.key)) == (0o700, 0o600, 0o600)


def test_the_authority_opened_again_is_the_same(ca, clock):
    again = DevelopmentCA(ca.directory, "care.test", clock)
    assert again.roots_pem == ca.roots_pem
    assert ca.verify(again.issue_hub().certificate_pem).kind == "hub"


def test_it_tells_whom_a_certificate_names(ca):
    assert ca.verify(ca.issue_practice("prac_a").certificate_pem).id == "prac_a"
    assert ca.verify(ca.issue_operator("kim").certificate_pem).kind == "operator"


def test_only_the_hub_has_the_name_by_which_the_hub_is_known(ca):
    def names(issued):
        extensions = x509.load_pem_x509_certificate(issued.certificate_pem).extensions
        alternative = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return alternative.get_values_for_type(x509.DNSName)

    assert names(ca.issue_hub()) == ["hub.tandem"]
    assert names(ca.issue_practice("prac_a")) == []
    with pytest.raises(ValueError, match="the hub's"):
        ca.issue_server(["localhost", "hub.tandem"])


def test_a_server_of_a_clinic_is_no_member(ca):
    with pytest.raises(CertificateNotTrusted, match="exactly one member"):
        ca.verify(ca.issue_server(["localhost", "127.0.0.1"]).certificate_pem)


def test_it_trusts_no_other_authority_of_the_same_name(ca, tmp_path, clock):
    rogue = DevelopmentCA(tmp_path / "rogue", "care.test", clock)
    with pytest.raises(CertificateNotTrusted, match="another authority"):
        ca.verify(rogue.issue_practice("prac_a").certificate_pem)


@pytest.mark.parametrize(
    "wish", [Wish(not_after=START - timedelta(1)), Wish(not_before=START + timedelta(1))]
)
def test_it_trusts_nothing_outside_of_its_dates(ca, wish):
    wish = Wish(not_before=wish.not_before or START - timedelta(2), not_after=wish.not_after)
    with pytest.raises(CertificateNotTrusted, match="dates"):
        ca.verify(ca.issue_practice("prac_a", wish).certificate_pem)


def test_it_does_not_trust_what_it_revoked_and_revoking_twice_changes_nothing(ca):
    pem = ca.issue_practice("prac_a").certificate_pem
    assert ca.revoke(pem) == ca.revoke(pem)
    assert len(ca.revoked_path.read_text().splitlines()) == 2
    with pytest.raises(CertificateNotTrusted, match="revoked"):
        ca.verify(pem)


def test_a_key_does_not_show_in_a_printout(ca):
    issued = ca.issue_practice("prac_a")
    assert "BEGIN" not in repr(issued)
