"""A channel without a network: generated stubs in one process with a dispatcher, through the same bytes."""

import time
from collections.abc import Callable
from typing import Any, Literal, Self

import grpc
from google.rpc.code_pb2 import Code as WireCode
from google.rpc.status_pb2 import Status

from tandem_platform.rpc.client import MultiCallable
from tandem_platform.rpc.dispatch import Dispatcher
from tandem_platform.rpc.identity import Caller
from tandem_platform.rpc.status import DETAILS_KEY, RpcRefusal

Phase = Literal["request", "response"]
Faults = Callable[[str, Phase], None]

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class LocalRpcError(grpc.RpcError):
    """What a failed call raises; reads like the error of a real channel."""

    def __init__(
        self, code: grpc.StatusCode, details: str, trailing: tuple[tuple[str, bytes], ...] = ()
    ) -> None:
        super().__init__(f"{code.name}: {details}")
        self._code = code
        self._details = details
        self._trailing = trailing

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def initial_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return ()

    def trailing_metadata(self) -> tuple[Any, ...]:
        return self._trailing

    def debug_error_string(self) -> str:
        return str(self)


def unreachable() -> LocalRpcError:
    """For *faults* to raise: the connection failed. In phase "response" the server has done its work."""
    return LocalRpcError(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses")


class LocalChannel(grpc.Channel):
    """Calls *dispatcher* as *caller* on the calling thread.

    faults: called before ("request") and after ("response") the server ran, also when it refused;
    what it raises is what the caller gets.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        caller: Caller,
        faults: Faults | None = None,
        default_timeout: float = 30.0,
    ) -> None:
        self._dispatcher = dispatcher
        self._caller = caller
        self._faults = faults
        self._default_timeout = default_timeout
        self._closed = False

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> MultiCallable:
        return _LocalCall(self, method, request_serializer, response_deserializer)

    def exchange(self, method: str, request: bytes, timeout: float | None, traceparent: str) -> bytes:
        if self._closed:
            raise ValueError("Cannot invoke RPC on closed channel!")
        deadline = time.monotonic() + (self._default_timeout if timeout is None else timeout)
        self._fault(method, "request")
        try:
            response = self._dispatcher.dispatch(method, request, self._caller, deadline, traceparent)
        except RpcRefusal as refused:
            self._fault(method, "response")
            raise _error_of(refused.status) from None
        self._fault(method, "response")
        if time.monotonic() > deadline:
            raise LocalRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        return response

    def _fault(self, method: str, phase: Phase) -> None:
        if self._faults is not None:
            self._faults(method, phase)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("the contracts have unary methods only")

    stream_unary = stream_stream = unary_stream

    def subscribe(
        self,
        callback: Callable[[grpc.ChannelConnectivity], None],
        try_to_connect: bool | None = False,
    ) -> None:
        callback(grpc.ChannelConnectivity.READY)

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        """Nothing was kept."""

    def close(self) -> None:
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _LocalCall(MultiCallable):
    def __init__(
        self,
        channel: LocalChannel,
        method: str,
        serialize: Callable[[Any], bytes] | None,
        deserialize: Callable[[bytes], Any] | None,
    ) -> None:
        self._channel = channel
        self._method = method
        self._serialize = serialize
        self._deserialize = deserialize

    def __call__(
        self, request: Any, timeout: float | None = None, metadata: Any = None, *_: Any, **__: Any
    ) -> Any:
        wire = request if self._serialize is None else self._serialize(request)
        traceparent = next((value for key, value in metadata or () if key == "traceparent"), "")
        answer = self._channel.exchange(self._method, wire, timeout, traceparent)
        return answer if self._deserialize is None else self._deserialize(answer)

    def with_call(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("a local call has no call object")

    def future(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("a local call runs on the calling thread")


def _error_of(status: Status) -> LocalRpcError:
    if status.code == WireCode.UNIMPLEMENTED:
        return LocalRpcError(grpc.StatusCode.UNIMPLEMENTED, status.message)
    trailing = ((DETAILS_KEY, status.SerializeToString()),)
    return LocalRpcError(_CODES[status.code], status.message, trailing)
