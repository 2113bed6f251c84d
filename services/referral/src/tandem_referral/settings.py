"""What the hub is configured with."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tandem_care.lifecycle import CLOCKS, State
from tandem_platform.settings import (
    address,
    database,
    existing_directory,
    path,
    seconds,
    setting,
    words,
    yes_or_no,
)


def clocks(text: str) -> tuple[tuple[State, timedelta], ...]:
    """State=days, separated by commas."""
    found = []
    for word in words(text):
        state, _, days = word.partition("=")
        if state not in CLOCKS or not days.isdecimal() or int(days) == 0:
            raise ValueError(f"must be state=days, with a state of {', '.join(CLOCKS)}")
        found.append((State(state), timedelta(days=int(days))))
    return tuple(found)


ROLES = ("grpc", "relay", "reader", "clock")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    network: str = setting("the network's name, the trust domain of its certificates")
    database_url: str = setting("SQLAlchemy URL of the hub's own database", database, secret=True)
    grpc_address: str = setting("host:port on which clinics reach the hub", address)
    http_address: str = setting("host:port for health and metrics; keep it off the public network", address)
    tls_directory: Path = setting("directory with cert.pem, key.pem and ca.pem", existing_directory)
    keys_directory: Path = setting("directory of the hub's signing keys; made at the first start", path)
    at_rest_key: Path = setting("file with the key for labels at rest; made at the first start", path)
    revoked_serials: Path | None = setting(
        "file with the serial numbers of revoked certificates", path, default=None
    )
    kafka_bootstrap: tuple[str, ...] = setting(
        "Kafka brokers, host:port, separated by commas; empty for gRPC alone", words, default=()
    )
    kafka_embedded: bool = setting(
        "the broker is the one that starts itself, on loopback", yes_or_no, default=False
    )
    kafka_tls_directory: Path | None = setting(
        "directory with cert.pem, key.pem and ca.pem for Kafka; unset for a broker on loopback",
        existing_directory,
        default=None,
    )
    sync_period: float = setting("seconds for which a Sync may wait", seconds, default=30.0)
    referral_clocks: tuple[tuple[State, timedelta], ...] = setting(
        "days for which a referral may stay in a state, as state=days, separated by commas; "
        "the others keep " + ", ".join(f"{state}={days.days}" for state, days in CLOCKS.items()),
        clocks,
        default=(),
    )
    roles: tuple[str, ...] = setting("what this process does, of: " + ", ".join(ROLES), words, default=ROLES)
    development: bool = setting("gRPC reflection, for development only", yes_or_no, default=False)
