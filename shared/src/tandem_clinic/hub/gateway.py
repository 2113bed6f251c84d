"""Calls to the hub, each with a deadline, failing as refusals."""

from typing import TypeVar

import grpc
from google.protobuf.message import Message

from tandem.audit.v1.audit_pb2_grpc import AuditServiceStub
from tandem.consent.v1.consent_pb2_grpc import ConsentServiceStub
from tandem.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from tandem.exchange.v1.exchange_pb2_grpc import ExchangeServiceStub
from tandem.referral.v1.referral_pb2_grpc import ReferralServiceStub
from tandem_platform.rpc.client import refusal_of

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)


class Gateway:
    """The hub's services over one channel. Safe to share between threads.

    timeout: seconds that a call may take unless it says otherwise.
    """

    def __init__(self, channel: grpc.Channel, timeout: float = 5.0) -> None:
        self._channel = channel
        self._timeout = timeout
        self.audit = AuditServiceStub(channel)
        self.consent = ConsentServiceStub(channel)
        self.directory = DirectoryServiceStub(channel)
        self.exchange = ExchangeServiceStub(channel)
        self.referral = ReferralServiceStub(channel)

    def ask(self, rpc: "grpc.UnaryUnaryMultiCallable[Q, A]", request: Q, timeout: float | None = None) -> A:
        """The answer of one of the stubs' methods. Raises Refusal, also where the hub was not reached."""
        try:
            return rpc(request, timeout=self._timeout if timeout is None else timeout)
        except grpc.RpcError as error:
            raise refusal_of(error) from None

    def send(self, method: str, body: bytes, timeout: float | None = None) -> bytes:
        """As `ask`, for a request that is serialised already: *method* is "/package.Service/Method"."""
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(method, None, None)
        try:
            answer: bytes = call(body, timeout=self._timeout if timeout is None else timeout)
        except grpc.RpcError as error:
            raise refusal_of(error) from None
        return answer
