"""What a request must be before anybody looks at what it says."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tandem_platform.errors import Code, Refusal
from tandem_platform.ids import is_id

TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_Find = Callable[[Any], str | None]


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
        self._find = _finder(descriptor, {})

    def __call__(self, message: Message, wire: bytes) -> None:
        if 0 not in wire:
            return
        field = self._find(message)
        if field is not None:
            raise RequestMalformed("text holds a NUL character", field, "leave the NUL character out")


def _finder(descriptor: Descriptor, made: dict[str, _Find]) -> _Find:
    """A function giving the path of the first text field with a NUL. It visits text and messages only."""
    if descriptor.full_name in made:
        return made[descriptor.full_name]
    steps: list[tuple[FieldDescriptor, _Find | None]] = []

    def find(message: Any) -> str | None:
        for field, inner in steps:
            for place, value in _values(message, field):
                if inner is None:
                    if "\0" in value:
                        return place
                elif (below := inner(value)) is not None:
                    return f"{place}.{below}"
        return None

    made[descriptor.full_name] = find
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            steps.append((field, None))
        elif field.message_type is not None:
            steps.append((field, _finder(field.message_type, made)))
    return find


def _values(message: Any, field: FieldDescriptor) -> Iterator[tuple[str, Any]]:
    """The values of *field* that are present, each with its place."""
    name, inner = field.name, field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        for entry in _map_entries(getattr(message, name), inner):
            yield name, entry
    elif field.is_repeated:
        for index, value in enumerate(getattr(message, name)):
            yield f"{name}[{index}]", value
    elif inner is None or message.HasField(name):
        yield name, getattr(message, name)


def _map_entries(entries: Any, form: Descriptor) -> Iterator[Message]:
    """A map field's entries as messages, so that keys are looked at like values."""
    entry_type: Any = GetMessageClass(form)
    for key, value in entries.items():
        yield entry_type(key=key, value=value)
