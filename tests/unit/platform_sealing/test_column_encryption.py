"""A value decrypts where it was written and nowhere else, and not at all once its patient was shredded."""

import json
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tandem_platform.sealing import SecretExposed
from tandem_platform.storage.encryption import (
    ColumnBroken,
    ColumnCipher,
    DataKeyDestroyed,
    DataKeyUnknown,
    KekRetired,
    Keyring,
    KeyringUnreadable,
)

HERE = {
    "table": "patients",
    "column": "legal_name",
    "row_id": "pat_1",
    "practice_id": "prac_1",
    "data_key_id": "key_1",
}
NAME = "Rosalind Ashgrove"


class DataKeysInSqlite:
    def __init__(self):
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        self.database.execute("CREATE TABLE data_keys (id TEXT PRIMARY KEY, wrapped BLOB)")

    def get(self, data_key_id):
        row = self.database.execute("SELECT wrapped FROM data_keys WHERE id = ?", [data_key_id]).fetchone()
        if row is not None and row[0] is None:
            raise DataKeyDestroyed(data_key_id)
        return row[0] if row is not None else None

    def create(self, data_key_id, wrapped):
        self.database.execute(
            "INSERT INTO data_keys VALUES (?, ?) ON CONFLICT DO NOTHING", [data_key_id, wrapped]
        )
        return self.get(data_key_id)

    def replace(self, data_key_id, wrapped):
        self.database.execute("UPDATE data_keys SET wrapped = ? WHERE id = ?", [wrapped, data_key_id])

    def destroy(self, data_key_id):
        self.database.execute(
            "INSERT INTO data_keys VALUES (?, NULL) ON CONFLICT DO UPDATE SET wrapped = NULL", [data_key_id]
        )


@pytest.fixture(scope="module")
def keyring():
    return Keyring.generate()


@pytest.fixture
def data_keys():
    store = DataKeysInSqlite()
    yield store
    store.database.close()


@pytest.fixture
def cipher(keyring, data_keys):
    return ColumnCipher(keyring, data_keys)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_what_was_written_is_read(cipher, text):
    stored = cipher.encrypt(text, **HERE)
    assert cipher.decrypt_text(stored, **HERE) == text
    assert cipher.decrypt(stored, **HERE) == text.encode()


def test_the_clear_text_is_not_in_the_column(cipher):
    assert NAME.encode() not in cipher.encrypt(NAME, **HERE)


def test_the_same_value_never_looks_the_same(cipher):
    assert len({cipher.encrypt(NAME, **HERE) for _ in range(50)}) == 50


@pytest.mark.parametrize("part", HERE)
def test_a_value_moved_to_another_place_does_not_decrypt(cipher, part):
    stored = cipher.encrypt(NAME, **HERE)
    elsewhere = {**HERE, part: "another"}
    cipher.encrypt("something of its own", **elsewhere)
    with pytest.raises(ColumnBroken):
        cipher.decrypt(stored, **elsewhere)


def test_swapped_rows_do_not_decrypt(cipher):
    rows = {row: {**HERE, "row_id": row} for row in ("pat_1", "pat_2")}
    stored = {row: cipher.encrypt(row, **place) for row, place in rows.items()}
    for row, other in (("pat_1", "pat_2"), ("pat_2", "pat_1")):
        with pytest.raises(ColumnBroken, match=r"patients\.legal_name"):
            cipher.decrypt(stored[other], **rows[row])


def test_a_boundary_cannot_be_moved_between_table_and_column(cipher):
    stored = cipher.encrypt(NAME, **{**HERE, "table": "a", "column": "bc"})
    with pytest.raises(ColumnBroken):
        cipher.decrypt(stored, **{**HERE, "table": "ab", "column": "c"})


def test_a_change_of_any_byte_is_refused(cipher):
    stored = cipher.encrypt(NAME, **HERE)
    for position in range(len(stored)):
        tampered = stored[:position] + bytes([stored[position] ^ 1]) + stored[position + 1 :]
        with pytest.raises(ColumnBroken):
            cipher.decrypt(tampered, **HERE)
    for length in range(len(stored)):
        with pytest.raises(ColumnBroken):
            cipher.decrypt(stored[:length], **HERE)


def test_a_shredded_patient_is_gone_and_the_others_stay(keyring, data_keys, cipher):
    gone, stays = HERE, {**HERE, "data_key_id": "key_2"}
    stored = {place["data_key_id"]: cipher.encrypt(NAME, **place) for place in (gone, stays)}
    cipher.shred("key_1")
    for reader in (cipher, ColumnCipher(keyring, data_keys)):
        with pytest.raises(DataKeyDestroyed):
            reader.decrypt(stored["key_1"], **gone)
        assert reader.decrypt_text(stored["key_2"], **stays) == NAME


def test_nothing_new_is_written_for_a_shredded_patient(keyring, data_keys, cipher):
    cipher.encrypt(NAME, **HERE)
    cipher.shred("key_1")
    cipher.shred("key_1")
    for writer in (cipher, ColumnCipher(keyring, data_keys)):
        with pytest.raises(DataKeyDestroyed):
            writer.encrypt(NAME, **HERE)


def test_of_two_that_make_a_key_at_once_both_use_the_first(keyring, data_keys):
    class LostTheRace(DataKeysInSqlite):
        def __init__(self):
            self.database = data_keys.database

        def get(self, data_key_id):
            if not hasattr(self, "asked"):
                self.asked = True
                return None
            return super().get(data_key_id)

    first = ColumnCipher(keyring, data_keys).encrypt("first", **HERE)
    loser = ColumnCipher(keyring, LostTheRace())
    second = loser.encrypt("second", **HERE)
    reader = ColumnCipher(keyring, data_keys)
    assert [reader.decrypt_text(each, **HERE) for each in (first, second)] == ["first", "second"]


def test_a_value_without_its_key_is_refused(cipher):
    with pytest.raises(DataKeyUnknown):
        cipher.decrypt(b"\x01" + bytes(40), **HERE)
    with pytest.raises(DataKeyUnknown):
        cipher.rewrap("key_1")


def test_a_data_key_moved_to_another_patient_does_not_open(keyring, data_keys, cipher):
    cipher.encrypt(NAME, **HERE)
    with pytest.raises(ColumnBroken):
        keyring.unwrap(data_keys.get("key_1"), "key_2")


def test_a_rotated_keyring_rewraps_and_can_then_forget(keyring, data_keys, cipher):
    stored = cipher.encrypt(NAME, **HERE)
    rotated = keyring.rotated()
    assert ColumnCipher(rotated, data_keys).decrypt_text(stored, **HERE) == NAME
    backup = data_keys.get("key_1")
    assert ColumnCipher(rotated, data_keys).rewrap("key_1")
    assert not ColumnCipher(rotated, data_keys).rewrap("key_1")
    retired = rotated.retired(1)
    assert ColumnCipher(retired, data_keys).decrypt_text(stored, **HERE) == NAME
    with pytest.raises(KekRetired):
        retired.unwrap(backup, "key_1")


def test_a_keyring_is_the_owners_alone(keyring, tmp_path):
    path = tmp_path / "keys" / "keyring.json"
    keyring.rotated().save(path)
    assert Keyring.from_file(path).current == 2
    path.chmod(0o640)
    with pytest.raises(SecretExposed):
        Keyring.from_file(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        json.dumps({"key_encryption_keys": {}, "index_key": "A" * 44}),
        json.dumps({"key_encryption_keys": {"1": "c2hvcnQ="}, "index_key": "c2hvcnQ="}),
        json.dumps({"key_encryption_keys": {"1": 7}, "index_key": 7}),
    ],
)
def test_a_damaged_keyring_is_refused(text):
    with pytest.raises(KeyringUnreadable):
        Keyring.from_json(text)


def test_a_keyring_shows_no_key(keyring):
    assert repr(keyring) == "Keyring(versions=[1])"


def test_a_blind_index_finds_the_same_value_and_tells_nothing_else(keyring):
    index = keyring.blind_index("ashgrove|1984-02-01", "patient-name-birth")
    assert index == keyring.rotated().blind_index("ashgrove|1984-02-01", "patient-name-birth")
    others = {
        keyring.blind_index("ashgrove|1984-02-02", "patient-name-birth"),
        keyring.blind_index("ashgrove|1984-02-01", "patient-phone"),
        Keyring.generate().blind_index("ashgrove|1984-02-01", "patient-name-birth"),
    }
    assert len(others | {index}) == 4
    assert len(index) == 32
