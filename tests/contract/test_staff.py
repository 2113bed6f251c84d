"""Every RPC that clinics offer their EHR crossed with everybody who might call it."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from support.asking import Answer, ask, assert_unchanged
from support.fixtures_rpc import as_new_command, naming_nothing
from support.fixtures_rpc_clinic import (
    CLINIC_FIXTURES,
    CLINIC_METHODS,
    ClinicFixture,
    WholeClinic,
    all_clinic_fixtures,
    spoilt_tokens,
)
from tandem_clinic.domain.staff import Role
from tandem_clinic.grpc.entrance import by_token
from tandem_clinic.store import staff
from tandem_ops.certs import DevelopmentCA
from tandem_platform.rpc.identity import Caller
from tandem_platform.rpc.local import LocalChannel
from tandem_platform.rpc.server import RpcServer

every_rpc = pytest.mark.parametrize(
    ("method", "fixture"),
    [pytest.param(method, fixture, id=method) for method, fixture in all_clinic_fixtures()],
)


def asked_by(clinic: WholeClinic, role: Role, method: str, request) -> Answer:
    return ask(clinic.channel(role), CLINIC_METHODS[method], request)


def test_every_rpc_has_a_fixture() -> None:
    assert CLINIC_FIXTURES.keys() == CLINIC_METHODS.keys()


@every_rpc
def test_every_role_that_may_is_served(clinic: WholeClinic, method: str, fixture: ClinicFixture) -> None:
    for role in fixture(clinic).may:
        answer = asked_by(clinic, role, method, fixture(clinic).request)
        assert not answer.refused, (role, answer)


@every_rpc
def test_no_other_role_learns_or_changes_anything(
    clinic: WholeClinic, method: str, fixture: ClinicFixture
) -> None:
    call = fixture(clinic)
    before = clinic.dump()
    for role in frozenset(Role) - call.may:
        answer = asked_by(clinic, role, method, call.request)
        assert answer.code == "PERMISSION_DENIED", (role, answer)
        if call.names:
            absent = as_new_command(naming_nothing(call.request, call.names))
            assert asked_by(clinic, role, method, absent) == answer, role
    assert_unchanged(before, clinic.dump())


@every_rpc
def test_nobody_from_outside_is_served(clinic: WholeClinic, method: str, fixture: ClinicFixture) -> None:
    call = fixture(clinic)
    before = clinic.dump()
    for caller in (
        Caller("practice", clinic.clinic.practice_id),
        Caller("hub", "hub"),
        Caller("operator", "kim"),
    ):
        answer = ask(LocalChannel(clinic.dispatcher, caller), CLINIC_METHODS[method], call.request)
        assert answer.code == "PERMISSION_DENIED"
    assert_unchanged(before, clinic.dump())


@pytest.fixture(scope="module")
def channel(clinic: WholeClinic, tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    directory: Path = tmp_path_factory.mktemp("tls")
    ca = DevelopmentCA(directory / "ca")
    files = ca.issue_server(["localhost"]).write(directory / "own")
    server = RpcServer(
        clinic.dispatcher, "127.0.0.1:0", files, by_token(clinic.clinic), client_certificates=False
    )
    server.start()
    with grpc.secure_channel(
        f"127.0.0.1:{server.port}",
        grpc.ssl_channel_credentials(ca.roots_pem),
        [("grpc.ssl_target_name_override", "localhost")],
    ) as channel:
        yield channel
    server.stop(0)


@every_rpc
def test_only_a_good_token_opens_it(
    clinic: WholeClinic, channel: grpc.Channel, method: str, fixture: ClinicFixture
) -> None:
    call = fixture(clinic)
    tokens = spoilt_tokens(clinic)
    before = clinic.dump()
    answers = {
        why: ask(channel, CLINIC_METHODS[method], call.request, (("authorization", token),))
        for why, token in tokens.items()
    }
    assert {answer.code for answer in answers.values()} == {"UNAUTHENTICATED"}
    assert len({answer.refusal for answer in answers.values()}) == 1
    assert_unchanged(before, clinic.dump())
    with clinic.clinic.db.transaction() as tx:
        clinician = clinic.inner.somebody(Role.CLINICIAN)
        token = staff.issue_token(tx, clinician.staff_id, clinic.clinic.now())
    good = (("authorization", f"Bearer {token}"),)
    assert not ask(channel, CLINIC_METHODS[method], call.request, good).refused
