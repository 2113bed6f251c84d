"""Which certificates a real server lets in, and which server a client lets itself be served by."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import grpc
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import rsa

from support.probe import LOOK, NETWORK, AskRequest, Probe, ProbeStub, a_dispatcher
from tandem_ops.certs import SERVER_AUTH, DevelopmentCA, Wish
from tandem_platform.clock import SystemClock
from tandem_platform.errors import Code
from tandem_platform.rpc.client import refusal_of, secure_channel
from tandem_platform.rpc.identity import PeerIdentity
from tandem_platform.rpc.server import RpcServer, by_certificate

NOW = datetime.now(UTC)


def failure(stub) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Look(AskRequest(), timeout=5)
    return caught.value


def test_a_practice_with_its_certificate_is_served(hub):
    assert hub.stub().Look(AskRequest(text="good day")).text == "good day"
    assert hub.probe.calls[0].caller.id == "prac_a"


REFUSED_BY_TLS = {
    "expired": Wish(not_before=NOW - timedelta(days=2), not_after=NOW - timedelta(days=1)),
    "not yet valid": Wish(not_before=NOW + timedelta(days=1), not_after=NOW + timedelta(days=2)),
    "for servers only": Wish(usages=[SERVER_AUTH]),
}

REFUSED_BY_IDENTITY = {
    "two uris": Wish(uris=[f"spiffe://{NETWORK}/practice/a", f"spiffe://{NETWORK}/practice/b"]),
    "foreign network": Wish(uris=["spiffe://elsewhere.test/practice/prac_a"]),
    "no uri": Wish(uris=[]),
    "right common name, wrong uri": Wish(common_name="prac_a", uris=["https://prac_a.test/"]),
    "weak key": Wish(key=rsa.generate_private_key(65537, 1024)),  # noqa: S505 - weak on purpose
    "an authority": Wish(is_ca=True),
}


@pytest.mark.parametrize("wish", REFUSED_BY_TLS.values(), ids=REFUSED_BY_TLS.keys())
def test_a_certificate_of_no_use_is_refused_by_tls(hub, wish):
    error = failure(hub.stub(hub.ca.issue_practice("prac_a", wish)))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert refusal_of(error).message == "the server cannot be reached"
    assert hub.probe.calls == []


def test_a_client_without_a_certificate_is_refused_by_tls(hub):
    error = failure(ProbeStub(hub.plain_tls_channel(None)))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert hub.probe.calls == []


def test_a_client_without_tls_is_refused(hub):
    with grpc.insecure_channel(hub.target) as channel:
        assert failure(ProbeStub(channel)).code() is grpc.StatusCode.UNAVAILABLE
    assert hub.probe.calls == []


def test_a_certificate_of_a_rogue_authority_is_refused_by_tls(hub, tmp_path):
    rogue = DevelopmentCA(tmp_path / "rogue", NETWORK)
    error = failure(ProbeStub(hub.plain_tls_channel(rogue.issue_practice("prac_a"))))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert hub.probe.calls == []


@pytest.mark.parametrize("wish", REFUSED_BY_IDENTITY.values(), ids=REFUSED_BY_IDENTITY.keys())
def test_a_certificate_that_names_nobody_is_unauthenticated(hub, wish):
    with structlog.testing.capture_logs() as logs:
        error = failure(hub.stub(hub.ca.issue_practice("prac_a", wish)))
    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
        assert refusal_of(error).reason == "IDENTITY_REFUSED"
        assert error.details() == "the certificate does not identify a member of this network"
        assert [entry["event"] for entry in logs] == ["rpc_identity_refused"]
    else:
        # TLS was quicker: a key this short does not get through the handshake.
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert wish.key is not None
    assert hub.probe.calls == []


def test_a_revoked_certificate_loses_the_connection_that_it_has(hub):
    issued = hub.ca.issue_practice("prac_a")
    stub = hub.stub(issued)
    stub.Look(AskRequest())
    hub.ca.revoke(issued.certificate_pem)
    assert refusal_of(failure(stub)).code is Code.UNAUTHENTICATED
    assert len(hub.probe.calls) == 1


def test_a_revoked_certificate_cannot_even_ask_for_health(hub):
    issued = hub.ca.issue_practice("prac_a")
    hub.ca.revoke(issued.certificate_pem)
    with hub.channel(issued) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_an_operator_is_known_and_kept_from_what_is_for_practices(hub):
    refusal = refusal_of(failure(hub.stub(hub.ca.issue_operator("kim"))))
    assert (refusal.code, refusal.reason) == (Code.PERMISSION_DENIED, "CALLER_NOT_ALLOWED")


@pytest.mark.parametrize(("version", "spoken"), [("-tls1", False), ("-tls1_1", False), ("-tls1_2", True)])
def test_old_tls_is_not_spoken(hub, tmp_path, version, spoken):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    files = hub.ca.issue_practice("prac_a").write(tmp_path / "old")
    as_client = ["-cert", str(files.certificate), "-key", str(files.key)]
    said = subprocess.run(
        [
            openssl,
            "s_client",
            "-connect",
            hub.target,
            version,
            "-cipher",
            "ALL:@SECLEVEL=0",
            *as_client,
        ],
        input=b"",
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert (b"Cipher is (NONE)" not in said.stdout) is spoken


@pytest.mark.parametrize("impostor", ["a practice", "a clinic's server", "a rogue hub"])
def test_a_client_lets_itself_be_served_by_the_hub_only(ca, tmp_path, impostor):
    if impostor == "a practice":
        issued = ca.issue_practice("prac_b")
    elif impostor == "a clinic's server":
        issued = ca.issue_server(["localhost", "127.0.0.1"])
    else:
        issued = DevelopmentCA(tmp_path / "rogue", NETWORK).issue_hub()
    probe = Probe()
    tls = issued.write(tmp_path / "impostor")
    identify = by_certificate(PeerIdentity(NETWORK, SystemClock()))
    server = RpcServer(a_dispatcher(probe), "127.0.0.1:0", tls, identify, client_certificates=False)
    server.start()
    files = ca.issue_practice("prac_a").write(tmp_path / "client")
    with secure_channel(f"127.0.0.1:{server.port}", files, default_timeout=5) as channel:
        assert failure(ProbeStub(channel)).code() is grpc.StatusCode.UNAVAILABLE
    server.stop(0)
    assert probe.calls == []


def test_a_server_without_client_certificates_serves_nobody_whom_it_cannot_tell(a_hub):
    hub = a_hub(client_certificates=False)
    with hub.plain_tls_channel(None) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(LOOK)(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_renewed_certificate_is_taken_up_by_both_sides_without_a_restart(hub):
    issued = hub.ca.issue_practice("prac_a")
    channel = hub.channel(issued)
    stub = ProbeStub(channel)
    stub.Look(AskRequest())
    hub.ca.issue_hub().write(hub.tls.certificate.parent)
    renewed = hub.ca.issue_practice("prac_a")
    with structlog.testing.capture_logs() as logs:
        renewed.write(hub.directory / "client")
        hub.ca.revoke(issued.certificate_pem)
        stub.Look(AskRequest())
    assert [entry["event"] for entry in logs] == ["tls_certificate_renewed"]
    assert len(hub.probe.calls) == 2


def test_a_renewal_half_made_is_not_taken_up(hub):
    hub.tls.key.write_bytes(hub.ca.issue_hub().key_pem)
    with structlog.testing.capture_logs() as logs:
        assert hub.stub().Look(AskRequest(text="still here")).text == "still here"
    assert {entry["event"] for entry in logs} == {"tls_files_unusable"}
