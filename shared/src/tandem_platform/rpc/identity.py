"""Who is calling: one URI in the peer's certificate, and nothing else that the peer says."""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from tandem_platform.clock import Clock
from tandem_platform.errors import Code, Refusal
from tandem_platform.unreadable import UNREADABLE

log = structlog.get_logger(__name__)

CallerKind = Literal["practice", "hub", "operator", "staff"]

_NAME = r"[a-z0-9][a-z0-9_-]{0,62}"
NETWORK = re.compile(r"[a-z0-9]([a-z0-9.-]{0,253}[a-z0-9])?")
_URI = re.compile(
    rf"spiffe://(?P<network>[^/?#]+)/(?:(?P<kind>practice|operator)/(?P<id>{_NAME})|(?P<hub>hub))"
)
_SERIAL = re.compile(r"(?:0x)?[0-9a-fA-F]{1,64}")
_REMEMBERED_CERTIFICATES = 4096


@dataclass(frozen=True, slots=True)
class Caller:
    """The other end of a call.

    kind: "practice", "hub" and "operator" come from certificates.
    "staff" is a person or system inside a clinic, named by the clinic's own entrance, never by a certificate.
    id: the practice's or operator's id; "hub" for the hub.
    uri: as the certificate has it; empty for staff.
    roles: of staff only.
    """

    kind: CallerKind
    id: str
    uri: str = ""
    roles: frozenset[str] = frozenset()


class IdentityRefused(Refusal):
    """The peer cannot be told. Every cause reads the same to the caller; *cause* is for our own log."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            Code.UNAUTHENTICATED,
            "IDENTITY_REFUSED",
            "the certificate does not identify a member of this network",
            way_out="use the certificate that the network's operator issued, and renew it in time",
        )
        self.cause = cause


def practice_uri(network: str, practice_id: str) -> str:
    return f"spiffe://{network}/practice/{practice_id}"


def operator_uri(network: str, operator_id: str) -> str:
    return f"spiffe://{network}/operator/{operator_id}"


def hub_uri(network: str) -> str:
    return f"spiffe://{network}/hub"


def caller_from_uri(uri: str, network: str) -> Caller:
    """The caller that *uri* names within *network*. Raises IdentityRefused for any other form or network."""
    match = _URI.fullmatch(uri)
    if match is None:
        raise IdentityRefused("uri-form")
    if match["network"] != network:
        raise IdentityRefused("foreign-network")
    if match["hub"]:
        return Caller("hub", "hub", uri)
    kind: CallerKind = "practice" if match["kind"] == "practice" else "operator"
    return Caller(kind, match["id"], uri)


class RevokedSerials:
    """Serial numbers of certificates that are no longer good, from a file that may change at any time.

    gRPC offers no revocation lists to Python, so the list is asked on every call: a revoked peer loses even
    the connection that it already has. One hexadecimal serial a line; "#" starts a comment.
    A file that cannot be read at the start is an error. If it breaks later the last good list stays in force.
    Safe to share between threads.
    """

    def __init__(self, path: Path | None = None, serials: Sequence[int] = ()) -> None:
        self._path = path
        self._fixed = frozenset(serials)
        self._listed: frozenset[int] = frozenset()
        self._seen: tuple[int, int, int] | None = None
        self._lock = threading.Lock()
        if path is not None:
            self._seen = _stamp(path)
            self._listed = _read_serials(path)

    def __contains__(self, serial: object) -> bool:
        if self._path is not None:
            self._refresh(self._path)
        return serial in self._fixed or serial in self._listed

    def _refresh(self, path: Path) -> None:
        try:
            stamp = _stamp(path)
            if stamp == self._seen:
                return
            with self._lock:
                self._listed = _read_serials(path)
                self._seen = stamp
        except (OSError, ValueError):
            with self._lock:
                already_told, self._seen = self._seen is None, None
            if not already_told:
                log.error("revoked_serials_unreadable", file=path.name)


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read_serials(path: Path) -> frozenset[int]:
    lines = (line.partition("#")[0].strip() for line in path.read_text("ascii").splitlines())
    listed = [line for line in lines if line]
    # int() would take "-1" and "1_0" too, and revoke nobody whom the operator meant.
    if not all(_SERIAL.fullmatch(line) for line in listed):
        raise ValueError(f"{path.name} holds what is no hexadecimal serial number")
    return frozenset(int(line, 16) for line in listed)


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    serial: int
    not_before: datetime
    not_after: datetime


class PeerIdentity:
    """Turns a peer's certificate into a Caller.

    TLS has proven that a trusted CA signed the certificate and that the peer holds its key.
    What is checked here: exactly one URI, of this network and of a known form; a leaf for clients
    (clientAuth) with a strong key; within its dates, also in the middle of a long connection; not revoked.
    The common name means nothing.
    """

    def __init__(self, network: str, clock: Clock, revoked: RevokedSerials | None = None) -> None:
        if not NETWORK.fullmatch(network):
            raise ValueError("a network is named like a domain, in lower case: tandem.example")
        self.network = network
        self._clock = clock
        self._revoked = revoked or RevokedSerials()
        self._known: dict[bytes, _Known] = {}

    def of(self, certificate_pem: bytes) -> Caller:
        """The caller, or IdentityRefused with the cause."""
        known = self._known.get(certificate_pem)
        if known is None:
            known = _read_certificate(certificate_pem, self.network)
            if len(self._known) >= _REMEMBERED_CERTIFICATES:
                self._known.clear()
            self._known[certificate_pem] = known
        now = self._clock.now()
        if now < known.not_before:
            raise IdentityRefused("not-yet-valid")
        if now > known.not_after:
            raise IdentityRefused("expired")
        if known.serial in self._revoked:
            raise IdentityRefused("revoked")
        return known.caller


def _read_certificate(pem: bytes, network: str) -> _Known:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        extensions = certificate.extensions
        key = certificate.public_key()
    except UNREADABLE as unreadable:
        raise IdentityRefused("unreadable") from unreadable
    _check_leaf_for_clients(extensions)
    _check_key(key)
    return _Known(
        caller_from_uri(_only_uri(extensions), network),
        certificate.serial_number,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def _check_leaf_for_clients(extensions: x509.Extensions) -> None:
    try:
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound as missing:
        raise IdentityRefused("purpose-unstated") from missing
    if constraints.ca:
        raise IdentityRefused("not-a-leaf")
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise IdentityRefused("not-for-clients")


def _check_key(key: object) -> None:
    strong = (
        isinstance(key, ed25519.Ed25519PublicKey)
        or (isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= 256)
        or (isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048)
    )
    if not strong:
        raise IdentityRefused("weak-key")


def _only_uri(extensions: x509.Extensions) -> str:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as missing:
        raise IdentityRefused("no-uri") from missing
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise IdentityRefused("no-uri" if not uris else "several-uris")
    return uris[0]
