"""What a decision is made from: permissions as they stand, and the question that an entry puts."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from tandem_care.categories import Basis, Category, Effect, Purpose
from tandem_care.errors import Invalid
from tandem_care.law.elements import Element
from tandem_care.law.signers import SignatureFault


class PermissionState(StrEnum):
    ACTIVE = "active"
    HELD = "held"
    REVOKED = "revoked"
    EXPIRED = "expired"
    DECLINED = "declined"
    """The patient was asked and did not sign: an answer like another, under which nothing is disclosed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """*discloser* may (or may not) give *recipient* these categories, for one episode.

    In force from ``starts_at`` up to, but not including, ``ends_at``.
    ``history_from`` is the earliest authored time that it opens; None means ``starts_at``.
    Every change is a new version; only the highest version of an id counts.

    ``items`` and ``codes`` are the entries, and the codes in entries, that the patient keeps back. On a permit they are
    its exceptions, and while it is in force or on hold they win over other permits too, as a denial does.
    A denial that names any denies these alone. Codes are compared as they are, so that they may be keyed digests.
    """

    id: str
    version: int
    discloser: str
    recipient: str
    episode: str
    categories: frozenset[Category]
    purpose: Purpose
    basis: Basis
    effect: Effect = Effect.PERMIT
    starts_at: datetime
    ends_at: datetime | None = None
    history_from: datetime | None = None
    state: PermissionState = PermissionState.ACTIVE
    items: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    lacking: tuple[Element, ...] = ()
    """What a written form does not say (42 CFR 2.31(a)): it carries nothing until it does."""
    signature_fault: SignatureFault | None = None
    authority_until: datetime | None = None
    """When the authority of whoever signed for the patient ends, at the latest at majority; the patient decides from then on."""
    signature_due_at: datetime | None = None
    """Until when a verbal permission may wait for its signature."""
    is_plain: bool = field(init=False, repr=False, compare=False)
    """A sound written permit: most rules can have nothing to say about it."""

    def __post_init__(self) -> None:
        for name in _TIMES:
            at = getattr(self, name)
            if at is not None and at.tzinfo is None:
                raise Invalid(name, "needs a time zone")
        if self.version < 1:
            raise Invalid("version", "must be 1 or more")
        if not self.categories:
            raise Invalid("categories", "must name at least one category")
        if self.discloser == self.recipient:
            raise Invalid("recipient", "must be another practice than the discloser")
        if self.ends_at is not None and self.ends_at <= self.starts_at:
            raise Invalid("ends_at", "must be after starts_at")
        is_plain = (
            self.basis is Basis.WRITTEN
            and self.state is PermissionState.ACTIVE
            and not self.lacking
            and self.signature_fault is None
            and self.authority_until is None
        )
        object.__setattr__(self, "is_plain", is_plain)

    @property
    def opens_from(self) -> datetime:
        return self.starts_at if self.history_from is None else self.history_from

    def has_started(self, now: datetime) -> bool:
        return self.starts_at <= now

    def is_over(self, now: datetime) -> bool:
        return self.state is PermissionState.EXPIRED or (self.ends_at is not None and self.ends_at <= now)

    def keeps_back(self, now: datetime) -> bool:
        """Whether what it denies or excepts is kept back now. Holding it opens nothing."""
        return (
            self.state in (PermissionState.ACTIVE, PermissionState.HELD)
            and self.has_started(now)
            and not self.is_over(now)
        )


_TIMES = ("starts_at", "ends_at", "history_from", "authority_until", "signature_due_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """May *discloser* give *recipient* this one entry, now?

    ``category`` and ``purpose`` are codes as received: an unknown one is answered with a refusal.
    ``derived_from`` are the categories of what the entry was made from; each must be permitted as well.
    ``part2``: the discloser holds it as a Part 2 program, so only the patient's own writing will do.
    ``item`` is the entry's id, and ``codes`` are those that it bears, its inputs' among them: for what the patient keeps back.
    """

    discloser: str
    recipient: str
    episode: str
    category: str
    authored_at: datetime
    now: datetime
    purpose: str
    derived_from: frozenset[str] = frozenset()
    part2: bool = False
    item: str = ""
    codes: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.authored_at.tzinfo is None:
            raise Invalid("authored_at", "needs a time zone")
        if self.now.tzinfo is None:
            raise Invalid("now", "needs a time zone")
