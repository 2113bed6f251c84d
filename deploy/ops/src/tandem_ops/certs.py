"""A certificate authority for development and for small networks that run their own."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tandem_platform.clock import Clock, SystemClock
from tandem_platform.files import write_whole
from tandem_platform.rpc.identity import (
    Caller,
    IdentityRefused,
    RevokedSerials,
    caller_from_uri,
    hub_uri,
    operator_uri,
    practice_uri,
)
from tandem_platform.rpc.tls import HUB_SERVER_NAME, TlsFiles

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH

_NAMED = "Tandem network "
LONGEST_NETWORK = 64 - len(_NAMED)
"""A common name has no more room."""

_CA_VALIDITY = timedelta(days=730)
_LEAF_VALIDITY = timedelta(days=30)
_CLOCK_SKEW = timedelta(minutes=5)


class AuthorityOfAnotherNetwork(Exception):
    """What it issued would open nothing in the network that was named."""


class CertificateNotTrusted(Exception):
    """The certificate is not one of this authority's, or no longer good; the text says why."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a certificate should have instead of the usual. None leaves the usual."""

    not_before: datetime | None = None
    not_after: datetime | None = None
    serial: int | None = None
    uris: Sequence[str] | None = None
    dns_names: Sequence[str] | None = None
    common_name: str | None = None
    usages: Sequence[x509.ObjectIdentifier] | None = None
    is_ca: bool = False
    key: PrivateKey | None = None


_AS_USUAL = Wish()


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its private key, both PEM. The key exists nowhere else until it is written."""

    certificate_pem: bytes
    key_pem: bytes
    roots_pem: bytes
    serial: int

    def __repr__(self) -> str:
        return f"Issued(serial={self.serial:x})"

    def write(self, directory: Path) -> TlsFiles:
        """Into *directory* as cert.pem, key.pem and ca.pem, the certificate last.

        A server that looks in between sees a key that does not fit, and keeps what it has.
        """
        directory.mkdir(parents=True, exist_ok=True)
        files = TlsFiles.in_directory(directory)
        write_whole(files.roots, self.roots_pem)
        write_whole(files.key, self.key_pem)
        write_whole(files.certificate, self.certificate_pem)
        return files


class DevelopmentCA:
    """Opens the authority kept in *directory*, or makes it there. ECDSA P-256 throughout.

    The directory holds the authority's key, readable by its owner alone. Keep it off the hub's machine:
    whoever has the key can be any practice. Members need only `ca.pem`, and the hub `revoked.txt` as well.
    network: by default that of the authority which is there, and tandem.local for a new one.
    """

    def __init__(self, directory: Path, network: str | None = None, clock: Clock | None = None) -> None:
        """Raises AuthorityOfAnotherNetwork."""
        self.directory = directory
        self.revoked_path = directory / "revoked.txt"
        self._clock = clock or SystemClock()
        self._key_path = directory / "ca.key"
        self._certificate_path = directory / "ca.pem"
        if not self._key_path.exists():
            self._make(network or "tandem.local")
        self._key = _load_key(self._key_path.read_bytes())
        self._certificate = x509.load_pem_x509_certificate(self._certificate_path.read_bytes())
        self.network = _network_of(self._certificate)
        if network not in (None, self.network):
            raise AuthorityOfAnotherNetwork(f"the authority in {directory} is of the network {self.network}")

    @property
    def roots_pem(self) -> bytes:
        return self._certificate.public_bytes(Encoding.PEM)

    def issue_practice(self, practice_id: str, wish: Wish = _AS_USUAL) -> Issued:
        """For a practice's calls to the hub."""
        return self._issue([practice_uri(self.network, practice_id)], [], CLIENT_AUTH, practice_id, wish)

    def issue_operator(self, operator_id: str, wish: Wish = _AS_USUAL) -> Issued:
        """For a person who runs the network."""
        return self._issue([operator_uri(self.network, operator_id)], [], CLIENT_AUTH, operator_id, wish)

    def issue_hub(self, wish: Wish = _AS_USUAL) -> Issued:
        """For the hub's server: the only certificate with the name by which clinics know the hub."""
        return self._issue([hub_uri(self.network)], [HUB_SERVER_NAME], SERVER_AUTH, "hub", wish)

    def issue_server(self, dns_names: Sequence[str], wish: Wish = _AS_USUAL) -> Issued:
        """For a clinic's own web and gRPC servers. Names no member, so it opens nothing at the hub."""
        if not dns_names or HUB_SERVER_NAME in dns_names:
            raise ValueError(f"a server needs a name of its own, and {HUB_SERVER_NAME} is the hub's")
        return self._issue([], dns_names, SERVER_AUTH, dns_names[0], wish)

    def verify(self, certificate_pem: bytes) -> Caller:
        """Whom the certificate names, hub included. Raises CertificateNotTrusted."""
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        if not _is_of(self._certificate, certificate):
            raise CertificateNotTrusted("another authority issued it")
        now = self._clock.now()
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise CertificateNotTrusted("it is outside of its dates")
        if certificate.serial_number in RevokedSerials(self.revoked_path):
            raise CertificateNotTrusted("it was revoked")
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        if len(uris) != 1:
            raise CertificateNotTrusted("it does not name exactly one member")
        try:
            return caller_from_uri(uris[0], self.network)
        except IdentityRefused as unknown:
            raise CertificateNotTrusted("it names no member of this network") from unknown

    def revoke(self, certificate_pem: bytes) -> int:
        """Put the certificate's serial on the list; give the serial. Doing it twice changes nothing."""
        serial = x509.load_pem_x509_certificate(certificate_pem).serial_number
        if serial not in RevokedSerials(self.revoked_path):
            listed = self.revoked_path.read_bytes()
            write_whole(self.revoked_path, listed + f"{serial:x}\n".encode("ascii"), mode=0o644)
        return serial

    def issued(self, certificate_pem: bytes) -> bool:
        """Whether the certificate is this authority's, good or not."""
        return _is_of(self._certificate, x509.load_pem_x509_certificate(certificate_pem))

    def _make(self, network: str) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAMED + network)])
        now = self._clock.now()
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(now + _CA_VALIDITY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        write_whole(
            self.revoked_path, b"# serials of revoked certificates, hexadecimal, one a line\n", mode=0o644
        )
        write_whole(self._certificate_path, certificate.public_bytes(Encoding.PEM), mode=0o644)
        write_whole(self._key_path, _pem(key))

    def _issue(
        self,
        uris: Sequence[str],
        dns_names: Sequence[str],
        usage: x509.ObjectIdentifier,
        common_name: str,
        wish: Wish,
    ) -> Issued:
        key = wish.key or ec.generate_private_key(ec.SECP256R1())
        serial = wish.serial or x509.random_serial_number()
        now = self._clock.now()
        names = _alternative_names(
            uris if wish.uris is None else wish.uris,
            dns_names if wish.dns_names is None else wish.dns_names,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(
                x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, (wish.common_name or common_name)[:64])])
            )
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(wish.not_before or now - _CLOCK_SKEW)
            .not_valid_after(wish.not_after or now + _LEAF_VALIDITY)
            .add_extension(x509.BasicConstraints(ca=wish.is_ca, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=wish.is_ca), critical=True)
            .add_extension(x509.ExtendedKeyUsage(list(wish.usages or [usage])), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Issued(certificate.public_bytes(Encoding.PEM), _pem(key), self.roots_pem, serial)


def _network_of(authority: x509.Certificate) -> str:
    (name,) = authority.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value).removeprefix(_NAMED)


def _is_of(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _alternative_names(uris: Sequence[str], dns_names: Sequence[str]) -> list[x509.GeneralName]:
    return [x509.UniformResourceIdentifier(uri) for uri in uris] + [_host(name) for name in dns_names]


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("ca.key does not hold an elliptic-curve key")
    return key
