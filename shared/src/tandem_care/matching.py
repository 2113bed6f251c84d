"""Which practices fit what is looked for, in which order, and why. Decision support; people choose."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from tandem_care.errors import Invalid
from tandem_care.offers import (
    Offer,
    bit_of_all,
    bits_of,
    number_in,
    payments_column,
    price_column,
)
from tandem_care.profile import (
    ACCESS,
    AGE_GROUPS,
    HIGHEST_PRICE,
    MODALITIES,
    PAYMENTS,
    ROLES,
    ROUTES,
    SERVICES,
    STATES,
    check_codes,
    check_languages,
)

SOON: Final = timedelta(days=14)
_MOST_LANGUAGES = 5

POINTS: Final[Mapping[str, int]] = {
    "openings": 8,
    "partner-already": 6,
    "language": 6,
    "access": 5,
    "payment": 5,
    "opening-soon": 4,
    "modality": 4,
    "licence-state": 4,
    "age-group": 4,
    "service": 4,
    "price": 4,
    "kap-training": 3,
    "route": 3,
    "telehealth": 3,
    "role": 3,
}
"""What meeting a preference adds to the score. Whether there are openings, and whether one works with the practice already, always counts."""


class Needs(Protocol):
    """As directory.v1.Needs has it; what is empty, False or 0 is not asked for."""

    @property
    def role(self) -> str: ...
    @property
    def licence_state(self) -> str: ...
    @property
    def age_group(self) -> str: ...
    @property
    def modalities(self) -> Sequence[str]: ...
    @property
    def languages(self) -> Sequence[str]: ...
    @property
    def routes(self) -> Sequence[str]: ...
    @property
    def access(self) -> Sequence[str]: ...
    @property
    def service(self) -> str: ...
    @property
    def payments(self) -> Sequence[str]: ...
    @property
    def price_at_most(self) -> int: ...
    @property
    def telehealth(self) -> bool: ...
    @property
    def kap_trained(self) -> bool: ...
    @property
    def openings(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that decides about a practice's place.

    next_openings: when, and for which service; "" for any.
    """

    offer: Offer
    openings: int = 0
    stated_at: datetime | None = None
    next_openings: tuple[tuple[datetime, str], ...] = ()
    is_partner: bool = False


@dataclass(frozen=True, slots=True)
class AnyBit:
    """One of the columns has one of the bits."""

    columns: tuple[str, ...]
    bits: int

    def holds(self, facts: Facts) -> bool:
        return any(number_in(facts.offer[column]) & self.bits for column in self.columns)


@dataclass(frozen=True, slots=True)
class Speaks:
    language: str

    def holds(self, facts: Facts) -> bool:
        return f",{self.language}," in str(facts.offer["languages"])


@dataclass(frozen=True, slots=True)
class AtMost:
    """What was not stated is not below anything."""

    column: str
    number: int

    def holds(self, facts: Facts) -> bool:
        stated = facts.offer[self.column]
        return stated is not None and number_in(stated) <= self.number


@dataclass(frozen=True, slots=True)
class HasOpenings:
    """Stated since *fresh_since*."""

    fresh_since: datetime

    def holds(self, facts: Facts) -> bool:
        return facts.openings > 0 and _is_fresh(facts, self.fresh_since)


@dataclass(frozen=True, slots=True)
class OpensBetween:
    """One of the next openings lies between, and serves one of *services*."""

    fresh_since: datetime
    since: datetime
    until: datetime
    services: frozenset[str]

    def holds(self, facts: Facts) -> bool:
        return _is_fresh(facts, self.fresh_since) and any(
            self.since <= at <= self.until and service in self.services for at, service in facts.next_openings
        )


@dataclass(frozen=True, slots=True)
class IsPartner:
    def holds(self, facts: Facts) -> bool:
        return facts.is_partner


Test = AnyBit | Speaks | AtMost | HasOpenings | OpensBetween | IsPartner


@dataclass(frozen=True, slots=True)
class Want:
    """One thing that is looked for.

    tests: each with the codes of the request that it answers for.
    every: all tests have to hold; a preference counts for each that does. Otherwise one is enough.
    """

    code: str
    tests: tuple[tuple[tuple[str, ...], Test], ...]
    every: bool = False
    points: int = 0

    def holds(self, facts: Facts) -> bool:
        found = (test.holds(facts) for _, test in self.tests)
        return all(found) if self.every else any(found)

    def worth(self, facts: Facts) -> int:
        held = sum(test.holds(facts) for _, test in self.tests)
        return self.points * (held if self.every else min(held, 1))


@dataclass(frozen=True, slots=True)
class Wanted:
    """required: who does not meet one of them is out. preferred: who meets more stands higher."""

    required: tuple[Want, ...]
    preferred: tuple[Want, ...]


@dataclass(frozen=True, slots=True)
class Reason:
    """values: which of the codes that were asked for are met."""

    code: str
    values: tuple[str, ...]
    met: bool
    points: int


def check_needs(needs: Needs) -> None:
    """Raises Invalid, naming the field: what nothing could ever meet is a mistake of the asker's."""
    for field, code, known in (
        ("role", needs.role, ROLES),
        ("licence_state", needs.licence_state, STATES),
        ("age_group", needs.age_group, AGE_GROUPS),
        ("service", needs.service, SERVICES),
    ):
        if code:
            check_codes(field, [code], known)
    for field, codes, known in (
        ("modalities", needs.modalities, MODALITIES),
        ("routes", needs.routes, ROUTES),
        ("access", needs.access, ACCESS),
        ("payments", needs.payments, PAYMENTS),
    ):
        check_codes(field, codes, known)
    check_languages("languages", needs.languages, _MOST_LANGUAGES)
    if needs.price_at_most > HIGHEST_PRICE:
        raise Invalid("price_at_most", f"must be at most {HIGHEST_PRICE} US dollars")
    if needs.price_at_most and not needs.service:
        raise Invalid("service", "must be named where a price is asked for")


def wanted(required: Needs, preferred: Needs, *, now: datetime, fresh_since: datetime) -> Wanted:
    """What is looked for at *now*. Openings count if they were stated since *fresh_since*."""
    service = required.service or preferred.service
    services = frozenset({"", service} if service else {"", *SERVICES})
    hard = [*_asked(required, together=True)]
    if required.openings:
        hard.append(Want("openings", (((), HasOpenings(fresh_since)),)))
    soft = [
        Want("openings", (((), HasOpenings(fresh_since)),), points=POINTS["openings"]),
        Want(
            "opening-soon",
            (((), OpensBetween(fresh_since, now, now + SOON, services)),),
            points=POINTS["opening-soon"],
        ),
        Want("partner-already", (((), IsPartner()),), points=POINTS["partner-already"]),
        *(
            Want(want.code, want.tests, want.every, POINTS[want.code])
            for want in _asked(preferred, together=False)
        ),
    ]
    return Wanted(tuple(hard), tuple(sorted(soft, key=lambda want: -want.points)))


def score(looked_for: Wanted, facts: Facts) -> int | None:
    """None for whoever does not meet what is required."""
    if not all(want.holds(facts) for want in looked_for.required):
        return None
    return sum(want.worth(facts) for want in looked_for.preferred)


def reasons(looked_for: Wanted, facts: Facts) -> list[Reason]:
    """Everything that was looked at, the weightiest first. That one does not work with somebody yet goes without saying."""
    found = [
        _reason(want, facts)
        for want in (*looked_for.preferred, *looked_for.required)
        if want.points or want.code != "openings"
    ]
    return [reason for reason in found if reason.met or reason.code != "partner-already"]


def _asked(needs: Needs, *, together: bool) -> Iterable[Want]:
    """*together*: access needs have to be met at one and the same site."""
    for code, column, given, known, every in (
        ("role", "roles", [needs.role], ROLES, False),
        ("licence-state", "licence_states", [needs.licence_state], STATES, False),
        ("age-group", "age_groups", [needs.age_group], AGE_GROUPS, False),
        ("modality", "modalities", needs.modalities, MODALITIES, True),
        ("route", "routes", needs.routes, ROUTES, False),
    ):
        if any(given):
            yield Want(
                code, tuple(((each,), AnyBit((column,), bits_of([each], known))) for each in given), every
            )
    if needs.languages:
        yield Want("language", tuple(((each,), Speaks(each)) for each in needs.languages))
    if needs.access:
        groups = [tuple(needs.access)] if together else [(each,) for each in needs.access]
        yield Want("access", tuple((group, AnyBit(("access",), bit_of_all(group))) for group in groups), True)
    yield from _asked_of_service(needs)
    if needs.telehealth:
        yield Want("telehealth", (((), AnyBit(("telehealth",), 1)),))
    if needs.kap_trained:
        yield Want("kap-training", (((), AnyBit(("kap_trained",), 1)),))


def _asked_of_service(needs: Needs) -> Iterable[Want]:
    columns = tuple(map(payments_column, [needs.service] if needs.service else SERVICES))
    if needs.service:
        offered = AnyBit(columns, bits_of(PAYMENTS, PAYMENTS))
        yield Want("service", (((needs.service,), offered),))
    if needs.payments:
        yield Want(
            "payment",
            tuple(((each,), AnyBit(columns, bits_of([each], PAYMENTS))) for each in needs.payments),
        )
    if needs.price_at_most:
        yield Want("price", (((), AtMost(price_column(needs.service), needs.price_at_most)),))


def _reason(want: Want, facts: Facts) -> Reason:
    values = tuple(value for values, test in want.tests if test.holds(facts) for value in values)
    if not want.points:
        return Reason(want.code, values, met=want.holds(facts), points=0)
    worth = want.worth(facts)
    return Reason(want.code, values, met=worth > 0, points=worth)


def _is_fresh(facts: Facts, since: datetime) -> bool:
    return facts.stated_at is not None and facts.stated_at >= since
