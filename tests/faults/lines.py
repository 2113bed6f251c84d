"""The line between a clinic and the hub: what is lost, held up or spoilt on it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
from faults.effects import Effects

from support.watched import Crash
from tandem_platform.rpc.local import LocalChannel, LocalRpcError, unreachable

_EXCHANGE = ("Sync", "Push", "Read", "ReadBack")
_LATER_VERSION = b"\xa2\x06\x05later"
_FIVE_MEGABYTES = b"\xaa\x06" + b"\x80\x80\xc0\x02" + bytes(5 << 20)


@dataclass
class Line:
    """Of one clinic. Every fault is set for a number of calls."""

    effects: Effects
    cut: bool = False
    lost_requests: int = 0
    lost_answers: int = 0
    late_answers: int = 0
    delayed: int = 0
    dies_after: int = -1
    spoilt: list[str] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None
    """What others do while a call is held up."""

    def heal(self) -> None:
        self.cut = False
        self.lost_requests = self.lost_answers = self.late_answers = self.delayed = 0
        self.dies_after = -1
        self.spoilt.clear()

    def before(self) -> None:
        if self.cut:
            self.effects.note("cut-both-ways")
            raise unreachable()
        if self.lost_requests:
            self.lost_requests -= 1
            self.effects.note("request-lost")
            raise unreachable()
        if self.delayed:
            self.delayed -= 1
            self.effects.note("call-delayed")
            self.meanwhile()

    def after(self, name: str) -> None:
        if self.lost_answers:
            self.lost_answers -= 1
            self.effects.note("answer-lost")
            raise unreachable()
        if self.late_answers:
            self.late_answers -= 1
            self.effects.note("call-timed-out")
            raise LocalRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        if self.dies_after >= 0:
            self.dies_after -= 1
            if self.dies_after < 0:
                self.effects.note("crash-before-answer")
                raise Crash(name)


class Liar(Protocol):
    """Stands in for the hub towards one clinic."""

    victim: str

    def asked(self, name: str, request: bytes) -> bytes: ...

    def answered(self, name: str, request: bytes, answer: bytes) -> bytes: ...


class FailingChannel(LocalChannel):
    """What reaches the hub and comes back, through a line.

    hostile: who stands in for the hub, if anybody.
    on_hub_crash: starts the hub again; the caller finds it unreachable.
    """

    def __init__(
        self,
        line: Line,
        hostile: Callable[[], "Liar | None"],
        on_hub_crash: Callable[[], None],
        *args: Any,
    ) -> None:
        super().__init__(*args)
        self._line = line
        self._hostile = hostile
        self._on_hub_crash = on_hub_crash

    def exchange(self, method: str, request: bytes, timeout: float | None, traceparent: str) -> bytes:
        line, name = self._line, method.rpartition("/")[2]
        line.before()
        spoils = line.spoilt.pop() if line.spoilt and name in _EXCHANGE else ""
        try:
            exchanged = super().exchange if spoils else self._exchanged
            answer = exchanged(method, self._sent(request, spoils), timeout, traceparent)
        except Crash as crash:
            if str(crash) != "hub":
                raise
            self._on_hub_crash()
            raise unreachable() from None
        except grpc.RpcError:
            if spoils in ("request-corrupted", "request-oversized"):
                line.effects.note(spoils)
            line.after(self._caller.id)
            raise
        line.after(self._caller.id)
        if spoils.startswith("answer"):
            line.effects.note(spoils)
            raise LocalRpcError(grpc.StatusCode.INTERNAL, "Exception deserializing response!")
        if spoils == "request-unknown-version":
            line.effects.note(spoils)
        return answer

    def _exchanged(self, method: str, request: bytes, timeout: float | None, traceparent: str) -> bytes:
        liar = self._hostile()
        if liar is None or liar.victim != self._caller.id:
            return super().exchange(method, request, timeout, traceparent)
        name = method.rpartition("/")[2]
        answer = super().exchange(method, liar.asked(name, request), timeout, traceparent)
        return liar.answered(name, request, answer)

    def _sent(self, request: bytes, spoils: str) -> bytes:
        match spoils:
            case "request-corrupted":
                return b"\xff" + request
            case "request-oversized":
                return request + _FIVE_MEGABYTES
            case "request-unknown-version":
                return request + _LATER_VERSION
        return request
