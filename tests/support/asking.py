"""Calling an RPC by its descriptor, and all that a caller gets to see of the answer."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from support.fixtures_rpc import Dump


@dataclass(frozen=True)
class Answer:
    """The response, or code, text and details of the refusal."""

    response: bytes | None
    refusal: tuple[Any, ...] | None
    code: str

    @property
    def refused(self) -> bool:
        return self.refusal is not None

    def mentions(self, words: Iterable[str]) -> list[str]:
        """Which of *words* it holds."""
        said = (self.response or b"") + repr(self.refusal).encode()
        return [word for word in words if word.encode() in said]


def path_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def ask(
    channel: grpc.Channel,
    method: MethodDescriptor,
    request: Message,
    metadata: tuple[tuple[str, str], ...] = (),
) -> Answer:
    call: Any = channel.unary_unary(path_of(method), lambda message: message.SerializeToString())
    try:
        return Answer(bytes(call(request, timeout=20, metadata=metadata)), None, "OK")
    except grpc.RpcError as error:
        # Of what comes with a refusal, a network adds its own to what a server says.
        metadata_of_error: Any = error.trailing_metadata() or ()
        trailing = tuple((key, value) for key, value in metadata_of_error if key.startswith("grpc-"))
        return Answer(None, (error.code(), error.details(), trailing), error.code().name)


def assert_unchanged(before: Dump, after: Dump, but_for: str = "") -> None:
    """Nothing is stored that was not, but what a practice leaves by calling the hub at all."""
    if but_for:
        before, after = (dump.without(but_for, "command", "practice_sync") for dump in (before, after))
    assert before.changes_to(after) == {}
