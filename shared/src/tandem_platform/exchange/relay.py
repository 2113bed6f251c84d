"""Bringing a log's rows to Kafka, fast and never surely: what it loses, Sync finds."""

import logging

from sqlalchemy import select, update

from tandem.exchange.v1.exchange_pb2 import LogRow
from tandem_platform.exchange import log as logs
from tandem_platform.exchange.rows import Sign, sign_batch
from tandem_platform.exchange.tables import tables_of
from tandem_platform.exchange.transport.port import Publisher, PublishFailed, Transport
from tandem_platform.storage.database import Database, Transaction

_log = logging.getLogger(__name__)

BATCH_ROWS = 500
LARGEST_RECORD = 900_000
"""Bytes; below Kafka's default limit of 1 MiB, with room for headers."""


class Relay:
    """Publishes rows above each head's ``published`` mark.

    The mark moves after the broker has acknowledged, so a row may be published twice; readers skip duplicates.
    """

    def __init__(self, database: Database, transport: Transport, sign: Sign, source: str) -> None:
        self._database = database
        self._transport = transport
        self._sign = sign
        self._source = source
        self._publisher: Publisher | None = None
        self.failing = False

    def step(self) -> bool:
        """Publish what is due. True if there may be more."""
        with self._database.reading() as tx:
            due = self._due(tx)
        more = False
        for name, published in due:
            if not self._publish(name, published):
                return False
            more = True
        return more

    def _due(self, tx: Transaction) -> list[tuple[str, int]]:
        head = tables_of(tx.database.metadata).head
        query = (
            select(head.c.log, head.c.published)
            .where(head.c.sequence > head.c.published)
            .order_by(head.c.log)
        )
        return [(row.log, row.published) for row in tx.all(query)]

    def _publish(self, name: str, published: int) -> bool:
        with self._database.reading() as tx:
            rows = logs.read(tx, name, published, BATCH_ROWS)
        if not rows:
            return True
        sign_batch(name, rows, self._sign)
        fitting = [row for row in rows if row.ByteSize() <= LARGEST_RECORD]
        try:
            if self._publisher is None:
                self._transport.ensure_topics([name])
                self._publisher = self._transport.publisher()
            self._publisher.publish(name, [self._record(name, row) for row in fitting])
        except PublishFailed as failed:
            if failed.too_large and len(rows) > 1:
                return self._one_by_one(name, rows)
            if failed.too_large:
                self._mark(name, rows[-1].sequence, grpc_only=rows)
                return True
            self._failed(failed)
            return False
        self.failing = False
        self._mark(name, rows[-1].sequence, grpc_only=[row for row in rows if row not in fitting])
        return True

    def _one_by_one(self, name: str, rows: list[LogRow]) -> bool:
        """One row that the broker refuses for good does not block its log."""
        publisher = self._publisher
        assert publisher is not None
        for row in rows:
            sign_batch(name, [row], self._sign)
            try:
                publisher.publish(name, [self._record(name, row)])
                self._mark(name, row.sequence, grpc_only=[])
            except PublishFailed as failed:
                if not failed.too_large:
                    self._failed(failed)
                    return False
                self._mark(name, row.sequence, grpc_only=[row])
        return True

    def _failed(self, failed: PublishFailed) -> None:
        if not self.failing:
            _log.warning("Kafka does not take rows; gRPC carries them", extra={"retriable": failed.retriable})
        self.failing = True
        if self._publisher is not None and not failed.retriable:
            self._publisher.close()
            self._publisher = None

    def _record(self, name: str, row: LogRow) -> tuple[bytes, bytes, tuple[tuple[str, bytes], ...]]:
        """CloudEvents 1.0 in binary mode; the id is the row's place, which tells nothing about anybody."""
        headers = (
            ("ce_specversion", b"1.0"),
            ("ce_type", b"tandem.exchange.v1.LogRow"),
            ("ce_source", self._source.encode()),
            ("ce_id", f"{name}/{row.epoch}/{row.sequence}".encode()),
            ("content-type", b"application/protobuf"),
        )
        return name.encode(), row.SerializeToString(), headers

    def _mark(self, name: str, sequence: int, grpc_only: list[LogRow]) -> None:
        tables = tables_of(self._database.metadata)

        def work(tx: Transaction) -> None:
            tx.execute(
                update(tables.head)
                .where(tables.head.c.log == name, tables.head.c.published < sequence)
                .values(published=sequence)
            )
            if grpc_only:
                tx.execute(
                    update(tables.log)
                    .where(
                        tables.log.c.log == name,
                        tables.log.c.sequence.in_([row.sequence for row in grpc_only]),
                    )
                    .values(grpc_only=True)
                )

        self._database.run(work)

    def close(self) -> None:
        if self._publisher is not None:
            self._publisher.close()
