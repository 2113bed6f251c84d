"""What a clinic's service is configured with."""

from dataclasses import dataclass
from pathlib import Path

from tandem_platform.settings import (
    address,
    database,
    days,
    existing_directory,
    https,
    one_of,
    path,
    seconds,
    setting,
    words,
    yes_or_no,
)

ROLES = ("web", "grpc", "relay", "reader", "clock")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClinicSettings:
    network: str = setting("the network's name, the trust domain of its certificates")
    practice_id: str = setting("the practice's id in the network, as its certificate says")
    display_name: str = setting("the practice's name, as people call it")
    database_url: str = setting("SQLAlchemy URL of the clinic's own database", database, secret=True)
    hub_target: str = setting("host:port of the hub", address)
    grpc_address: str = setting("host:port of the gRPC interface for the clinic's own EHR", address)
    http_address: str = setting("host:port of REST, health and metrics", address)
    tls_proxy: bool = setting(
        "a proxy in front of HTTP speaks TLS; without one, HTTP listens on loopback only",
        yes_or_no,
        default=False,
    )
    tls_directory: Path = setting(
        "directory with cert.pem, key.pem and ca.pem of the practice", existing_directory
    )
    server_tls_directory: Path | None = setting(
        "directory with cert.pem, key.pem and ca.pem for the gRPC interface; unset: none is served",
        existing_directory,
        default=None,
    )
    keys_directory: Path = setting("directory of the practice's sealing keys; made at the first start", path)
    at_rest_key: Path = setting(
        "file with the key for the exchange's rows at rest; made at the first start", path
    )
    keyring: Path | None = setting(
        "file with the keys of encrypted columns; made at the first start, by default beside the sealing keys",
        path,
        default=None,
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
    part2_program: bool = setting("the practice is a 42 CFR Part 2 programme", yes_or_no, default=False)
    allows_treatment_basis: bool = setting(
        "the treatment relationship (45 CFR 164.506) may serve as a basis for sharing",
        yes_or_no,
        default=False,
    )
    remind_before: float = setting(
        "days before a referral's clock runs out at which its owner is reminded", days, default=2.0
    )
    notify_smtp: str = setting("host:port of the mail server; unset: no e-mail", address, default="")
    notify_smtp_tls: str = setting(
        "tls, starttls, or none on loopback only", one_of("tls", "starttls", "none"), default="starttls"
    )
    notify_smtp_ca: Path | None = setting(
        "file of the authorities that the mail server's certificate leads to; unset: the system's",
        path,
        default=None,
    )
    notify_smtp_user: str = setting("name at the mail server; unset: none is needed", default="")
    notify_smtp_password: str = setting("password at the mail server", default="", secret=True)
    notify_from: str = setting("e-mail address that notifications come from, and bounces go to", default="")
    notify_sms_url: str = setting("https address of the SMS gateway; unset: no SMS", https, default="")
    notify_webhook_url: str = setting(
        "https address that notifications go to; unset: no webhook", https, default=""
    )
    notify_secret: str = setting(
        "secret that notifications by HTTP are signed with (HMAC-SHA256)", default="", secret=True
    )
    notify_link: str = setting("https address of the worklist, for notifications", https, default="")
    notify_timeout: float = setting(
        "seconds that a mail server or gateway may take for an answer", seconds, default=10.0
    )
    hub_timeout: float = setting("seconds that a call to the hub may take", seconds, default=5.0)
    roles: tuple[str, ...] = setting("what this process does, of: " + ", ".join(ROLES), words, default=ROLES)
    development: bool = setting("gRPC reflection, for development only", yes_or_no, default=False)

    @property
    def keyring_file(self) -> Path:
        return self.keyring or self.keys_directory / "keyring.json"
