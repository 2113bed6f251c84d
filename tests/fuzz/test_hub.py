"""The hub under requests that nobody meant, from members of the network: never a fault, never an answer outside of the contract."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message_factory import GetMessageClass

from support.asking import ask
from support.fixtures_rpc import (
    HUB_METHODS,
    Fixture,
    Prepared,
    WholeHub,
    all_fixtures,
    as_new_command,
    with_value,
)
from support.fuzzed_calls import LONG, SEED, FuzzedRpc, Tally, say
from support.fuzzing import Fuzzer

SEVERAL, MALFORMED = (2_000, 500) if LONG else (25, 12)
RENEWED_AFTER = 15
"""Commands that are answered well leave little to command; the state is made anew after so many."""


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    tally = Tally()
    yield tally
    say(request.config, f"fuzz of the hub: {tally}")
    if tally.methods == HUB_METHODS.keys():
        assert tally.share_decided >= 0.3


@pytest.mark.parametrize(
    ("method", "fixture"),
    [pytest.param(method, fixture, id=name) for method, name, fixture in all_fixtures()],
)
def test_no_request_meets_a_fault(hub: WholeHub, tally: Tally, method: str, fixture: Fixture) -> None:
    fuzzed = FuzzedRpc(hub.dispatcher, method, HUB_METHODS[method], tally)
    prepared = fixture(hub)
    fuzzer = Fuzzer(SEED, [hub.party().id, prepared.owner.id])
    base = as_first_sent = _on_a_later_page(method, prepared)
    since = 0
    for mutation in (
        *fuzzer.single(type(base)),
        *fuzzer.several(type(base), SEVERAL),
    ):
        if since >= RENEWED_AFTER:
            prepared, since = fixture(hub), 0
            base = _on_a_later_page(method, prepared)
        request = mutation.of(as_new_command(base))
        since += fuzzed.send(prepared.owner.caller, request.SerializeToString(), mutation.said) == "OK"
    for wire in fuzzer.malformed(as_first_sent, MALFORMED):
        fuzzed.send(prepared.owner.caller, wire, f"malformed {wire.hex()}")
    prepared = fixture(hub)
    assert fuzzed.send(prepared.owner.caller, prepared.request.SerializeToString(), "as it is") == "OK"


def _on_a_later_page(method: str, prepared: Prepared) -> Any:
    """The request with a good page token, where it takes one and there is a later page."""
    request: Any = prepared.request
    if "page_token" not in request.DESCRIPTOR.fields_by_name:
        return request
    first = with_value(request, "page_size", 1)
    answer = ask(prepared.owner.channel, HUB_METHODS[method], first)
    response: Any = GetMessageClass(HUB_METHODS[method].output_type).FromString(answer.response or b"")
    return with_value(request, "page_token", response.next_page_token)
