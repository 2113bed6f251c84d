"""Every RPC of the hub crossed with everybody who might call it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from support.asking import Answer, ask, assert_unchanged
from support.fixtures_rpc import (
    FIXTURES,
    HUB_METHODS,
    HUB_SERVICES,
    Fixture,
    Party,
    Prepared,
    WholeHub,
    all_fixtures,
    as_new_command,
    naming_nothing,
)
from tandem_ops.certs import CLIENT_AUTH, DevelopmentCA, Issued, Wish
from tandem_platform.clock import SystemClock
from tandem_platform.errors import Code
from tandem_platform.rpc.client import refusal_of
from tandem_platform.rpc.dispatch import ALWAYS_POSSIBLE, Policy, policies_of
from tandem_platform.rpc.identity import Caller, PeerIdentity, RevokedSerials
from tandem_platform.rpc.local import LocalChannel
from tandem_platform.rpc.server import RpcServer, by_certificate
from tandem_platform.rpc.tls import HUB_SERVER_NAME

NETWORK = "contract.test"
POLICIES: dict[str, Policy] = {
    f"{service.name}.{name}": policy
    for service in HUB_SERVICES
    for name, policy in policies_of(service).items()
}
every_rpc = pytest.mark.parametrize(
    ("method", "fixture"),
    [pytest.param(method, fixture, id=name) for method, name, fixture in all_fixtures()],
)


def asked_by(caller: Party, method: str, request: Message) -> Answer:
    return ask(caller.channel, HUB_METHODS[method], request)


def test_every_rpc_has_a_fixture() -> None:
    assert FIXTURES.keys() == HUB_METHODS.keys()


@pytest.fixture(scope="module")
def stranger(hub: WholeHub) -> Party:
    """A practice that has nothing to do with anybody."""
    return hub.party("prescriber", "therapy_provider")


@every_rpc
def test_its_owner_is_served_and_everybody_else_is_not(
    hub: WholeHub, stranger: Party, method: str, fixture: Fixture
) -> None:
    prepared = fixture(hub)
    if prepared.scope == "named":
        others_find_nothing(hub, prepared.stranger or stranger, method, prepared)
    assert_partner_is_refused(hub, method, prepared)
    other_kinds_are_refused(hub, stranger, method, prepared)
    answer = asked_by(prepared.owner, method, prepared.request)
    assert not answer.refused, answer.refusal
    # Else it would prove nothing that others are not shown it.
    assert not prepared.private or answer.mentions(prepared.private)
    other_kinds_are_refused(hub, stranger, method, prepared)
    if prepared.scope == "named":
        others_find_nothing(hub, prepared.stranger or stranger, method, prepared)
    elif prepared.scope == "own":
        others_get_their_own(hub, method, prepared)
    assert not asked_by(prepared.owner, method, prepared.request).refused


def others_find_nothing(hub: WholeHub, stranger: Party, method: str, prepared: Prepared) -> None:
    """To a stranger the thing is, byte for byte, as absent as one that never was; asking changes nothing."""
    before = hub.dump()
    strange = prepared.strange or prepared.request
    present = asked_by(stranger, method, as_new_command(strange))
    absent = asked_by(stranger, method, as_new_command(naming_nothing(strange, prepared.names)))
    assert present == absent
    if prepared.lists:
        assert present.response == b""
    else:
        assert present.code == "NOT_FOUND"
    assert_unchanged(before, hub.dump(), stranger.id)


def assert_partner_is_refused(hub: WholeHub, method: str, prepared: Prepared) -> None:
    before = hub.dump()
    if prepared.other_side is not None:
        answer = asked_by(prepared.other_side, method, as_new_command(prepared.request))
        assert answer.refused
        assert answer.code in {code.value for code in POLICIES[method].statuses | ALWAYS_POSSIBLE}
        assert answer.code != "INTERNAL"
        assert_unchanged(before, hub.dump(), prepared.other_side.id)
    if prepared.hidden_from is not None:
        partner, names = prepared.hidden_from, prepared.names
        hidden = asked_by(partner, method, as_new_command(prepared.request))
        absent = asked_by(partner, method, as_new_command(naming_nothing(prepared.request, names)))
        assert hidden == absent
        assert_unchanged(before, hub.dump(), partner.id)


def other_kinds_are_refused(hub: WholeHub, stranger: Party, method: str, prepared: Prepared) -> None:
    """By one and the same refusal, whatever there is."""
    before = hub.dump()
    callers = {
        "practice": stranger.caller,
        "operator": Caller("operator", "kim"),
        "hub": Caller("hub", "hub"),
        "staff": Caller("staff", prepared.owner.id, roles=frozenset({"admin"})),
    }
    for kind in callers.keys() - POLICIES[method].callers:
        answer = ask(LocalChannel(hub.dispatcher, callers[kind]), HUB_METHODS[method], prepared.request)
        assert answer.code == "PERMISSION_DENIED"
        nothing = type(prepared.request)()
        assert answer == ask(LocalChannel(hub.dispatcher, callers[kind]), HUB_METHODS[method], nothing)
    assert_unchanged(before, hub.dump())


def others_get_their_own(hub: WholeHub, method: str, prepared: Prepared) -> None:
    """The call is about the caller: another practice learns nothing of the owner and changes only what is its own."""
    stranger = hub.party("prescriber", "therapy_provider")
    before = hub.dump()
    answer = asked_by(stranger, method, as_new_command(prepared.request))
    assert answer.code in {"OK"} | {code.value for code in POLICIES[method].statuses | ALWAYS_POSSIBLE}
    assert answer.code != "INTERNAL"
    assert answer.mentions(prepared.private) == []
    after = hub.dump()
    assert before.without(stranger.id).changes_to(after.without(stranger.id)) == {}


@dataclass
class Loopback:
    """The hub behind mutual TLS."""

    hub: WholeHub
    ca: DevelopmentCA
    server: RpcServer

    def channel(self, issued: Issued | None) -> grpc.Channel:
        credentials = grpc.ssl_channel_credentials(
            self.ca.roots_pem,
            issued.key_pem if issued else None,
            issued.certificate_pem if issued else None,
        )
        options = [("grpc.ssl_target_name_override", HUB_SERVER_NAME)]
        return grpc.secure_channel(f"127.0.0.1:{self.server.port}", credentials, options)

    def certificate_of(self, caller: Caller, wish: Wish | None = None) -> Issued:
        issue = self.ca.issue_practice if caller.kind == "practice" else self.ca.issue_operator
        return issue(caller.id, wish or Wish())


@pytest.fixture(scope="module")
def loopback(hub: WholeHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    directory: Path = tmp_path_factory.mktemp("tls")
    ca = DevelopmentCA(directory / "ca", NETWORK)
    identity = PeerIdentity(NETWORK, SystemClock(), RevokedSerials(ca.revoked_path))
    files = ca.issue_hub().write(directory / "own")
    server = RpcServer(hub.dispatcher, "127.0.0.1:0", files, by_certificate(identity))
    server.start()
    yield Loopback(hub, ca, server)
    server.stop(0)


def spoilt_certificates(loopback: Loopback, caller: Caller) -> Iterator[tuple[Issued | None, str]]:
    """Certificates that would be the caller's own but for one thing, and the code that meets them."""
    past = datetime.now(UTC) - timedelta(days=1)
    own, kind = caller.id, caller.kind
    wishes = {
        "expired": (Wish(not_before=past - timedelta(days=1), not_after=past), "UNAVAILABLE"),
        "another network's": (Wish(uris=[f"spiffe://elsewhere.test/{kind}/{own}"]), "UNAUTHENTICATED"),
        "two members'": (
            Wish(uris=[f"spiffe://{NETWORK}/{kind}/{own}", f"spiffe://{NETWORK}/{kind}/other"]),
            "UNAUTHENTICATED",
        ),
        "nobody's": (Wish(uris=[], common_name=own), "UNAUTHENTICATED"),
    }
    yield None, "UNAVAILABLE"
    yield loopback.ca.issue_hub(), "UNAVAILABLE"
    yield loopback.ca.issue_hub(Wish(usages=[CLIENT_AUTH])), "PERMISSION_DENIED"
    for wish, code in wishes.values():
        yield loopback.certificate_of(caller, wish), code
    revoked = loopback.certificate_of(caller)
    loopback.ca.revoke(revoked.certificate_pem)
    yield revoked, "UNAUTHENTICATED"


@every_rpc
def test_only_a_good_certificate_opens_it(loopback: Loopback, method: str, fixture: Fixture) -> None:
    prepared = fixture(loopback.hub)
    before = loopback.hub.dump()
    for issued, code in spoilt_certificates(loopback, prepared.owner.caller):
        with loopback.channel(issued) as channel:
            answer = ask(channel, HUB_METHODS[method], prepared.request)
        assert answer.code == code
    assert_unchanged(before, loopback.hub.dump())
    with loopback.channel(loopback.certificate_of(prepared.owner.caller)) as channel:
        assert not ask(channel, HUB_METHODS[method], prepared.request).refused


def test_a_refused_caller_learns_only_that_it_is_not_the_kind(hub: WholeHub) -> None:
    channel = LocalChannel(hub.dispatcher, Caller("hub", "hub"))
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/tandem.consent.v1.ConsentService/GetConsent")(b"")
    refusal = refusal_of(caught.value)
    assert (refusal.code, refusal.reason) == (Code.PERMISSION_DENIED, "CALLER_NOT_ALLOWED")
    assert refusal.metadata == {}
