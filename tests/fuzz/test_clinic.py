"""A clinic's own gRPC services under requests that nobody meant, from its staff."""

import json
from collections.abc import Iterator

import pytest

from support.care_examples import one_of_every_kind
from support.fixtures_rpc import as_new_command
from support.fixtures_rpc_clinic import (
    CLINIC_METHODS,
    ClinicFixture,
    WholeClinic,
    all_clinic_fixtures,
    recording,
)
from support.fuzzed_calls import LONG, SEED, FuzzedRpc, Tally, say
from support.fuzzing import MARK, Fuzzer, spoilt_json
from tandem_clinic.domain.staff import Role
from tandem_clinic.grpc.entrance import caller_of

SEVERAL, MALFORMED = (2_000, 500) if LONG else (30, 12)
RENEWED_AFTER = 15
EVERY_KIND = one_of_every_kind()


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    tally = Tally()
    yield tally
    say(request.config, f"fuzz of a clinic: {tally}")


@pytest.mark.parametrize(
    ("method", "fixture"),
    [pytest.param(method, fixture, id=method) for method, fixture in all_clinic_fixtures()],
)
def test_no_request_meets_a_fault(
    clinic: WholeClinic, tally: Tally, method: str, fixture: ClinicFixture
) -> None:
    fuzzed = FuzzedRpc(clinic.dispatcher, method, CLINIC_METHODS[method], tally)
    caller = caller_of(clinic.inner.somebody(Role.CLINICIAN))
    base = as_first_sent = fixture(clinic).request
    fuzzer = Fuzzer(SEED)
    since = 0
    for mutation in (*fuzzer.single(type(base)), *fuzzer.several(type(base), SEVERAL)):
        if since >= RENEWED_AFTER:
            base, since = fixture(clinic).request, 0
        request = mutation.of(as_new_command(base))
        since += fuzzed.send(caller, request.SerializeToString(), mutation.said) == "OK"
    for wire in fuzzer.malformed(as_first_sent, MALFORMED):
        fuzzed.send(caller, wire, f"malformed {wire.hex()}")
    assert fuzzed.send(caller, fixture(clinic).request.SerializeToString(), "as it is") == "OK"


_DEEP = "[" * 900 + "]" * 900
_TEXTS = (
    _DEEP,
    f'{{"text":{_DEEP}}}',
    "",
    "null",
    "[]",
    '{"a":',
    "{" * 5_000,
    "[" * 100_000,
    "1e9999",
    "NaN",
    f'"{MARK}"',
    '{"a":1,"a":2}',
)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_no_content_meets_a_fault(clinic: WholeClinic, tally: Tally, kind: str) -> None:
    method = "EpisodeService.RecordEntry"
    fuzzed = FuzzedRpc(clinic.dispatcher, method, CLINIC_METHODS[method], tally)
    caller = caller_of(clinic.inner.somebody(Role.CLINICIAN))
    fields = EVERY_KIND[kind].to_fields()
    patient_id = clinic.patient()
    clinic.refers(patient_id)
    texts = [*_TEXTS, *(json.dumps(spoilt) for spoilt in spoilt_json(fields))]
    for content in texts:
        request = recording(patient_id, kind, content)
        fuzzed.send(caller, request.SerializeToString(), f"{kind} {content[:200]}")
    request = recording(patient_id, kind, json.dumps(fields))
    assert fuzzed.send(caller, request.SerializeToString(), "as it is") == "OK"
