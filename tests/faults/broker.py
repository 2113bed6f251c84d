"""A broker in memory that loses, delays, doubles and spoils records, and notices when somebody reads one."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from faults.effects import Effects
from google.protobuf.message import DecodeError

from tandem.exchange.v1.exchange_pb2 import LogRow
from tandem_platform.exchange.transport.memory import MemoryTransport
from tandem_platform.exchange.transport.port import Message, PublishFailed, Record

_SPOILT = ("corrupted", "truncated", "oversized", "unknown-version")
_LATER_VERSION = b"\xa2\x06\x05later"
"""Field 100, which this version does not know."""
_TWO_MEGABYTES = bytes(2_000_000)


class FailingBroker(MemoryTransport):
    """share: of the records that *kinds* of faults happen to."""

    def __init__(self, effects: Effects, chance: random.Random) -> None:
        super().__init__()
        self.effects = effects
        self.chance = chance
        self.share = 0.0
        self.kinds: Sequence[str] = ()
        self.silenced = ""
        """A topic that nothing comes through to: its broker is in the hands of a hostile hub."""
        self.dies: Callable[[str], None] | None = None
        self.faults = self._fate
        self._marks: dict[tuple[str, int], str] = {}
        self._late: list[Record] = []
        self._held: dict[str, Record] = {}

    def copy(self) -> "FailingBroker":
        twin = FailingBroker(Effects(), random.Random(0))
        twin._topics.update({topic: list(records) for topic, records in self._topics.items()})
        for name, group in self._groups.items():
            twin._groups[name].committed.update(group.committed)
        return twin

    def heal(self) -> None:
        self.down = False
        self.share, self.dies, self.silenced = 0.0, None, ""
        self._max_record_bytes = 10_000_000
        self.deliver_late()

    def refuse_above(self, size: int) -> None:
        self._max_record_bytes = size

    def _append(self, topic: str, batch: Sequence[Message]) -> None:
        if self.down:
            self.effects.note("broker-down")
        try:
            super()._append(topic, batch)
        except PublishFailed as failed:
            if not failed.retriable:
                self.effects.note("broker-refuses-size")
            raise

    def _fate(self, record: Record) -> Iterable[Record]:
        """What becomes of a published record. Marks are set by where it will stand."""
        if self.dies is not None:
            self.dies(record.topic)
        if record.topic == self.silenced:
            return ()
        held = self._held.pop(record.topic, None)
        kind = self.chance.choice(self.kinds) if self.kinds and self.chance.random() < self.share else ""
        made: list[tuple[Record, str]] = [(record, "")]
        match kind:
            case "lost":
                self.effects.note("record-lost")
                made = []
            case "delayed":
                self._late.append(record)
                made = []
            case "reordered" if held is None:
                self._held[record.topic] = record
                made = []
            case "duplicated":
                made = [(record, ""), (record, "duplicated")]
            case _ if kind in _SPOILT:
                made = [(replace(record, value=self._spoilt(record.value, kind)), kind)]
        if held is not None:
            made.append((held, "reordered"))
        place = len(self._topics[record.topic])
        for number, (_, mark) in enumerate(made):
            if mark:
                self._marks[record.topic, place + number] = mark
        return [each for each, _ in made]

    def _spoilt(self, value: bytes, kind: str) -> bytes:
        if kind == "oversized":
            return value + _TWO_MEGABYTES
        if kind == "unknown-version":
            return value + _LATER_VERSION
        at = self.chance.randrange(len(value) or 1)
        if kind == "truncated":
            return value[:at]
        return value[:at] + bytes([value[at] ^ 1 << self.chance.randrange(8)]) + value[at + 1 :]

    def deliver_late(self) -> None:
        """What was delayed or held back comes now."""
        with self._changed:
            late, self._late = self._late, []
            for record, mark in [(each, "delayed") for each in late] + [
                (each, "reordered") for each in self._held.values()
            ]:
                self._put(record, mark)
            self._held.clear()

    def again(self, count: int) -> None:
        """Old copies are delivered anew."""
        with self._changed:
            everything = [record for records in self._topics.values() for record in records]
            ended = {id(record) for record in self._of_ended_epochs()}
            for _ in range(count if everything else 0):
                record = self.chance.choice(everything)
                self._put(record, "of-older-epoch" if id(record) in ended else "stale")

    def again_of_ended_epochs(self, count: int) -> None:
        with self._changed:
            ended = self._of_ended_epochs()
            for _ in range(count if ended else 0):
                self._put(self.chance.choice(ended), "of-older-epoch")

    def _of_ended_epochs(self) -> list[Record]:
        """Those that a later epoch has followed on their topic."""
        newest: dict[str, int] = defaultdict(int)
        for topic, records in self._topics.items():
            newest[topic] = max(map(_epoch, records), default=0)
        return [
            record
            for topic, records in self._topics.items()
            for record in records
            if _epoch(record) < newest[topic]
        ]

    def put(self, topic: str, value: bytes, mark: str) -> None:
        """Whoever can write there puts a record of their own."""
        with self._changed:
            self._put(Record(topic, -1, topic.encode(), value, ()), mark)

    def _put(self, record: Record, mark: str) -> None:
        log = self._topics[record.topic]
        self._marks[record.topic, len(log)] = mark
        log.append(replace(record, offset=len(log)))

    def forget(self) -> None:
        """It comes back empty."""
        held = sum(len(records) for records in self._topics.values())
        if held:
            self.effects.note("broker-emptied")
        self._marks.clear()
        self.lose_all()

    def _read(self, topic: str, offset: int, limit: int) -> list[Record]:
        records = super()._read(topic, offset, limit)
        for record in records:
            mark = self._marks.pop((topic, record.offset), "")
            if mark:
                self.effects.note(mark if mark.startswith("hostile") else f"record-{mark}")
        return records


def _epoch(record: Record) -> int:
    try:
        return LogRow.FromString(record.value).epoch
    except DecodeError:
        return 0
