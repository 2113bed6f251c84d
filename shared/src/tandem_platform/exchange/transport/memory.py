"""A transport inside one process, with the faults of a broker at the turn of a switch."""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tandem_platform.exchange.transport.port import (
    MAX_RECORD_BYTES,
    Fault,
    Message,
    PublishFailed,
    Record,
    refuse_too_large,
)


class MemoryTransport:
    """Topics in memory, shared by all who hold this object.

    ``down``: publishing fails, polling is empty, nothing is healthy.
    ``drop(n)``: the next *n* records are acknowledged and lost.
    ``lose_all()``: the broker came back empty, and numbers from 0 again.
    ``faults``: asked for each published record what becomes of it.
    """

    def __init__(self, faults: Fault | None = None, *, max_record_bytes: int = MAX_RECORD_BYTES) -> None:
        self.faults = faults
        self._max_record_bytes = max_record_bytes
        self._down = False
        self._to_drop = 0
        self._topics: dict[str, list[Record]] = defaultdict(list)
        self._groups: dict[str, _Group] = defaultdict(_Group)
        self._changed = threading.Condition()

    @property
    def down(self) -> bool:
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        with self._changed:
            self._down = down
            self._changed.notify_all()

    def drop(self, count: int) -> None:
        with self._changed:
            self._to_drop += count

    def lose_all(self) -> None:
        with self._changed:
            self._topics.clear()
            for group in self._groups.values():
                group.committed.clear()
            self._changed.notify_all()

    def copy(self) -> "MemoryTransport":
        """Another broker with the same records and committed offsets, and nobody connected."""
        twin = MemoryTransport(max_record_bytes=self._max_record_bytes)
        with self._changed:
            twin._topics.update({topic: list(records) for topic, records in self._topics.items()})
            for name, group in self._groups.items():
                twin._groups[name].committed.update(group.committed)
        return twin

    def ensure_topics(self, topics: Iterable[str]) -> None:
        with self._changed:
            for topic in topics:
                self._topics[topic]

    def publisher(self) -> "_MemoryPublisher":
        return _MemoryPublisher(self)

    def subscribe_one(self, topic: str, offset: int) -> "_MemorySubscription":
        return _MemorySubscription(self, topic, offset)

    def subscribe_group(self, topics: Sequence[str], group: str) -> "_MemoryGroupSubscription":
        return _MemoryGroupSubscription(self, topics, group)

    def close(self) -> None:
        pass

    def _append(self, topic: str, batch: Sequence[Message]) -> None:
        with self._changed:
            refuse_too_large(batch, self._max_record_bytes)
            if self._down:
                raise PublishFailed("The broker is down")
            for key, value, headers in batch:
                if self._to_drop:
                    self._to_drop -= 1
                    continue
                published = Record(topic, -1, key, value, tuple(headers))
                for record in self.faults(published) if self.faults else (published,):
                    log = self._topics[record.topic]
                    log.append(replace(record, offset=len(log)))
            self._changed.notify_all()

    def _await(self, records: Callable[[], list[Record]], timeout: float) -> list[Record]:
        """The first non-empty answer of *records*, asked under the lock after every change."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                if not self._down and (found := records()):
                    return found
                if (remaining := deadline - time.monotonic()) <= 0:
                    return []
                self._changed.wait(remaining)

    def _read(self, topic: str, offset: int, limit: int) -> list[Record]:
        """Records from *offset*, or from the earliest when the log ends before it."""
        log = self._topics[topic]
        start = 0 if offset > len(log) else offset
        return log[start : start + limit]


_MOST_RECORDS = 1000


class _MemoryPublisher:
    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport

    def publish(self, topic: str, batch: Sequence[Message]) -> None:
        self._transport._append(topic, batch)

    def close(self) -> None:
        pass


class _MemorySubscription:
    def __init__(self, transport: MemoryTransport, topic: str, offset: int) -> None:
        self._transport = transport
        self._topic = topic
        self._next = offset

    def poll(self, timeout: float) -> list[Record]:
        def read() -> list[Record]:
            return self._transport._read(self._topic, self._next, _MOST_RECORDS)

        records = self._transport._await(read, timeout)
        if records:
            self._next = records[-1].offset + 1
        return records

    def seek(self, topic: str, offset: int) -> None:
        if topic == self._topic:
            self._next = offset

    def commit(self, offsets: Mapping[str, int]) -> None:
        """The caller keeps its own offset."""

    def healthy(self) -> bool:
        return not self._transport.down

    def close(self) -> None:
        pass


@dataclass
class _Group:
    members: list["_MemoryGroupSubscription"] = field(default_factory=list)
    committed: dict[str, int] = field(default_factory=dict)


class _MemoryGroupSubscription:
    """A member owns every n-th topic of its group; what changes hands restarts at the committed offset."""

    def __init__(self, transport: MemoryTransport, topics: Sequence[str], group: str) -> None:
        self._transport = transport
        self._watched = set(topics)
        self._next: dict[str, int] = {}
        self._group = transport._groups[group]
        with transport._changed:
            self._group.members.append(self)
            transport._changed.notify_all()

    def watch(self, topics: Iterable[str]) -> None:
        with self._transport._changed:
            self._watched = set(topics)
            self._transport._changed.notify_all()

    def poll(self, timeout: float) -> list[Record]:
        return self._transport._await(self._read, timeout)

    def _read(self) -> list[Record]:
        owned = self._owned()
        self._next = {topic: self._next.get(topic, self._group.committed.get(topic, 0)) for topic in owned}
        found: list[Record] = []
        for topic in owned:
            records = self._transport._read(topic, self._next[topic], _MOST_RECORDS - len(found))
            if records:
                self._next[topic] = records[-1].offset + 1
                found.extend(records)
        return found

    def _owned(self) -> list[str]:
        members = self._group.members
        if self not in members:
            return []
        topics = sorted(set().union(*(member._watched for member in members)))
        mine = topics[members.index(self) :: len(members)]
        return [topic for topic in mine if topic in self._watched]

    def seek(self, topic: str, offset: int) -> None:
        with self._transport._changed:
            if topic in self._next:
                self._next[topic] = offset

    def commit(self, offsets: Mapping[str, int]) -> None:
        with self._transport._changed:
            if not self._transport.down:
                self._group.committed.update({t: o for t, o in offsets.items() if t in self._next})

    def healthy(self) -> bool:
        return not self._transport.down

    def close(self) -> None:
        with self._transport._changed:
            if self in self._group.members:
                self._group.members.remove(self)
            self._transport._changed.notify_all()


def losing(share: float, chance: random.Random) -> Fault:
    """Lose this share of the records."""
    return lambda record: () if chance.random() < share else (record,)


def duplicating(share: float, chance: random.Random) -> Fault:
    """Deliver this share of the records twice."""
    return lambda record: (record, record) if chance.random() < share else (record,)


def corrupting(share: float, chance: random.Random) -> Fault:
    """Flip one bit in the value of this share of the records."""

    def corrupt(record: Record) -> Iterable[Record]:
        if not record.value or chance.random() >= share:
            return (record,)
        value = bytearray(record.value)
        value[chance.randrange(len(value))] ^= 1 << chance.randrange(8)
        return (replace(record, value=bytes(value)),)

    return corrupt


def reordering(share: float, chance: random.Random) -> Fault:
    """Hold this share of the records back until after the next one of their topic."""
    held: dict[str, Record] = {}

    def reorder(record: Record) -> Iterable[Record]:
        late = held.pop(record.topic, None)
        if late is not None:
            return (record, late)
        if chance.random() < share:
            held[record.topic] = record
            return ()
        return (record,)

    return reorder


def together(*faults: Fault) -> Fault:
    """Pass what each fault lets through to the next."""

    def apply(record: Record) -> Iterable[Record]:
        records = [record]
        for fault in faults:
            records = [after for before in records for after in fault(before)]
        return records

    return apply
