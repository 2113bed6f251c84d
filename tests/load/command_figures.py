"""What people and EHRs ask for: referrals made and delivered, a referral accepted, a care plan read."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from typing import Any

from faults.field import _form
from load.arrivals import Arrivals, DidNotArrive
from load.figures import Figure
from load.network import Ground, Tandem
from load.resources import cpu, spent
from load.timetable import as_fast, at_rate
from load.timings import curve, percentile

from tandem.referral.v1.referral_pb2 import AcceptReferralRequest, GetReferralRequest
from tandem.referral.v1.referral_pb2_grpc import ReferralServiceStub
from tandem_platform.exchange.rows import downlink
from tandem_platform.ids import new_id
from tandem_platform.rpc.client import secure_channel

AT_ONCE = 32
ACCEPTS = 200.0
READERS = 4
_numbers = count(1)


def a_patient() -> dict[str, Any]:
    number = next(_numbers)
    born = f"{1930 + number % 80}-{1 + number // 80 % 12:02}-{1 + number // 960 % 28:02}"
    return {"legal_name": f"Load {number} Person", "birth_date": born, "time_zone": "America/Denver"}


def referrals(tandem: Tandem, figure: Figure, how_many: int) -> list[str]:
    """A round of referrals made at clinic A, each a new patient's, until clinic B has them. Gives their ids."""
    made: list[str] = []
    with closing(tandem.rest("juniper")) as clinic:
        (partner,) = clinic.ask("/partners")

        def register(_: int) -> str:
            body = {"identity": a_patient(), "acknowledge_duplicates": True}
            return str(clinic.tell("/patients", body)["patient_id"])

        def refer(patient_id: str) -> None:
            body = {
                "patient_id": patient_id,
                "partnership_id": partner["partnership_id"],
                "kind": "psychotherapy",
                "basis": "written",
                "evidence": _form("Load Person"),
            }
            made.append(clinic.tell("/referrals", body)["referral_id"])

        patients = [register(number) for number in range(how_many)]
        before, began = cpu(), time.monotonic()
        _, taken = as_fast(AT_ONCE, patients, refer)
        _await_referrals(tandem, made)
        took = time.monotonic() - began
    used = sum(each.user + each.system for member, each in spent(before).items() if member != "floor")
    figure.add("tandem", f"{AT_ONCE} at a time, until the partner has it", "1/s", how_many / took)
    figure.add("tandem", "CPU, all processes", "ms each", 1000 * used / how_many)
    figure.add("tandem", "answer p50", "ms", 1000 * percentile(taken, 50))
    figure.add("tandem", "answer p99", "ms", 1000 * percentile(taken, 99))
    return made


def _await_referrals(tandem: Tandem, wanted: list[str], patience: float = 60.0) -> dict[str, int]:
    """Versions, as soon as clinic B has all and the hub knows it."""
    with closing(Arrivals(tandem.database("riverbend"), downlink("prac_riverbend"))) as partner:
        deadline = time.monotonic() + patience
        while True:
            rows: Any = partner.query(
                "SELECT referral_id, version FROM hub_referral WHERE state = 'received'"
            )
            there: dict[str, int] = dict(rows)
            if there.keys() >= {*wanted}:
                return {referral_id: there[referral_id] for referral_id in wanted}
            if time.monotonic() > deadline:
                missing = len({*wanted} - there.keys())
                raise DidNotArrive(f"{missing} of {len(wanted)} referrals after {patience} s")
            time.sleep(0.005)


def accept(ground: Ground, tandem: Tandem, figure: Figure, referral_ids: list[str]) -> None:
    """A round of accepting those referrals at the hub, at a fixed rate, and as many calls of the floor."""
    versions = _await_referrals(tandem, referral_ids)
    port = tandem.network.plan.hub.grpc
    with secure_channel(f"127.0.0.1:{port}", tandem.tls("riverbend"), default_timeout=10) as channel:
        stub = ReferralServiceStub(channel)

        def one(referral_id: str) -> None:
            stub.AcceptReferral(
                AcceptReferralRequest(
                    request_id=new_id("req"), referral_id=referral_id, version=versions[referral_id]
                )
            )

        # A connection is made once and kept: its handshake is no part of a command.
        stub.GetReferral(GetReferralRequest(referral_id=referral_ids[0]))
        _note("tandem", figure, at_rate(ACCEPTS, referral_ids, one))
    with (
        _floor_calls(ground, tandem) as port,
        secure_channel(f"127.0.0.1:{port}", tandem.tls("riverbend"), default_timeout=10) as channel,
    ):
        call = channel.unary_unary("/floor.Commands/Accept")
        call(b"warm")
        _note("floor", figure, at_rate(ACCEPTS, [each.encode() for each in referral_ids], call))


def _note(side: str, figure: Figure, seconds: list[float]) -> None:
    taken = [1000 * each for each in seconds]
    for name, percent in (("p50", 50.0), ("p99", 99.0), ("max", 100.0)):
        figure.add(side, f"{name} at {ACCEPTS:g}/s, from due", "ms", percentile(taken, percent))
    figure.curves[side] = curve(taken)
    figure.axes = ("percent of calls", "ms")


@contextmanager
def _floor_calls(ground: Ground, tandem: Tandem) -> Iterator[int]:
    (url,) = ground.databases(f"floor_calls{next(_numbers)}").values()
    command = [sys.executable, "-m", "load.floor_calls", url, str(tandem.tls("hub").key.parent)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield int(server.stdout.readline())
    finally:
        server.stdin.close()
        server.wait(20)
        server.stdout.close()


def reads(tandem: Tandem, figure: Figure, how_many: int) -> None:
    """A round of reading a care plan at clinic B, as its portal does."""
    patients = tandem.patients_there
    wanted = [patients[number % len(patients)] for number in range(how_many)]
    with closing(tandem.rest("riverbend")) as clinic:

        def read(patient_id: str) -> int:
            return len(clinic.ask(f"/patients/{patient_id}/plan")["items"])

        # Once before: what is read for the first time is marked as read.
        items = sum(read(patient_id) for patient_id in patients)
        before = cpu()
        took, taken = as_fast(READERS, wanted, read)
    used = sum(each.user + each.system for member, each in spent(before).items() if member != "floor")
    figure.add("tandem", f"{READERS} readers at once", "1/s", how_many / took)
    figure.add("tandem", "answer p50", "ms", 1000 * percentile(taken, 50))
    figure.add("tandem", "answer p99", "ms", 1000 * percentile(taken, 99))
    figure.add("tandem", "CPU, all processes", "ms each", 1000 * used / how_many)
    figure.add("tandem", "entries in a care plan", "mean", items / len(patients))
