"""A network of real processes under load, with a ledger of what it acknowledged kept outside of it."""

import dataclasses
import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from support.brokers import Broker, embedded_broker
from support.proxy import Proxy
from tandem_ops.network.members import database_url
from tandem_ops.network.network import Network
from tandem_ops.network.plan import LOOPBACK, NetworkPlan, PracticePlan, free_ports
from tandem_ops.network.process import MemberProcess
from tandem_ops.reach import ClinicApi
from tandem_ops.story.practice import Practice
from tandem_platform.ids import new_id

PERMITTED, WITHHELD = "homework-practice", "modality-frequency"


class Ledger:
    """One JSON line for each acknowledgement, written and flushed before the next request is made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", buffering=1)
        self._lock = threading.Lock()
        self.acknowledged = 0

    def close(self) -> None:
        self._file.close()

    def note(self, **line: Any) -> None:
        with self._lock:
            self._file.write(json.dumps({"at": time.time(), **line}) + "\n")
            self.acknowledged += 1


@dataclass
class Episode:
    """One patient shared by the two practices."""

    patient_here: str
    patient_there: str
    episode_id: str
    permission_id: str = ""


class Field:
    """Two practices with *episodes* patients between them.

    postgres: URL of a server for the databases; SQLite files without. broker: one that runs already; it is closed with the field.
    with_lines: each practice comes to the hub through a proxy of its own, which can be hurt.
    """

    def __init__(
        self, directory: Path, *, postgres: str = "", broker: Broker | None = None, with_lines: bool = False
    ) -> None:
        self.directory = directory
        self.broker = broker or embedded_broker().start()
        practices = (
            _practice("juniper", "Juniper Psychiatry", "prescriber"),
            _practice("riverbend", "Riverbend Therapy", "therapy_provider"),
        )
        plan = NetworkPlan(
            network="tandem.local", practices=practices, postgres=postgres, kafka=self.broker.bootstrap
        )
        self.network = Network(directory, plan)
        if self.broker.forgets:
            for member in self.network.members():
                member._settings["TANDEM_KAFKA_EMBEDDED"] = "yes"
        self.lines: dict[str, Proxy] = {}
        if with_lines:
            self.lines = {name: Proxy(self.network.plan.hub.grpc) for name in self.network.clinics}
            for name, line in self.lines.items():
                self.network.clinics[name]._settings["TANDEM_HUB_TARGET"] = f"{LOOPBACK}:{line.port}"
        self.ledger = Ledger(directory / "ledger.jsonl")

    def member(self, name: str) -> MemberProcess:
        """The hub ("hub") or a practice, by its name."""
        return self.network.hub if name == "hub" else self.network.clinics[name]

    def url(self, name: str) -> str:
        """Of the database of `member`."""
        return database_url(self.network.plan, self.network.layout, name)

    def a_second_hub(self) -> MemberProcess:
        """Another process on the hub's database, with ports of its own and without the hub's clock; not started."""
        grpc, http = free_ports(2)
        settings = {
            **self.network.hub._settings,
            "TANDEM_GRPC_ADDRESS": f"{LOOPBACK}:{grpc}",
            "TANDEM_HTTP_ADDRESS": f"{LOOPBACK}:{http}",
            "TANDEM_ROLES": "grpc,relay,reader",
        }
        log = self.network.layout.logs / "second-hub.log"
        return MemberProcess("second hub", "tandem_referral", settings, port=grpc, log=log)

    def start(self) -> None:
        self.network.start()
        self.juniper = self._at("juniper")
        self.riverbend = self._at("riverbend")

    def _at(self, name: str) -> Practice:
        plan = self.network.plan.practice(name)
        api = ClinicApi(self.network.http_address(plan), self.network.token(name))
        return Practice(plan.display_name, plan.practice_id, plan.on_call_phone, api)

    def share(self, count: int) -> list[Episode]:
        """Patients referred by Juniper and accepted by Riverbend, with a permission for one of two categories each way."""
        partnership = self._become_partners()
        return [self._refer(number, partnership) for number in range(count)]

    def _become_partners(self) -> str:
        partnership = self.juniper.proposes_partnership(self.riverbend)
        until(lambda: self.riverbend.partnership(partnership) is not None, "the proposal arrives")
        for practice in (self.juniper, self.riverbend):
            until_done(partial(_compare_fingerprints, practice, partnership), "fingerprints are served")
        self.riverbend.confirms_partnership(partnership)
        for practice in (self.juniper, self.riverbend):
            until(partial(_is_active, practice, partnership), "the partnership is active")
        return partnership

    def _refer(self, number: int, partnership: str) -> Episode:
        identity = {
            "legal_name": f"Example {number} Person",
            "birth_date": f"19{60 + number % 40}-01-02",
            "time_zone": "America/Denver",
        }
        form = _form(identity["legal_name"])
        patient = self.juniper.registers(identity)
        made = self.juniper.refers(patient, partnership, "psychotherapy", form)
        referral_id = made["referral_id"]
        until(
            lambda: (self.riverbend.referral(referral_id) or {}).get("state") == "received",
            "the referral is received",
        )
        there = until_done(lambda: self.riverbend.takes_in(referral_id), "the identity arrives")
        self.riverbend.moves(referral_id, "accept")
        permission = self.juniper.tell(
            "/permissions",
            {
                "episode_id": made["episode_id"],
                "categories": [PERMITTED],
                "purpose": "treatment",
                "basis": "written",
                "evidence": form,
            },
        )
        return Episode(patient, there, made["episode_id"], permission["permission_id"])

    def stop(self) -> None:
        self.network.kill()

    def close(self) -> None:
        self.stop()
        for line in self.lines.values():
            line.close()
        self.ledger.close()
        self.broker.close()


def _compare_fingerprints(practice: Practice, partnership: str) -> None:
    practice.confirms_fingerprint(partnership, practice.fingerprints(partnership)["partner"])


def _is_active(practice: Practice, partnership: str) -> bool:
    return (practice.partnership(partnership) or {}).get("state") == "active"


def _practice(name: str, display: str, service: Any) -> PracticePlan:
    return PracticePlan(name, display, service, f"prac_{name}", "+1 503 555 0100", "+1 503 555 0101")


def _form(patient: str) -> dict[str, Any]:
    return {
        "patient": patient,
        "discloser": "Juniper Psychiatry",
        "information": "What the boxes name",
        "recipient": "Riverbend Therapy",
        "purpose": "Treatment together",
        "right_to_revoke": "At any time, by telling either practice",
        "expiry": "none",
        "signed_by": patient,
        "signature_ref": "scan-1",
        "signed_on": "2026-01-05",
    }


@dataclass
class Load:
    """Writers at Juniper, one for each episode, each recording one entry after another and never two at once.

    Every entry is numbered within its episode; a request whose answer was lost is repeated with the same identifier.
    """

    field: Field
    episodes: list[Episode]
    rate: float
    """Entries a second, all writers together; they keep to a timetable and catch up when they were held back."""
    _stop: threading.Event = dataclasses.field(default_factory=threading.Event)
    _threads: list[threading.Thread] = dataclasses.field(default_factory=list)
    _gate: threading.Condition = dataclasses.field(default_factory=threading.Condition)
    _paused: bool = False
    _busy: int = 0
    repeated: int = 0
    """Requests that got no answer, or one that says: again."""

    def start(self) -> None:
        plan = self.field.network.plan.practice("juniper")
        address = self.field.network.http_address(plan).removeprefix("http://")
        for index, episode in enumerate(self.episodes):
            thread = threading.Thread(target=self._write, args=(index, episode, address), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Let every writer finish the entry it has begun."""
        self._stop.set()
        self.resume()
        for thread in self._threads:
            thread.join(60)

    def pause(self) -> None:
        """As `stop`, until `resume`."""
        with self._gate:
            self._paused = True
            if not self._gate.wait_for(lambda: self._busy == 0, timeout=70):
                raise AssertionError("within 70 s: every writer finishes what it has begun")

    def resume(self) -> None:
        with self._gate:
            self._paused = False
            self._gate.notify_all()

    def _write(self, index: int, episode: Episode, address: str) -> None:
        token = self.field.network.token("juniper")
        writer = _Writer(address, token)
        interval = len(self.episodes) / self.rate
        due = time.monotonic() + interval * index / len(self.episodes)
        number = 0
        while not self._stop.is_set():
            delay = due - time.monotonic()
            if delay > 0:
                self._stop.wait(delay)
            # Behind by more than two seconds after a fault: the timetable starts anew, or the writers would storm.
            due = max(due + interval, time.monotonic() - 2.0)
            number += 1
            category = PERMITTED if number % 4 else WITHHELD
            with self._gate:
                self._gate.wait_for(lambda: not self._paused)
                self._busy += 1
            try:
                if not self._record(writer, index, episode, number, category):
                    break
            finally:
                with self._gate:
                    self._busy -= 1
                    self._gate.notify_all()
        writer.close()

    def _record(self, writer: "_Writer", index: int, episode: Episode, number: int, category: str) -> bool:
        body = _entry(category, f"entry {index}-{number}", new_id("req"))
        deadline = time.monotonic() + 60
        asked_at = time.time()
        while True:
            answer = writer.post(f"/api/v1/patients/{episode.patient_here}/entries", body)
            if answer is not None and answer[0] in (200, 201):
                entry_id = answer[1]["entry_ids"][0]
                self.field.ledger.note(
                    op="record",
                    writer=index,
                    number=number,
                    episode=episode.episode_id,
                    category=category,
                    entry_id=entry_id,
                    asked_at=asked_at,
                    text=f"entry {index}-{number}",
                )
                return True
            if answer is not None and answer[0] < 500:
                self.field.ledger.note(
                    op="refused", writer=index, number=number, status=answer[0], body=answer[1]
                )
                return False
            if time.monotonic() > deadline:
                self.field.ledger.note(op="gave-up", writer=index, number=number)
                return False
            with self._gate:
                self.repeated += 1
            time.sleep(0.05)  # a writer is no test: it waits before it asks again


def _entry(category: str, text: str, identifier: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    content: dict[str, Any] = (
        {"practice": text, "given_at": now}
        if category == PERMITTED
        else {"modality": text, "every_days": 7, "starts_on": "2026-01-05"}
    )
    return {"kind": category, "content": content, "identifier": {"system": "load", "value": identifier}}


class _Writer:
    """A keep-alive connection that is made anew after every fault."""

    def __init__(self, address: str, token: str) -> None:
        self._address = address
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._connection: http.client.HTTPConnection | None = None

    def post(self, path: str, body: Mapping[str, Any]) -> tuple[int, Any] | None:
        """Status and body; None if the connection failed and the outcome is unknown."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self._address, timeout=10)
            self._connection.request("POST", path, json.dumps(body), self._headers)
            response = self._connection.getresponse()
            return response.status, json.loads(response.read() or b"null")
        except (OSError, http.client.HTTPException, ValueError):
            self.close()
            return None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def until(holds: Callable[[], Any], what: str, seconds: float = 30) -> None:
    """Probe until it holds; fails with what was awaited."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"within {seconds} s: {what}")
        time.sleep(0.05)


def until_done(act: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """Try until it succeeds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return act()
        except Exception as fault:
            if time.monotonic() > deadline:
                raise AssertionError(f"within {seconds} s: {what}") from fault
            time.sleep(0.1)
