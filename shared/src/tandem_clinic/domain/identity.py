"""Who a patient is: the same content that a partner gets as the identity-contact entry."""

import re
import unicodedata
from difflib import SequenceMatcher
from typing import Final

from tandem_care.entry_kinds import IdentityContact

PatientIdentity = IdentityContact

SIMILAR_NAMES: Final = 0.8
"""Share of letters in common from which two names are worth a second look."""


def shown_name(identity: PatientIdentity) -> str:
    """The name to call the patient by."""
    return identity.used_name or identity.legal_name


def resemble(one: PatientIdentity, other: PatientIdentity) -> bool:
    """Whether the two may be one person: born on the same day, and of similar names, in whatever order."""
    if one.birth_date != other.birth_date:
        return False
    return any(
        SequenceMatcher(None, left, right).ratio() >= SIMILAR_NAMES
        for left in _spellings(one)
        for right in _spellings(other)
    )


def _spellings(identity: PatientIdentity) -> set[str]:
    names = {identity.legal_name} | ({identity.used_name} if identity.used_name else set())
    return {" ".join(sorted(_plain(name).split())) for name in names}


def _plain(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return re.sub(r"[^\w]+", " ", "".join(c for c in decomposed if not unicodedata.combining(c)))
