"""Encryption of a clinic's content and identity columns, with a key for each patient that can be destroyed.

Three layers: the keyring's key-encryption keys (file or KMS) wrap data keys (a table, one per patient);
data keys encrypt values. Destroying a data key makes every value under it unreadable for good.
A backup from before still holds the wrapped data key; it closes when the key that wrapped that is retired.
"""

import base64
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tandem_platform.errors import Code, Refusal
from tandem_platform.files import read_secret, write_whole
from tandem_platform.sealing.encoding import encode

_KEY = 32
_NONCE = 12
_KEK_VERSION = 4
_FORMAT = b"\x01"


class KeyringUnreadable(Refusal):
    def __init__(self, message: str) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "KEYRING_UNREADABLE",
            message,
            way_out="restore the keyring from its backup; without it, the encrypted columns stay closed",
        )


class KekRetired(Refusal):
    """A data key is wrapped under a key-encryption key that the keyring no longer holds."""

    def __init__(self, version: int) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "KEK_RETIRED",
            f"version {version} of the key-encryption key is not in the keyring",
            way_out="restore the keyring that still held it, rewrap every data key, then retire it",
        )


class DataKeyDestroyed(Refusal):
    """The patient was shredded: what was encrypted is gone, and nothing new may be written under that key."""

    def __init__(self, data_key_id: str) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "DATA_KEY_DESTROYED",
            "the records under this key were shredded",
            metadata={"data_key_id": data_key_id},
        )


class DataKeyUnknown(Refusal):
    def __init__(self, data_key_id: str) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "DATA_KEY_UNKNOWN",
            "the value's data key is not in this database",
            metadata={"data_key_id": data_key_id},
            way_out="restore the table of data keys together with the tables it opens",
        )


class ColumnBroken(Refusal):
    """A value does not belong where it was found, or was changed there."""

    def __init__(self, table: str, column: str) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "COLUMN_BROKEN",
            f"a value of {table}.{column} was altered, or moved from another place",
            field=f"{table}.{column}",
            way_out="restore the row from a backup",
        )


class KeyEncryption(Protocol):
    """What wraps data keys. `Keyring` is the one from a file; a KMS can stand in its place."""

    def wrap(self, data_key: bytes, data_key_id: str) -> bytes: ...

    def unwrap(self, wrapped: bytes, data_key_id: str) -> bytes: ...

    def is_current(self, wrapped: bytes) -> bool:
        """Whether the newest key wrapped it."""
        ...


class DataKeys(Protocol):
    """The clinic's table of wrapped data keys, within one transaction."""

    def get(self, data_key_id: str) -> bytes | None:
        """None if it was never made; DataKeyDestroyed, for ever, if it was destroyed."""
        ...

    def create(self, data_key_id: str, wrapped: bytes) -> bytes:
        """Keep *wrapped* and return it, or what was kept first by another. DataKeyDestroyed as in `get`."""
        ...

    def replace(self, data_key_id: str, wrapped: bytes) -> None: ...

    def destroy(self, data_key_id: str) -> None:
        """Overwrite the wrapped key and remember that it was destroyed. Repeating it changes nothing."""
        ...


@dataclass(frozen=True)
class Keyring:
    """Key-encryption keys by version, the highest in use; and the key of blind indexes, never rotated."""

    keks: Mapping[int, bytes]
    index_key: bytes

    def __post_init__(self) -> None:
        if not self.keks or {len(key) for key in (*self.keks.values(), self.index_key)} != {_KEY}:
            raise KeyringUnreadable(
                f"a keyring holds keys of {_KEY} bytes, at least one of them to encrypt with"
            )
        if not all(0 <= version < 1 << 8 * _KEK_VERSION for version in self.keks):
            raise KeyringUnreadable("a keyring's versions are whole numbers of four bytes")

    @classmethod
    def generate(cls) -> Self:
        return cls({1: secrets.token_bytes(_KEY)}, secrets.token_bytes(_KEY))

    @property
    def current(self) -> int:
        return max(self.keks)

    def rotated(self) -> Self:
        """With a new key to wrap with. The old ones stay until every data key was rewrapped."""
        return type(self)({**self.keks, self.current + 1: secrets.token_bytes(_KEY)}, self.index_key)

    def retired(self, version: int) -> Self:
        """Without a version. What it alone wrapped is lost, in every copy and backup."""
        return type(self)({kept: key for kept, key in self.keks.items() if kept != version}, self.index_key)

    def wrap(self, data_key: bytes, data_key_id: str) -> bytes:
        version = self.current
        nonce = secrets.token_bytes(_NONCE)
        closed = AESGCM(self.keks[version]).encrypt(nonce, data_key, _wrap_binding(data_key_id, version))
        return version.to_bytes(_KEK_VERSION) + nonce + closed

    def unwrap(self, wrapped: bytes, data_key_id: str) -> bytes:
        version = int.from_bytes(wrapped[:_KEK_VERSION])
        nonce, closed = wrapped[_KEK_VERSION : _KEK_VERSION + _NONCE], wrapped[_KEK_VERSION + _NONCE :]
        kek = self.keks.get(version)
        if kek is None:
            raise KekRetired(version)
        try:
            return AESGCM(kek).decrypt(nonce, closed, _wrap_binding(data_key_id, version))
        except (InvalidTag, ValueError):
            raise ColumnBroken("data_keys", "wrapped") from None

    def is_current(self, wrapped: bytes) -> bool:
        return int.from_bytes(wrapped[:_KEK_VERSION]) == self.current

    def blind_index(self, value: str, purpose: str) -> bytes:
        """The same bytes for the same value and purpose, and only within this clinic: to find duplicates.

        Whoever can read the column learns which rows are alike, so index no more than a search needs.
        The caller normalises (case, spaces, accents) first. Purposes keep columns from being matched.
        """
        return hmac.digest(self.index_key, encode("tandem.blind-index", purpose, value), "sha256")

    def save(self, path: Path) -> None:
        """Mode 0600, replaced whole. Back it up apart from the database: together they are the clear text."""
        content = {
            "key_encryption_keys": {
                str(version): base64.b64encode(key).decode() for version, key in self.keks.items()
            },
            "index_key": base64.b64encode(self.index_key).decode(),
        }
        write_whole(path, json.dumps(content, indent=2).encode())

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """SecretExposed if others can read it."""
        return cls.from_json(read_secret(path).decode("utf-8", "replace"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        try:
            content = json.loads(text)
            return cls(
                {
                    int(version): base64.b64decode(key, validate=True)
                    for version, key in content["key_encryption_keys"].items()
                },
                base64.b64decode(content["index_key"], validate=True),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            # The cause is dropped: it may quote what it could not read.
            raise KeyringUnreadable("the keyring is not of its form") from None

    def __repr__(self) -> str:
        return f"Keyring(versions={sorted(self.keks)})"


class ColumnCipher:
    """Encrypts and decrypts values within one transaction, whose `DataKeys` it is given.

    It remembers the data keys that it unwrapped, so it must not outlive the transaction: another process
    may shred a patient at any time. Not safe to share between threads. About 5 µs a value.
    """

    def __init__(self, keyring: KeyEncryption, data_keys: DataKeys) -> None:
        self._keyring = keyring
        self._data_keys = data_keys
        self._opened: dict[str, AESGCM] = {}

    def encrypt(
        self,
        value: bytes | str,
        *,
        table: str,
        column: str,
        row_id: str,
        practice_id: str,
        data_key_id: str,
    ) -> bytes:
        """Bound to its place: elsewhere it does not decrypt. Makes the data key if it is the first use."""
        clear = value.encode() if isinstance(value, str) else value
        nonce = secrets.token_bytes(_NONCE)
        place = _place(table, column, row_id, practice_id, data_key_id)
        return _FORMAT + nonce + self._cipher(data_key_id, make=True).encrypt(nonce, clear, place)

    def decrypt(
        self,
        stored: bytes,
        *,
        table: str,
        column: str,
        row_id: str,
        practice_id: str,
        data_key_id: str,
    ) -> bytes:
        """ColumnBroken if it was changed or comes from another place; DataKeyDestroyed after shredding."""
        cipher = self._cipher(data_key_id, make=False)
        nonce, closed = stored[1 : 1 + _NONCE], stored[1 + _NONCE :]
        if stored[:1] != _FORMAT:
            raise ColumnBroken(table, column)
        try:
            return cipher.decrypt(nonce, closed, _place(table, column, row_id, practice_id, data_key_id))
        except (InvalidTag, ValueError):
            raise ColumnBroken(table, column) from None

    def decrypt_text(
        self,
        stored: bytes,
        *,
        table: str,
        column: str,
        row_id: str,
        practice_id: str,
        data_key_id: str,
    ) -> str:
        return self.decrypt(
            stored,
            table=table,
            column=column,
            row_id=row_id,
            practice_id=practice_id,
            data_key_id=data_key_id,
        ).decode()

    def rewrap(self, data_key_id: str) -> bool:
        """Bring the data key under the newest key-encryption key; whether there was anything to do.

        Values stay as they are, so a rotation costs one small row per patient.
        """
        wrapped = self._data_keys.get(data_key_id)
        if wrapped is None:
            raise DataKeyUnknown(data_key_id)
        if self._keyring.is_current(wrapped):
            return False
        data_key = self._keyring.unwrap(wrapped, data_key_id)
        self._data_keys.replace(data_key_id, self._keyring.wrap(data_key, data_key_id))
        return True

    def shred(self, data_key_id: str) -> None:
        """Destroy the data key: nothing under it is readable again, by anybody."""
        self._opened.pop(data_key_id, None)
        self._data_keys.destroy(data_key_id)

    def _cipher(self, data_key_id: str, *, make: bool) -> AESGCM:
        opened = self._opened.get(data_key_id)
        if opened is not None:
            return opened
        wrapped = self._data_keys.get(data_key_id)
        if wrapped is None:
            if not make:
                raise DataKeyUnknown(data_key_id)
            fresh = self._keyring.wrap(secrets.token_bytes(_KEY), data_key_id)
            wrapped = self._data_keys.create(data_key_id, fresh)
        cipher = AESGCM(self._keyring.unwrap(wrapped, data_key_id))
        self._opened[data_key_id] = cipher
        return cipher


def _place(table: str, column: str, row_id: str, practice_id: str, data_key_id: str) -> bytes:
    return encode("tandem.column", table, column, row_id, practice_id, data_key_id)


def _wrap_binding(data_key_id: str, version: int) -> bytes:
    return encode("tandem.data-key", data_key_id, version)
