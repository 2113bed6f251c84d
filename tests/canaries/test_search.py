"""The search finds a word wherever it may have got to. Else it would prove nothing that it finds none."""

import base64
import gzip
import json
import logging
import os
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lz4.frame
import psycopg
import pytest
import zstandard
from kafka import KafkaProducer
from kafka.record.memory_records import MemoryRecordsBuilder
from sqlalchemy.engine import make_url

import support.canaries
from support.brokers import Broker, apache_kafka, apache_kafka_is_missing, embedded_broker
from support.canaries import Search
from support.databases import PostgresServer
from tandem_platform.exchange.transport.kafka import KafkaSettings, KafkaTransport

WORD = "Ottilie Vandersloot"
SEARCH = Search([WORD, "another word"])

DISGUISES: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "another case": lambda word: word.upper().encode(),
    "UTF-16": lambda word: word.encode("utf-16"),
    "UTF-16, big end first": lambda word: word.encode("utf-16-be"),
    "hexadecimal": lambda word: word.encode().hex().encode(),
    "hexadecimal, large letters": lambda word: word.encode().hex().upper().encode(),
    "base64": lambda word: base64.b64encode(word.encode()),
    "base64 of a line": lambda word: base64.b64encode(f"a{word}z".encode()),
    "base64 of a longer line": lambda word: base64.b64encode(f"ab{word}yz".encode()),
    "base64 for addresses": lambda word: base64.urlsafe_b64encode(f"\xff\xfe{word}".encode()),
    "JSON": lambda word: json.dumps({"name": word}).encode(),
    "escaped text": lambda word: "".join(f"\\u{ord(each):04x}" for each in word).encode(),
}
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda raw: raw,
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "zlib, quick": lambda raw: zlib.compress(raw, 1),
    "zstd": zstandard.ZstdCompressor().compress,
    "lz4": lz4.frame.compress,
    "gzip in zstd": lambda raw: zstandard.ZstdCompressor().compress(gzip.compress(raw)),
}


def words_in(content: bytes) -> set[str]:
    return {found.word for found in SEARCH.in_bytes(content, "here")}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_word_is_found_in_every_disguise(disguise: str, packing: str) -> None:
    hidden = (
        os.urandom(40)
        + PACKINGS[packing](b"before " + DISGUISES[disguise](WORD) + b" after")
        + os.urandom(40)
    )
    assert words_in(hidden) == {WORD}


def test_what_is_not_there_is_not_found() -> None:
    assert words_in(os.urandom(2_000_000)) == set()
    assert words_in(gzip.compress(b"Ottilie, and Vandersloot")) == set()


# python-snappy is not to be had here: a block as its format describes it, with literals and copies of both kinds.
SNAPPY = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01" + (lambda block: len(block).to_bytes(4) + block)(
    bytes([27])  # the length of what it unpacks to
    + bytes([(8 - 1) << 2])
    + b"abcdabcd"
    + bytes([1 | (4 - 4) << 2, 4])  # four bytes, from four back
    + bytes([2 | (4 - 1) << 2, 8, 0])  # four bytes, from eight back
    + bytes([(11 - 1) << 2])
    + b"snow marten"
)


def test_what_snappy_packed_is_unpacked() -> None:
    found = list(Search(["abcdabcdabcdabcdsnow marten"]).in_bytes(b"\0\1" + SNAPPY + b"\0\0\0\0", "here"))
    assert [each.where for each in found] == ["here > snappy at 2"]


def test_words_that_chance_would_find_are_not_taken() -> None:
    with pytest.raises(ValueError, match="chance"):
        Search(["dose"])


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "some.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, picture BLOB)")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    yield connection
    connection.close()


def places(path: Path) -> set[str]:
    return {found.where.removeprefix(str(path)).strip("/") for found in SEARCH.in_path(path)}


def test_a_cell_is_found_in_the_wal_before_it_reaches_the_file(
    database: sqlite3.Connection, tmp_path: Path
) -> None:
    assert places(tmp_path) == set()
    database.execute("INSERT INTO person (name) VALUES (?)", (WORD,))
    assert places(tmp_path) == {"some.db-wal", "some.db table person column name"}
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert places(tmp_path) == {"some.db", "some.db table person column name"}


def test_a_cell_in_pieces_is_found_whole(database: sqlite3.Connection, tmp_path: Path) -> None:
    """A long value lies on several pages; every place of the word in it is tried."""
    size = database.execute("PRAGMA page_size").fetchone()[0]
    for shift in range(0, size, 7):
        picture = bytes(size - 200 + shift) + zlib.compress(os.urandom(3_000) + WORD.encode())
        database.execute("REPLACE INTO person (id, picture) VALUES (1, ?)", (picture,))
        if shift % 700 == 0:
            assert any("column picture > zlib" in place for place in places(tmp_path))


def test_a_deleted_row_is_found(database: sqlite3.Connection, tmp_path: Path) -> None:
    database.execute("PRAGMA secure_delete=OFF")
    database.execute("INSERT INTO person (name) VALUES (?)", (WORD,))
    database.execute("DELETE FROM person")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert places(tmp_path) == {"some.db"}


def test_a_log_line_and_a_file_name_are_found(tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "some.log")
    handler.emit(logging.LogRecord("some", logging.INFO, "here", 1, "patient=%s", (WORD,), None))
    handler.close()
    (tmp_path / f"{WORD}.txt").touch()
    (tmp_path / "old.log.gz").write_bytes(gzip.compress((tmp_path / "some.log").read_bytes()))
    assert places(tmp_path) == {
        "some.log",
        "old.log.gz > gzip at 0",
        f"the name of {tmp_path}/{WORD}.txt",
    }


@pytest.mark.parametrize("value", [WORD, "\\\\x" + WORD.encode().hex(), "none"])
def test_postgresql_is_searched_table_by_table(postgres: PostgresServer, value: str) -> None:
    url = make_url(postgres.new_database()).set(drivername="postgresql").render_as_string()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE person (name TEXT, picture BYTEA)")
        connection.execute("CREATE SCHEMA apart; CREATE TABLE apart.person (picture BYTEA)")
        if value == WORD:
            connection.execute("INSERT INTO person (name) VALUES (%s)", (WORD,))
        elif value != "none":
            connection.execute("INSERT INTO apart.person VALUES (%s)", (gzip.compress(WORD.encode()),))
    found = {each.where for each in SEARCH.in_postgres(url)}
    expected = {"none": set(), WORD: {"public.person"}}
    assert found == expected.get(value, {"apart.person bytea > gzip at 0"})


@pytest.fixture(scope="module")
def broker(stack: str) -> Iterator[Broker]:
    if stack == "production" and (why := apache_kafka_is_missing()):
        pytest.skip(why)
    broker = embedded_broker() if stack == "embedded" else apache_kafka()
    yield broker
    broker.close()


@pytest.mark.parametrize("compression", [None, "gzip", "lz4", "zstd"])
@pytest.mark.parametrize("part", ["key", "value", "header", "none"])
def test_a_record_is_found_on_a_topic(broker: Broker, part: str, compression: str | None) -> None:
    topic = f"tandem.{part}-{compression}.up"
    transport = KafkaTransport(KafkaSettings(broker.bootstrap))
    transport.ensure_topics([topic])
    transport.close()
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, compression_type=compression)
    for number in range(20):
        word = WORD if number == 11 else ""
        producer.send(
            topic,
            key=(word if part == "key" else "k").encode(),
            value=(word if part == "value" else "v").encode(),
            headers=[("note", (word if part == "header" else "h").encode())],
        )
    producer.close()
    found = list(SEARCH.in_topics(broker.bootstrap, [topic]))
    assert len(found) == (0 if part == "none" else 1)
    assert all(part in each.where and topic in each.where for each in found)


@pytest.mark.parametrize("compression", [1, 3, 4], ids=["gzip", "lz4", "zstd"])
def test_a_batch_is_found_as_it_lies_on_a_brokers_disk(tmp_path: Path, compression: int) -> None:
    builder = MemoryRecordsBuilder(2, compression, 1_000_000)
    for number in range(20):
        # Its parts come before it, so that it is packed as a repetition of them.
        word = WORD if number == 11 else (WORD[:12], WORD[10:])[number % 2]
        builder.append(timestamp=number, key=None, value=word.encode(), headers=[])
    builder.close()
    segment = bytes(builder.buffer())
    assert WORD.encode() not in segment
    (tmp_path / "00000000000000000000.log").write_bytes(os.urandom(33) + segment + os.urandom(7))
    assert {found.word for found in SEARCH.in_path(tmp_path)} == {WORD}


def test_the_command_prints_the_places_and_fails(tmp_path: Path) -> None:
    words, data = tmp_path / "words.txt", tmp_path / "data"
    words.write_text(f"{WORD}\n\nanother word\n")
    data.mkdir()
    (data / "clean.txt").write_text("nothing")
    command = [sys.executable, str(Path(support.canaries.__file__)), str(words), str(data)]
    # Alone: without anything of this project to import.
    alone: dict[str, Any] = {
        "cwd": "/",
        "env": {"PATH": os.environ["PATH"]},
        "capture_output": True,
        "text": True,
    }
    assert subprocess.run(command, check=False, timeout=60, **alone).returncode == 0
    (data / "dump.sql").write_text(f"COPY person FROM stdin;\n1\t{WORD}\n")
    found = subprocess.run(command, check=False, timeout=60, **alone)
    assert found.returncode == 1
    assert found.stdout == f"{data}/dump.sql: {WORD!r} as text\n"
    assert subprocess.run(command[:2], check=False, timeout=60, **alone).returncode == 2
    # What is not there was not searched either.
    assert subprocess.run([*command, "/no/such/folder"], check=False, timeout=60, **alone).returncode == 2
