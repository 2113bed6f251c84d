"""Calls with whatever is given, each answer held against the RPC's contract."""

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from google.protobuf.descriptor import MethodDescriptor
from google.rpc.code_pb2 import Code as WireCode
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from support.asking import path_of
from support.fuzzing import MARK
from tandem_platform.errors import Code
from tandem_platform.rpc.dispatch import ALWAYS_POSSIBLE, Dispatcher, policies_of
from tandem_platform.rpc.identity import Caller
from tandem_platform.rpc.status import RpcRefusal

SEED = int(os.environ.get("TANDEM_FUZZ_SEED", "20261122"))
LONG = bool(os.environ.get("TANDEM_LONG"))

_LONGEST_ANSWER = 5.0
_DECIDED = frozenset({"OK", "NOT_FOUND", "FAILED_PRECONDITION", "ABORTED", "ALREADY_EXISTS"})
"""Codes that only a use case gives: the request was understood, and decided about."""
_TELLTALES = (
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
        return sum(self.codes[code] for code in _DECIDED) / max(self.codes.total(), 1)

    def __str__(self) -> str:
        said = ", ".join(f"{code} {count}" for code, count in self.codes.most_common())
        return f"{self.codes.total()} requests, seed {SEED}, {self.share_decided:.0%} reached a use case ({said})"


class FuzzedRpc:
    def __init__(self, dispatcher: Dispatcher, name: str, method: MethodDescriptor, tally: Tally) -> None:
        self._dispatcher = dispatcher
        self._tally = tally
        self._path = path_of(method)
        policy = policies_of(method.containing_service)[method.name]
        allowed = policy.statuses | ALWAYS_POSSIBLE - {Code.INTERNAL}
        self._allowed = {"OK", *(code.value for code in allowed)}
        tally.methods.add(name)

    def send(self, caller: Caller, wire: bytes, said: str) -> str:
        """The code of the answer, which must be one of the contract's, come soon, and tell nothing."""
        began = time.monotonic()
        with structlog.testing.capture_logs() as logs:
            try:
                self._dispatcher.dispatch(self._path, wire, caller, began + 30)
                status = Status()
            except RpcRefusal as refused:
                status = refused.status
        took = time.monotonic() - began
        code = str(WireCode.Name(status.code))
        faults = [entry["fault"] for entry in logs if entry["event"] == "rpc_fault"]
        assert code in self._allowed, f"{said}: {code} {faults}"
        assert took < _LONGEST_ANSWER, f"{said}: took {took:.1f} s"
        if code != "OK":
            _check_tells_nothing(status, said)
        self._tally.codes[code] += 1
        return code


def _check_tells_nothing(status: Status, said: str) -> None:
    shown = status.SerializeToString()
    assert MARK.encode() not in shown, f"{said}: the answer repeats the request: {status}"
    assert not [word for word in _TELLTALES if word in shown], f"{said}: {status}"
    assert len(shown) < 2_000, f"{said}: an answer of {len(shown)} bytes"
    info = ErrorInfo()
    assert status.details, said
    assert status.details[0].Unpack(info), said
    assert info.domain == "tandem", said
    assert info.reason, said


def say(config: pytest.Config, line: str) -> None:
    """To whoever runs the tests, also when they pass."""
    plugins: Any = config.pluginmanager
    capture, reporter = map(plugins.get_plugin, ("capturemanager", "terminalreporter"))
    if capture is not None and reporter is not None:
        with capture.global_and_fixture_disabled():
            reporter.write_line(f"\n{line}")
