"""Certificate files of one party, read again when they change."""

import threading
from dataclasses import dataclass
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tandem_platform.unreadable import UNREADABLE

log = structlog.get_logger(__name__)

HUB_SERVER_NAME = "hub.tandem"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the PEM files are.

    certificate: the party's own, leaf first. key: its private key. roots: the CAs whose peers are trusted.
    """

    certificate: Path
    key: Path
    roots: Path

    @classmethod
    def in_directory(cls, directory: Path) -> "TlsFiles":
        """The names under which `tandem certs` writes them."""
        return cls(directory / "cert.pem", directory / "key.pem", directory / "ca.pem")


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    certificate: bytes
    key: bytes
    roots: bytes

    def __repr__(self) -> str:
        return "TlsMaterial(…)"


class TlsSource:
    """What the files hold now.

    A change half made (a new certificate whose key has not arrived) is not taken up.
    Safe to share between threads.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._seen = self._stamps()
        self._material = self._read()

    def material(self) -> TlsMaterial:
        """Costs three stats while nothing changed. The same object is returned until something has."""
        with self._lock:
            try:
                stamps = self._stamps()
                if stamps != self._seen:
                    self._material = self._read()
                    self._seen = stamps
            except (OSError, *UNREADABLE):
                log.warning("tls_files_unusable", file=self._files.certificate.name)
            return self._material

    def _stamps(self) -> tuple[tuple[int, int, int], ...]:
        files = (self._files.certificate, self._files.key, self._files.roots)
        return tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in (file.stat() for file in files))

    def _read(self) -> TlsMaterial:
        material = TlsMaterial(
            self._files.certificate.read_bytes(), self._files.key.read_bytes(), self._files.roots.read_bytes()
        )
        certified = x509.load_pem_x509_certificate(material.certificate).public_key()
        held = load_pem_private_key(material.key, password=None).public_key()
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if certified.public_bytes(*form) != held.public_bytes(*form):
            raise ValueError(f"{self._files.key.name} is not the key of {self._files.certificate.name}")
        x509.load_pem_x509_certificates(material.roots)
        return material
