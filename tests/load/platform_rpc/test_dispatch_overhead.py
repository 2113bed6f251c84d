"""What the call path costs beside what it calls."""

import statistics
import time

from support.probe import A_PRACTICE, LOOK, AskRequest, AskResponse, Probe, a_dispatcher

CALLS = 2_000
LIMIT_SECONDS = 50e-6


def test_a_dispatch_costs_less_than_fifty_microseconds():
    response = AskResponse(text="fine")
    dispatcher = a_dispatcher(Probe(lambda request, call: response))
    wire = AskRequest(text="x" * 200, words=["one", "two"]).SerializeToString()

    def seconds_per_call() -> float:
        deadline = time.monotonic() + 60
        began = time.perf_counter()
        for _ in range(CALLS):
            dispatcher.dispatch(LOOK, wire, A_PRACTICE, deadline)
        return (time.perf_counter() - began) / CALLS

    seconds = statistics.median(seconds_per_call() for _ in range(5))
    assert seconds < LIMIT_SECONDS, f"{seconds * 1e6:.1f} µs"
