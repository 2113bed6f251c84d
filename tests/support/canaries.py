"""Looks for words where none of them may be: in files, databases, topics and logs, in the disguises that data takes.

It knows nothing of Tandem, so that it cannot share a mistake with it. As a command:

    python tests/support/canaries.py words.txt PLACE...

words.txt holds one word a line.
A place is a file, a folder, a PostgreSQL database (postgresql://...) or a broker (kafka://host:port), with all its topics.
It prints where a word was found, and exits with 1 if there was any; with 2 if it could not look.
"""

import base64
import contextlib
import re
import shutil
import sqlite3
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lz4.frame
import zstandard

_SQLITE_HEADER = b"SQLite format 3\0"
_LARGEST_UNPACKED = 64 * 1024 * 1024
_DEEPEST = 4
_SHORTEST = 6
"""Shorter words are found everywhere by chance."""


@dataclass(frozen=True, order=True)
class Found:
    """word: as it was given. form: the disguise. where: file, table, topic, and how it was unpacked."""

    where: str
    word: str
    form: str

    def __str__(self) -> str:
        return f"{self.where}: {self.word!r} as {self.form}"


class Search:
    """For *words*: plain in any case, UTF-16, hexadecimal, base64 at each of the three places where a word may start."""

    def __init__(self, words: Iterable[str]) -> None:
        self._any_case: dict[bytes, tuple[str, str]] = {}
        self._exact: dict[bytes, tuple[str, str]] = {}
        for word in words:
            if len(word) < _SHORTEST:
                raise ValueError(f"a word of fewer than {_SHORTEST} characters is found by chance")
            for form, needle in _any_case_forms(word):
                self._any_case[needle] = (word, form)
            for form, needle in _exact_forms(word):
                self._exact[needle] = (word, form)

    def in_bytes(self, content: bytes, where: str, depth: int = 0) -> Iterator[Found]:
        """In *content*, and in whatever compressed streams begin anywhere in it."""
        lowered = content.lower()
        for needle, (word, form) in self._any_case.items():
            if needle in lowered:
                yield Found(where, word, form)
        for needle, (word, form) in self._exact.items():
            if needle in content:
                yield Found(where, word, form)
        if depth < _DEEPEST:
            for packing, at, unpacked in _unpacked(content):
                yield from self.in_bytes(unpacked, f"{where} > {packing} at {at}", depth + 1)

    def in_file(self, path: Path) -> Iterator[Found]:
        """In its bytes, which hold deleted rows too; of a SQLite database in every cell besides, its WAL included:
        a long value does not lie in one piece in the file."""
        content = path.read_bytes()
        # Brokers and databases prepare files with zeros in advance; no word has more than one at its end.
        yield from self.in_bytes(content.rstrip(b"\0") + b"\0", str(path))
        if content.startswith(_SQLITE_HEADER):
            yield from self._in_sqlite(path)

    def in_place(self, place: str) -> Iterator[Found]:
        """In what the command line names."""
        if place.startswith("postgresql://"):
            yield from self.in_postgres(place)
        elif place.startswith("kafka://"):
            yield from self.in_topics(place.removeprefix("kafka://"))
        else:
            yield from self.in_path(Path(place))

    def in_path(self, path: Path) -> Iterator[Found]:
        """In a file, or in all files below a folder. Names count too."""
        files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
        for file in files:
            yield from self.in_bytes(str(file).encode(), f"the name of {file}")
            # Files come and go below a running broker or database.
            with contextlib.suppress(FileNotFoundError):
                yield from self.in_file(file)

    def in_postgres(self, url: str) -> Iterator[Found]:
        """In every table of every schema, as COPY gives it; bytea unfolded."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(url) as connection:
            tables = connection.execute(
                "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            ).fetchall()
            for schema, table in tables:
                statement = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(schema, table))
                with connection.cursor().copy(statement) as copy:
                    rows = b"".join(bytes(part) for part in copy)
                yield from self.in_bytes(rows, f"{schema}.{table}")
                for value in re.findall(rb"\\\\x([0-9a-f]+)", rows):
                    yield from self.in_bytes(bytes.fromhex(value.decode()), f"{schema}.{table} bytea")

    def in_records(
        self, topic: str, records: Iterable[tuple[bytes | None, bytes | None, Iterable[tuple[str, bytes]]]]
    ) -> Iterator[Found]:
        """*records*: key, value and headers of each."""
        for number, (key, value, headers) in enumerate(records):
            parts = {"key": key, "value": value}
            parts |= {f"header {name}": name.encode() + b"\0" + (held or b"") for name, held in headers}
            for part, content in parts.items():
                yield from self.in_bytes(content or b"", f"{topic} record {number} {part}")

    def in_topics(self, bootstrap: str, topics: Iterable[str] = ()) -> Iterator[Found]:
        """In every record that the broker still holds, of *topics* or of all."""
        from kafka import KafkaConsumer, TopicPartition

        consumer = KafkaConsumer(
            bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
        )
        try:
            names = sorted(topics) or sorted(consumer.topics())
            for name in names:
                yield from self.in_bytes(name.encode(), f"the name of topic {name}")
            partitions = [
                TopicPartition(name, each)
                for name in names
                for each in consumer.partitions_for_topic(name) or ()
            ]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            silences = 0
            while silences < 3:
                polled = consumer.poll(timeout_ms=300)
                silences = 0 if polled else silences + 1
                for partition, batch in polled.items():
                    records = ((each.key, each.value, each.headers) for each in batch)
                    yield from self.in_records(partition.topic, records)
        finally:
            consumer.close()

    def _in_sqlite(self, path: Path) -> Iterator[Found]:
        with tempfile.TemporaryDirectory() as folder:
            # A copy, because opening a database with a WAL writes to it.
            for suffix in ("", "-wal"):
                beside = path.with_name(path.name + suffix)
                if beside.exists():
                    shutil.copy(beside, Path(folder) / f"copy{suffix}")
            connection = sqlite3.connect(Path(folder) / "copy")
            try:
                tables = [
                    name
                    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
                ]
                for table in tables:
                    yield from self._in_table(connection, table, f"{path} table {table}")
            finally:
                connection.close()

    def _in_table(self, connection: sqlite3.Connection, table: str, where: str) -> Iterator[Found]:
        connection.text_factory = bytes
        rows = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - a name that the database itself gave
        columns = [column[0] for column in rows.description]
        for row in rows:
            for column, value in zip(columns, row, strict=True):
                if isinstance(value, bytes):
                    yield from self.in_bytes(value, f"{where} column {column}")


def _any_case_forms(word: str) -> Iterator[tuple[str, bytes]]:
    lowered = word.lower()
    yield "text", lowered.encode()
    yield "UTF-16", lowered.encode("utf-16-le")
    yield "UTF-16", lowered.encode("utf-16-be")
    for spelt in _spellings(word):
        # Digits in any case, of letters in one.
        yield "hexadecimal", spelt.encode().hex().encode()
        yield "escaped text", "".join(f"\\u{ord(each):04x}" for each in spelt).encode()


def _spellings(word: str) -> set[str]:
    return {word, word.lower(), word.upper()}


def _exact_forms(word: str) -> Iterator[tuple[str, bytes]]:
    for spelt in _spellings(word):
        for start in range(3):
            raw = b"\0" * start + spelt.encode()
            # What lies wholly inside of the word: the characters that share bits with its neighbours are left off.
            encoded = base64.b64encode(raw)[(0, 2, 3)[start] : len(raw) * 8 // 6]
            yield "base64", encoded
            yield "base64", encoded.translate(bytes.maketrans(b"+/", b"-_"))


def _unpacked(content: bytes) -> Iterator[tuple[str, int, bytes]]:
    """Every compressed stream that begins somewhere in *content*."""
    view = memoryview(content)
    for packing, magic, unpack in _PACKINGS:
        at = content.find(magic)
        while at >= 0:
            with contextlib.suppress(
                zlib.error, zstandard.ZstdError, RuntimeError, ValueError, EOFError, IndexError
            ):
                unpacked = unpack(view[at:])
                if unpacked:
                    yield packing, at, unpacked
            at = content.find(magic, at + 1)


def _gunzip(packed: memoryview) -> bytes:
    return zlib.decompressobj(31).decompress(packed, _LARGEST_UNPACKED)


def _inflate(packed: memoryview) -> bytes:
    return zlib.decompressobj().decompress(packed, _LARGEST_UNPACKED)


def _unzstd(packed: memoryview) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(packed)[:_LARGEST_UNPACKED]


def _unlz4(packed: memoryview) -> bytes:
    return bytes(lz4.frame.LZ4FrameDecompressor().decompress(packed, _LARGEST_UNPACKED))


def _unsnappy(framed: memoryview) -> bytes:
    """The frames that Kafka's clients write: a header of sixteen bytes, then blocks with their lengths."""
    at, unpacked = 16, b""
    while at + 4 <= len(framed):
        length = int.from_bytes(framed[at : at + 4])
        block = framed[at + 4 : at + 4 + length]
        if not length or len(block) < length:
            break
        unpacked += snappy_block(bytes(block))
        at += 4 + length
    return unpacked


def snappy_block(packed: bytes) -> bytes:
    """One block of Snappy: literals, and copies of what was unpacked before."""
    _, at = _varint(packed, 0)
    unpacked = bytearray()
    while at < len(packed):
        tag, at = packed[at], at + 1
        if tag & 3 == 0:
            length = tag >> 2
            if length >= 60:
                width = length - 59
                length, at = int.from_bytes(packed[at : at + width], "little"), at + width
            unpacked += packed[at : at + length + 1]
            at += length + 1
            continue
        if tag & 3 == 1:
            length, offset = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | packed[at]
            at += 1
        else:
            width = 2 if tag & 3 == 2 else 4
            length, offset = (tag >> 2) + 1, int.from_bytes(packed[at : at + width], "little")
            at += width
        if not 0 < offset <= len(unpacked):
            raise ValueError("a copy from before the beginning")
        for _ in range(length):
            unpacked.append(unpacked[-offset])
    return bytes(unpacked)


def _varint(packed: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (packed[at] & 0x7F) << shift
        at += 1
        if packed[at - 1] < 0x80:
            return number, at
        shift += 7


_PACKINGS: tuple[tuple[str, bytes, Callable[[memoryview], bytes]], ...] = (
    ("gzip", b"\x1f\x8b\x08", _gunzip),
    ("zlib", b"\x78\x01", _inflate),
    ("zlib", b"\x78\x9c", _inflate),
    ("zlib", b"\x78\xda", _inflate),
    ("zstd", b"\x28\xb5\x2f\xfd", _unzstd),
    ("lz4", b"\x04\x22\x4d\x18", _unlz4),
    ("snappy", b"\x82SNAPPY\0", _unsnappy),
)


def main(arguments: list[str]) -> int:
    if len(arguments) < 2:
        sys.stderr.write(__doc__ or "")
        return 2
    absent = [place for place in arguments[1:] if "://" not in place and not Path(place).exists()]
    if absent:
        sys.stderr.write(f"not there: {', '.join(absent)}\n")
        return 2
    lines = Path(arguments[0]).read_text(encoding="utf-8").splitlines()
    search = Search([line.strip() for line in lines if line.strip()])
    every = sorted({found for place in arguments[1:] for found in search.in_place(place)})
    for found in every:
        sys.stdout.write(f"{found}\n")
    sys.stderr.write(f"{len(every)} places\n")
    return 1 if every else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
