"""What the directory's reasons mean, in words for the people who choose."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

_WORDS: Final[Mapping[str, str]] = {
    "cbt": "CBT",
    "act": "ACT",
    "emdr": "EMDR",
    "exposure": "exposure therapy",
    "mindfulness": "mindfulness",
    "trauma-informed": "trauma-informed care",
    "iv": "IV",
    "im": "IM",
    "child": "children",
    "adolescent": "adolescents",
    "adult": "adults",
    "older-adult": "older adults",
    "prescriber": "a prescriber",
    "therapy_provider": "a therapy provider",
    "hsa-fsa": "HSA or FSA",
}

_MET: Final[Mapping[str, Callable[[str], str]]] = {
    "openings": lambda _: "has openings, stated lately",
    "opening-soon": lambda _: "has an opening within two weeks",
    "partner-already": lambda _: "works with you already",
    "role": lambda said: f"is {said}",
    "licence-state": lambda said: f"is licensed in {said}",
    "age-group": lambda said: f"sees {said}",
    "modality": lambda said: f"offers {said}",
    "language": lambda said: f"speaks {said}",
    "route": lambda said: f"gives ketamine by {said}",
    "access": lambda said: f"has a site with {said}",
    "service": lambda said: f"offers {said}",
    "payment": lambda said: f"takes {said}",
    "price": lambda _: "costs no more than asked for",
    "telehealth": lambda _: "offers telehealth",
    "kap-training": lambda _: "has KAP training",
}

_UNMET: Final[Mapping[str, str]] = {
    "openings": "has stated no openings lately",
    "opening-soon": "has stated no opening within two weeks",
    "role": "does not have the role asked for",
    "licence-state": "is not licensed in the state asked for",
    "age-group": "does not say that it sees the age group asked for",
    "modality": "offers none of the modalities asked for",
    "language": "does not say that it speaks a language asked for",
    "route": "does not say that it gives ketamine by a route asked for",
    "access": "does not state the access asked for",
    "service": "does not offer the service asked for",
    "payment": "does not say that it takes a payment asked for",
    "price": "costs more than asked for, or states no price",
    "telehealth": "does not offer telehealth",
    "kap-training": "states no KAP training",
}


def said(code: str, values: Sequence[str], *, met: bool) -> str:
    """A code that is newer than this clinic is given as it is."""
    named = ", ".join(_WORDS.get(value, value.replace("-", " ")) for value in values)
    if met:
        return _MET[code](named) if code in _MET else code
    return _UNMET.get(code, code)
