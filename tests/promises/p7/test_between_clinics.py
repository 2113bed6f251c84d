"""P7 between whole clinics: what Juniper's people record and withhold leaves nothing at Riverbend, neither on its topic nor in its database."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from support.care_examples import a_dosing_session, a_phq9, a_prescription, one_of_every_kind
from support.network import Network, Referred, SimulatedClinic
from support.observation import Comparable, first_difference
from tandem_care.categories import Category
from tandem_clinic.store.tables import metadata as clinic_metadata
from tandem_clinic.usecases.entries import amend_entry, take_back_entry
from tandem_platform.exchange.rows import downlink

Course = tuple[Network, SimulatedClinic, SimulatedClinic, Referred]
Withholding = Callable[[Course], None]


def _begun(directory: Path) -> Course:
    network = Network(directory)
    juniper, riverbend = (
        network.clinic("juniper", "prescriber"),
        network.clinic("riverbend", "therapy_provider"),
    )
    juniper.partners_with(riverbend)
    referred = juniper.refers(juniper.registers(), riverbend)
    _turns(network)
    riverbend.takes_in(referred)
    riverbend.moves(referred, "accept")
    _turns(network)
    juniper.grants(referred, {Category.SCALE_SCORE, Category.APPOINTMENT})
    _turns(network)
    return network, juniper, riverbend, referred


def _turns(network: Network, count: int = 8) -> None:
    """So many rounds whatever there is to do, a second each."""
    for _ in range(count):
        network.step_hub()
        for clinic in network.clinics.values():
            clinic.step()
        network.advance(1)


def unpermitted(course: Course) -> None:
    _, juniper, _, referred = course
    for content in (a_prescription(), a_dosing_session(), one_of_every_kind()["substance-use-summary"]):
        juniper.records(referred.patient_id, content)


def before_the_history(course: Course) -> None:
    network, juniper, _, referred = course
    earlier = network.clock.now() - timedelta(days=200)
    juniper.records(referred.patient_id, a_phq9(total=3, taken_at=earlier), authored_at=earlier)


def amended_and_taken_back(course: Course) -> None:
    _, juniper, _, referred = course
    recorded = juniper.records(referred.patient_id, a_prescription())
    amended = juniper.do(amend_entry, recorded.record_id, a_prescription(sessions=2))
    juniper.do(take_back_entry, amended.record_id)


def denied(course: Course) -> None:
    _, juniper, _, referred = course
    juniper.denies(referred, {Category.MEDICATION_PRESCRIPTION})
    juniper.records(referred.patient_id, a_prescription())


def another_patient(course: Course) -> None:
    _, juniper, _, _ = course
    patient_id = juniper.registers("Robin Other")
    juniper.records(patient_id, a_phq9(total=20))


def played(directory: Path, withholding: Withholding) -> tuple[list[Any], Mapping[str, int]]:
    """Riverbend's topic, and how much there is in each table of its database."""
    directory.mkdir()
    course = network, juniper, riverbend, referred = _begun(directory)
    now = network.clock.now()
    withholding(course)
    juniper.records(referred.patient_id, a_phq9(total=18, taken_at=now))
    withholding(course)
    _turns(network)
    juniper.records(referred.patient_id, a_phq9(total=9, taken_at=now))
    _turns(network)
    withholding(course)
    _turns(network)
    assert [each["content"]["total"] for each in riverbend.sees(Category.SCALE_SCORE)] == [18, 9]
    comparable = Comparable(same_material=False)
    records = network.transport.subscribe_one(downlink(riverbend.name), 0).poll(0.0)
    with riverbend.db.reading() as tx:
        counts = {
            name: tx.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in clinic_metadata.tables.items()
        }
    network.close()
    return [comparable.record(record) for record in records], counts


def nothing(course: Course) -> None:
    """The other run."""


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], Mapping[str, int]]:
    return played(tmp_path_factory.mktemp("p7") / "without", nothing)


@pytest.mark.parametrize(
    "withholding",
    [unpermitted, before_the_history, amended_and_taken_back, denied, another_patient],
    ids=lambda each: each.__name__,
)
def test_what_a_clinic_withholds_leaves_nothing_at_its_partner(
    tmp_path: Path, without: tuple[list[Any], Mapping[str, int]], withholding: Withholding
) -> None:
    topic, counts = played(tmp_path / "with", withholding)
    assert first_difference(topic, without[0]) is None
    assert counts == without[1]
