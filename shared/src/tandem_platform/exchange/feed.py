"""Reading logs from Kafka: a hint that is checked row by row, and dropped where it does not hold."""

import logging
from collections.abc import Callable

from google.protobuf.message import DecodeError

from tandem.exchange.v1.exchange_pb2 import LogRow
from tandem_platform.exchange.reader import LogReader, LogStopped
from tandem_platform.exchange.transport.port import Record, Subscription

_log = logging.getLogger(__name__)

MOST_HELD = 2_000
MOST_BYTES_HELD = 64 * 1024 * 1024
"""Of all logs together. Whoever writes to one could else fill this process with large rows that follow a gap."""


class KafkaFeed:
    """Brings records of one subscription to a LogReader. Used by one thread.

    Rows that cannot take effect yet (no signature so far, a command not answered, a gap) are held, up to a bound,
    and tried again at each step; what gRPC brings in the meantime makes them duplicates, which the reader skips.
    Broken ones are dropped, and come by gRPC.
    heard: how many records have come, to tell a quiet subscription from a deaf one.
    """

    def __init__(
        self,
        subscription: Subscription,
        reader: LogReader,
        *,
        in_group: bool,
        may_apply: Callable[[], bool] = lambda: True,
    ) -> None:
        """*may_apply*: whether copies may be applied now at all."""
        self._subscription = subscription
        self._reader = reader
        self._in_group = in_group
        self._may_apply = may_apply
        self.heard = 0
        # By log and sequence: the row, its offset, its size.
        self._held: dict[str, dict[int, tuple[LogRow, int, int]]] = {}

    @property
    def healthy(self) -> bool:
        return self._subscription.healthy()

    def step(self, timeout: float = 0.0) -> bool:
        """Poll once and apply what can be applied. True if anything came."""
        records = self._subscription.poll(timeout)
        self.heard += len(records)
        for record in records:
            self._hold(record)
        self._shed()
        if not self._may_apply():
            return False
        progressed = False
        faults: list[Exception] = []
        for log in list(self._held):
            try:
                progressed |= self._apply(log)
            except Exception as fault:  # noqa: BLE001 - one log's trouble must not keep the others waiting
                faults.append(fault)
        if faults:
            raise faults[0]
        return progressed or bool(records)

    def _hold(self, record: Record) -> None:
        held = self._held.setdefault(record.topic, {})
        try:
            row = LogRow.FromString(record.value)
        except DecodeError:
            return
        known = held.get(row.sequence)
        if known is None or (row.signature and not known[0].signature):
            held[row.sequence] = (row, record.offset, len(record.value))
        if len(held) > MOST_HELD:
            held.clear()

    def _shed(self) -> None:
        """What is dropped comes by gRPC, as whatever Kafka loses."""
        sizes = {log: sum(size for _, _, size in held.values()) for log, held in self._held.items()}
        while sum(sizes.values()) > MOST_BYTES_HELD:
            largest = max(sizes, key=lambda log: sizes[log])
            self._held[largest].clear()
            sizes[largest] = 0

    def _apply(self, log: str) -> bool:
        held = self._held[log]
        if not held:
            return False
        ordered = [held[sequence] for sequence in sorted(held)]
        offset = max(offset for _, offset, _ in ordered) + 1
        try:
            applied = self._reader.apply(
                log,
                [row for row, _, _ in ordered],
                authoritative=False,
                kafka_offset=None if self._in_group else offset,
            )
        except LogStopped:
            held.clear()
            return False
        if applied.broken:
            # Which row is broken is not worth finding out: the next to come by gRPC is the truth.
            held.clear()
            return False
        for sequence in [each for each in held if each <= applied.cursor.sequence]:
            del held[sequence]
        if self._in_group and not held:
            self._subscription.commit({log: offset})
        return applied.rows > 0

    def close(self) -> None:
        self._subscription.close()
