"""What a written consent must say: the elements of 42 CFR 2.31(a), as amended on 16 February 2024."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tandem_care.categories import Purpose


class Element(StrEnum):
    """In the order of the section. All are asked for on every form: all our purposes are treatment, payment or operations.

    Recipients behind an intermediary, 2.31(a)(4)(ii), do not arise: a form names the one practice that receives.
    """

    PATIENT = "patient"
    DISCLOSER = "discloser"
    INFORMATION = "information"
    RECIPIENT = "recipient"
    REDISCLOSURE_BY_RECIPIENT = "redisclosure-by-recipient"
    PURPOSE = "purpose"
    RIGHT_TO_REVOKE = "right-to-revoke"
    EXPIRY = "expiry"
    SIGNATURE = "signature"
    DATE = "date"
    REDISCLOSURE_POTENTIAL = "redisclosure-potential"
    CONSEQUENCES_OF_REFUSAL = "consequences-of-refusal"

    @property
    def section(self) -> str:
        return f"42 CFR 2.31{_PARAGRAPHS[self]}"


_PARAGRAPHS: Final[Mapping[Element, str]] = MappingProxyType(
    {
        Element.PATIENT: "(a)(1)",
        Element.DISCLOSER: "(a)(2)",
        Element.INFORMATION: "(a)(3)",
        Element.RECIPIENT: "(a)(4)(i)",
        Element.REDISCLOSURE_BY_RECIPIENT: "(a)(4)(iii)",
        Element.PURPOSE: "(a)(5)",
        Element.RIGHT_TO_REVOKE: "(a)(6)",
        Element.EXPIRY: "(a)(7)",
        Element.SIGNATURE: "(a)(8)",
        Element.DATE: "(a)(9)",
        Element.REDISCLOSURE_POTENTIAL: "(a)(10)(i)",
        Element.CONSEQUENCES_OF_REFUSAL: "(a)(10)(ii)",
    }
)

NO_EXPIRY_ALLOWED: Final = frozenset(
    {Purpose.TREATMENT, Purpose.PAYMENT, Purpose.OPERATIONS, Purpose.TREATMENT_PAYMENT_OPERATIONS}
)
"""Purposes for which 42 CFR 2.31(a)(7)(i) takes "none" for an expiry."""


def is_none(words: str) -> bool:
    return words.strip().casefold() == "none"


def lacking(stated: Mapping[Element, str], purpose: Purpose) -> tuple[Element, ...]:
    """The elements that a form with these words does not have, in the order of the section.

    Blank words state nothing, and "none" states nothing but an expiry.
    """
    return tuple(element for element in Element if not _is_stated(element, stated.get(element, ""), purpose))


def _is_stated(element: Element, words: str, purpose: Purpose) -> bool:
    if is_none(words):
        return element is Element.EXPIRY and purpose in NO_EXPIRY_ALLOWED
    return bool(words.strip())
