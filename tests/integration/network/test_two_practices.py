"""One patient's course across two practices, in one process."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from support.care_examples import a_dosing_session, a_phq9
from support.network import Network, Referred, SimulatedClinic
from tandem_care.categories import Category
from tandem_clinic.store import worklist

SCORES = Category.SCALE_SCORE
DOSES = Category.MEDICATION_MONITORING


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    made = Network(tmp_path)
    yield made
    made.close()


@pytest.fixture
def juniper(network: Network) -> SimulatedClinic:
    return network.clinic("juniper", "prescriber")


@pytest.fixture
def riverbend(network: Network, juniper: SimulatedClinic) -> SimulatedClinic:
    riverbend = network.clinic("riverbend", "therapy_provider")
    juniper.partners_with(riverbend)
    return riverbend


@pytest.fixture
def shared(network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic) -> Referred:
    """A referral from Juniper that Riverbend has accepted."""
    referred = juniper.refers(juniper.registers(), riverbend)
    network.settle()
    riverbend.takes_in(referred)
    riverbend.moves(referred, "accept")
    network.settle()
    return referred


def test_a_clinic_that_starts_before_it_is_registered_is_known_as_soon_as_it_is(
    network: Network, juniper: SimulatedClinic
) -> None:
    early = network.start_clinic("early")
    network.register("early", "therapy_provider")
    network.advance(5)
    network.settle()
    assert juniper.partners_with(early)
    with early.db.reading() as tx:
        assert [item.kind for item in worklist.waiting(tx) if item.kind == "command-refused"] == []


def test_who_comes_when_the_first_certificates_have_run_out_pins_keys_under_renewed_ones(
    network: Network, juniper: SimulatedClinic
) -> None:
    network.clock.advance(timedelta(days=200))
    network.hub_keys = network.hub_keys.certified_anew(network.keys.certificate("hub"))
    network.restart_hub()
    juniper.keys = juniper.keys.certified_anew(network.keys.certificate("juniper"))
    juniper.restart()
    network.settle()
    late = network.clinic("late", "therapy_provider")
    assert juniper.partners_with(late)


def test_what_the_patient_permits_is_seen_by_the_partner(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    juniper.grants(shared, {SCORES})
    network.settle()
    juniper.records(shared.patient_id, a_phq9(total=18, taken_at=network.clock.now()))
    network.settle()
    assert [each["content"]["total"] for each in riverbend.sees(SCORES)] == [18]


def test_what_nobody_permitted_stays(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    juniper.records(shared.patient_id, a_phq9(total=18, taken_at=network.clock.now()))
    network.settle()
    assert riverbend.sees(SCORES) == []


def test_nothing_is_released_after_revocation(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    permission = juniper.grants(shared, {SCORES})
    network.settle()
    juniper.revokes(permission)
    network.settle()
    juniper.records(shared.patient_id, a_phq9(total=18, taken_at=network.clock.now()))
    network.settle()
    assert riverbend.sees(SCORES) == []


def test_a_late_permission_releases_the_history(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    before = network.clock.now()
    juniper.records(shared.patient_id, a_phq9(total=18, taken_at=network.clock.now()))
    network.settle()
    juniper.grants(shared, {SCORES}, history_from=before)
    network.settle()
    assert [each["content"]["total"] for each in riverbend.sees(SCORES)] == [18]


def test_what_was_on_its_way_is_voided_by_a_revocation(
    network: Network, juniper: SimulatedClinic, riverbend: SimulatedClinic, shared: Referred
) -> None:
    permission = juniper.grants(shared, {DOSES})
    network.settle()
    riverbend.running = False
    juniper.records(shared.patient_id, a_dosing_session())
    network.settle()
    juniper.revokes(permission)
    network.settle()
    riverbend.running = True
    network.settle()
    assert riverbend.sees(DOSES) == []
    assert "revocation" in riverbend.worklist()
