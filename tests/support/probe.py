"""A service that exists for tests of the call path only: it answers as each test tells it to."""

import threading
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tandem.common.v1 import common_pb2
from tandem_platform.clock import Clock, SystemClock
from tandem_platform.errors import Code, Refusal
from tandem_platform.rpc.dispatch import Call, Dispatcher, Outcomes, Run
from tandem_platform.rpc.identity import Caller

_FILE = "tandem/probe/v1/probe.proto"
PREFIX = "/tandem.probe.v1.ProbeService/"
LOOK, CHANGE, WAIT = PREFIX + "Look", PREFIX + "Change", PREFIX + "Wait"
A_REQUEST_ID = "req_" + "a" * 26
NETWORK = "probe.test"
A_PRACTICE = Caller("practice", "prac_a", f"spiffe://{NETWORK}/practice/prac_a")
AN_OPERATOR = Caller("operator", "kim", f"spiffe://{NETWORK}/operator/kim")


def _describe() -> ServiceDescriptor:
    text = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name=_FILE,
        package="tandem.probe.v1",
        syntax="proto3",
        dependency=["tandem/common/v1/common.proto"],
    )
    ask = file.message_type.add(name="AskRequest")
    entry = ask.nested_type.add(name="LabelsEntry", options={"map_entry": True})
    entry.field.add(name="key", number=1, type=text.TYPE_STRING, label=text.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=text.TYPE_STRING, label=text.LABEL_OPTIONAL)
    one, many = text.LABEL_OPTIONAL, text.LABEL_REPEATED
    own = ".tandem.probe.v1.AskRequest"
    ask.field.add(name="request_id", number=1, type=text.TYPE_STRING, label=one)
    ask.field.add(name="text", number=2, type=text.TYPE_STRING, label=one)
    ask.field.add(name="inner", number=3, type=text.TYPE_MESSAGE, label=one, type_name=own)
    ask.field.add(name="words", number=4, type=text.TYPE_STRING, label=many)
    labels = f"{own}.LabelsEntry"
    ask.field.add(name="labels", number=5, type=text.TYPE_MESSAGE, label=many, type_name=labels)
    ask.field.add(name="blob", number=6, type=text.TYPE_BYTES, label=one)
    ask.field.add(name="inners", number=7, type=text.TYPE_MESSAGE, label=many, type_name=own)
    answer = file.message_type.add(name="AskResponse")
    answer.field.add(name="text", number=1, type=text.TYPE_STRING, label=one)
    service = file.service.add(name="ProbeService")
    for name, rule in _RULES.items():
        method = service.method.add(
            name=name, input_type=".tandem.probe.v1.AskRequest", output_type=".tandem.probe.v1.AskResponse"
        )
        method.options.Extensions[common_pb2.rule].CopyFrom(rule)
    pool = descriptor_pool.Default()
    pool.Add(file)
    return pool.FindServiceByName("tandem.probe.v1.ProbeService")


_RULES = {
    "Look": common_pb2.Rule(callers=["practice"], refusals=["NOT_FOUND", "FAILED_PRECONDITION"]),
    "Change": common_pb2.Rule(
        callers=["practice", "operator"], command=True, refusals=["FAILED_PRECONDITION", "ALREADY_EXISTS"]
    ),
    "Wait": common_pb2.Rule(callers=["practice"]),
}
SERVICE = _describe()
AskRequest: Any = GetMessageClass(SERVICE.methods_by_name["Look"].input_type)
AskResponse: Any = GetMessageClass(SERVICE.methods_by_name["Look"].output_type)

Answer = Callable[[Any, Call], Message]


class Probe:
    """Answers every method with *answer*, and keeps the calls that it saw."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer or (lambda request, call: AskResponse(text=request.text))
        self.calls: list[Call] = []

    def Look(self, request: Any, call: Call) -> Message:
        self.calls.append(call)
        return self.answer(request, call)

    Change = Wait = Look


class ProbeStub:
    """Has the shape of a generated stub."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.Look, self.Change, self.Wait = (
            channel.unary_unary(name, AskRequest.SerializeToString, AskResponse.FromString)
            for name in (LOOK, CHANGE, WAIT)
        )


class CommandsInMind:
    """The port's contract in a dictionary; the hub keeps it in its database."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, str], tuple[bytes, bytes | Refusal]] = {}
        self._lock = threading.Lock()

    def once(self, practice_id: str, method: str, request_id: str, body_hash: bytes, run: Run) -> bytes:
        key = (practice_id, method, request_id)
        with self._lock:
            if key not in self._answers:
                try:
                    self._answers[key] = (body_hash, run(tx=self))
                except Refusal as refusal:
                    if refusal.is_transient():
                        raise
                    self._answers[key] = (body_hash, refusal)
            first_hash, answer = self._answers[key]
        if first_hash != body_hash:
            raise Refusal(
                Code.ALREADY_EXISTS, "REQUEST_ID_REUSED", "the request_id was used for another body"
            )
        if isinstance(answer, Refusal):
            raise answer
        return answer


def a_dispatcher(
    probe: Probe | None = None, clock: Clock | None = None, outcomes: Outcomes | None = None
) -> Dispatcher:
    dispatcher = Dispatcher(clock or SystemClock(), CommandsInMind(), outcomes)
    dispatcher.register(probe or Probe(), SERVICE, waiting={"Wait"})
    return dispatcher
