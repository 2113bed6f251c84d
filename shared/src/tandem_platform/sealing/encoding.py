"""One encoding for whatever is signed, hashed or bound: a value has exactly one, and no two values share it.

Protobuf serialisation promises neither (field order, defaults and unknown fields vary between writers),
and joining strings with a separator lets ("a-b", "c") pass for ("a", "b-c").
"""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

Value: TypeAlias = "bool | int | str | bytes | Sequence[Value] | None"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Far above what the messages here need; keeps hostile input from exhausting the stack.
_DEEPEST = 4


class NotCanonical(ValueError):
    """The bytes are not what `encode` makes of any value."""


def encode(*values: Value) -> bytes:
    """Each value as a type byte, its length where that varies, and itself: none is the start of another."""
    parts: list[bytes] = []
    for value in values:
        match value:
            case None:
                parts.append(b"N")
            case bool():
                parts.append(b"T" if value else b"F")
            case int():
                parts.append(struct.pack(">cq", b"I", value))
            case str():
                text = value.encode()
                parts.append(struct.pack(">cI", b"S", len(text)) + text)
            case bytes():
                parts.append(struct.pack(">cI", b"B", len(value)) + value)
            case _:
                parts.append(struct.pack(">cI", b"L", len(value)) + encode(*value))
    return b"".join(parts)


def decode(encoded: bytes) -> list[Value]:
    """The values given to `encode`, or NotCanonical."""
    values: list[Value] = []
    position = 0
    try:
        while position < len(encoded):
            value, position = _decode_one(encoded, position, depth=0)
            values.append(value)
    except (struct.error, UnicodeDecodeError) as fault:
        raise NotCanonical("cut short, or not UTF-8") from fault
    return values


def _decode_one(encoded: bytes, position: int, depth: int) -> tuple[Value, int]:
    kind = encoded[position : position + 1]
    position += 1
    match kind:
        case b"N":
            return None, position
        case b"T":
            return True, position
        case b"F":
            return False, position
        case b"I":
            (number,) = struct.unpack_from(">q", encoded, position)
            return int(number), position + 8
        case b"S" | b"B":
            (length,) = struct.unpack_from(">I", encoded, position)
            start, end = position + 4, position + 4 + length
            if end > len(encoded):
                raise NotCanonical("cut short")
            body = encoded[start:end]
            return (body.decode() if kind == b"S" else body), end
        case b"L" if depth < _DEEPEST:
            (count,) = struct.unpack_from(">I", encoded, position)
            position += 4
            items: list[Value] = []
            for _ in range(count):
                item, position = _decode_one(encoded, position, depth + 1)
                items.append(item)
            return items, position
        case _:
            raise NotCanonical("unknown type, or nested too deep")


def moment(at: datetime) -> int:
    """An aware time as microseconds since 1970, so that it can be encoded."""
    return (at - _EPOCH) // _MICROSECOND


def at_moment(microseconds: int) -> datetime:
    try:
        return _EPOCH + microseconds * _MICROSECOND
    except OverflowError as fault:
        raise NotCanonical("beyond the calendar") from fault
