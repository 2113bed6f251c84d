"""One path for every call: what it lets through, what it refuses, what it never says."""

import contextlib
import json
import time
from datetime import UTC, datetime

import pytest
import structlog
from google.rpc.code_pb2 import Code as WireCode
from hypothesis import given
from hypothesis import strategies as st

from support.probe import (
    A_PRACTICE,
    A_REQUEST_ID,
    AN_OPERATOR,
    CHANGE,
    LOOK,
    SERVICE,
    AskRequest,
    AskResponse,
    CommandsInMind,
    Probe,
    a_dispatcher,
)
from tandem_platform.clock import SimulatedClock, SystemClock
from tandem_platform.errors import Code, Refusal
from tandem_platform.rpc.dispatch import Dispatcher, Policy, RegistrationRefused, policies_of
from tandem_platform.rpc.identity import Caller
from tandem_platform.rpc.status import RpcRefusal, refusal_in

CANARY = "Wilhelmina Canary, born 1961-04-09"


def soon() -> float:
    return time.monotonic() + 5


def ask(dispatcher, method=LOOK, caller=A_PRACTICE, deadline=None, traceparent="", **fields):
    wire = AskRequest(**fields).SerializeToString()
    return AskResponse.FromString(
        dispatcher.dispatch(method, wire, caller, soon() if deadline is None else deadline, traceparent)
    )


def refusal_when(action) -> Refusal:
    with pytest.raises(RpcRefusal) as caught:
        action()
    return refusal_in(caught.value.status)


def raising(error: BaseException):
    def answer(request, call):
        raise error

    return answer


def test_the_servicer_gets_the_parsed_request_and_its_caller():
    probe = Probe()
    clock = SimulatedClock(datetime(2026, 3, 1, tzinfo=UTC))
    assert ask(a_dispatcher(probe, clock), text="good day").text == "good day"
    [call] = probe.calls
    assert (call.caller, call.method, call.now) == (A_PRACTICE, LOOK, clock.now())
    assert 0 < call.remaining() <= 5


def test_a_kind_of_caller_that_is_not_declared_is_refused():
    probe = Probe()
    refusal = refusal_when(lambda: ask(a_dispatcher(probe), caller=AN_OPERATOR))
    assert (refusal.code, refusal.reason) == (Code.PERMISSION_DENIED, "CALLER_NOT_ALLOWED")
    assert probe.calls == []


def test_a_call_without_a_deadline_is_refused():
    refusal = refusal_when(lambda: a_dispatcher().dispatch(LOOK, b"", A_PRACTICE, None))
    assert (refusal.code, refusal.reason) == (Code.INVALID_ARGUMENT, "DEADLINE_MISSING")


def test_a_call_whose_deadline_has_passed_is_not_begun():
    probe = Probe()
    refusal = refusal_when(lambda: ask(a_dispatcher(probe), deadline=time.monotonic() - 0.001))
    assert refusal.code is Code.DEADLINE_EXCEEDED
    assert probe.calls == []


def test_an_unknown_method_is_unimplemented():
    with pytest.raises(RpcRefusal) as caught:
        a_dispatcher().dispatch("/tandem.probe.v1.ProbeService/Peek", b"", A_PRACTICE, soon())
    assert caught.value.status.code == WireCode.UNIMPLEMENTED


def test_a_refusal_reaches_the_caller_whole():
    refused = Refusal(
        Code.FAILED_PRECONDITION,
        "REFERRAL_CLOSED",
        "the referral is closed",
        field="referral_id",
        way_out="make a new referral",
        metadata={"state": "declined", "a": "b"},
    )
    refusal = refusal_when(lambda: ask(a_dispatcher(Probe(raising(refused)))))
    assert vars(refusal) == vars(refused)


def test_a_refusal_that_the_contract_does_not_name_is_a_fault():
    undeclared = Refusal(Code.ALREADY_EXISTS, "THERE_ALREADY", CANARY)
    refusal = refusal_when(lambda: ask(a_dispatcher(Probe(raising(undeclared)))))
    assert refusal.code is Code.INTERNAL
    assert CANARY not in refusal.message


@pytest.mark.parametrize(
    "fault",
    [RuntimeError(CANARY), KeyError(CANARY), AssertionError(CANARY), Refusal(Code.NOT_FOUND, "X", "\ud800")],
)
def test_a_fault_tells_the_caller_a_reference_and_nothing_else(fault):
    with structlog.testing.capture_logs() as logs:
        refusal = refusal_when(lambda: ask(a_dispatcher(Probe(raising(fault)))))
    [entry] = logs
    assert refusal.code is Code.INTERNAL
    assert refusal.message == f"internal fault, reference {entry['reference']}"
    assert refusal.metadata == {"reference": entry["reference"]}


def test_the_log_of_a_fault_names_types_and_places_only():
    def answer(request, call):
        patient = request.text
        try:
            raise LookupError(patient)
        except LookupError as cause:
            raise RuntimeError(f"no such person: {patient}") from cause

    with structlog.testing.capture_logs() as logs:
        refusal_when(lambda: ask(a_dispatcher(Probe(answer)), text=CANARY))
    [entry] = logs
    assert [part["type"] for part in entry["fault"]] == ["RuntimeError", "LookupError"]
    assert any(frame.startswith(f"{__name__}:") for frame in entry["fault"][0]["frames"])
    assert CANARY not in json.dumps(logs)


def test_a_class_made_up_with_a_name_from_the_request_does_not_carry_it_into_the_log():
    def answer(request, call):
        raise type(request.text, (Exception,), {})

    with structlog.testing.capture_logs() as logs:
        refusal_when(lambda: ask(a_dispatcher(Probe(answer)), text=CANARY))
    assert CANARY not in json.dumps(logs)


def test_a_response_of_another_type_is_a_fault():
    refusal = refusal_when(lambda: ask(a_dispatcher(Probe(lambda request, call: request))))
    assert refusal.code is Code.INTERNAL


def test_a_request_above_the_limit_is_refused_before_it_is_parsed():
    refusal = refusal_when(lambda: ask(a_dispatcher(), blob=b"\xff" * (4 * 1024 * 1024)))
    assert (refusal.code, refusal.reason) == (Code.RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE")


@pytest.mark.parametrize(
    "wire", [b"\xff", b"\x12\x7f", b"\x12\x02\xc3\x28", b"\x12\x03\xed\xa0\x80", b"\x1a" * 400]
)
def test_bytes_that_are_no_request_are_refused_without_quoting_them(wire):
    refusal = refusal_when(lambda: a_dispatcher().dispatch(LOOK, wire, A_PRACTICE, soon()))
    assert (refusal.code, refusal.reason) == (Code.INVALID_ARGUMENT, "REQUEST_MALFORMED")
    assert refusal.message == "the request is not a tandem.probe.v1.AskRequest"


@given(st.binary(max_size=300))
def test_any_bytes_are_answered_or_refused(wire):
    with contextlib.suppress(RpcRefusal):
        a_dispatcher().dispatch(CHANGE, wire, A_PRACTICE, soon())


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"text": "a\0b"}, "text"),
        ({"words": ["fine", "\0"]}, "words[1]"),
        ({"inner": {"inner": {"text": "\0"}}}, "inner.inner.text"),
        ({"inners": [{}, {"words": ["\0"]}]}, "inners[1].words[0]"),
        ({"labels": {"k": "\0"}}, "labels.value"),
        ({"labels": {"\0": "v"}}, "labels.key"),
    ],
)
def test_text_with_a_nul_is_refused_and_its_place_named(fields, place):
    refusal = refusal_when(lambda: ask(a_dispatcher(), **fields))
    assert (refusal.code, refusal.field) == (Code.INVALID_ARGUMENT, place)


def test_zero_bytes_outside_of_text_are_let_through():
    assert ask(a_dispatcher(), blob=b"\0\0", text="fine").text == "fine"


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("sent", "seen"),
    [(TRACE, TRACE), (CANARY, ""), (TRACE + "\n", ""), ("00-" + "0" * 32 + TRACE[35:], "")],
)
def test_only_a_well_formed_trace_is_passed_on(sent, seen):
    probe = Probe()
    ask(a_dispatcher(probe), traceparent=sent)
    assert probe.calls[0].traceparent == seen


@pytest.mark.parametrize(
    "request_id", ["", "req_short", "ref_" + "a" * 26, "req_" + "A" * 26, "req_" + "1" * 26]
)
def test_a_command_without_a_proper_request_id_is_refused(request_id):
    refusal = refusal_when(lambda: ask(a_dispatcher(), CHANGE, request_id=request_id))
    assert (refusal.reason, refusal.field) == ("REQUEST_ID_MISSING", "request_id")


def test_a_query_needs_no_request_id():
    assert ask(a_dispatcher(), LOOK, text="hm").text == "hm"


def test_a_command_is_served_in_the_transaction_that_remembers_its_answer():
    probe, memory = Probe(), CommandsInMind()
    dispatcher = Dispatcher(SystemClock(), memory)
    dispatcher.register(probe, SERVICE)
    ask(dispatcher, CHANGE, request_id=A_REQUEST_ID)
    ask(dispatcher, LOOK)
    assert [call.tx for call in probe.calls] == [memory, None]


def test_a_command_repeated_is_served_once_and_answered_alike():
    probe = Probe(lambda request, call: AskResponse(text=f"number {len(probe.calls)}"))
    dispatcher = a_dispatcher(probe)
    assert [ask(dispatcher, CHANGE, request_id=A_REQUEST_ID).text for _ in range(3)] == ["number 1"] * 3
    assert len(probe.calls) == 1


def test_a_repeated_command_is_refused_as_it_was_the_first_time():
    outcomes = [Refusal(Code.FAILED_PRECONDITION, "CLOSED", "it is closed", metadata={"b": "1", "a": "2"})]

    def answer(request, call):
        if outcomes:
            raise outcomes.pop()
        return AskResponse()

    dispatcher = a_dispatcher(Probe(answer))
    statuses = []
    for _ in range(2):
        with pytest.raises(RpcRefusal) as caught:
            ask(dispatcher, CHANGE, request_id=A_REQUEST_ID)
        statuses.append(caught.value.status.SerializeToString())
    assert statuses[0] == statuses[1]


def test_a_command_that_met_a_fault_is_served_again():
    faults = [RuntimeError()]

    def answer(request, call):
        if faults:
            raise faults.pop()
        return AskResponse(text="done")

    dispatcher = a_dispatcher(Probe(answer))
    refusal_when(lambda: ask(dispatcher, CHANGE, request_id=A_REQUEST_ID))
    assert ask(dispatcher, CHANGE, request_id=A_REQUEST_ID).text == "done"


def test_a_request_id_used_for_another_body_is_refused():
    dispatcher = a_dispatcher()
    ask(dispatcher, CHANGE, request_id=A_REQUEST_ID, text="one")
    refusal = refusal_when(lambda: ask(dispatcher, CHANGE, request_id=A_REQUEST_ID, text="two"))
    assert refusal.code is Code.ALREADY_EXISTS


def test_a_body_is_told_by_what_it_says_and_not_by_how_it_was_written():
    probe = Probe()
    dispatcher = a_dispatcher(probe)
    first, last = AskRequest(request_id=A_REQUEST_ID), AskRequest(text="one")
    for wire in (
        first.SerializeToString() + last.SerializeToString(),
        last.SerializeToString() + first.SerializeToString(),
    ):
        dispatcher.dispatch(CHANGE, wire, A_PRACTICE, soon())
    assert len(probe.calls) == 1


def test_commands_of_a_practice_and_of_an_operator_with_its_name_are_kept_apart():
    probe = Probe()
    dispatcher = a_dispatcher(probe)
    for caller in (A_PRACTICE, Caller("operator", A_PRACTICE.id)):
        ask(dispatcher, CHANGE, caller=caller, request_id=A_REQUEST_ID)
    assert len(probe.calls) == 2


def test_every_call_is_counted_with_its_outcome():
    counted = []
    dispatcher = a_dispatcher(
        outcomes=lambda method, code, seconds: counted.append((method, code, seconds >= 0))
    )
    ask(dispatcher)
    refusal_when(lambda: ask(dispatcher, CHANGE))
    assert counted == [(LOOK, "OK", True), (CHANGE, "INVALID_ARGUMENT", True)]


def test_the_contract_states_its_own_policies():
    assert policies_of(SERVICE)["Change"] == Policy(
        frozenset({"practice", "operator"}), True, frozenset({Code.FAILED_PRECONDITION, Code.ALREADY_EXISTS})
    )


class Halfway:
    def Look(self, request, call):
        return AskResponse()


def test_a_service_with_anything_undeclared_does_not_start():
    policies = {
        "Look": Policy(frozenset({"practice"})),
        "Change": Policy(frozenset({"friend"}), command=True),
    }
    with pytest.raises(RegistrationRefused) as refused:
        Dispatcher(SystemClock()).register(Halfway(), SERVICE, {**policies, "Peek": policies["Look"]})
    for complaint in (
        "Peek is not one of its methods",
        "Change is not implemented",
        "Change names no known kind of caller",
        "Change is a command and there is no memory for commands",
        "Wait is not implemented",
        "Wait has no policy",
    ):
        assert complaint in str(refused.value)


def test_a_service_is_registered_once():
    dispatcher = a_dispatcher()
    with pytest.raises(RegistrationRefused, match="registered already"):
        dispatcher.register(Probe(), SERVICE)


def test_commands_need_a_memory():
    with pytest.raises(RegistrationRefused, match="no memory"):
        Dispatcher(SystemClock()).register(Probe(), SERVICE)
    Dispatcher(SystemClock(), CommandsInMind()).register(Probe(), SERVICE)
