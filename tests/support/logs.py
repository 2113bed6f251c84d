"""Logs without a service around them: a writer, a reader that notes what took effect, and a key between them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import BigInteger, Column, MetaData, String, Table, select

from support.sealing import NOON
from tandem.exchange.v1.exchange_pb2 import LogRow, RowBody
from tandem_platform.exchange import log, quarantine
from tandem_platform.exchange.reader import Applied, Item, LogReader, RowFault, cursor_of
from tandem_platform.exchange.rows import Position, sign_batch, uplink
from tandem_platform.exchange.tables import exchange_tables
from tandem_platform.storage import Database, Transaction, at_rest

metadata = MetaData()
tables = exchange_tables(metadata)
# What took effect, in order.
effect = Table(
    "effect",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("log", String, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("word", String, nullable=False),
)
JUNIPER = uplink("juniper")
KEY = Ed25519PrivateKey.generate()


def a_database(url: str) -> Database:
    at_rest.install(bytes(range(32)))
    database = Database(url, metadata)
    database.create_all()
    return database


def an_entry(word: str, episode: str = "epi_a", after: str = "", size: int = 0) -> RowBody:
    """Content of *episode*, of *size* bytes; its entry id is the word."""
    body = RowBody(after_request_id=after)
    body.entry.ciphertext = bytes(size)
    body.entry.labels.entry_id = word
    body.entry.labels.episode_id = episode
    return body


def a_receipt(word: str) -> RowBody:
    """A row that never waits behind content."""
    body = RowBody()
    body.entries_received.recipient_practice_id = word
    return body


def word_of(body: RowBody) -> str:
    if body.WhichOneof("content") == "entry":
        return body.entry.labels.entry_id
    return body.entries_received.recipient_practice_id


class Writer:
    """Appends to one log and hands out signed batches of it."""

    def __init__(self, database: Database, name: str = JUNIPER, key: Ed25519PrivateKey = KEY) -> None:
        self.database = database
        self.name = name
        self._key = key

    def writes(self, *bodies: RowBody) -> None:
        """All in one transaction."""

        def work(tx: Transaction) -> None:
            for body in bodies:
                labels = body.entry.labels
                log.stage(
                    tx,
                    self.name,
                    body,
                    at=NOON,
                    entry_id=labels.entry_id or None,
                    episode_id=labels.episode_id or None,
                )

        self.database.run(work)

    def words(self, words: Iterable[str]) -> None:
        """One entry of one episode for each, each in a transaction of its own."""
        for word in words:
            self.writes(an_entry(word))

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def batch(self, after: int = 0, limit: int = 500, signed: bool = True) -> list[LogRow]:
        with self.database.reading() as tx:
            rows = log.read(tx, self.name, after, limit)
        if signed:
            sign_batch(self.name, rows, self.sign)
        return rows

    def all(self) -> list[LogRow]:
        """Of all epochs, unsigned."""
        found: list[LogRow] = []
        while more := self.batch(found[-1].sequence if found else 0, signed=False):
            found += more
        return found

    @property
    def head(self) -> Position:
        with self.database.reading() as tx:
            return log.head_of(tx, self.name)


@dataclass
class Notes:
    """A RowHandler: notes every row's word. A word in *faults* raises what stands there.

    waits_for: commands that are not answered.
    """

    faults: dict[str, Exception] = field(default_factory=dict)
    waits_for: set[str] = field(default_factory=set)
    ready: bool = True
    between: Callable[[], None] = lambda: None

    def apply(self, tx: Transaction, items: Sequence[Item]) -> None:
        for item in items:
            word = word_of(item.body)
            if word in self.faults:
                raise self.faults[word]
            if not word:
                raise RowFault("nothing-in-it")
            self.between()
            count = len(tx.all(select(effect.c.number)))
            tx.execute(
                effect.insert().values(
                    number=count + 1, log=item.log, sequence=item.position.sequence, word=word
                )
            )

    def episode_of(self, body: RowBody) -> str | None:
        return body.entry.labels.episode_id if body.WhichOneof("content") == "entry" else None

    def is_ready(self, tx: Transaction, log: str) -> bool:
        return self.ready

    def must_wait(self, tx: Transaction, log: str, body: RowBody) -> bool:
        return body.after_request_id in self.waits_for


class Reader:
    """Applies rows of any log whose head the key has signed."""

    def __init__(self, database: Database, notes: Notes | None = None, *, keep: bool = False) -> None:
        self.database = database
        self.notes = notes or Notes()
        self.log_reader = LogReader(database, self.notes, lambda tx, log: verify, lambda: NOON, keep=keep)

    def pushed(self, rows: Sequence[LogRow], name: str = JUNIPER) -> Applied:
        """The authoritative copy."""
        return self.log_reader.apply(name, rows, authoritative=True)

    def copied(self, rows: Sequence[LogRow], name: str = JUNIPER) -> Applied:
        """A copy from Kafka."""
        return self.log_reader.apply(name, rows, authoritative=False)

    @property
    def words(self) -> list[str]:
        with self.database.reading() as tx:
            return [row.word for row in tx.all(select(effect.c.word).order_by(effect.c.number))]

    def cursor(self, name: str = JUNIPER) -> Position:
        with self.database.reading() as tx:
            return cursor_of(tx, name)

    def parked(self, name: str = JUNIPER) -> list[tuple[int, str, str]]:
        """Sequence, episode and reason."""
        with self.database.reading() as tx:
            return [(row.sequence, row.episode_id, row.reason) for row in quarantine.listed(tx, name)]


def verify(signature: bytes, message: bytes) -> bool:
    try:
        KEY.public_key().verify(signature, message)
    except InvalidSignature:
        return False
    return True
