"""What one practice may see of a patient: its own entries and those that it was given, none of them taken back."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from tandem_care.entry_kinds import Content

C = TypeVar("C", bound=Content)


@dataclass(frozen=True, slots=True)
class Noted:
    """``id``: of the own record, or of the partner's entry."""

    id: str
    content: Content
    own: bool
    authored_at: datetime


class Record:
    """In the order in which its entries were authored."""

    def __init__(self, noted: Iterable[Noted]) -> None:
        self.noted = tuple(sorted(noted, key=lambda each: (each.authored_at, each.id)))

    def all(self, kind: type[C]) -> tuple[C, ...]:
        return tuple(each.content for each in self.noted if isinstance(each.content, kind))

    def newest(self, kind: type[C], at: Callable[[C], datetime]) -> C | None:
        """Of two of one time, the one that was written later."""
        found = self.all(kind)
        return max(reversed(found), key=at) if found else None
