"""A stub in one process with the dispatcher: the same bytes, the same errors, and losses on demand."""

import grpc
import pytest

from support.probe import (
    A_PRACTICE,
    A_REQUEST_ID,
    CHANGE,
    AskRequest,
    AskResponse,
    Probe,
    ProbeStub,
    a_dispatcher,
)
from tandem_platform.errors import Code, Refusal
from tandem_platform.rpc.client import refusal_of
from tandem_platform.rpc.local import LocalChannel, unreachable


def test_a_stub_works_without_a_network():
    with LocalChannel(a_dispatcher(), A_PRACTICE) as channel:
        assert ProbeStub(channel).Look(AskRequest(text="hello"), timeout=2).text == "hello"


def test_a_refusal_reads_like_an_error_of_grpc():
    def answer(request, call):
        raise Refusal(Code.NOT_FOUND, "REFERRAL_UNKNOWN", "there is no such referral", field="text")

    stub = ProbeStub(LocalChannel(a_dispatcher(Probe(answer)), A_PRACTICE))
    with pytest.raises(grpc.RpcError) as caught:
        stub.Look(AskRequest())
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "there is no such referral"
    assert refusal_of(caught.value).field == "text"


def losing(phase_to_lose, times=1):
    left = [times]

    def faults(method, phase):
        if phase == phase_to_lose and left[0]:
            left[0] -= 1
            raise unreachable()

    return faults


def test_a_lost_request_never_reaches_the_server():
    probe = Probe()
    stub = ProbeStub(LocalChannel(a_dispatcher(probe), A_PRACTICE, losing("request")))
    with pytest.raises(grpc.RpcError) as caught:
        stub.Look(AskRequest())
    assert refusal_of(caught.value).code is Code.UNAVAILABLE
    assert probe.calls == []


def test_a_lost_answer_leaves_the_work_done_and_the_repetition_gets_it():
    probe = Probe(lambda request, call: AskResponse(text=f"number {len(probe.calls)}"))
    stub = ProbeStub(LocalChannel(a_dispatcher(probe), A_PRACTICE, losing("response")))
    with pytest.raises(grpc.RpcError):
        stub.Change(AskRequest(request_id=A_REQUEST_ID))
    assert len(probe.calls) == 1
    assert stub.Change(AskRequest(request_id=A_REQUEST_ID)).text == "number 1"
    assert len(probe.calls) == 1


def test_a_refusal_can_be_lost_like_an_answer():
    stub = ProbeStub(LocalChannel(a_dispatcher(), A_PRACTICE, losing("response")))
    with pytest.raises(grpc.RpcError) as caught:
        stub.Change(AskRequest())
    assert refusal_of(caught.value).code is Code.UNAVAILABLE


def test_a_passed_deadline_reads_like_one_of_grpc():
    stub = ProbeStub(LocalChannel(a_dispatcher(), A_PRACTICE))
    with pytest.raises(grpc.RpcError) as caught:
        stub.Look(AskRequest(), timeout=0)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_trace_travels_in_the_metadata():
    probe = Probe()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    ProbeStub(LocalChannel(a_dispatcher(probe), A_PRACTICE)).Look(
        AskRequest(), metadata=(("traceparent", trace),)
    )
    assert probe.calls[0].traceparent == trace


def test_a_closed_channel_calls_nobody():
    channel = LocalChannel(a_dispatcher(), A_PRACTICE)
    channel.close()
    with pytest.raises(ValueError, match="closed"):
        ProbeStub(channel).Look(AskRequest())


def test_a_method_that_nobody_serves_is_unimplemented():
    channel = LocalChannel(a_dispatcher(), A_PRACTICE)
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(CHANGE + "d")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert refusal_of(caught.value).reason == "METHOD_UNKNOWN"
