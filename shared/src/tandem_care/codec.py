"""Checks and JSON for typed content, driven by the annotations of frozen dataclasses.

A field says in its annotation what it may hold (``Annotated[str, Text(200)]``).
Building a value checks it, so a value that exists is valid; every fault is an Invalid that names its field.
"""

import dataclasses
import json
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import cache
from typing import Any, Final, Self, Union

from tandem_care.errors import Invalid

MOST_IN_A_LIST: Final = 200
MOST_BYTES: Final = 512 * 1024

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_PLAIN_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclasses.dataclass(frozen=True, slots=True)
class Text:
    """Between 1 and *most* characters, not only blanks, no control characters but tab and newline.

    *free* marks words that the sender composes, which a person confirms before they leave.
    """

    most: int
    free: bool = False
    pattern: str | None = None
    needs: str = "has the wrong form"


@dataclasses.dataclass(frozen=True, slots=True)
class Between:
    low: int
    high: int


class Part:
    """Base of all typed content. Subclasses are frozen dataclasses."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for name, shape in _shapes(type(self)).items():
            try:
                shape.check(getattr(self, name))
            except Invalid as fault:
                raise fault.inside(name) from None
        self.agree()

    def agree(self) -> None:
        """Check what no single field can show. Raises Invalid."""

    @classmethod
    def from_fields(cls, given: object, *, newer: bool = False) -> Self:
        """Build from JSON values. Unknown fields are refused, unless *newer*: written by a later version."""
        if not isinstance(given, Mapping):
            raise Invalid("", "must be an object")
        shapes = _shapes(cls)
        if not newer:
            for name in given:
                if name not in shapes:
                    raise Invalid(name if _PLAIN_NAME.fullmatch(str(name)) else "", "is not a field here")
        values: dict[str, Any] = {}
        for name, shape in shapes.items():
            if name in given:
                try:
                    values[name] = shape.decode(given[name], newer)
                except Invalid as fault:
                    raise fault.inside(name) from None
        for name in _required(cls):
            if name not in values:
                raise Invalid(name, "is required")
        return cls(**values)

    def to_fields(self) -> dict[str, Any]:
        """JSON values. Fields that hold None are left out."""
        return {
            name: shape.encode(value)
            for name, shape in _shapes(type(self)).items()
            if (value := getattr(self, name)) is not None
        }

    def free_text(self) -> Iterator[tuple[str, str]]:
        """Path and words of everything that the sender composed."""
        for name, shape in _shapes(type(self)).items():
            for path, words in shape.free(getattr(self, name)):
                yield f"{name}{path}", words


@dataclasses.dataclass(frozen=True, slots=True)
class _Shape:
    """How one type is checked, encoded and decoded."""

    check: Callable[[Any], None]
    encode: Callable[[Any], Any] = lambda value: value
    decode: Callable[[Any, bool], Any] = lambda value, _: value
    free: Callable[[Any], Iterator[tuple[str, str]]] = lambda _: iter(())


def read_document(text: str | bytes) -> dict[str, Any]:
    """Parse one JSON object strictly: no repeated fields, no NaN, bounded size and depth."""
    if len(text) > MOST_BYTES:
        raise Invalid("", "is too large")
    try:
        document = json.loads(
            text, object_pairs_hook=_no_repeats, parse_constant=_no_constant, parse_float=_Fraction
        )
    except (ValueError, RecursionError) as fault:
        if isinstance(fault, Invalid):
            raise
        raise Invalid("", "is not JSON") from None
    if not isinstance(document, dict):
        raise Invalid("", "must be an object")
    return document


def write_document(document: Mapping[str, Any]) -> str:
    """The same content always gives the same characters."""
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


class _Fraction(str):
    """A JSON number with a fraction, as it was written: a number for a field that takes one, and text for none."""


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Invalid("", "repeats a field")
    return found


def _no_constant(_: str) -> Any:
    raise Invalid("", "holds a number that is not one")


def _shapes_of(cls: type) -> Mapping[str, _Shape]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return {each.name: _shape(hints[each.name]) for each in dataclasses.fields(cls)}


def _required_of(cls: type) -> tuple[str, ...]:
    return tuple(
        each.name
        for each in dataclasses.fields(cls)
        if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
    )


# Worked out once per class: doing it per value would cost more than the check itself.
_shapes: Final[Callable[[type], Mapping[str, _Shape]]] = cache(_shapes_of)
_required: Final[Callable[[type], tuple[str, ...]]] = cache(_required_of)


def _shape(hint: Any) -> _Shape:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        kind, rule = arguments[0], arguments[1]
        if kind is str and isinstance(rule, Text):
            return _text(rule)
        if kind is int and isinstance(rule, Between):
            return _Shape(_whole_number(rule))
        if kind is Decimal and isinstance(rule, Between):
            return _decimal(rule)
    if origin in (Union, types.UnionType) and len(arguments) == 2 and arguments[1] is types.NoneType:
        return _optional(_shape(arguments[0]))
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _list(_shape(arguments[0]))
    if hint is bool:
        return _Shape(_instance(bool, "must be true or false"))
    if hint is datetime:
        return _Shape(_aware, lambda value: value.astimezone(UTC).isoformat(), _decode_time)
    if hint is date:
        return _Shape(_plain_date, lambda value: value.isoformat(), _decode_date)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _choice(hint)
    if isinstance(hint, type) and issubclass(hint, Part):
        return _part(hint)
    raise TypeError(f"no rule for content of type {hint!r}; give text and numbers their limits")


def _instance(kind: type, message: str) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if type(value) is not kind:
            raise Invalid("", message)

    return check


def _text(rule: Text) -> _Shape:
    form = None if rule.pattern is None else re.compile(rule.pattern)

    def check(value: Any) -> None:
        if type(value) is not str:
            raise Invalid("", "must be text")
        if not value.strip():
            raise Invalid("", "must not be empty")
        if len(value) > rule.most:
            raise Invalid("", f"must be at most {rule.most} characters")
        if _CONTROL.search(value):
            raise Invalid("", "holds a character that is not text")
        if form is not None and not form.fullmatch(value):
            raise Invalid("", rule.needs)

    def free(value: Any) -> Iterator[tuple[str, str]]:
        if rule.free and value is not None:
            yield "", value

    return _Shape(check, free=free)


def _whole_number(rule: Between) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if type(value) is not int or not rule.low <= value <= rule.high:
            raise Invalid("", f"must be a whole number from {rule.low} to {rule.high}")

    return check


def _decimal(rule: Between) -> _Shape:
    """Encoded as text: a dose must not pass through binary floating point."""
    message = f"must be a decimal number, as text, above {rule.low} and up to {rule.high}"

    def check(value: Any) -> None:
        if type(value) is not Decimal or not value.is_finite() or not rule.low < value <= rule.high:
            raise Invalid("", message)
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int) or not -6 <= exponent <= 6:
            raise Invalid("", "must have at most six decimal places")

    def decode(value: Any, _: bool) -> Decimal:
        if type(value) not in (str, int, _Fraction) or len(str(value)) > 20:
            raise Invalid("", message)
        try:
            return Decimal(value)
        except InvalidOperation:
            raise Invalid("", message) from None

    return _Shape(check, lambda value: format(value, "f"), decode)


def _optional(inner: _Shape) -> _Shape:
    return _Shape(
        lambda value: None if value is None else inner.check(value),
        lambda value: None if value is None else inner.encode(value),
        lambda value, newer: None if value is None else inner.decode(value, newer),
        lambda value: iter(()) if value is None else inner.free(value),
    )


def _list(inner: _Shape) -> _Shape:
    def check(value: Any) -> None:
        if type(value) is not tuple:
            raise Invalid("", "must be a tuple")
        _short_enough(value)
        for place, each in enumerate(value):
            try:
                inner.check(each)
            except Invalid as fault:
                raise fault.inside(f"[{place}]") from None

    def decode(value: Any, newer: bool) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise Invalid("", "must be a list")
        _short_enough(value)
        decoded = []
        for place, each in enumerate(value):
            try:
                decoded.append(inner.decode(each, newer))
            except Invalid as fault:
                raise fault.inside(f"[{place}]") from None
        return tuple(decoded)

    def free(value: Any) -> Iterator[tuple[str, str]]:
        for place, each in enumerate(value):
            for path, words in inner.free(each):
                yield f"[{place}]{path}", words

    return _Shape(check, lambda value: [inner.encode(each) for each in value], decode, free)


def _short_enough(value: Any) -> None:
    if len(value) > MOST_IN_A_LIST:
        raise Invalid("", f"must have at most {MOST_IN_A_LIST} items")


def _choice(kind: type[StrEnum]) -> _Shape:
    message = f"must be one of {', '.join(kind)}"

    def decode(value: Any, _: bool) -> StrEnum:
        if type(value) is not str:
            raise Invalid("", message)
        try:
            return kind(value)
        except ValueError:
            raise Invalid("", message) from None

    return _Shape(_instance(kind, message), lambda value: value.value, decode)


def _part(kind: type[Part]) -> _Shape:
    def free(value: Any) -> Iterator[tuple[str, str]]:
        for path, words in value.free_text():
            yield f".{path}", words

    return _Shape(
        _instance(kind, f"must be a {kind.__name__}"),
        lambda value: value.to_fields(),
        lambda value, newer: kind.from_fields(value, newer=newer),
        free,
    )


def _aware(value: Any) -> None:
    if type(value) is not datetime or value.utcoffset() is None:
        raise Invalid("", "must be a time with its offset")
    _in_range(value.year)


def _plain_date(value: Any) -> None:
    if type(value) is not date:
        raise Invalid("", "must be a date")
    _in_range(value.year)


def _in_range(year: int) -> None:
    if not 1880 <= year <= 2200:
        raise Invalid("", "must lie between the years 1880 and 2200")


def _decode_time(value: Any, _: bool) -> datetime:
    try:
        found = datetime.fromisoformat(value) if type(value) is str else None
    except ValueError:
        found = None
    if found is None or found.utcoffset() is None:
        raise Invalid("", "must be a time with its offset, such as 2026-03-01T09:30:00Z")
    _in_range(found.year)
    return found.astimezone(UTC)


def _decode_date(value: Any, _: bool) -> date:
    try:
        if type(value) is str and len(value) == 10:
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise Invalid("", "must be a date, such as 2026-03-01")
