"""Content and identities of patients, encrypted before they reach a table."""

from sqlalchemy import bindparam, select, update

from tandem_clinic.store.tables import data_key
from tandem_platform.storage import Transaction
from tandem_platform.storage.encryption import ColumnCipher, DataKeyDestroyed, Keyring
from tandem_platform.storage.inserts import insert_new

_NOTE = "clinic.cipher"
CLINIC_KEY = "clinic"
"""Data key of what belongs to no single patient, such as remembered answers."""


class Vault:
    """Encrypts for the clinic's tables. *data_key_id* is the patient's id, or the episode's for what was received.

    Safe to share between threads: ciphers live within one transaction.
    """

    def __init__(self, keyring: Keyring, practice_id: str) -> None:
        self._keyring = keyring
        self._practice_id = practice_id

    def encrypt(
        self, tx: Transaction, value: bytes | str, place: str, row_id: str, data_key_id: str
    ) -> bytes:
        """*place* is "table.column"."""
        table, _, column = place.partition(".")
        return self._cipher(tx).encrypt(
            value,
            table=table,
            column=column,
            row_id=row_id,
            practice_id=self._practice_id,
            data_key_id=data_key_id,
        )

    def decrypt(self, tx: Transaction, stored: bytes, place: str, row_id: str, data_key_id: str) -> bytes:
        table, _, column = place.partition(".")
        return self._cipher(tx).decrypt(
            stored,
            table=table,
            column=column,
            row_id=row_id,
            practice_id=self._practice_id,
            data_key_id=data_key_id,
        )

    def index(self, value: str, purpose: str) -> bytes:
        """Equal for equal values of one purpose, telling nothing else."""
        return self._keyring.blind_index(value, purpose)

    def shred(self, tx: Transaction, data_key_id: str) -> None:
        """Make everything under that key unreadable for good."""
        self._cipher(tx).shred(data_key_id)

    def rewrap(self, tx: Transaction, data_key_id: str) -> bool:
        return self._cipher(tx).rewrap(data_key_id)

    def _cipher(self, tx: Transaction) -> ColumnCipher:
        opened: _Opened | None = tx.notes.get(_NOTE)
        if opened is None:
            opened = tx.notes[_NOTE] = _Opened(self._keyring, tx)
        return opened.cipher


class _Opened:
    """The cipher of a transaction. A savepoint that fails takes data keys back, so its copy remembers none."""

    def __init__(self, keyring: Keyring, tx: Transaction) -> None:
        self._keyring = keyring
        self._tx = tx
        self.cipher = ColumnCipher(keyring, _DataKeys(tx))

    def copy(self) -> "_Opened":
        return _Opened(self._keyring, self._tx)


_WRAPPED = select(data_key.c.wrapped).where(data_key.c.data_key_id == bindparam("of"))


class _DataKeys:
    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def get(self, data_key_id: str) -> bytes | None:
        row = self._tx.first(_WRAPPED, of=data_key_id)
        if row is None:
            return None
        if not row.wrapped:
            raise DataKeyDestroyed(data_key_id)
        return bytes(row.wrapped)

    def create(self, data_key_id: str, wrapped: bytes) -> bytes:
        insert_new(self._tx, data_key, {"data_key_id": data_key_id, "wrapped": wrapped})
        return self.get(data_key_id) or wrapped

    def replace(self, data_key_id: str, wrapped: bytes) -> None:
        self._write(data_key_id, wrapped)

    def destroy(self, data_key_id: str) -> None:
        insert_new(self._tx, data_key, {"data_key_id": data_key_id, "wrapped": b""})
        self._write(data_key_id, b"")

    def _write(self, data_key_id: str, wrapped: bytes) -> None:
        self._tx.execute(
            update(data_key).where(data_key.c.data_key_id == data_key_id).values(wrapped=wrapped)
        )
