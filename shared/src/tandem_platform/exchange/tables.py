"""Tables of the exchange, the same in every service's database."""

from dataclasses import dataclass

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table

from tandem_platform.storage.types import EncryptedBytes, UtcTime


@dataclass(frozen=True)
class ExchangeTables:
    log: Table
    head: Table
    cursor: Table
    quarantine: Table


def exchange_tables(metadata: MetaData) -> ExchangeTables:
    """Add them to *metadata*, once."""
    if "exchange_log" in metadata.tables:
        return tables_of(metadata)
    log = Table(
        "exchange_log",
        metadata,
        Column("log", String, primary_key=True),
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("epoch", BigInteger, nullable=False),
        Column("previous_hash", LargeBinary, nullable=False),
        Column("hash", LargeBinary, nullable=False),
        Column("body_hash", LargeBinary, nullable=False),
        # Null in a void.
        Column("body", EncryptedBytes("exchange_log.body")),
        Column("void_reason", String, nullable=False, server_default=""),
        Column("entry_id", String),
        Column("episode_id", String),
        Column("permission_id", String),
        Column("appended_at", UtcTime, nullable=False),
        # Refused by Kafka for good, or too large for it: only Push and Read carry it.
        Column("grpc_only", Boolean, nullable=False, server_default="0"),
    )
    Index("exchange_log_by_entry", log.c.entry_id)
    Index("exchange_log_by_episode", log.c.episode_id)
    head = Table(
        "exchange_head",
        metadata,
        Column("log", String, primary_key=True),
        Column("epoch", BigInteger, nullable=False),
        Column("sequence", BigInteger, nullable=False),
        Column("hash", LargeBinary, nullable=False),
        # Up to where the relay has brought it to Kafka.
        Column("published", BigInteger, nullable=False, server_default="0"),
        # The last row that somebody waits for; those after it may be published a little later, with others.
        Column("urgent", BigInteger, nullable=False, server_default="0"),
        # The reader's cursor, as it last told.
        Column("acknowledged", BigInteger, nullable=False, server_default="0"),
    )
    cursor = Table(
        "exchange_cursor",
        metadata,
        Column("log", String, primary_key=True),
        Column("epoch", BigInteger, nullable=False),
        Column("sequence", BigInteger, nullable=False),
        Column("hash", LargeBinary, nullable=False),
        # The broker's next offset, kept beside the cursor.
        Column("kafka_offset", BigInteger, nullable=False, server_default="0"),
        # Why this log stands still, if it does.
        Column("stopped", String, nullable=False, server_default=""),
        Column("rescued_total", BigInteger, nullable=False, server_default="0"),
    )
    quarantine = Table(
        "exchange_quarantine",
        metadata,
        Column("log", String, primary_key=True),
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("epoch", BigInteger, nullable=False),
        Column("episode_id", String, nullable=False),
        Column("body", EncryptedBytes("exchange_quarantine.body"), nullable=False),
        # Of the row that parked the episode; "queued-behind" for the rows after it.
        Column("reason", String, nullable=False),
        # Whether the reader's own code failed, rather than the content.
        Column("own_fault", Boolean, nullable=False),
        Column("attempts", Integer, nullable=False, server_default="1"),
        Column("parked_at", UtcTime, nullable=False),
    )
    Index("exchange_quarantine_by_episode", quarantine.c.log, quarantine.c.episode_id)
    return ExchangeTables(log, head, cursor, quarantine)


def tables_of(metadata: MetaData) -> ExchangeTables:
    return ExchangeTables(
        metadata.tables["exchange_log"],
        metadata.tables["exchange_head"],
        metadata.tables["exchange_cursor"],
        metadata.tables["exchange_quarantine"],
    )
