"""What every kind of entry is made of, and how it is written and read."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, TypeVar

from tandem_care import local_time
from tandem_care.categories import Category
from tandem_care.codec import Between, Part, Text, read_document, write_document
from tandem_care.errors import Invalid

Name = Annotated[str, Text(200)]
Line = Annotated[str, Text(500)]
Words = Annotated[str, Text(8000, free=True)]
Note = Annotated[str, Text(1000, free=True)]
Code = Annotated[str, Text(60, pattern=r"[A-Za-z0-9][A-Za-z0-9.:_-]*", needs="must be a code without blanks")]
Phone = Annotated[str, Text(40, pattern=r"\+?[0-9][0-9 ().x-]{3,}", needs="must be a telephone number")]
Zone = Annotated[str, Text(60, pattern=r"[A-Za-z]+(?:/[A-Za-z0-9_+-]+)*", needs="must be an IANA time zone")]
Minutes = Annotated[int, Between(0, 24 * 60)]
Sessions = Annotated[int, Between(1, 200)]
Version = Annotated[int, Between(1, 10_000)]


class Content(Part):
    """Base of every kind. ``kind``, ``category`` and ``version`` are set where the kind is declared."""

    __slots__ = ()
    kind: ClassVar[str]
    category: ClassVar[Category]
    version: ClassVar[int]


C = TypeVar("C", bound=type[Content])
Moment = TypeVar("Moment", datetime, date)
_DECLARED: Final[dict[str, type[Content]]] = {}


def entry_kind(kind: str, category: Category, version: int = 1) -> Callable[[C], C]:
    def declare(cls: C) -> C:
        cls.kind, cls.category, cls.version = kind, category, version
        _DECLARED[kind] = cls
        return cls

    return declare


def to_json(content: Content) -> str:
    """The document that is sealed: kind, version and fields. Equal contents give equal text."""
    return write_document({"kind": content.kind, "version": content.version, "content": content.to_fields()})


def from_json(document: str | bytes) -> Content:
    """Read a document. Unknown fields of a later version are passed over; the rest is as strict as input."""
    found = read_document(document)
    if set(found) != {"kind", "version", "content"}:
        raise Invalid("", "must have kind, version and content, and nothing else")
    cls = kind_of(found["kind"])
    version = found["version"]
    if type(version) is not int or version < 1:
        raise Invalid("version", "must be a whole number from 1")
    return _within("content", cls, found["content"], version > cls.version)


def from_input(kind: str, fields: Mapping[str, Any]) -> Content:
    """Build a kind from what a person or program entered. Unknown fields are refused."""
    return kind_of(kind).from_fields(fields)


def kind_of(kind: object) -> type[Content]:
    found = KINDS.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise Invalid("kind", "is not a kind of entry")
    return found


def _within(field: str, cls: type[Content], fields: object, newer: bool) -> Content:
    try:
        return cls.from_fields(fields, newer=newer)
    except Invalid as fault:
        raise fault.inside(field) from None


def after(field: str, later: Moment | None, earlier: Moment | None, than: str) -> None:
    if later is not None and earlier is not None and later < earlier:
        raise Invalid(field, f"must not be before {than}")


def known_zone(field: str, name: str) -> None:
    try:
        local_time.zone(name)
    except Invalid as fault:
        raise Invalid(field, fault.message) from None


KINDS: Final[Mapping[str, type[Content]]] = MappingProxyType(_DECLARED)
