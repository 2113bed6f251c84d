"""Who a certificate names, and when it names nobody."""

import os
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tandem_ops.certs import CLIENT_AUTH, DevelopmentCA, Wish
from tandem_platform.clock import SimulatedClock
from tandem_platform.errors import Code
from tandem_platform.rpc.identity import (
    Caller,
    IdentityRefused,
    PeerIdentity,
    RevokedSerials,
    caller_from_uri,
)
from tandem_platform.rpc.status import status_of

NETWORK = "care.test"
START = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def clock():
    return SimulatedClock(START)


@pytest.fixture
def ca(tmp_path, clock):
    return DevelopmentCA(tmp_path / "ca", NETWORK, clock)


def cause_when(identity, issued) -> str:
    with pytest.raises(IdentityRefused) as caught:
        identity.of(issued.certificate_pem)
    return caught.value.cause


@pytest.mark.parametrize(
    ("uri", "caller"),
    [
        (
            "spiffe://care.test/practice/prac_a1",
            Caller("practice", "prac_a1", "spiffe://care.test/practice/prac_a1"),
        ),
        ("spiffe://care.test/operator/kim", Caller("operator", "kim", "spiffe://care.test/operator/kim")),
        ("spiffe://care.test/hub", Caller("hub", "hub", "spiffe://care.test/hub")),
    ],
)
def test_a_uri_names_a_member(uri, caller):
    assert caller_from_uri(uri, NETWORK) == caller


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://other.test/practice/a",
        "spiffe://CARE.test/practice/a",
        "spiffe://care.test.evil.test/practice/a",
        "spiffe://evil@care.test/practice/a",
        "spiffe://care.test:443/practice/a",
        "https://care.test/practice/a",
        "spiffe://care.test/practice/",
        "spiffe://care.test/practice/a/b",
        "spiffe://care.test/practice/a?x",
        "spiffe://care.test/practice/a#x",
        "spiffe://care.test/practice/a\n",
        "spiffe://care.test/practice/..",
        "spiffe://care.test/practice/a%2fb",
        "spiffe://care.test/practice/Ä",
        "spiffe://care.test/staff/a",
        "spiffe://care.test/hub/a",
        "spiffe://care.test/",
        "",
    ],
)
def test_any_other_uri_names_nobody(uri):
    with pytest.raises(IdentityRefused):
        caller_from_uri(uri, NETWORK)


def test_a_certificate_names_its_practice_whatever_its_common_name(ca, clock):
    issued = ca.issue_practice("prac_a", Wish(common_name="prac_b"))
    assert PeerIdentity(NETWORK, clock).of(issued.certificate_pem).id == "prac_a"


@pytest.mark.parametrize(
    ("wish", "cause"),
    [
        (Wish(uris=["spiffe://care.test/practice/a", "spiffe://care.test/practice/b"]), "several-uris"),
        (Wish(uris=[]), "no-uri"),
        (Wish(uris=[], dns_names=["prac-a.test"]), "no-uri"),
        (Wish(uris=["spiffe://other.test/practice/a"]), "foreign-network"),
        (Wish(uris=["urn:practice:a"]), "uri-form"),
        (Wish(is_ca=True), "not-a-leaf"),
        (Wish(key=ec.generate_private_key(ec.SECP192R1())), "weak-key"),
        (Wish(key=rsa.generate_private_key(65537, 1024)), "weak-key"),  # noqa: S505 - weak on purpose
        (Wish(not_before=START + timedelta(seconds=1)), "not-yet-valid"),
        (Wish(not_after=START - timedelta(seconds=1)), "expired"),
    ],
)
def test_a_certificate_that_is_not_as_it_should_be_names_nobody(ca, clock, wish, cause):
    assert cause_when(PeerIdentity(NETWORK, clock), ca.issue_practice("prac_a", wish)) == cause


def test_a_server_certificate_calls_nobody(ca, clock):
    assert cause_when(PeerIdentity(NETWORK, clock), ca.issue_hub()) == "not-for-clients"


def test_every_cause_reads_the_same_to_the_caller(ca, clock):
    identity = PeerIdentity(NETWORK, clock)
    statuses = set()
    for issued in (ca.issue_hub(), ca.issue_practice("prac_a", Wish(uris=[]))):
        with pytest.raises(IdentityRefused) as caught:
            identity.of(issued.certificate_pem)
        assert caught.value.code is Code.UNAUTHENTICATED
        statuses.add(status_of(caught.value).SerializeToString())
    assert len(statuses) == 1


def test_what_is_no_certificate_names_nobody(clock):
    with pytest.raises(IdentityRefused):
        PeerIdentity(NETWORK, clock).of(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def test_a_certificate_expires_in_the_middle_of_a_connection(ca, clock):
    identity = PeerIdentity(NETWORK, clock)
    issued = ca.issue_practice("prac_a", Wish(not_after=START + timedelta(hours=1)))
    assert identity.of(issued.certificate_pem).id == "prac_a"
    clock.advance(timedelta(hours=2))
    assert cause_when(identity, issued) == "expired"


def test_a_revocation_takes_effect_on_the_next_call(ca, clock):
    identity = PeerIdentity(NETWORK, clock, RevokedSerials(ca.revoked_path))
    revoked, other = ca.issue_practice("prac_a"), ca.issue_practice("prac_a")
    assert identity.of(revoked.certificate_pem).id == "prac_a"
    ca.revoke(revoked.certificate_pem)
    assert cause_when(identity, revoked) == "revoked"
    assert identity.of(other.certificate_pem).id == "prac_a"


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("not a serial")])
def test_a_list_that_breaks_leaves_the_last_good_one_in_force(ca, clock, damage):
    serials = RevokedSerials(ca.revoked_path)
    issued = ca.issue_practice("prac_a")
    ca.revoke(issued.certificate_pem)
    assert issued.serial in serials
    damage(ca.revoked_path)
    with structlog.testing.capture_logs() as logs:
        assert issued.serial in serials
        assert issued.serial in serials
    assert [entry["event"] for entry in logs] == ["revoked_serials_unreadable"]
    ca.revoked_path.write_text("# mended\n")
    os.utime(ca.revoked_path, ns=(1, 1))
    assert issued.serial not in serials


def test_a_list_that_is_missing_at_the_start_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        RevokedSerials(tmp_path / "absent.txt")


def test_serials_can_also_be_given(ca, clock):
    issued = ca.issue_operator("kim", Wish(serial=4711, usages=[CLIENT_AUTH]))
    assert cause_when(PeerIdentity(NETWORK, clock, RevokedSerials(serials=[4711])), issued) == "revoked"


@pytest.mark.parametrize("network", ["", "Care.Test", "care test", "care/test", "-care"])
def test_a_network_has_the_form_of_a_domain(network, clock):
    with pytest.raises(ValueError, match="named like a domain"):
        PeerIdentity(network, clock)
