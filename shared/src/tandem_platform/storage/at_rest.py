"""The key under which one process keeps labels encrypted at rest."""

import hashlib
import os
from pathlib import Path
from typing import ClassVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tandem_platform.errors import Code, Refusal

_NONCE = 12


class AtRestBroken(Refusal):
    """A value was changed where it lay, comes from another column, or is under a key that is not installed."""

    def __init__(self, purpose: str) -> None:
        super().__init__(
            Code.INTERNAL,
            "AT_REST_BROKEN",
            f"a value of {purpose} cannot be decrypted",
            way_out="use the at-rest key that belongs to this database; if it is that one, restore a backup",
        )


class _Installed:
    ciphers: ClassVar[dict[bytes, AESGCM]] = {}
    current: ClassVar[bytes | None] = None


def install(key: bytes) -> None:
    """Encrypt under *key* (32 bytes) from now on; keys installed before still decrypt.

    The key is the process's, not a database's, because column types have no other way to reach it;
    ciphertexts name their key, so that several services in one process (the simulated network) do not collide.
    """
    name = name_of(key)
    _Installed.ciphers[name] = AESGCM(key)
    _Installed.current = name


def name_of(key: bytes) -> bytes:
    """What every value that is encrypted under *key* (32 bytes) begins with."""
    if len(key) != 32:
        raise ValueError("an at-rest key has 32 bytes")
    return hashlib.sha256(b"tandem-at-rest-name" + key).digest()[:4]


def load_or_create(path: Path) -> bytes:
    """The key in *path*; made there, readable by its owner only, if the file does not exist."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(32))
    return path.read_bytes()


def encrypt(value: bytes, purpose: str) -> bytes:
    name = _Installed.current
    if name is None:
        raise RuntimeError("no at-rest key is installed: call tandem_platform.storage.at_rest.install first")
    nonce = os.urandom(_NONCE)
    return name + nonce + _Installed.ciphers[name].encrypt(nonce, value, purpose.encode())


def decrypt(value: bytes, purpose: str) -> bytes:
    """AtRestBroken unless `encrypt` made it, of that purpose and with a key that is installed."""
    name, nonce, sealed = value[:4], value[4 : 4 + _NONCE], value[4 + _NONCE :]
    try:
        return _Installed.ciphers[name].decrypt(nonce, sealed, purpose.encode())
    except (KeyError, ValueError, InvalidTag):
        raise AtRestBroken(purpose) from None
