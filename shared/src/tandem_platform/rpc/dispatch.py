"""One path for every call, whether it came over the network or from the same process."""

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol

import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.code_pb2 import Code as WireCode
from google.rpc.status_pb2 import Status

from tandem.common.v1 import common_pb2
from tandem_platform.clock import Clock
from tandem_platform.errors import Code, Refusal
from tandem_platform.rpc.identity import Caller
from tandem_platform.rpc.intake import (
    TRACEPARENT,
    NumberCheck,
    RequestMalformed,
    RequestTooLarge,
    TextCheck,
    check_request_id,
)
from tandem_platform.rpc.status import RpcRefusal, status_of

log = structlog.get_logger(__name__)

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
KINDS_OF_CALLER = frozenset({"practice", "hub", "operator", "staff"})
ALWAYS_POSSIBLE = frozenset(
    {
        Code.UNAUTHENTICATED,
        Code.PERMISSION_DENIED,
        Code.INVALID_ARGUMENT,
        Code.RESOURCE_EXHAUSTED,
        Code.UNAVAILABLE,
        Code.DEADLINE_EXCEEDED,
        Code.INTERNAL,
    }
)


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may call a method, and what to expect of it.

    callers: kinds of caller.
    command: it changes something, carries request_id, and is answered once.
    statuses: codes that it may refuse with beside ALWAYS_POSSIBLE. Any other refusal is a fault of ours.
    """

    callers: frozenset[str]
    command: bool = False
    statuses: frozenset[Code] = frozenset()


@dataclass(frozen=True, slots=True)
class Call:
    """What a servicer may know of a call beside the request.

    deadline: the instant of `time.monotonic()` after which nobody waits for the answer.
    now: the dispatcher's time when the call came.
    traceparent: W3C Trace Context, empty if the caller sent none that is well formed.
    tx: of a command, the transaction in which its answer will be remembered, if its memory has one.
    """

    caller: Caller
    method: str
    deadline: float
    now: datetime
    traceparent: str = ""
    tx: Any = None

    def remaining(self) -> float:
        """Seconds until the deadline; never negative."""
        return max(self.deadline - time.monotonic(), 0.0)


class Run(Protocol):
    """Serves the command; *tx* becomes the servicer's `Call.tx`."""

    def __call__(self, tx: Any = None) -> bytes: ...


class CommandMemory(Protocol):
    """Remembers how commands were answered, in the transaction of their effects."""

    def once(self, practice_id: str, method: str, request_id: str, body_hash: bytes, run: Run) -> bytes:
        """Call *run* and keep what it returns, or the Refusal that it raises; the next time give that again.

        The same request id with another *body_hash* is ALREADY_EXISTS.
        Transient refusals and faults are not kept. For an operator *practice_id* is "operator/<id>".
        """
        ...


class Outcomes(Protocol):
    """Told of every call, for counting. *code* is a gRPC status name, "OK" among them."""

    def __call__(self, method: str, code: str, seconds: float) -> None: ...


class UndeclaredRefusal(Exception):
    """A servicer refused with a code that its contract does not name."""


class ResponseUnfit(Exception):
    """A servicer returned another type than its contract's, or more than fits into one message."""


class RegistrationRefused(Exception):
    """A service cannot be served as it is. Raised at start, naming everything that is missing at once."""


class DeadlineMissing(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT,
            "DEADLINE_MISSING",
            "the call has no deadline",
            way_out="set a timeout on every call",
        )


class DeadlinePassed(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.DEADLINE_EXCEEDED, "DEADLINE_PASSED", "the deadline had passed before the call was looked at"
        )


class CallerNotAllowed(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.PERMISSION_DENIED, "CALLER_NOT_ALLOWED", "this method is not for this kind of caller"
        )


@dataclass(frozen=True, slots=True)
class _Method:
    name: str
    policy: Policy
    request_type: type[Message]
    response_type: type[Message]
    check_text: TextCheck
    check_numbers: NumberCheck
    serve: Callable[[Any, Call], Message]
    may_refuse_with: frozenset[Code]
    waits: bool


class Dispatcher:
    """Serves the registered methods. Safe to share between threads once everything is registered.

    memory: needed as soon as a registered method is a command.
    """

    def __init__(
        self,
        clock: Clock,
        memory: CommandMemory | None = None,
        outcomes: Outcomes | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._clock = clock
        self._memory = memory
        self._outcomes = outcomes
        self.max_message_bytes = max_message_bytes
        self._methods: dict[str, _Method] = {}
        self._services: list[str] = []

    def register(
        self,
        servicer: object,
        service: ServiceDescriptor,
        policies: Mapping[str, Policy] | None = None,
        waiting: Iterable[str] = (),
    ) -> None:
        """Serve *service* from *servicer*, whose methods are `(request, call) -> response`.

        policies: by method name; by default read from the contract's own rules.
        waiting: methods that hold their answer back for long, such as Sync; a server gives them threads of
        their own, so that they cannot keep others from being served.
        """
        policies = policies_of(service) if policies is None else policies
        waiting = frozenset(waiting)
        missing = list(_what_is_missing(servicer, service, policies, waiting, self._memory is not None))
        if service.full_name in self._services:
            missing.append("it is registered already")
        if missing:
            raise RegistrationRefused(f"{service.full_name}: " + "; ".join(missing))
        self._services.append(service.full_name)
        for method in service.methods:
            name = f"/{service.full_name}/{method.name}"
            policy = policies[method.name]
            self._methods[name] = _Method(
                name=name,
                policy=policy,
                request_type=GetMessageClass(method.input_type),
                response_type=GetMessageClass(method.output_type),
                check_text=TextCheck(method.input_type),
                check_numbers=NumberCheck(method.input_type),
                serve=getattr(servicer, method.name),
                may_refuse_with=ALWAYS_POSSIBLE | policy.statuses,
                waits=method.name in waiting,
            )

    @property
    def services(self) -> tuple[str, ...]:
        return tuple(self._services)

    def serves(self, full_method: str) -> bool:
        return full_method in self._methods

    def waits(self, full_method: str) -> bool:
        """Whether the method was registered as one that holds its answer back."""
        return self._methods[full_method].waits

    def dispatch(
        self,
        full_method: str,
        request: bytes,
        caller: Caller,
        deadline: float | None,
        traceparent: str = "",
    ) -> bytes:
        """The serialised response, or RpcRefusal. Nothing else is ever raised, whatever the servicer does.

        deadline: an instant of `time.monotonic()`; None, a call without one, is refused.
        """
        method = self._methods.get(full_method)
        if method is None:
            raise RpcRefusal(Status(code=WireCode.UNIMPLEMENTED, message="Method not found!"))
        began = time.perf_counter()
        code = "OK"
        try:
            return self._answer(method, request, caller, deadline, traceparent)
        except Refusal as refusal:
            code = refusal.code.value
            raise self._refused(full_method, refusal) from None
        except Exception as fault:  # noqa: BLE001 - what nobody expected reaches nobody but our own log
            code = "INTERNAL"
            raise self.fault(full_method, fault) from None
        finally:
            if self._outcomes is not None:
                self._outcomes(full_method, code, time.perf_counter() - began)

    def _refused(self, full_method: str, refusal: Refusal) -> RpcRefusal:
        try:
            return RpcRefusal(status_of(refusal))
        except (TypeError, ValueError) as unsayable:  # text that is no Unicode, or no text at all
            return self.fault(full_method, unsayable)

    def fault(self, full_method: str, fault: BaseException) -> RpcRefusal:
        """Log *fault* under a new reference, and give the refusal that holds nothing but the reference.

        Neither messages nor locals are logged: either may hold what a patient said.
        """
        reference = secrets.token_hex(8)
        log.error("rpc_fault", reference=reference, method=full_method, fault=_anatomy(fault))
        return RpcRefusal(
            status_of(
                Refusal(
                    Code.INTERNAL,
                    "INTERNAL_FAULT",
                    f"internal fault, reference {reference}",
                    metadata={"reference": reference},
                )
            )
        )

    def _answer(
        self, method: _Method, wire: bytes, caller: Caller, deadline: float | None, traceparent: str
    ) -> bytes:
        if caller.kind not in method.policy.callers:
            raise CallerNotAllowed
        if deadline is None:
            raise DeadlineMissing
        if deadline <= time.monotonic():
            raise DeadlinePassed
        request = self._parse(method, wire)
        if not TRACEPARENT.fullmatch(traceparent):
            traceparent = ""
        call = Call(caller, method.name, deadline, self._clock.now(), traceparent)
        if not method.policy.command or self._memory is None:
            return self._serve(method, request, call)

        def run(tx: Any = None) -> bytes:
            return self._serve(method, request, replace(call, tx=tx))

        return self._memory.once(
            caller.id if caller.kind == "practice" else f"{caller.kind}/{caller.id}",
            method.name,
            check_request_id(request),
            hashlib.sha256(request.SerializeToString(deterministic=True)).digest(),
            run,
        )

    def _parse(self, method: _Method, wire: bytes) -> Message:
        if len(wire) > self.max_message_bytes:
            raise RequestTooLarge(self.max_message_bytes)
        try:
            request = method.request_type.FromString(wire)
        except DecodeError:
            raise RequestMalformed(
                f"the request is not a {method.request_type.DESCRIPTOR.full_name}"
            ) from None
        method.check_text(request, wire)
        method.check_numbers(request)
        return request

    def _serve(self, method: _Method, request: Message, call: Call) -> bytes:
        try:
            response = method.serve(request, call)
        except Refusal as refusal:
            if refusal.code not in method.may_refuse_with:
                raise UndeclaredRefusal(refusal.code.value) from refusal
            raise
        if not isinstance(response, method.response_type):
            raise ResponseUnfit(type(response).__name__)
        wire = response.SerializeToString()
        if len(wire) > self.max_message_bytes:
            raise ResponseUnfit("too large")
        return wire


def policies_of(service: ServiceDescriptor) -> dict[str, Policy]:
    """The rules that the contract states at its methods, by method name; methods without one are left out."""
    return {method.name: _policy(method) for method in service.methods if _has_rule(method)}


def _has_rule(method: MethodDescriptor) -> bool:
    return method.GetOptions().HasExtension(common_pb2.rule)


def _policy(method: MethodDescriptor) -> Policy:
    rule = method.GetOptions().Extensions[common_pb2.rule]
    try:
        statuses = frozenset(Code(code) for code in rule.refusals)
    except ValueError as unknown:
        raise RegistrationRefused(f"{method.full_name} names a status that there is not: {unknown}") from None
    return Policy(frozenset(rule.callers), rule.command, statuses)


def _what_is_missing(
    servicer: object,
    service: ServiceDescriptor,
    policies: Mapping[str, Policy],
    waiting: frozenset[str],
    has_memory: bool,
) -> Iterable[str]:
    names = {method.name for method in service.methods}
    for name in sorted((policies.keys() | waiting) - names):
        yield f"{name} is not one of its methods"
    for method in service.methods:
        if not callable(getattr(servicer, method.name, None)):
            yield f"{method.name} is not implemented"
        policy = policies.get(method.name)
        if policy is None:
            yield f"{method.name} has no policy"
            continue
        if not policy.callers or policy.callers - KINDS_OF_CALLER:
            yield f"{method.name} names no known kind of caller"
        if policy.command and "request_id" not in method.input_type.fields_by_name:
            yield f"{method.name} is a command without a request_id"
        if policy.command and not has_memory:
            yield f"{method.name} is a command and there is no memory for commands"
        if not _is_unary(method):
            yield f"{method.name} streams"


def _is_unary(method: MethodDescriptor) -> bool:
    return not (method.client_streaming or method.server_streaming)


def _anatomy(fault: BaseException) -> list[dict[str, Any]]:
    """Types and places of *fault* and of what caused it, outermost first."""
    anatomy = []
    seen: set[int] = set()
    current: BaseException | None = fault
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        anatomy.append({"type": _type_name(current), "frames": list(_frames(current.__traceback__))})
        current = current.__cause__ or current.__context__
    return anatomy


def _type_name(fault: BaseException) -> str:
    name = type(fault).__qualname__
    return name if re.fullmatch(r"[\w.<>]{1,120}", name) else "unnamed"


def _frames(traceback: TracebackType | None) -> Iterable[str]:
    while traceback is not None:
        yield f"{traceback.tb_frame.f_globals.get('__name__', '?')}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
