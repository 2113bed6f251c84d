"""The floor under the exchange: the seals, commits and Kafka hops of an entry's way between two clinics, and no logic.

usage: floor.py DATABASE_A DATABASE_HUB DATABASE_B BOOTSTRAP FETCH_WAIT_MS NAME
The topics NAME.up and NAME.down are there. Orders come on standard input, as `load.recorder` describes them. It imports nothing of Tandem's.
"""

import json
import multiprocessing
import secrets
import sqlite3
import sys
import time
from hashlib import sha256
from typing import Any, ClassVar, NamedTuple

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

HPKE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
ID, HASH, SIGNATURE, WRAP, KEPT, NONCE = 30, 32, 64, 1168, 60, 12
CONTENT, PADDED = b"x" * 150, 256
ROWS_AT_ONCE = 1000


class Keys:
    """Both clinics' keys: made before the processes part, so that each has them."""

    def __init__(self) -> None:
        self.signing = Ed25519PrivateKey.generate()
        self.verifying = self.signing.public_key()
        self.partner = MLKEM768X25519PrivateKey(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())
        self.for_partner = self.partner.public_key()
        self.keeping = AESGCM(secrets.token_bytes(32))
        self.at_rest = AESGCM(secrets.token_bytes(32))

    def store(self, content: bytes) -> bytes:
        nonce = secrets.token_bytes(NONCE)
        return nonce + self.at_rest.encrypt(nonce, content, None)

    def seal(self, entry_id: str, content: bytes) -> bytes:
        """id, hash, signature, the partner's wrap, the author's wrap, nonce, ciphertext."""
        key, nonce, name = secrets.token_bytes(32), secrets.token_bytes(NONCE), entry_id.encode()
        closed = nonce + AESGCM(key).encrypt(nonce, content.ljust(PADDED, b"\0"), name)
        content_hash = sha256(closed).digest()
        wraps = HPKE.encrypt(key, self.for_partner, info=name), nonce + self.keeping.encrypt(nonce, key, name)
        return b"".join((name, content_hash, self.signing.sign(name + content_hash), *wraps, closed))

    def verify(self, body: bytes, wraps: int) -> bytes:
        """What is closed in *body*, which carries so many bytes of wraps."""
        name, content_hash, closed = (
            body[:ID],
            body[ID : ID + HASH],
            body[ID + HASH + SIGNATURE + wraps :],
        )
        self.verifying.verify(body[ID + HASH : ID + HASH + SIGNATURE], name + content_hash)
        if sha256(closed).digest() != content_hash:
            raise ValueError("the content is not what was signed")
        return closed

    def open(self, body: bytes) -> bytes:
        closed, name = self.verify(body, wraps=WRAP), body[:ID]
        key = HPKE.decrypt(body[ID + HASH + SIGNATURE :][:WRAP], self.partner, info=name)
        return AESGCM(key).decrypt(closed[:NONCE], closed[NONCE:], name)


class Store:
    """A database in which every commit waits for the disk."""

    TABLES: ClassVar = {
        "own_entry": "entry_id TEXT PRIMARY KEY, content {blob}, sealed {blob}",
        "uplink": "entry_id TEXT PRIMARY KEY, body {blob}",
        "downlink": "sequence BIGINT PRIMARY KEY, body {blob}",
        "received_entry": "entry_id TEXT PRIMARY KEY, content {blob}, received_at BIGINT",
        "exchange_cursor": "log TEXT PRIMARY KEY, sequence BIGINT",
    }

    def __init__(self, url: str) -> None:
        self.is_sqlite = url.startswith("sqlite")
        self._connection: Any
        if self.is_sqlite:
            path = url.removeprefix("sqlite:///")
            self._connection = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
        else:
            self._connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        for table, columns in self.TABLES.items():
            blob = "BLOB" if self.is_sqlite else "BYTEA"
            self._connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns.format(blob=blob)})")

    def commit(self, **rows: list[tuple[Any, ...]]) -> None:
        """Rows by table, in one transaction."""
        cursor = self._connection.cursor()
        cursor.execute("BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN")
        for table, values in rows.items():
            marks = ", ".join(["?" if self.is_sqlite else "%s"] * len(values[0]))
            statement = f"INSERT INTO {table} VALUES ({marks})"  # noqa: S608 - names of our own
            if table == "exchange_cursor":
                statement += " ON CONFLICT (log) DO UPDATE SET sequence = excluded.sequence"
            cursor.executemany(statement, values)
        cursor.execute("COMMIT")


class Place(NamedTuple):
    """Where a process works."""

    database: str
    bootstrap: str
    fetch_wait_ms: int
    up: str
    down: str

    def producer(self) -> Any:
        client = {"bootstrap_servers": self.bootstrap, "batch_size": 512 * 1024, "linger_ms": 0}
        return KafkaProducer(acks="all", enable_idempotence=True, **client)


def publish(to: Any, topic: str, bodies: list[bytes]) -> None:
    for sent in [to.send(topic, value=body, partition=0) for body in bodies]:
        sent.get(timeout=10)


def batches(at: Place, topic: str) -> Any:
    """Values of the topic from its beginning, in the batches in which they arrive."""
    limits = {"fetch_max_wait_ms": at.fetch_wait_ms, "max_poll_records": ROWS_AT_ONCE}
    consumer = KafkaConsumer(
        bootstrap_servers=at.bootstrap, group_id=None, enable_auto_commit=False, **limits
    )
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek_to_beginning()
    while True:
        for records in consumer.poll(200).values():
            yield [record.value for record in records]


def hub(keys: Keys, at: Place) -> None:
    store, to, sequence = Store(at.database), at.producer(), 0
    for bodies in batches(at, at.up):
        down = [
            body[: ID + HASH + SIGNATURE + WRAP] + keys.verify(body, wraps=WRAP + KEPT) for body in bodies
        ]
        store.commit(
            uplink=[(body[:ID].decode(), body) for body in bodies],
            downlink=[(sequence + place, body) for place, body in enumerate(down, 1)],
            exchange_cursor=[(at.up, sequence + len(bodies))],
        )
        sequence += len(bodies)
        publish(to, at.down, down)


def partner(keys: Keys, at: Place) -> None:
    store, sequence = Store(at.database), 0
    for bodies in batches(at, at.down):
        now = int(time.time() * 1e6)
        opened = [(body[:ID].decode(), keys.store(keys.open(body)), now) for body in bodies]
        sequence += len(bodies)
        store.commit(received_entry=opened, exchange_cursor=[(at.down, sequence)])


def author(keys: Keys, at: Place) -> None:
    """Takes orders from standard input until it ends."""
    store, to = Store(at.database), at.producer()
    say("ready")
    for line in sys.stdin:
        order, began = json.loads(line), time.monotonic()
        for first in range(0, order["entries"], order["together"]):
            due = began + first / order["rate"] if order["rate"] else began
            time.sleep(max(0.0, due - time.monotonic()))
            batch = []
            for _ in range(min(order["together"], order["entries"] - first)):
                entry_id = f"ent_{secrets.token_hex(13)}"
                batch.append((entry_id, keys.store(CONTENT), keys.seal(entry_id, CONTENT)))
            store.commit(own_entry=batch)
            say(json.dumps([due, time.monotonic(), [entry_id for entry_id, _, _ in batch]]))
            publish(to, at.up, [sealed for _, _, sealed in batch])


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(databases: list[str], bootstrap: str, fetch_wait_ms: int, name: str) -> None:
    # Clients of Kafka do not survive a fork, so each is made in the process that uses it.
    keys, apart = Keys(), multiprocessing.get_context("fork")
    a, middle, b = (Place(url, bootstrap, fetch_wait_ms, f"{name}.up", f"{name}.down") for url in databases)
    for work, at in ((hub, middle), (partner, b)):
        apart.Process(target=work, args=(keys, at), daemon=True).start()
    author(keys, a)


if __name__ == "__main__":
    main(sys.argv[1:4], sys.argv[4], int(sys.argv[5]), sys.argv[6])
