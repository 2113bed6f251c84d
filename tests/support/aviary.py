"""Canaries: words that occur nowhere else, for every place that takes any text, and a memory of which went where."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from tandem_care.entry_kinds import Content
from tandem_care.errors import Invalid
from tandem_clinic.domain.refusals import ContentInvalid

SPECIES = "Kanarienvogel"
"""Every canary begins with it, so that one search finds them all."""


class Canaries:
    """made: where each word went."""

    def __init__(self) -> None:
        self._random = random.Random(20261122)
        self.made: dict[str, str] = {}

    def word(self, where: str) -> str:
        letters = "".join(self._random.choice("bcdfghjklmnpqrstvwxz") for _ in range(14))
        word = f"{SPECIES} {letters.title()}"
        self.made[word] = where
        return word

    def in_all_text(self, content: Content, whose: str) -> Content:
        """*content* with a word of its own in the place of every text that may be any."""
        kind = type(content)
        return kind.from_fields(
            self.in_fields(content.to_fields(), kind.from_fields, f"{whose} {content.kind}")
        )

    def in_fields(
        self, fields: Any, check: Callable[[Any], object], where: str, *, beside: bool = False
    ) -> Any:
        """*fields* with a word of its own wherever *check* takes it: in the text's place, or *beside* what is there."""
        for path in _texts(fields):
            word = self.word(f"{where}.{'.'.join(map(str, path))}")
            tried = _with(fields, path, word, beside)
            try:
                check(tried)
            except (Invalid, ContentInvalid):
                # A code, a time or a number as text: there is no room for words in it.
                del self.made[word]
            else:
                fields = tried
        return fields


def _texts(fields: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = fields.items() if isinstance(fields, dict) else enumerate(fields)
    for key, value in inner:
        if isinstance(value, str):
            yield (*path, key)
        elif isinstance(value, (dict, list)):
            yield from _texts(value, (*path, key))


def _with(fields: Any, path: tuple[Any, ...], word: str, beside: bool) -> Any:
    copy = json.loads(json.dumps(fields))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = f"{inner[path[-1]]} {word}" if beside else word
    return copy
