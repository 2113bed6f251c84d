"""The way to the hub: mutual TLS, a timeout on every call, repeats only where repeating is safe."""

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from tandem_platform.errors import Refusal
from tandem_platform.rpc.dispatch import MAX_MESSAGE_BYTES
from tandem_platform.rpc.status import DETAILS_KEY, foreign_refusal, refusal_in
from tandem_platform.rpc.tls import HUB_SERVER_NAME, TlsFiles, TlsMaterial, TlsSource

_ATTEMPTS = 4

if TYPE_CHECKING:
    MultiCallable = grpc.UnaryUnaryMultiCallable[Any, Any]
else:  # generic in the stubs only
    MultiCallable = grpc.UnaryUnaryMultiCallable


def secure_channel(
    target: str,
    tls: TlsFiles,
    *,
    default_timeout: float,
    retry_safe: Iterable[str] = (),
    server_name: str = HUB_SERVER_NAME,
) -> "SecureChannel":
    """A channel to the server at *target*, for generated stubs.

    The server is known by *server_name* in its certificate, whatever address it was reached at.
    A client of gRPC cannot see the peer's URI in Python, so the name stands for `spiffe://<network>/hub`:
    the network's CA gives "hub.tandem" to the certificate that carries the hub's URI and to no other.
    default_timeout: seconds, for calls that name none.
    retry_safe: full names of methods that gRPC may repeat while the server is UNAVAILABLE
    (`retry_safe_methods` gives those of a service).
    """
    return SecureChannel(target, TlsSource(tls), default_timeout, tuple(retry_safe), server_name)


def retry_safe_methods(*services: ServiceDescriptor) -> tuple[str, ...]:
    """All methods of *services*: queries change nothing, and a command is answered once per request_id."""
    return tuple(f"/{service.full_name}/{method.name}" for service in services for method in service.methods)


def refusal_of(error: grpc.RpcError) -> Refusal:
    """Why a call failed, as the server said it, or as the nearest refusal where something else failed it."""
    trailing: Any = error.trailing_metadata()
    for key, value in trailing or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return refusal_in(Status.FromString(value))
            except DecodeError:
                break
    return foreign_refusal(error.code().value[0])


class SecureChannel(grpc.Channel):
    """A channel whose calls always have a timeout, and which takes up a renewed certificate by itself.

    Closing it cancels the calls in flight. Safe to share between threads; does not survive a fork.
    """

    def __init__(
        self,
        target: str,
        source: TlsSource,
        default_timeout: float,
        retry_safe: Sequence[str],
        server_name: str,
    ) -> None:
        self._target = target
        self._source = source
        self._default_timeout = default_timeout
        self._options = _options(retry_safe, server_name)
        self._lock = threading.Lock()
        self._material = source.material()
        self._inner = self._connect(self._material)
        self._closed = False

    def _connect(self, material: TlsMaterial) -> grpc.Channel:
        credentials = grpc.ssl_channel_credentials(material.roots, material.key, material.certificate)
        return grpc.secure_channel(self._target, credentials, self._options)

    def current(self) -> grpc.Channel:
        """The channel under the certificate in force.

        One that a renewal replaces closes by itself when its calls are over.
        """
        with self._lock:
            latest = self._source.material()
            if latest is not self._material and not self._closed:
                self._material = latest
                self._inner = self._connect(latest)
            return self._inner

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = False,
    ) -> MultiCallable:
        return _TimedCall(self, method, request_serializer, response_deserializer, self._default_timeout)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("the contracts have unary methods only")

    stream_unary = stream_stream = unary_stream

    def subscribe(
        self, callback: Callable[[grpc.ChannelConnectivity], None], try_to_connect: bool | None = False
    ) -> None:
        self.current().subscribe(callback, bool(try_to_connect))

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        self.current().unsubscribe(callback)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _TimedCall(MultiCallable):
    def __init__(
        self,
        channel: SecureChannel,
        method: str,
        serialize: Callable[[Any], bytes] | None,
        deserialize: Callable[[bytes], Any] | None,
        default_timeout: float,
    ) -> None:
        self._channel = channel
        self._form = (method, serialize, deserialize)
        self._default_timeout = default_timeout
        self._made: tuple[grpc.Channel, MultiCallable] | None = None

    def _callable(self) -> MultiCallable:
        inner = self._channel.current()
        made = self._made
        if made is None or made[0] is not inner:
            made = self._made = (inner, inner.unary_unary(*self._form))
        return made[1]

    def _timeout(self, timeout: float | None) -> float:
        return self._default_timeout if timeout is None else timeout

    def __call__(self, request: Any, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        return self._callable()(request, self._timeout(timeout), *args, **kwargs)

    def with_call(self, request: Any, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        return self._callable().with_call(request, self._timeout(timeout), *args, **kwargs)

    def future(self, request: Any, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        return self._callable().future(request, self._timeout(timeout), *args, **kwargs)


def _options(retry_safe: Sequence[str], server_name: str) -> list[tuple[str, Any]]:
    return [
        ("grpc.ssl_target_name_override", server_name),
        ("grpc.default_authority", server_name),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES + 65536),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES + 65536),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 1),
        ("grpc.service_config", json.dumps(_service_config(retry_safe))),
    ]


def _service_config(retry_safe: Sequence[str]) -> dict[str, Any]:
    """Without a timeout in it: one given here fires early, so the timeout goes with each call."""
    if not retry_safe:
        return {}
    names = [dict(zip(("service", "method"), name.strip("/").split("/"), strict=True)) for name in retry_safe]
    return {
        "methodConfig": [
            {
                "name": names,
                "retryPolicy": {
                    "maxAttempts": _ATTEMPTS,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
        "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.5},
    }
