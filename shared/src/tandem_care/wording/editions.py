"""Reads the words of consent forms and notices: which edition, in which language, and whether it may be used."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final, TypeVar

from tandem_care.categories import Category, Purpose
from tandem_care.errors import Invalid
from tandem_care.law.elements import Element

ENGLISH: Final = "en"


@dataclass(frozen=True, slots=True)
class Edition:
    """Which words these are. ``digest`` is the SHA-256 of the file that holds them: kept with what was signed."""

    name: str
    language: str
    version: int
    digest: bytes
    approved: bool
    """Whether the words are final as they ship; a draft waits for a clinic that approves it by its digest."""

    def may_be_used(self, approved_here: frozenset[bytes] = frozenset()) -> bool:
        return self.approved or self.digest in approved_here


@dataclass(frozen=True, slots=True)
class Section:
    element: Element
    heading: str
    text: str
    """With names in braces, to be filled in."""


@dataclass(frozen=True, slots=True)
class FormWording:
    edition: Edition
    title: str
    opening: str
    sections: tuple[Section, ...]
    closing: str
    phrases: Mapping[str, str]
    purposes: Mapping[Purpose, str]
    categories: Mapping[Category, str]

    def filled(self, **words: str) -> tuple[Section, ...]:
        """The sections with *words* in their places. Raises Invalid for a place without a word."""
        try:
            return tuple(
                Section(each.element, each.heading, each.text.format(**words)) for each in self.sections
            )
        except KeyError as missing:
            raise Invalid(str(missing.args[0]), "must be said on the form") from None


@dataclass(frozen=True, slots=True)
class NoticeWording:
    """42 CFR 2.32: the statement of (a), and the explanation of the consent's scope of (b), to be filled in."""

    edition: Edition
    notice: str
    scope: str


def form_wording(language: str, approved_here: frozenset[bytes] = frozenset()) -> FormWording:
    """The newest form in *language* that may be used here, or the English one. ``approved_here``: digests of drafts that the clinic approved."""
    return _newest(FORMS, language, approved_here)


def notice_wording(language: str, approved_here: frozenset[bytes] = frozenset()) -> NoticeWording:
    """As `form_wording`, for the notice and scope of 42 CFR 2.32."""
    return _newest(NOTICES, language, approved_here)


_Worded = TypeVar("_Worded", FormWording, NoticeWording)


def _newest(editions: tuple[_Worded, ...], language: str, approved_here: frozenset[bytes]) -> _Worded:
    usable = [each for each in editions if each.edition.may_be_used(approved_here)]
    of_language = [each for each in usable if each.edition.language == language]
    in_english = [each for each in usable if each.edition.language == ENGLISH]
    return max(of_language or in_english, key=lambda each: each.edition.version)


def _written(name: str) -> list[tuple[Edition, dict[str, Any]]]:
    """The editions of *name*: files called name.language.version.toml."""
    found = []
    for file in sorted(files("tandem_care.wording").iterdir(), key=lambda each: each.name):
        of, language, version, *_ = [*file.name.split("."), "", ""]
        if of == name and file.name.endswith(".toml"):
            content = file.read_bytes()
            words = tomllib.loads(content.decode())
            digest = hashlib.sha256(content).digest()
            found.append((Edition(name, language, int(version), digest, words.pop("approved")), words))
    return found


def _form(edition: Edition, words: dict[str, Any]) -> FormWording:
    return FormWording(
        edition=edition,
        title=words["title"],
        opening=words["opening"],
        sections=tuple(
            Section(Element(each["element"]), each["heading"], each["text"]) for each in words["sections"]
        ),
        closing=words["closing"],
        phrases=MappingProxyType(words["phrases"]),
        purposes=MappingProxyType({Purpose(code): text for code, text in words["purposes"].items()}),
        categories=MappingProxyType({Category(code): text for code, text in words["categories"].items()}),
    )


FORMS: Final = tuple(_form(*each) for each in _written("form"))
NOTICES: Final = tuple(NoticeWording(edition, **words) for edition, words in _written("notice"))
