"""The contracts' enumerations and the codes that people and the rules use: one name rule, no second table.

``CATEGORY_SCALE_SCORE`` is ``scale-score``; an unknown number or code is the empty word or UNSPECIFIED, which no rule permits.
"""

from functools import cache

from google.protobuf.descriptor import EnumDescriptor

from tandem.common.v1.common_pb2 import Basis, Category, Effect, Purpose


@cache
def _codes(enum: EnumDescriptor) -> dict[int, str]:
    prefix = enum.name.upper() + "_"
    return {
        value.number: value.name.removeprefix(prefix).lower().replace("_", "-")
        for value in enum.values
        if value.number
    }


@cache
def _numbers(enum: EnumDescriptor) -> dict[str, int]:
    return {code: number for number, code in _codes(enum).items()}


def category_code(number: int) -> str:
    return _codes(Category.DESCRIPTOR).get(number, "")


def category_number(code: str) -> "Category.ValueType":
    return Category.ValueType(_numbers(Category.DESCRIPTOR).get(code, 0))


def purpose_code(number: int) -> str:
    return _codes(Purpose.DESCRIPTOR).get(number, "")


def purpose_number(code: str) -> "Purpose.ValueType":
    return Purpose.ValueType(_numbers(Purpose.DESCRIPTOR).get(code, 0))


def basis_code(number: int) -> str:
    return _codes(Basis.DESCRIPTOR).get(number, "")


def basis_number(code: str) -> "Basis.ValueType":
    return Basis.ValueType(_numbers(Basis.DESCRIPTOR).get(code, 0))


def effect_code(number: int) -> str:
    return _codes(Effect.DESCRIPTOR).get(number, "")


def effect_number(code: str) -> "Effect.ValueType":
    return Effect.ValueType(_numbers(Effect.DESCRIPTOR).get(code, 0))
