"""What a request must be before anybody looks at what it says."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tandem_platform.errors import Code, Refusal
from tandem_platform.ids import is_id

TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

LARGEST_NUMBER = 2**62
"""Of versions, sequences, counts. A signed 64-bit column holds twice as much."""

_YEAR_1, _YEAR_9999 = -62_135_596_800, 253_402_300_799
_LARGE_NUMBERS = frozenset(
    {
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_SINT64,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED64,
    }
)

_Find = Callable[[Any], str | None]
_ValuesOf = Callable[[Any], Iterable[tuple[str, Any]]]
_Step = tuple[str, _ValuesOf | None, _Find | None]


class RequestMalformed(Refusal):
    def __init__(self, message: str, field: str | None = None, way_out: str | None = None) -> None:
        super().__init__(Code.INVALID_ARGUMENT, "REQUEST_MALFORMED", message, field=field, way_out=way_out)


class RequestTooLarge(Refusal):
    def __init__(self, limit: int) -> None:
        super().__init__(
            Code.RESOURCE_EXHAUSTED,
            "REQUEST_TOO_LARGE",
            f"the request is larger than {limit} bytes",
            way_out="send it in parts",
        )


class RequestIdMissing(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.INVALID_ARGUMENT,
            "REQUEST_ID_MISSING",
            "a command carries a request_id of the form req_ and 26 characters of a-z and 2-7",
            field="request_id",
            way_out="make one at random per command, and send the same one when repeating it",
        )


def check_request_id(request: Message) -> str:
    request_id: str = getattr(request, "request_id", "")
    if not is_id(request_id, "req"):
        raise RequestIdMissing
    return request_id


class TextCheck:
    """Finds NUL characters in the text of messages: PostgreSQL stores none, and nobody types any.

    Text that is not UTF-8, lone surrogates among it, does not get this far: protobuf refuses to parse it.
    A message without a zero byte anywhere, which is most of them, costs one search through its bytes.
    """

    def __init__(self, descriptor: Descriptor) -> None:
        self._find = _finder(descriptor, _is_text, lambda text: "\0" in text)

    def __call__(self, message: Message, wire: bytes = b"\0") -> None:
        """*wire*: the message's bytes, where they are at hand."""
        if 0 not in wire:
            return
        field = self._find(message)
        if field is not None:
            raise RequestMalformed("text holds a NUL character", field, "leave the NUL character out")


class NumberCheck:
    """Finds numbers and times that are none of ours: 64-bit numbers that no database column could hold, with room
    left for counting on, and Timestamps that their own contract does not allow.

    Messages of a type without such fields are not visited.
    """

    def __init__(self, descriptor: Descriptor) -> None:
        self._number = _finder(descriptor, _is_large_number, lambda number: abs(number) > LARGEST_NUMBER)
        self._time = _finder(descriptor, _is_timestamp, _is_no_time)

    def __call__(self, message: Message) -> None:
        field = self._number(message)
        if field is not None:
            raise RequestMalformed("the number is beyond any that there is", field)
        field = self._time(message)
        if field is not None:
            raise RequestMalformed(
                "the time is not between the years 1 and 9999",
                field,
                "give seconds and nanos as Timestamp says",
            )


def _is_text(field: FieldDescriptor) -> bool:
    return bool(field.type == FieldDescriptor.TYPE_STRING)


def _is_large_number(field: FieldDescriptor) -> bool:
    return field.type in _LARGE_NUMBERS


def _is_timestamp(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp"


def _is_no_time(timestamp: Any) -> bool:
    return not (_YEAR_1 <= timestamp.seconds <= _YEAR_9999 and 0 <= timestamp.nanos < 1_000_000_000)


def _finder(
    descriptor: Descriptor,
    is_looked_at: Callable[[FieldDescriptor], bool],
    is_fault: Callable[[Any], bool],
    made: dict[str, _Find] | None = None,
) -> _Find:
    """A function giving the path of the first faulty value. It visits what is looked at, and messages that may hold it."""
    made = {} if made is None else made
    steps: list[_Step] = []

    def find(message: Any) -> str | None:
        for name, values_of, inner in steps:
            value = getattr(message, name)
            if values_of is not None:
                for place, each in values_of(value):
                    if inner is None:
                        if is_fault(each):
                            return f"{name}{place}"
                    elif (below := inner(each)) is not None:
                        return f"{name}{place}.{below}"
            elif inner is None:
                if is_fault(value):
                    return name
            # An unset message reads as an empty one, in which nothing is at fault.
            elif message.HasField(name) and (below := inner(value)) is not None:
                return f"{name}.{below}"
        return None

    made[descriptor.full_name] = find
    for field in descriptor.fields:
        if is_looked_at(field):
            steps.append((field.name, _values_of(field), None))
        elif field.message_type is not None and _reaches(field.message_type, is_looked_at, set()):
            inner = made.get(field.message_type.full_name)
            inner = inner or _finder(field.message_type, is_looked_at, is_fault, made)
            steps.append((field.name, _values_of(field), inner))
    return find


def _reaches(descriptor: Descriptor, is_looked_at: Callable[[FieldDescriptor], bool], seen: set[str]) -> bool:
    if descriptor.full_name in seen:
        return False
    seen.add(descriptor.full_name)
    return any(
        is_looked_at(field)
        or (field.message_type is not None and _reaches(field.message_type, is_looked_at, seen))
        for field in descriptor.fields
    )


def _values_of(field: FieldDescriptor) -> _ValuesOf | None:
    """How to go through a field that holds many, each with its place behind the field's name; None if it holds one."""
    form = field.message_type
    if form is not None and form.GetOptions().map_entry:
        entry_type: Any = GetMessageClass(form)
        # As messages, so that keys are looked at like values.
        return lambda entries: [("", entry_type(key=key, value=value)) for key, value in entries.items()]
    if field.is_repeated:
        return lambda values: ((f"[{index}]", value) for index, value in enumerate(values))
    return None
