"""What patients and clinicians said is nowhere but with the clinics: not in the hub's database, not on topics, not in logs."""

import json
import logging
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from sqlalchemy import select
from sqlalchemy.engine import make_url

from support.aviary import SPECIES, Canaries
from support.canaries import Found, Search
from support.care_examples import one_of_every_kind
from support.network import Network, Referred, SimulatedClinic
from support.stacks import DatabaseOf
from tandem_care.categories import Category, Purpose
from tandem_clinic.domain.consent import ConsentForm, VerbalAttestation
from tandem_clinic.usecases import entries, permissions
from tandem_clinic.usecases.permissions import Terms
from tandem_platform.exchange.rows import downlink, uplink
from tandem_platform.exchange.transport.memory import MemoryTransport
from tandem_platform.storage import Database


class Course:
    """Two practices and a patient of each, whose records hold a canary wherever they can."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.canaries = Canaries()
        self.juniper = network.clinic("juniper", "prescriber")
        self.riverbend = network.clinic("riverbend", "therapy_provider")
        self.juniper.partners_with(self.riverbend)

    def run(self) -> None:
        forth = self._refers(self.juniper, self.riverbend, "psychotherapy")
        back = self._refers(self.riverbend, self.juniper, "medical-evaluation")
        for referred, referrer, recipient in (
            (forth, self.juniper, self.riverbend),
            (back, self.riverbend, self.juniper),
        ):
            patient_there = recipient.takes_in(referred)
            recipient.moves(referred, "ask", reason="clinical-question", comment=self._said("question"))
            self.network.settle()
            referrer.moves(referred, "answer", comment=self._said("answer"))
            self.network.settle()
            recipient.moves(referred, "accept")
            self.network.settle()
            self._permits(referrer, recipient, referred)
            self._permits(recipient, referrer, referred)
            self.network.settle()
            self._records_everything(referrer, referred.patient_id)
            self._records_everything(recipient, patient_there)
            self.network.settle()
            self._corrects(referrer, referred.patient_id)
            self.network.settle()
            referrer.revokes(self._verbal(referrer, recipient, referred))
            recipient.moves(referred, "fail", reason="other", comment=self._said("reason"))
            self.network.settle()

    def _said(self, where: str) -> str:
        return self.canaries.word(f"said: {where}")

    def _refers(self, referrer: SimulatedClinic, to: SimulatedClinic, kind: str) -> Referred:
        identity: Any = self.canaries.in_all_text(one_of_every_kind()["identity-contact"], referrer.name)
        fields = {name: getattr(identity, name) for name in type(identity).__dataclass_fields__}
        named = {name: fields.pop(name) for name in ("legal_name", "time_zone", "birth_date")}
        patient_id = referrer.registers(named["legal_name"], date(1984, 5, 17), **fields)
        referred = referrer.refers(patient_id, to, kind, note=self._said("note"), urgency="soon")
        self.network.settle()
        return referred

    def _permits(self, discloser: SimulatedClinic, recipient: SimulatedClinic, referred: Referred) -> None:
        everything = frozenset(Category) - {Category.IDENTITY_CONTACT, Category.REFERRAL_STATUS}
        word = self.canaries.word
        form = ConsentForm(
            patient=word("form"),
            discloser=discloser.name.title(),
            information=word("form"),
            recipient=recipient.name.title(),
            purpose=word("form"),
            right_to_revoke=word("form"),
            expiry="none",
            signed_by=word("form"),
            signature_ref=word("form"),
            signed_on=self.network.clock.now().date(),
        )
        discloser.do(
            permissions.grant_permission, referred.episode_id, Terms(everything, Purpose.TREATMENT), form
        )

    def _verbal(self, discloser: SimulatedClinic, recipient: SimulatedClinic, referred: Referred) -> str:
        attested = VerbalAttestation(
            attested_by=self._said("attested by"),
            said_at=self.network.clock.now(),
            words=self._said("attested"),
        )
        terms = Terms(frozenset({Category.MESSAGE}), Purpose.TREATMENT)
        asked = discloser.do(
            permissions.grant_permission,
            referred.episode_id,
            terms,
            attested,
            reason_after_dosing=self._said("why so soon"),
        )
        self.network.settle()
        return str(asked.subject_id)

    def _records_everything(self, clinic: SimulatedClinic, patient_id: str) -> None:
        for content in one_of_every_kind().values():
            clinic.records(
                patient_id,
                self.canaries.in_all_text(content, clinic.name),
                identifier=entries.ExternalIdentifier("urn:ehr", self._said("identifier")),
            )

    def _corrects(self, clinic: SimulatedClinic, patient_id: str) -> None:
        message = one_of_every_kind()["message"]
        first, second = (
            clinic.records(patient_id, self.canaries.in_all_text(message, clinic.name)) for _ in range(2)
        )
        self.network.settle()
        clinic.do(entries.amend_entry, first.record_id, self.canaries.in_all_text(message, clinic.name))
        clinic.do(entries.take_back_entry, second.record_id)

    def travelled(self) -> set[str]:
        """Canaries that the partner was given."""
        received: list[str] = []
        for clinic in (self.juniper, self.riverbend):
            for category in Category:
                received += [json.dumps(each) for each in clinic.sees(category)]
        everything = "\n".join(received)
        return {word for word in self.canaries.made if word in everything}


@pytest.fixture
def course(tmp_path: Path, database_of: DatabaseOf) -> Iterator[Course]:
    network = Network(tmp_path, database_of)
    yield Course(network)
    network.close()


def in_database(search: Search, url: str) -> list[Found]:
    made = make_url(url)
    if made.get_backend_name() == "sqlite":
        file = Path(made.database or "")
        return [found for each in sorted(file.parent.glob(f"{file.name}*")) for found in search.in_file(each)]
    return list(search.in_postgres(made.set(drivername="postgresql").render_as_string(hide_password=False)))


def in_tables(search: Search, database: Database) -> list[Found]:
    """As the hub itself reads them: with its key for what it encrypts at rest."""
    found: list[Found] = []
    with database.reading() as tx:
        for table in database.metadata.sorted_tables:
            for row in tx.all(select(table)):
                for column, value in row._mapping.items():
                    raw = bytes(value) if isinstance(value, (bytes, memoryview)) else str(value).encode()
                    found += search.in_bytes(raw, f"{table.name}.{column}")
    return found


def in_topics(search: Search, transport: MemoryTransport, practices: list[str]) -> list[Found]:
    found: list[Found] = []
    for topic in (name(practice) for practice in practices for name in (uplink, downlink)):
        records = transport.subscribe_one(topic, 0).poll(0.0)
        assert records, f"nothing was published to {topic}"
        found += search.in_records(topic, ((each.key, each.value, each.headers) for each in records))
    return found


def test_no_canary_leaves_the_clinics(
    course: Course, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("tandem_care", "tandem_clinic", "tandem_platform", "tandem_referral"):
        caplog.set_level(logging.DEBUG, logger=name)
    course.run()
    made = course.canaries.made
    travelled = course.travelled()
    assert len(made) > 300
    # They were sent, and arrived: else it would be no wonder that nothing is found on the way.
    assert len(travelled) > 200
    search = Search([SPECIES])
    transport = course.network.transport
    assert isinstance(transport, MemoryTransport)
    printed = capfd.readouterr()
    logged = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    found: list[Found] = [
        *in_database(search, course.network.hub_url),
        *in_tables(search, course.network.hub.database),
        *in_topics(search, transport, ["juniper", "riverbend"]),
        *search.in_bytes(logged.encode(), "logs"),
        *search.in_bytes((printed.out + printed.err).encode(), "output"),
        *search.in_bytes(generate_latest(), "metrics"),
    ]
    assert found == []
    for clinic in (course.juniper, course.riverbend):
        # Which system issued an identifier is no secret, and looked up; whose it is, is.
        readable = {made[each] for each in in_clear(course, clinic, search)}
        assert [each for each in readable if not each.endswith(".system")] == []


def in_clear(course: Course, clinic: SimulatedClinic, search: Search) -> set[str]:
    """Which canaries can be read in the clinic's own database without its keys."""
    if not in_database(search, clinic.url):
        return set()
    return {found.word for found in in_database(Search(course.canaries.made), clinic.url)}


def test_what_the_hub_may_know_is_found_there(course: Course) -> None:
    """The same searches, for words that are no secret."""
    course.juniper.refers(course.juniper.registers(), course.riverbend)
    course.network.settle()
    transport = course.network.transport
    assert isinstance(transport, MemoryTransport)
    assert in_database(Search(["riverbend"]), course.network.hub_url)
    # A word of the account, which the hub encrypts at rest and can read.
    in_account = Search(["partnership-active"])
    assert in_tables(in_account, course.network.hub.database)
    assert not in_database(in_account, course.network.hub_url)
    assert in_topics(Search(["riverbend"]), transport, ["juniper"])
    assert in_database(Search(["partnership"]), course.juniper.url)
