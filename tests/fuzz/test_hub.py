"""The hub under requests that nobody meant, from members of the network: never a fault, never an answer outside of the contract."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from google.protobuf.message_factory import GetMessageClass
from google.rpc.code_pb2 import Code as WireCode
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from support.fixtures_rpc import (
    HUB_METHODS,
    Fixture,
    Party,
    Prepared,
    WholeHub,
    all_fixtures,
    as_new_command,
    with_value,
)
from support.fuzzing import MARK, Fuzzer
from tandem_platform.errors import Code
from tandem_platform.rpc.dispatch import ALWAYS_POSSIBLE, policies_of
from tandem_platform.rpc.status import RpcRefusal

SEED = int(os.environ.get("TANDEM_FUZZ_SEED", "20261122"))
LONG = bool(os.environ.get("TANDEM_LONG"))
SEVERAL, MALFORMED = (2_000, 500) if LONG else (25, 12)
LONGEST_ANSWER = 5.0
RENEWED_AFTER = 15
"""Commands that are answered well leave little to command; the state is made anew after so many mutants."""
DECIDED = frozenset({"OK", "NOT_FOUND", "FAILED_PRECONDITION", "ABORTED", "ALREADY_EXISTS"})
"""Codes that only a use case gives: the request was understood, and decided about."""
TELLTALES = (
    b"Traceback",
    b'File "',
    b".py",
    b"sqlalchemy",
    b"sqlite",
    b"psycopg",
    b"SELECT",
    b"INSERT",
    b"Error:",
)


@dataclass
class Tally:
    """How the mutants of all RPCs were answered."""

    codes: Counter[str] = field(default_factory=Counter)
    methods: set[str] = field(default_factory=set)

    @property
    def share_decided(self) -> float:
        return sum(self.codes[code] for code in DECIDED) / max(self.codes.total(), 1)


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    tally = Tally()
    yield tally
    said = ", ".join(f"{code} {count}" for code, count in tally.codes.most_common())
    _say(
        request.config,
        f"fuzz of the hub: {tally.codes.total()} requests, seed {SEED}, "
        f"{tally.share_decided:.0%} reached a use case ({said})",
    )
    if tally.methods == HUB_METHODS.keys():
        assert tally.share_decided >= 0.3


def _say(config: pytest.Config, line: str) -> None:
    """To whoever runs the tests, also when they pass."""
    capture, reporter = map(config.pluginmanager.get_plugin, ("capturemanager", "terminalreporter"))
    if capture is not None and reporter is not None:
        with capture.global_and_fixture_disabled():
            reporter.write_line(f"\n{line}")


class Fuzzed:
    """One RPC of a hub, called with whatever is given, its answers held against its contract."""

    def __init__(self, hub: WholeHub, method: str, tally: Tally) -> None:
        self._hub = hub
        self._tally = tally
        descriptor = HUB_METHODS[method]
        self._path = f"/{descriptor.containing_service.full_name}/{descriptor.name}"
        policy = policies_of(descriptor.containing_service)[descriptor.name]
        allowed = policy.statuses | ALWAYS_POSSIBLE - {Code.INTERNAL}
        self._allowed = {"OK", *(code.value for code in allowed)}
        tally.methods.add(method)

    def send(self, owner: Party, wire: bytes, said: str) -> str:
        """The code of the answer, which must be one of the contract's, soon, and tell nothing."""
        began = time.monotonic()
        with structlog.testing.capture_logs() as logs:
            try:
                self._hub.dispatcher.dispatch(self._path, wire, owner.caller, began + 30)
                status = Status()
            except RpcRefusal as refused:
                status = refused.status
        took = time.monotonic() - began
        code = str(WireCode.Name(status.code))
        faults = [entry["fault"] for entry in logs if entry["event"] == "rpc_fault"]
        assert code in self._allowed, f"{said}: {code} {faults}"
        assert took < LONGEST_ANSWER, f"{said}: took {took:.1f} s"
        if code != "OK":
            _check_tells_nothing(status, said)
        self._tally.codes[code] += 1
        return code


def _check_tells_nothing(status: Status, said: str) -> None:
    shown = status.SerializeToString()
    assert MARK.encode() not in shown, f"{said}: the answer repeats the request: {status}"
    assert not [word for word in TELLTALES if word in shown], f"{said}: {status}"
    assert len(shown) < 2_000, f"{said}: an answer of {len(shown)} bytes"
    info = ErrorInfo()
    assert status.details, said
    assert status.details[0].Unpack(info), said
    assert info.domain == "tandem", said
    assert info.reason, said


every_rpc = pytest.mark.parametrize(
    ("method", "fixture"),
    [pytest.param(method, fixture, id=name) for method, name, fixture in all_fixtures()],
)


@every_rpc
def test_no_request_meets_a_fault(hub: WholeHub, tally: Tally, method: str, fixture: Fixture) -> None:
    fuzzed = Fuzzed(hub, method, tally)
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
        since += fuzzed.send(prepared.owner, request.SerializeToString(), mutation.said) == "OK"
    for wire in fuzzer.malformed(as_first_sent, MALFORMED):
        fuzzed.send(prepared.owner, wire, f"malformed {wire.hex()}")
    prepared = fixture(hub)
    assert fuzzed.send(prepared.owner, prepared.request.SerializeToString(), "as it should be") == "OK"


def _on_a_later_page(method: str, prepared: Prepared) -> Any:
    """The request with a good page token, where it takes one and there is a later page."""
    request: Any = prepared.request
    if "page_token" not in request.DESCRIPTOR.fields_by_name:
        return request
    descriptor = HUB_METHODS[method]
    path = f"/{descriptor.containing_service.full_name}/{descriptor.name}"
    call: Any = prepared.owner.channel.unary_unary(path, lambda message: message.SerializeToString())
    first = with_value(request, "page_size", 1)
    answer: Any = GetMessageClass(descriptor.output_type).FromString(call(first))
    return with_value(request, "page_token", answer.next_page_token)
