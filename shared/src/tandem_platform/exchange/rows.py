"""Rows of a log: their hashes, and the signature that covers a batch.

A log has a name, which is its Kafka topic too: ``tandem.<practice>.up`` or ``tandem.<practice>.down``.
"""

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tandem.exchange.v1.exchange_pb2 import LogPosition, LogRow

GENESIS_HASH = bytes(32)
"""What the first row of a log has for the hash before it."""

FIRST_EPOCH = 1

Sign = Callable[[bytes], bytes]
"""Signs a message with the log writer's key."""

Verify = Callable[[bytes, bytes], bool]
"""Whether a signature (first) over a message (second) is the log writer's."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a log. A *head* is the place of its last row; a *cursor* is the place of the last row that its reader applied."""

    epoch: int
    sequence: int
    hash: bytes

    def to_message(self) -> LogPosition:
        return LogPosition(epoch=self.epoch, sequence=self.sequence, hash=self.hash)

    @classmethod
    def from_message(cls, message: LogPosition) -> "Position":
        if message.sequence == 0:
            return START
        return cls(message.epoch, message.sequence, message.hash)


START = Position(FIRST_EPOCH, 0, GENESIS_HASH)
"""The place before the first row."""


def uplink(practice_id: str) -> str:
    return f"tandem.{practice_id}.up"


def downlink(practice_id: str) -> str:
    return f"tandem.{practice_id}.down"


def practice_of(log: str) -> str:
    return log.split(".")[1]


def body_hash(body: bytes) -> bytes:
    return hashlib.sha256(b"tandem-body-1" + body).digest()


def row_hash(log: str, epoch: int, sequence: int, previous_hash: bytes, hash_of_body: bytes) -> bytes:
    """The log's name is part of it, so that a row cannot be moved to another log."""
    name = log.encode()
    head = struct.pack(">H", len(name)) + name + struct.pack(">QQ", epoch, sequence)
    return hashlib.sha256(b"tandem-row-1" + head + previous_hash + hash_of_body).digest()


def hash_of(log: str, row: LogRow) -> bytes:
    return row_hash(log, row.epoch, row.sequence, row.previous_hash, row.body_hash)


def position_of(log: str, row: LogRow) -> Position:
    return Position(row.epoch, row.sequence, hash_of(log, row))


def head_message(log: str, position: Position) -> bytes:
    """What the writer signs for a batch that ends at *position*."""
    name = log.encode()
    return (
        b"tandem-head-1"
        + struct.pack(">H", len(name))
        + name
        + struct.pack(">QQ", position.epoch, position.sequence)
        + position.hash
    )


def epoch_message(log: str, epoch: int, after: Position) -> bytes:
    """What the writer signs to open *epoch* above *after*."""
    return b"tandem-epoch-1" + struct.pack(">Q", epoch) + head_message(log, after)


def sign_batch(log: str, rows: Sequence[LogRow], sign: Sign) -> None:
    """Put the writer's signature on the last of *rows*."""
    if rows:
        rows[-1].signature = sign(head_message(log, position_of(log, rows[-1])))


class BrokenRow(Exception):
    """A row that cannot be what the log's writer wrote. ``reason`` is a code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def chain(log: str, cursor: Position, rows: Sequence[LogRow]) -> list[Position]:
    """The positions of *rows*, which must follow *cursor* without a gap.

    Raises BrokenRow: ``hash-mismatch``, ``unknown-epoch``, ``body-mismatch`` or ``sequence-gap``.
    """
    positions = []
    at = cursor
    for row in rows:
        if row.sequence != at.sequence + 1:
            raise BrokenRow("sequence-gap")
        if row.epoch != at.epoch:
            raise BrokenRow("unknown-epoch")
        if row.previous_hash != at.hash:
            raise BrokenRow("hash-mismatch")
        if not row.void_reason and body_hash(row.body) != row.body_hash:
            raise BrokenRow("body-mismatch")
        at = position_of(log, row)
        positions.append(at)
    return positions
