"""The gRPC server: mutual TLS, threads and limits around a Dispatcher."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
import structlog
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from tandem_platform.errors import Refusal
from tandem_platform.rpc.dispatch import Dispatcher
from tandem_platform.rpc.identity import Caller, IdentityRefused, PeerIdentity
from tandem_platform.rpc.status import RpcRefusal, status_of
from tandem_platform.rpc.tls import TlsFiles, TlsMaterial, TlsSource

log = structlog.get_logger(__name__)

Identify = Callable[[grpc.ServicerContext], Caller]

_HEALTH_CHECK = f"/{health.SERVICE_NAME}/Check"
_LONGEST_DEADLINE = 10 * 365 * 86400.0


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """threads: for methods that answer at once. waiting_threads: for those that hold their answer back.

    waiting_calls: how many calls may wait for a thread before gRPC answers RESOURCE_EXHAUSTED by itself.
    """

    threads: int = 32
    waiting_threads: int = 256
    waiting_calls: int = 64
    streams_per_connection: int = 100
    connection_age_seconds: int = 3600


def by_certificate(identity: PeerIdentity) -> Identify:
    """Callers are told by their certificates."""

    def identify(context: grpc.ServicerContext) -> Caller:
        certificates: Any = context.auth_context().get("x509_pem_cert", ())
        if len(certificates) != 1:
            raise IdentityRefused("no-certificate")
        return identity.of(certificates[0])

    return identify


class RpcServer:
    """Serves *dispatcher* at *address* ("127.0.0.1:0" picks a free port; see `port`).

    Peers without a certificate of a trusted CA within its dates are refused by TLS.
    With *client_certificates* off, *identify* must tell callers by other means: staff of a clinic by token.
    Certificates are taken from the files anew for every connection, so a renewal needs no restart.
    reflection: lists the services to whoever asks; for development.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        address: str,
        tls: TlsFiles,
        identify: Identify,
        *,
        client_certificates: bool = True,
        limits: ServerLimits | None = None,
        with_reflection: bool = False,
    ) -> None:
        limits = limits or ServerLimits()
        self._threads = ThreadPoolExecutor(limits.threads, "rpc")
        self._waiting = ThreadPoolExecutor(limits.waiting_threads, "rpc-waiting")
        self._health = health.HealthServicer()
        self._server = grpc.server(
            self._threads,
            handlers=[_Entrance(dispatcher, identify, self._health, self._waiting)],
            options=_options(dispatcher.max_message_bytes, limits),
            maximum_concurrent_rpcs=limits.threads + limits.waiting_threads + limits.waiting_calls,
        )
        if with_reflection:
            reflection.enable_server_reflection([*dispatcher.services, health.SERVICE_NAME], self._server)
        credentials = _credentials(TlsSource(tls), client_certificates)
        self.port = self._server.add_secure_port(address, credentials)

    def start(self) -> None:
        self._server.start()

    def set_serving(self, serving: bool) -> None:
        """What the health service says; a balancer stops sending calls while it is off."""
        status = health_pb2.HealthCheckResponse
        self._health.set("", status.SERVING if serving else status.NOT_SERVING)

    def stop(self, grace: float) -> None:
        """Take no new calls, give those in flight *grace* seconds, cut off the rest. Returns when done."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace).wait()
        self._threads.shutdown(wait=False)
        self._waiting.shutdown(wait=False)


class _Entrance(grpc.GenericRpcHandler):
    """Hands bytes to the dispatcher and its refusals to gRPC. Holds no rule of its own."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        identify: Identify,
        health_servicer: health.HealthServicer,
        waiting: ThreadPoolExecutor,
    ) -> None:
        self._dispatcher = dispatcher
        self._identify = identify
        self._health = health_servicer
        self._waiting = waiting

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        method = handler_call_details.method
        if method == _HEALTH_CHECK:
            return grpc.unary_unary_rpc_method_handler(
                self._check_health,
                health_pb2.HealthCheckRequest.FromString,
                health_pb2.HealthCheckResponse.SerializeToString,
            )
        if not self._dispatcher.serves(method):
            return None

        def behaviour(request: bytes, context: grpc.ServicerContext) -> bytes:
            return self._serve(method, request, context)

        if self._dispatcher.waits(method):
            behaviour.experimental_thread_pool = self._waiting  # type: ignore[attr-defined]
        return grpc.unary_unary_rpc_method_handler(behaviour)

    def _serve(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            caller = self._identify(context)
            return self._dispatcher.dispatch(
                method, request, caller, _deadline(context), _traceparent(context)
            )
        except RpcRefusal as refused:
            status = refused.status
        except IdentityRefused as refused:
            log.warning("rpc_identity_refused", method=method, cause=refused.cause)
            status = status_of(refused)
        except Refusal as refused:
            status = status_of(refused)
        except Exception as fault:  # noqa: BLE001 - gRPC would send its text to the caller
            status = self._dispatcher.fault(method, fault).status
        return _abort(context, status)

    def _check_health(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        try:
            self._identify(context)
        except Refusal as refused:
            status = status_of(refused)
        else:
            response: health_pb2.HealthCheckResponse = self._health.Check(request, context)
            return response
        return _abort(context, status)


def _abort(context: grpc.ServicerContext, status: Any) -> NoReturn:
    # abort works by raising, so it stands outside of every try.
    context.abort_with_status(rpc_status.to_status(status))


def _deadline(context: grpc.ServicerContext) -> float | None:
    """gRPC gives a call without a deadline one that never comes."""
    remaining = context.time_remaining()
    if remaining is None or remaining > _LONGEST_DEADLINE:
        return None
    return time.monotonic() + remaining


def _traceparent(context: grpc.ServicerContext) -> str:
    for key, value in context.invocation_metadata():
        if key == "traceparent" and isinstance(value, str):
            return value
    return ""


def _credentials(source: TlsSource, client_certificates: bool) -> grpc.ServerCredentials:
    current = source.material()

    def configuration(material: TlsMaterial) -> Any:
        roots = material.roots if client_certificates else None
        return grpc.ssl_server_certificate_configuration([(material.key, material.certificate)], roots)

    def fetch() -> Any:
        nonlocal current
        latest = source.material()
        if latest is current:
            return None
        current = latest
        log.info("tls_certificate_renewed")
        return configuration(latest)

    return grpc.dynamic_ssl_server_credentials(
        configuration(current), fetch, require_client_authentication=client_certificates
    )


def _options(max_message_bytes: int, limits: ServerLimits) -> list[tuple[str, Any]]:
    return [
        # A little above the dispatcher's own limit, so that its refusal, which says more, is the one given.
        ("grpc.max_receive_message_length", max_message_bytes + 65536),
        ("grpc.max_send_message_length", max_message_bytes + 65536),
        ("grpc.max_concurrent_streams", limits.streams_per_connection),
        ("grpc.max_metadata_size", 16 * 1024),
        # Two servers on one port is a mistake, not load balancing.
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
        ("grpc.http2.max_ping_strikes", 3),
        ("grpc.max_connection_age_ms", limits.connection_age_seconds * 1000),
        ("grpc.max_connection_age_grace_ms", 120_000),
        ("grpc.server_handshake_timeout_ms", 10_000),
    ]
