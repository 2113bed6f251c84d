"""Certificates of the members: made once, renewed before they end."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from tandem_ops.certs import DevelopmentCA, Issued
from tandem_ops.network.plan import LOOPBACK, Layout, NetworkPlan

_RENEW_BEFORE = timedelta(days=10)


def provide_certificates(layout: Layout, plan: NetworkPlan) -> None:
    """Every member's certificate is there and good for a while yet. Members take up a renewed one by themselves."""
    ca = DevelopmentCA(layout.authority, plan.network)
    _provide(layout.hub / "tls", ca.issue_hub)
    _provide(layout.operator, lambda: ca.issue_operator("local"))
    for practice in plan.practices:
        home = layout.practice(practice)
        practice_id = practice.practice_id
        _provide(home / "tls", lambda practice_id=practice_id: ca.issue_practice(practice_id))  # type: ignore[misc]
        names = ["localhost", LOOPBACK, practice.name]
        _provide(home / "server-tls", lambda names=names: ca.issue_server(names))  # type: ignore[misc]


def _provide(directory: Path, issue: Callable[[], Issued]) -> None:
    certificate = directory / "cert.pem"
    if certificate.exists():
        ends = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
        if ends - datetime.now(UTC) > _RENEW_BEFORE:
            return
    issue().write(directory)
