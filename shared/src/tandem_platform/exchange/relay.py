"""Bringing a log's rows to Kafka, fast and never surely: what it loses, Sync finds."""

import logging
import time
from collections.abc import Callable
from functools import cache
from itertools import takewhile
from typing import Any

from sqlalchemy import Select, Table, Update, bindparam, select, update

from tandem.exchange.v1.exchange_pb2 import LogRow
from tandem_platform.exchange import log as logs
from tandem_platform.exchange.rows import Sign, sign_batch
from tandem_platform.exchange.tables import tables_of
from tandem_platform.exchange.transport.port import Publisher, PublishFailed, Transport
from tandem_platform.storage.database import Database, Transaction

_log = logging.getLogger(__name__)

BATCH_ROWS = 200
LARGEST_RECORD = 900_000
"""Bytes; below Kafka's default limit of 1 MiB, with room for headers."""

REST = 0.2
"""Seconds between two looks at what nobody waits for. Below the time after which gRPC would carry it."""

SLOW = 0.5
"""Seconds; what Kafka has not taken by then goes by gRPC, while the producer may go on trying."""


class Relay:
    """Publishes rows above each head's ``published`` mark.

    The mark moves after the broker has acknowledged, so a row may be published twice; readers skip duplicates.
    """

    def __init__(
        self,
        database: Database,
        transport: Transport,
        sign: Sign,
        source: str,
        may_publish: Callable[[Transaction, list[str]], set[str]] = lambda tx, names: set(names),
    ) -> None:
        """*may_publish*: which of these logs may leave now."""
        self._may_publish = may_publish
        self._database = database
        self._transport = transport
        self._sign = sign
        self._source = source
        self._publisher: Publisher | None = None
        self._has_failed = False
        self._sending_since: float | None = None
        self._whole_at = -REST

    @property
    def failing(self) -> bool:
        """Whether Kafka takes nothing just now: the last attempt failed, or the one under way lasts too long."""
        since = self._sending_since
        return self._has_failed or (since is not None and time.monotonic() - since > SLOW)

    def step_urgently(self) -> bool:
        """As `step`, but what nobody waits for goes only every REST seconds: a receipt for each entry would cost what entries do."""
        now = time.monotonic()
        whole = now - self._whole_at >= REST
        if whole:
            self._whole_at = now
        return self.step(only_urgent=not whole)

    def step(self, *, only_urgent: bool = False) -> bool:
        """Publish what is due. True if there may be more."""
        with self._database.glancing() as tx:
            due = self._due(tx, only_urgent)
        more = False
        for name, published in due:
            if not self._publish(name, published):
                return False
            more = True
        return more

    def _due(self, tx: Transaction, only_urgent: bool) -> list[tuple[str, int]]:
        unpublished = _unpublished(tables_of(tx.database.metadata).head, only_urgent)
        due = [(row.log, row.published) for row in tx.all(unpublished)]
        allowed = self._may_publish(tx, [name for name, _ in due]) if due else set()
        return [(name, published) for name, published in due if name in allowed]

    def _publish(self, name: str, published: int) -> bool:
        """Bring the next rows of one log. False if Kafka does not take anything now."""
        with self._database.glancing() as tx:
            rows = logs.read(tx, name, published, BATCH_ROWS)
        # Up to the first that is too large, and that one by itself: what is signed last must be what arrives last.
        fitting = list(takewhile(lambda row: row.ByteSize() <= LARGEST_RECORD, rows))
        try:
            if fitting:
                self._send(name, fitting)
                self._mark(name, fitting[-1])
            elif rows:
                self._mark(name, rows[0], grpc_only=True)
        except PublishFailed as failed:
            if failed.retriable:
                return self._failed()
            return self._one_by_one(name, fitting)
        return True

    def _one_by_one(self, name: str, rows: list[LogRow]) -> bool:
        """A row that the broker refuses for good does not block its log."""
        for row in rows:
            # By a new producer, in case it was the old one that would never do it again.
            self.close()
            try:
                self._send(name, [row])
            except PublishFailed as failed:
                if failed.retriable:
                    return self._failed()
                self._mark(name, row, grpc_only=True)
            else:
                self._mark(name, row)
        return True

    def _send(self, name: str, rows: list[LogRow]) -> None:
        sign_batch(name, rows, self._sign)
        self._sending_since = time.monotonic()
        try:
            if self._publisher is None:
                self._transport.ensure_topics([name])
                self._publisher = self._transport.publisher()
            self._publisher.publish(name, [self._record(name, row) for row in rows])
        finally:
            self._sending_since = None
        self._has_failed = False

    def _failed(self) -> bool:
        if not self._has_failed:
            _log.warning("Kafka does not take rows; gRPC carries them")
        self._has_failed = True
        return False

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

    def _mark(self, name: str, row: LogRow, *, grpc_only: bool = False) -> None:
        """The log is published up to *row*, which Kafka holds unless it is *grpc_only*."""
        tables = tables_of(self._database.metadata)

        def work(tx: Transaction) -> None:
            tx.execute(_publishing(tables.head), {"of": name, "up_to": row.sequence})
            if grpc_only:
                tx.execute(
                    update(tables.log)
                    .where(tables.log.c.log == name, tables.log.c.sequence == row.sequence)
                    .values(grpc_only=True)
                )

        self._database.run(work)

    def close(self) -> None:
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.close()


@cache
def _unpublished(head: Table, only_urgent: bool) -> Select[Any]:
    query = select(head.c.log, head.c.published).where(head.c.sequence > head.c.published)
    return (query.where(head.c.urgent > head.c.published) if only_urgent else query).order_by(head.c.log)


@cache
def _publishing(head: Table) -> Update:
    return (
        update(head)
        .where(head.c.log == bindparam("of"), head.c.published < bindparam("up_to"))
        .values(published=bindparam("up_to"))
    )
