"""The server around the dispatcher: what it adds, and that it adds nothing to what is said."""

import json
import threading
import time
from typing import Any

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from support.probe import (
    A_PRACTICE,
    A_REQUEST_ID,
    CHANGE,
    LOOK,
    SERVICE,
    AskRequest,
    AskResponse,
    Probe,
    ProbeStub,
)
from support.probe import a_dispatcher as the_same_dispatcher
from tandem_platform.errors import Code, Refusal
from tandem_platform.rpc.client import refusal_of, retry_safe_methods
from tandem_platform.rpc.local import LocalChannel
from tandem_platform.rpc.server import ServerLimits
from tandem_platform.rpc.status import DETAILS_KEY

CANARY = "Wilhelmina Canary, born 1961-04-09"


def failure(call) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def outcome_of(call) -> Code | None:
    """The code that *call* was refused with; None if it was served."""
    try:
        call()
    except grpc.RpcError as error:
        return refusal_of(error).code
    return None


def everything_said(error: Any) -> str:
    return repr((error.details(), error.trailing_metadata(), error.debug_error_string(), error))


def test_a_fault_says_nothing_but_its_reference_to_the_caller_and_no_patient_to_the_log(hub):
    def answer(request, call):
        patient = request.text
        raise RuntimeError(f"cannot find {patient}")

    hub.probe.answer = answer
    stub = hub.stub()
    with structlog.testing.capture_logs() as logs:
        error = failure(lambda: stub.Look(AskRequest(text=CANARY)))
    [entry] = logs
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == f"internal fault, reference {entry['reference']}"
    assert "Canary" not in everything_said(error)
    assert "Canary" not in json.dumps(logs)


def test_a_fault_in_telling_the_caller_says_nothing_either(a_hub):
    def identify(context):
        raise RuntimeError(CANARY)

    hub = a_hub(identify=identify)
    with structlog.testing.capture_logs() as logs:
        error = failure(lambda: hub.stub().Look(AskRequest()))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "Canary" not in everything_said(error) + json.dumps(logs)


def test_a_call_without_a_deadline_is_refused(hub):
    with hub.plain_tls_channel(hub.ca.issue_practice("prac_a")) as channel:
        error = failure(lambda: ProbeStub(channel).Look(AskRequest()))
    assert refusal_of(error).reason == "DEADLINE_MISSING"
    assert hub.probe.calls == []


def test_a_call_through_our_channel_always_has_a_deadline(hub):
    stub = ProbeStub(hub.channel(hub.ca.issue_practice("prac_a"), default_timeout=3.0))
    stub.Look(AskRequest())
    stub.Look(AskRequest(), timeout=1.0)
    stub.Look.with_call(AskRequest())
    stub.Look.future(AskRequest()).result()
    remaining = [call.deadline - time.monotonic() for call in hub.probe.calls]
    assert [round(seconds) for seconds in remaining] == [3, 1, 3, 3]


def test_the_caller_is_not_kept_waiting_beyond_its_deadline(hub):
    finish = threading.Event()
    hub.probe.answer = lambda request, call: AskResponse(text=str(finish.wait(10)))
    error = failure(lambda: hub.stub().Look(AskRequest(), timeout=0.3))
    finish.set()
    assert refusal_of(error).code is Code.DEADLINE_EXCEEDED


REFUSALS = {
    "of the domain": (
        LOOK,
        AskRequest(),
        Refusal(
            Code.FAILED_PRECONDITION,
            "REFERRAL_CLOSED",
            "the referral is closed – make a new one",
            field="text",
            way_out="make a new referral",
            metadata={"z": "1", "a": "2", "m": "3"},
        ),
    ),
    "not found": (
        LOOK,
        AskRequest(),
        Refusal(Code.NOT_FOUND, "REFERRAL_UNKNOWN", "there is no such referral"),
    ),
    "for want of a request id": (CHANGE, AskRequest(), None),
    "of a nul": (LOOK, AskRequest(text="\0"), None),
    "of size": (LOOK, AskRequest(blob=b"x" * (4 * 1024 * 1024)), None),
    "transient": (LOOK, AskRequest(), Refusal(Code.UNAVAILABLE, "DATABASE_BUSY", "try again")),
}


@pytest.mark.parametrize(("method", "request_", "refused"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_is_the_same_bytes_over_the_network_and_in_process(hub, method, request_, refused):
    def answer(request, call):
        raise refused

    hub.probe.answer = answer
    local = LocalChannel(the_same_dispatcher(Probe(answer)), A_PRACTICE)
    seen = []
    for channel in (hub.channel(hub.ca.issue_practice("prac_a")), local):
        call = channel.unary_unary(method, AskRequest.SerializeToString, AskResponse.FromString)
        error = failure(lambda call=call: call(request_))
        details = [value for key, value in error.trailing_metadata() if key == DETAILS_KEY]
        seen.append((error.code(), error.details(), details, vars(refusal_of(error))))
    assert seen[0] == seen[1]
    assert len(seen[0][2]) == 1
    if refused is not None:
        assert seen[0][3] == vars(refused)


def test_a_method_that_nobody_serves_reads_the_same_over_the_network_and_in_process(hub):
    local = LocalChannel(the_same_dispatcher(), A_PRACTICE)
    seen = []
    for channel in (hub.channel(hub.ca.issue_practice("prac_a")), local):
        error = failure(lambda channel=channel: channel.unary_unary(LOOK + "ed")(b""))
        seen.append((error.code(), error.details(), vars(refusal_of(error))))
    assert seen[0] == seen[1]


def test_what_is_far_too_large_is_refused_before_it_is_read(hub):
    error = failure(
        lambda: hub.plain_tls_channel(hub.ca.issue_practice("a")).unary_unary(LOOK)(bytes(10_000_000), 5)
    )
    assert refusal_of(error).code is Code.RESOURCE_EXHAUSTED
    assert hub.probe.calls == []


def test_a_command_whose_answer_is_lost_is_repeated_by_grpc_and_served_once(hub):
    transient = [Refusal(Code.UNAVAILABLE, "DATABASE_BUSY", "try again")] * 2

    def answer(request, call):
        if transient:
            raise transient.pop()
        return AskResponse(text="done")

    hub.probe.answer = answer
    channel = hub.channel(hub.ca.issue_practice("prac_a"), retry_safe=retry_safe_methods(SERVICE))
    assert ProbeStub(channel).Change(AskRequest(request_id=A_REQUEST_ID)).text == "done"
    assert len(hub.probe.calls) == 3


def test_what_is_not_declared_safe_is_not_repeated(hub):
    def answer(request, call):
        raise Refusal(Code.UNAVAILABLE, "DATABASE_BUSY", "try again")

    hub.probe.answer = answer
    channel = hub.channel(hub.ca.issue_practice("prac_a"), retry_safe=[LOOK])
    failure(lambda: ProbeStub(channel).Change(AskRequest(request_id=A_REQUEST_ID)))
    assert len(hub.probe.calls) == 1


def test_methods_that_wait_do_not_keep_others_from_being_served(a_hub):
    all_wait, finish = threading.Barrier(7), threading.Event()

    def answer(request, call):
        if request.text == "wait":
            all_wait.wait(10)
            finish.wait(20)
        return AskResponse(text=request.text)

    hub = a_hub(Probe(answer), ServerLimits(threads=2, waiting_threads=6))
    stub = hub.stub()
    waiting = [stub.Wait.future(AskRequest(text="wait"), timeout=20) for _ in range(6)]
    all_wait.wait(10)
    assert stub.Look(AskRequest(text="now"), timeout=5).text == "now"
    finish.set()
    assert [call.result().text for call in waiting] == ["wait"] * 6


def test_closing_the_channel_ends_a_call_that_waits(hub):
    begun, finish = threading.Event(), threading.Event()

    def answer(request, call):
        begun.set()
        finish.wait(20)
        return AskResponse()

    hub.probe.answer = answer
    channel = hub.channel(hub.ca.issue_practice("prac_a"))
    call = ProbeStub(channel).Wait.future(AskRequest(), timeout=20)
    assert begun.wait(5)
    channel.close()
    error: Any = call.exception(timeout=5)
    finish.set()
    assert refusal_of(error).reason == "CALL_CANCELLED"


def test_stopping_lets_the_calls_in_flight_finish_and_takes_no_others(hub):
    begun, finish = threading.Event(), threading.Event()

    def answer(request, call):
        if request.text == "long":
            begun.set()
            finish.wait(20)
        return AskResponse(text="finished")

    hub.probe.answer = answer
    stub = hub.stub()
    call = stub.Look.future(AskRequest(text="long"), timeout=20)
    assert begun.wait(5)
    stopping = threading.Thread(target=hub.server.stop, args=(20,))
    stopping.start()
    give_up = time.monotonic() + 10
    while (seen := outcome_of(lambda: stub.Look(AskRequest(), timeout=2))) is not Code.UNAVAILABLE:
        assert time.monotonic() < give_up, f"a new call still ends with {seen}"
    finish.set()
    assert call.result(timeout=5).text == "finished"
    stopping.join(5)
    assert not stopping.is_alive()


def test_stopping_cuts_off_what_does_not_finish_in_time(hub):
    begun, finish = threading.Event(), threading.Event()

    def answer(request, call):
        begun.set()
        finish.wait(20)
        return AskResponse()

    hub.probe.answer = answer
    call = hub.stub().Look.future(AskRequest(), timeout=20)
    assert begun.wait(5)
    began = time.monotonic()
    hub.server.stop(0.2)
    assert time.monotonic() - began < 5
    finish.set()
    assert refusal_of(call.exception(timeout=5)).code is Code.UNAVAILABLE


def test_health_is_told_to_members(hub):
    with hub.channel(hub.ca.issue_practice("prac_a")) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        assert check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
        hub.server.set_serving(False)
        assert check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_health_cannot_be_watched_from_a_thread_of_the_server(hub):
    with hub.plain_tls_channel(hub.ca.issue_practice("prac_a")) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=5)
        assert failure(lambda: next(watch)).code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("asked", [True, False])
def test_the_services_are_listed_only_where_that_was_asked_for(a_hub, asked):
    hub = a_hub(with_reflection=asked)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    with hub.plain_tls_channel(hub.ca.issue_practice("prac_a")) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = stub.ServerReflectionInfo(iter([request]), timeout=5)
        if asked:
            listed = {service.name for service in next(answers).list_services_response.service}
            assert listed == {SERVICE.full_name, "grpc.health.v1.Health"}
        else:
            assert failure(lambda: next(answers)).code() is grpc.StatusCode.UNIMPLEMENTED


def test_two_servers_do_not_share_a_port(hub, a_hub):
    with pytest.raises(RuntimeError, match=str(hub.server.port)):
        a_hub(address=hub.target)


def test_a_trace_reaches_the_servicer(hub):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    hub.stub().Look(AskRequest(), metadata=(("traceparent", trace),))
    assert hub.probe.calls[0].traceparent == trace
