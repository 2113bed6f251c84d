"""Stages that courses, races and plain tests begin from."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from support.network import Network, Referred, SimulatedClinic
from support.stacks import DatabaseOf, database_of, postgres
from support.staged import Place, a_place
from support.watched import WatchedNetwork

__all__ = ["DatabaseOf", "database_of", "postgres"]


@dataclass
class Scene:
    """Juniper has referred a patient to Riverbend, which has accepted."""

    network: Network
    shared: Referred

    @property
    def juniper(self) -> SimulatedClinic:
        return self.network.clinics["juniper"]

    @property
    def riverbend(self) -> SimulatedClinic:
        return self.network.clinics["riverbend"]


@pytest.fixture(scope="session")
def place(stack: str, request: pytest.FixtureRequest) -> Iterator[Place]:
    server = request.getfixturevalue("postgres") if stack == "production" else None
    with a_place(server) as made:
        yield made


def _set_up(network: Network) -> Scene:
    juniper, riverbend = (
        network.clinic("juniper", "prescriber"),
        network.clinic("riverbend", "therapy_provider"),
    )
    partnership_id = juniper.partners_with(riverbend)
    if isinstance(network, WatchedNetwork):
        network.partnerships[frozenset({"juniper", "riverbend"})] = partnership_id
    shared = juniper.refers(juniper.registers(), riverbend)
    network.settle()
    riverbend.takes_in(shared)
    riverbend.moves(shared, "accept")
    network.settle()
    network.close()
    return Scene(network, shared)


def _continued(start: Scene, place: Place) -> Iterator[Scene]:
    with place.copies() as copy_of:
        network = start.network.continued(copy_of)
        network.settle()
        yield Scene(network, start.shared)
        network.close()


@pytest.fixture(scope="session")
def _start(place: Place) -> Iterator[Scene]:
    with a_place(place.server) as here:
        yield _set_up(Network(here.home, here.fresh))


@pytest.fixture(scope="session")
def _watched_start(place: Place) -> Iterator[Scene]:
    with a_place(place.server) as here:
        yield _set_up(WatchedNetwork(here.home, here.fresh))


@pytest.fixture
def scene(_start: Scene, place: Place) -> Iterator[Scene]:
    yield from _continued(_start, place)


@pytest.fixture
def watched(_watched_start: Scene, place: Place) -> Iterator[Scene]:
    """Before the oracle's eyes; a test ends with `network.heal()` and `network.check()`."""
    yield from _continued(_watched_start, place)
