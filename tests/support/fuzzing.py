"""Requests that nobody meant: every field of a valid message changed into what its type allows at worst."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tandem_platform.ids import new_id

MARK = "zq7sycamore"
"""Stands in every text and in many bytes that are made here, so that one given back is noticed."""

_F = FieldDescriptor
_TEXTS: tuple[str, ...] = (
    "",
    " ",
    MARK,
    f"{MARK}\n{MARK}",
    f"\0{MARK}",
    f"\u202e{MARK}\u202c",
    f"{MARK}é́🜁",
    f"'; DROP TABLE practice; -- {MARK}",
    f"../../{MARK}/%s{{0}}",
    f"tandem.{MARK}.up",
    "hub",
    "REF_AAAAAAAAAAAAAAAAAAAAAAAAAA",
    MARK * 9_000,
)
_BYTES: tuple[bytes, ...] = (
    b"",
    b"\0",
    bytes(31),
    bytes(32),
    bytes(33),
    b"\xff" * 64,
    MARK.encode() * 3,
    MARK.encode() * 20_000,
)
_INTEGERS: dict[int, tuple[int, ...]] = {
    _F.TYPE_UINT32: (0, 1, 2**31 - 1, 2**31, 2**32 - 1),
    _F.TYPE_UINT64: (0, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1),
    _F.TYPE_INT32: (-(2**31), -1, 0, 1, 2**31 - 1),
    _F.TYPE_INT64: (-(2**63), -1, 0, 1, 2**63 - 1),
}
_ENUM_NUMBERS = (0, 1, 24, 25, 999, -1, 2**31 - 1, -(2**31))
_YEAR_1, _YEAR_9999 = -62_135_596_800, 253_402_300_799
# (seconds, nanos): the first and last that a Timestamp may be, one beyond each, and fractions that are none.
_TIMES = (
    (0, 0),
    (0, 1),
    (_YEAR_1, 0),
    (_YEAR_1 - 1, 0),
    (_YEAR_9999, 999_999_999),
    (_YEAR_9999 + 1, 0),
    (-1, 999_999_999),
    (1_772_452_800, -1),
    (1_772_452_800, 1_000_000_000),
    (1_772_452_800, 2**31 - 1),
    (2**63 - 1, 0),
    (-(2**63), 0),
    (1_772_452_800, 500),
)
_PREFIXES = ("prac", "pship", "ref", "epi", "ent", "perm", "req")

Change = Callable[[Any], None]


@dataclass(frozen=True)
class Mutation:
    """A way to spoil any message of one type."""

    said: str
    changes: tuple[Change, ...]

    def of(self, message: Message) -> Any:
        """A changed copy."""
        copy: Any = type(message)()
        copy.CopyFrom(message)
        for change in self.changes:
            change(copy)
        return copy


class Fuzzer:
    """Makes mutations of messages. The same seed makes the same ones."""

    def __init__(self, seed: int, known_ids: Sequence[str] = ()) -> None:
        """*known_ids* exist, but belong elsewhere than where they are put."""
        self._random = random.Random(seed)
        self._known_ids = tuple(known_ids)

    def single(self, message_type: type[Message]) -> Iterator[Mutation]:
        """One change at a time: every field with everything that its type allows at worst."""
        for path in _paths(message_type()):
            yield from self._mutations(path)

    def several(self, message_type: type[Message], count: int) -> Iterator[Mutation]:
        """Two to five changes at once, drawn at random."""
        paths = list(_paths(message_type()))
        for _ in range(count if paths else 0):
            chosen = [self._random.choice(paths) for _ in range(self._random.randint(2, 5))]
            drawn = [self._random.choice(list(self._mutations(path))) for path in chosen]
            yield Mutation("; ".join(each.said for each in drawn), tuple(each.changes[0] for each in drawn))

    def malformed(self, message: Message, count: int) -> Iterator[bytes]:
        """Bytes that are hardly the message any more: cut, flipped, repeated, nested too deep, unknown fields."""
        wire = message.SerializeToString()
        yield b""
        yield b"\xff" * 40
        yield wire + wire
        yield wire[:-1]
        # A group that never ends, a length beyond the end, a varint that is too long, an unknown field.
        yield wire + b"\x0b" * 200
        yield wire + b"\xfa\xff\xff\xff\x0f\xff\xff\xff\xff\x07"
        yield wire + b"\x08" + b"\x80" * 20
        yield wire + b"\xfa\x07" + bytes([len(MARK)]) + MARK.encode()
        for _ in range(count):
            spoilt = bytearray(wire)
            for _ in range(self._random.randint(1, 4)):
                at = self._random.randrange(len(spoilt) + 1)
                match self._random.randrange(3):
                    case 0:
                        spoilt[at:at] = self._random.randbytes(self._random.randint(1, 6))
                    case 1:
                        del spoilt[at : at + self._random.randint(1, 9)]
                    case _ if at < len(spoilt):
                        spoilt[at] ^= 1 << self._random.randrange(8)
            yield bytes(spoilt)

    def _mutations(self, path: "Path") -> Iterator[Mutation]:
        field = path[-1]
        name = ".".join(each.name for each in path)
        for value in self._values(field):
            yield Mutation(f"{name}={_short(value)}", (_setting(path, value),))
        if field.is_repeated:
            yield Mutation(f"{name} none", (_clearing(path),))
            yield Mutation(f"{name} twice", (_repeating(path, 2),))
            yield Mutation(f"{name} 300 times", (_repeating(path, 300),))
        elif field.message_type is not None:
            yield Mutation(f"{name} missing", (_clearing(path),))
            yield Mutation(f"{name} empty", (_emptying(path),))

    def _values(self, field: FieldDescriptor) -> Iterator[Any]:
        match field.type:
            case _F.TYPE_STRING:
                yield from _TEXTS
                yield from (new_id(prefix) for prefix in _PREFIXES)
                yield from self._known_ids
            case _F.TYPE_BYTES:
                yield from _BYTES
                yield self._random.randbytes(32)
            case _F.TYPE_BOOL:
                yield from (True, False)
            case _F.TYPE_ENUM:
                yield from _ENUM_NUMBERS
            case _F.TYPE_MESSAGE if _is_time(field):
                yield from _TIMES
            case number if number in _INTEGERS:
                yield from _INTEGERS[number]


Path = tuple[FieldDescriptor, ...]


def _is_time(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp"


def _paths(message: Message, above: Path = (), depth: int = 4) -> Iterator[Path]:
    """Every field that a message can have, the fields of its messages too."""
    fields: Any = message.DESCRIPTOR.fields
    for field in fields:
        path = (*above, field)
        yield path
        if field.message_type is not None and not _is_time(field) and not _is_map(field) and depth:
            yield from _paths(field.message_type._concrete_class(), path, depth - 1)


def _holder(message: Any, path: Path) -> Any:
    """The message that has the last field of *path*; made where it is missing, the first where there are many."""
    for field in path[:-1]:
        inner = getattr(message, field.name)
        if field.is_repeated:
            inner = inner[0] if len(inner) else inner.add()
        message = inner
    return message


def _setting(path: Path, value: Any) -> Change:
    field = path[-1]

    def change(message: Any) -> None:
        holder = _holder(message, path)
        if _is_time(field):
            time = getattr(holder, field.name)
            time.SetInParent()
            time.seconds, time.nanos = value
        elif field.is_repeated:
            getattr(holder, field.name)[:] = [value]
        else:
            setattr(holder, field.name, value)

    return change


def _clearing(path: Path) -> Change:
    return lambda message: _holder(message, path).ClearField(path[-1].name)


def _emptying(path: Path) -> Change:
    def change(message: Any) -> None:
        holder = _holder(message, path)
        holder.ClearField(path[-1].name)
        getattr(holder, path[-1].name).SetInParent()

    return change


def _repeating(path: Path, times: int) -> Change:
    def change(message: Any) -> None:
        values = getattr(_holder(message, path), path[-1].name)
        entry = path[-1].message_type
        if entry is not None and _is_map(path[-1]):
            key, value = entry.fields
            for number in range(times):
                values[f"{MARK}{number}" if key.type == _F.TYPE_STRING else number] = _one(value)[0]
        elif entry is not None:
            first = values[0] if len(values) else values.add()
            values.extend([first] * (times - 1))
        else:
            values.extend(list(values[:1] or _one(path[-1])) * times)

    return change


def _is_map(field: FieldDescriptor) -> bool:
    """Of plain values: there are no others in the contracts."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _one(field: FieldDescriptor) -> list[Any]:
    return [MARK if field.type == _F.TYPE_STRING else b"" if field.type == _F.TYPE_BYTES else 1]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:40]}…({len(text)})"


_WORDS = f"{MARK} said so"
"""In the place of a field's name. Only what could be one is named in an answer."""
_DEEP: Any = MARK
for _ in range(60):
    _DEEP = [_DEEP]
_JSON_VALUES: tuple[Any, ...] = (
    None,
    True,
    "",
    MARK,
    MARK * 3_000,
    f"\0{MARK}",
    f"\ud800{MARK}",
    f"\u202e{MARK}",
    "2026-02-30",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-14:00",
    "NaN",
    -1,
    0,
    2**63,
    10**400,
    1e308,
    0.1,
    [],
    {},
    [MARK] * 500,
    {_WORDS: MARK},
    _DEEP,
)


def spoilt_json(fields: Any) -> Iterator[Any]:
    """*fields* with one value in any depth changed, dropped or added."""
    inner = fields.items() if isinstance(fields, dict) else enumerate(fields)
    for key, value in inner:
        others = list(_JSON_VALUES)
        if isinstance(value, (dict, list)):
            others += spoilt_json(value)
        for other in others:
            copy = fields.copy()
            copy[key] = other
            yield copy
        if isinstance(fields, dict):
            yield {name: kept for name, kept in fields.items() if name != key}
    if isinstance(fields, dict):
        yield {**fields, "colour": 1}
        yield {**fields, _WORDS: 1}
