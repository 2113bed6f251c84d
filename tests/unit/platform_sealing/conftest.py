"""One network of keys for all tests here: they are immutable, and slow to make only by the hundred."""

import pytest

from support.sealing import KeyNetwork


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    return KeyNetwork(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def juniper(network):
    return network.keys()


@pytest.fixture(scope="session")
def riverbend(network):
    return network.keys()
