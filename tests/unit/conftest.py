"""Unit tests reach no network."""

import pytest
import pytest_socket


@pytest.fixture(autouse=True)
def _no_network() -> None:
    # Undone by pytest-socket itself after each test. Unix sockets stay: they do not leave the machine.
    pytest_socket.disable_socket(allow_unix_socket=True)
