"""The National Provider Identifier and its check digit (45 CFR 162.406)."""

from typing import Final

_PREFIX: Final = "80840"
"""Before the identifier when its check digit is computed: health applications (80), United States (840)."""


def is_npi(text: str) -> bool:
    """Ten digits, the first 1 or 2, the last one the Luhn check digit over prefix and identifier."""
    if len(text) != 10 or not (text.isascii() and text.isdigit()) or text[0] not in "12":
        return False
    return check_digit(text[:9]) == text[9]


def check_digit(nine: str) -> str:
    """The tenth digit for the first nine."""
    total = 0
    for place, digit in enumerate(reversed(_PREFIX + nine)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value // 10 + value % 10
    return str(-total % 10)
