"""Whether an entry may be disclosed: the one algebra that hub and clinics both use.

Deny wins over permit; a permission that is revoked, held or over permits nothing; what is left is the union
of the permits. Everything not permitted is refused.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from tandem_care.categories import (
    EMERGENCY,
    PART2,
    TREATMENT_RELATIONSHIP,
    Basis,
    Category,
    Effect,
    Purpose,
)
from tandem_care.errors import Invalid


class PermissionState(StrEnum):
    ACTIVE = "active"
    HELD = "held"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """*discloser* may (or may not) give *recipient* these categories, for one episode.

    In force from ``starts_at`` up to, but not including, ``ends_at``.
    ``history_from`` is the earliest authored time that it opens; None means ``starts_at``.
    Every change is a new version; only the highest version of an id counts.
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

    def __post_init__(self) -> None:
        _require_aware_times(self)
        if self.version < 1:
            raise Invalid("version", "must be 1 or more")
        if not self.categories:
            raise Invalid("categories", "must name at least one category")
        if self.discloser == self.recipient:
            raise Invalid("recipient", "must be another practice than the discloser")
        if self.ends_at is not None and self.ends_at <= self.starts_at:
            raise Invalid("ends_at", "must be after starts_at")

    @property
    def opens_from(self) -> datetime:
        return self.starts_at if self.history_from is None else self.history_from

    def has_started(self, now: datetime) -> bool:
        return self.starts_at <= now

    def is_over(self, now: datetime) -> bool:
        return self.state is PermissionState.EXPIRED or (self.ends_at is not None and self.ends_at <= now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """May *discloser* give *recipient* this one entry, now?

    ``category`` and ``purpose`` are codes as received: an unknown one is answered with a refusal.
    ``derived_from`` are the categories of what the entry was made from; each must be permitted as well.
    ``part2``: the discloser holds it as a Part 2 programme, so only the patient's own permission will do.
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

    def __post_init__(self) -> None:
        _require_aware_times(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyAccess:
    """A recorded emergency. 42 CFR 2.51 wants recipient and facility, discloser, time, nature: all four."""

    discloser: str
    recipient: str
    facility: str
    episode: str
    nature: str
    starts_at: datetime
    ends_at: datetime

    def __post_init__(self) -> None:
        _require_aware_times(self)
        for name in ("discloser", "recipient", "facility", "episode", "nature"):
            if not getattr(self, name).strip():
                raise Invalid(name, "must be recorded before emergency access opens")
        if self.ends_at <= self.starts_at:
            raise Invalid("ends_at", "must be after starts_at")


class Rule(StrEnum):
    """Why a question was answered as it was. The refusals stand from the farthest miss to the nearest."""

    PERMITTED = "permitted"
    EMERGENCY_ACCESS = "emergency-access"
    UNKNOWN_CATEGORY = "unknown-category"
    UNKNOWN_PURPOSE = "unknown-purpose"
    PARTNERSHIP_NOT_ACTIVE = "partnership-not-active"
    REFERRAL_NOT_LIVE = "referral-not-live"
    DENIED = "denied"
    NO_PERMISSION = "no-permission"
    CATEGORY_NOT_NAMED = "category-not-named"
    PURPOSE_NOT_NAMED = "purpose-not-named"
    NOT_BY_TREATMENT_RELATIONSHIP = "not-by-treatment-relationship"
    REVOKED = "revoked"
    EXPIRED = "expired"
    HELD = "held"
    NOT_STARTED = "not-started"
    BEFORE_HISTORY = "before-history"


SENTENCES: Final[Mapping[Rule, str]] = MappingProxyType(
    {
        Rule.PERMITTED: "An active permission names this recipient, category, purpose and time.",
        Rule.EMERGENCY_ACCESS: "A recorded medical emergency opens this category to this recipient for now.",
        Rule.UNKNOWN_CATEGORY: "The category is not one that can be shared.",
        Rule.UNKNOWN_PURPOSE: "The purpose is not one that a permission can name.",
        Rule.PARTNERSHIP_NOT_ACTIVE: "The two practices have no active partnership.",
        Rule.REFERRAL_NOT_LIVE: "No live referral or shared episode joins the two practices.",
        Rule.DENIED: "The patient has said that this is not to be shared with this recipient.",
        Rule.NO_PERMISSION: "There is no permission for this recipient; ask the patient for one.",
        Rule.CATEGORY_NOT_NAMED: "The patient's permission does not name this category.",
        Rule.PURPOSE_NOT_NAMED: "The patient's permission does not name this purpose.",
        Rule.NOT_BY_TREATMENT_RELATIONSHIP: "A treatment relationship is not enough here; ask the patient.",
        Rule.REVOKED: "The patient has revoked the permission.",
        Rule.EXPIRED: "The permission has ended.",
        Rule.HELD: "The permission is on hold at the patient's word.",
        Rule.NOT_STARTED: "The permission has not started yet.",
        Rule.BEFORE_HISTORY: "The entry is older than the history that the permission opens.",
    }
)

_CATEGORIES: Final = frozenset(category.value for category in Category)
_PURPOSES: Final = frozenset(purpose.value for purpose in Purpose)
_NEARNESS: Final = {rule: place for place, rule in enumerate(Rule)}
_FIRMNESS: Final = {basis: place for place, basis in enumerate(Basis)}


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, for the discloser and the audit. The recipient is never told why something was withheld."""

    permitted: bool
    rule: Rule
    permission_id: str | None = None
    version: int | None = None

    @property
    def sentence(self) -> str:
        return SENTENCES[self.rule]


def decide(
    permissions: Iterable[Permission],
    question: Question,
    partnership_active: bool,
    referral_live: bool,
    *,
    treatment_relationship_allowed: bool = False,
    emergency: EmergencyAccess | None = None,
) -> Decision:
    """Answer *question*. The order of *permissions* does not matter, nor do those of other scopes.

    ``treatment_relationship_allowed``: the network and both practices accept that basis (45 CFR 164.506).
    Emergency access needs the partnership but no live referral, and answers only where nothing else permits.
    """
    latest = [p for p in _latest_versions(permissions) if _same_scope(p, question)]
    decisions = [
        _decide_one(latest, question, code, partnership_active, referral_live, treatment_relationship_allowed)
        for code in (question.category, *sorted(question.derived_from))
    ]
    refused = [decision for decision in decisions if not decision.permitted]
    if not refused:
        return decisions[0]
    if partnership_active and emergency is not None and emergency_covers(emergency, question):
        return Decision(True, Rule.EMERGENCY_ACCESS)
    return refused[0]


def emergency_covers(emergency: EmergencyAccess, question: Question) -> bool:
    """Only the emergency set of categories, in the named scope, while it lasts."""
    return (
        emergency.discloser == question.discloser
        and emergency.recipient == question.recipient
        and emergency.episode == question.episode
        and emergency.starts_at <= question.now < emergency.ends_at
        and {question.category, *question.derived_from} <= EMERGENCY
    )


def _decide_one(
    permissions: list[Permission],
    question: Question,
    code: str,
    partnership_active: bool,
    referral_live: bool,
    treatment_relationship_allowed: bool,
) -> Decision:
    if code not in _CATEGORIES:
        return Decision(False, Rule.UNKNOWN_CATEGORY)
    if question.purpose not in _PURPOSES:
        return Decision(False, Rule.UNKNOWN_PURPOSE)
    if not partnership_active:
        return Decision(False, Rule.PARTNERSHIP_NOT_ACTIVE)
    if not referral_live:
        return Decision(False, Rule.REFERRAL_NOT_LIVE)

    category, purpose = Category(code), Purpose(question.purpose)
    denials = [
        p for p in permissions if p.effect is Effect.DENY and _denies(p, category, purpose, question.now)
    ]
    if denials:
        denial = min(denials, key=lambda p: p.id)
        return Decision(False, Rule.DENIED, denial.id, denial.version)

    by_treatment = treatment_relationship_allowed and not question.part2
    answers = [
        (_answer(p, category, purpose, question, by_treatment), p)
        for p in permissions
        if p.effect is Effect.PERMIT
    ]
    permits = [p for rule, p in answers if rule is Rule.PERMITTED]
    if permits:
        firmest = min(permits, key=lambda p: (_FIRMNESS[p.basis], p.id))
        return Decision(True, Rule.PERMITTED, firmest.id, firmest.version)
    if not answers:
        return Decision(False, Rule.NO_PERMISSION)
    rule, nearest = max(answers, key=lambda answer: (_NEARNESS[answer[0]], answer[1].id))
    return Decision(False, rule, nearest.id, nearest.version)


def _denies(denial: Permission, category: Category, purpose: Purpose, now: datetime) -> bool:
    """A denial reaches back over all history; holding one does not open what it closes."""
    return (
        denial.state is not PermissionState.REVOKED
        and denial.has_started(now)
        and not denial.is_over(now)
        and category in denial.categories
        and purpose in denial.purpose.covers
    )


def _answer(
    permit: Permission, category: Category, purpose: Purpose, question: Question, by_treatment: bool
) -> Rule:
    if category not in permit.categories:
        return Rule.CATEGORY_NOT_NAMED
    if purpose not in permit.purpose.covers:
        return Rule.PURPOSE_NOT_NAMED
    if permit.basis is Basis.TREATMENT_RELATIONSHIP and not (
        by_treatment and category in TREATMENT_RELATIONSHIP
    ):
        return Rule.NOT_BY_TREATMENT_RELATIONSHIP
    if permit.state is PermissionState.REVOKED:
        return Rule.REVOKED
    if permit.is_over(question.now):
        return Rule.EXPIRED
    if permit.state is PermissionState.HELD:
        return Rule.HELD
    if not permit.has_started(question.now):
        return Rule.NOT_STARTED
    if question.authored_at < permit.opens_from:
        return Rule.BEFORE_HISTORY
    return Rule.PERMITTED


def needs_redisclosure_notice(categories: Iterable[str], part2: bool) -> bool:
    """Whether the notice of 42 CFR 2.32 must ride with a disclosure."""
    return part2 or not PART2.isdisjoint(categories)


REDISCLOSURE_NOTICE: Final = "42 CFR part 2 prohibits unauthorized use or disclosure of these records."
"""The short form of the notice, 42 CFR 2.32(a)(2)."""


def _same_scope(permission: Permission, question: Question) -> bool:
    return (
        permission.discloser == question.discloser
        and permission.recipient == question.recipient
        and permission.episode == question.episode
    )


def _latest_versions(permissions: Iterable[Permission]) -> list[Permission]:
    found = list(permissions)
    highest: dict[str, int] = {}
    for permission in found:
        highest[permission.id] = max(permission.version, highest.get(permission.id, 0))
    return [permission for permission in found if permission.version == highest[permission.id]]


def _require_aware_times(record: Permission | Question | EmergencyAccess) -> None:
    for each in fields(record):
        value = getattr(record, each.name)
        if isinstance(value, datetime) and value.tzinfo is None:
            raise Invalid(each.name, "needs a time zone")
