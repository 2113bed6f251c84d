"""What a practice can observe of the hub, brought into a form in which two runs compare.

Every field that can reach a practice is compared by a rule that follows from its contract.
A field without a rule is a fault of the comparison, found by walking the descriptors.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from tandem.audit.v1 import audit_pb2
from tandem.common.v1 import common_pb2
from tandem.consent.v1 import consent_pb2
from tandem.directory.v1 import directory_pb2
from tandem.exchange.v1 import exchange_pb2
from tandem.exchange.v1.exchange_pb2 import LogRow, RowBody
from tandem.referral.v1 import referral_pb2
from tandem_platform.exchange.transport.port import Record

SERVICES: tuple[ServiceDescriptor, ...] = tuple(
    service
    for contract in (directory_pb2, referral_pb2, consent_pb2, audit_pb2, exchange_pb2)
    for service in contract.DESCRIPTOR.services_by_name.values()
)


class Compared(StrEnum):
    """How the values of a field are compared between two runs."""

    EXACTLY = "exactly"
    """Numbers, times, codes and words."""
    AS_ID = "as id"
    """Renamed in order of first appearance, unless both runs were given the same ids."""
    AS_DIGEST = "as digest"
    """Renamed in order of first appearance, and its length: digests of what holds something random."""
    BY_LENGTH = "by length"
    """Sealed bytes and tokens; sealed bytes exactly, where both runs were given the same."""
    BY_PRESENCE = "by presence"
    """Drawn at random by the hub, whatever happened. A number has no presence: 0 may have been drawn."""
    AS_ROW = "as row"
    """A serialised RowBody: its length, and its fields by their own rules."""
    BY_FIELD = "by field"
    """A message."""


_BY_CLASS: Mapping[int, Compared] = {
    common_pb2.HOLDS_ID: Compared.AS_ID,
    common_pb2.HOLDS_CODE: Compared.EXACTLY,
    common_pb2.HOLDS_PUBLIC: Compared.EXACTLY,
    common_pb2.HOLDS_SEALED: Compared.BY_LENGTH,
    common_pb2.HOLDS_HASH: Compared.AS_DIGEST,
    common_pb2.HOLDS_PROOF: Compared.AS_DIGEST,
    common_pb2.HOLDS_TOKEN: Compared.BY_LENGTH,
}

_BY_NAME: Mapping[str, Compared] = {
    # Jittered, so that clinics that lost Kafka together do not come back together.
    "tandem.exchange.v1.SyncResponse.next_after": Compared.BY_PRESENCE,
    # Leaves stand in the order of their random salts.
    "tandem.audit.v1.GetAuditProofResponse.leaf_index": Compared.BY_PRESENCE,
    "tandem.exchange.v1.LogRow.body": Compared.AS_ROW,
}

_WHOLE = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})
_PLAIN = frozenset(
    {
        FieldDescriptor.TYPE_BOOL,
        FieldDescriptor.TYPE_ENUM,
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_UINT64,
    }
)


class Unclassified(Exception):
    """The comparison does not know what to do with a field."""


def rule_of(field: FieldDescriptor) -> Compared:
    if field.full_name in _BY_NAME:
        return _BY_NAME[field.full_name]
    if field.message_type is not None:
        if field.message_type.GetOptions().map_entry:
            raise Unclassified(f"{field.full_name} is a map: its order would tell something")
        return Compared.EXACTLY if field.message_type.full_name in _WHOLE else Compared.BY_FIELD
    if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
        holds = field.GetOptions().Extensions[common_pb2.holds]
        if holds not in _BY_CLASS:
            raise Unclassified(f"{field.full_name} does not say what it holds")
        return _BY_CLASS[holds]
    if field.type not in _PLAIN:
        raise Unclassified(f"{field.full_name} has a type that is not compared")
    return Compared.EXACTLY


def methods_of_practices() -> list[MethodDescriptor]:
    """Every RPC that a practice may call."""
    return [
        method
        for service in SERVICES
        for method in service.methods
        if "practice" in method.GetOptions().Extensions[common_pb2.rule].callers
    ]


def messages_under(*roots: Descriptor) -> list[Descriptor]:
    """The roots and every message that they can hold, but times."""
    found: dict[str, Descriptor] = {}
    waiting = list(roots)
    while waiting:
        message = waiting.pop()
        if message.full_name in found or message.full_name in _WHOLE:
            continue
        found[message.full_name] = message
        waiting += [field.message_type for field in message.fields if field.message_type is not None]
    return list(found.values())


def observable_messages() -> list[Descriptor]:
    """Every message that can reach a practice: in an answer, or as a row of its downlink."""
    answers = [method.output_type for method in methods_of_practices()]
    return messages_under(*answers, LogRow.DESCRIPTOR, RowBody.DESCRIPTOR)


def observable_fields() -> Iterator[FieldDescriptor]:
    for message in observable_messages():
        yield from message.fields


class Comparable:
    """Brings what one run shows into comparable form. One object per run: renaming goes by first appearance.

    same_material: both runs were given the same ids and the same sealed bytes, which are then compared exactly.
    """

    def __init__(self, *, same_material: bool) -> None:
        self._same_material = same_material
        self._names: dict[tuple[str, Any], str] = {}

    def message(self, message: Message) -> dict[str, Any]:
        form: dict[str, Any] = {}
        for field, value in message.ListFields():
            rule = rule_of(field)
            if rule is Compared.BY_PRESENCE and not field.has_presence:
                continue
            values = list(value) if field.is_repeated else [value]
            shown = [self._value(rule, each) for each in values]
            form[field.name] = shown if field.is_repeated else shown[0]
        return form

    def _value(self, rule: Compared, value: Any) -> Any:
        match rule:
            case Compared.EXACTLY:
                return str(value.ToJsonString()) if isinstance(value, Timestamp | Duration) else value
            case Compared.AS_ID:
                return value if self._same_material else self._renamed("id", value)
            case Compared.AS_DIGEST:
                return self._renamed("digest", value)
            case Compared.BY_LENGTH:
                exact = self._same_material and isinstance(value, bytes)
                return value.hex() if exact else f"{len(value)} long"
            case Compared.BY_PRESENCE:
                return "present"
            case Compared.AS_ROW:
                return {"length": len(value), "body": self.message(RowBody.FromString(value))}
            case Compared.BY_FIELD:
                return self.message(value)

    def _renamed(self, kind: str, value: str | bytes) -> str:
        name = self._names.setdefault((kind, value), f"{kind} {len(self._names) + 1}")
        return f"{name}, {len(value)} long"

    def refusal(self, error: grpc.RpcError) -> dict[str, Any]:
        """All that a caller gets: code, text, and the status with its details, byte for byte."""
        metadata: Any = error.trailing_metadata() or ()
        trailing = [(key, value.hex() if isinstance(value, bytes) else value) for key, value in metadata]
        return {"code": error.code().name, "details": error.details(), "trailing": trailing}

    def record(self, record: Record) -> dict[str, Any]:
        """A Kafka record: place, key, headers, and the row that it holds."""
        return {
            "topic": record.topic,
            "offset": record.offset,
            "key": record.key,
            "headers": [(name, value) for name, value in record.headers],
            "length": len(record.value),
            "row": self.message(LogRow.FromString(record.value)),
        }


def first_difference(one: Any, other: Any, at: str = "") -> str | None:
    """Where two comparable forms part first, and what stands there; None if they are equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            found = first_difference(one.get(key), other.get(key), f"{at}.{key}")
            if found:
                return found
        return None
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        for place in range(max(len(one), len(other))):
            left = one[place] if place < len(one) else None
            right = other[place] if place < len(other) else None
            found = first_difference(left, right, f"{at}[{place}]")
            if found:
                return found
        return None
    return None if one == other else f"{at}: {one!r} with what was withheld, {other!r} without"
