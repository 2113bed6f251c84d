"""Finding practices: the database compares and counts, by the rules of tandem_care.matching."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from tandem.directory.v1.directory_pb2 import Capacity, Practice
from tandem_care.matching import (
    AnyBit,
    AtMost,
    HasOpenings,
    IsPartner,
    OpensBetween,
    Speaks,
    Test,
    Want,
    Wanted,
)
from tandem_care.offers import LANGUAGES, offer_of
from tandem_platform.storage.database import Transaction
from tandem_referral.store.tables import listing, next_opening, partnership


@dataclass(frozen=True, slots=True)
class Counted:
    """found: who meets all that is required. missed: for each requirement, who meets all but that one."""

    found: int
    missed: tuple[tuple[str, int], ...]


def add(tx: Transaction, profile: Practice) -> None:
    tx.execute(insert(listing).values(practice_id=profile.practice_id, **offer_of(profile)))


def replace(tx: Transaction, profile: Practice) -> None:
    tx.execute(
        update(listing).where(listing.c.practice_id == profile.practice_id).values(**offer_of(profile))
    )


def state_capacity(tx: Transaction, practice_id: str, capacity: Capacity, now: datetime) -> None:
    tx.execute(
        update(listing)
        .where(listing.c.practice_id == practice_id)
        .values(openings=capacity.openings, stated_at=now)
    )
    tx.execute(delete(next_opening).where(next_opening.c.practice_id == practice_id))
    if capacity.next_openings:
        rows = [
            {"practice_id": practice_id, "number": number, "at": at, "service": service}
            for number, (at, service) in enumerate(openings_of(capacity))
        ]
        tx.execute(insert(next_opening), rows)


def openings_of(capacity: Capacity) -> tuple[tuple[datetime, str], ...]:
    return tuple((each.at.ToDatetime(UTC), each.service) for each in capacity.next_openings)


def best(
    tx: Transaction, wanted: Wanted, searcher: str, *, after: tuple[int, str] | None, limit: int
) -> list[tuple[str, int]]:
    """Ids and scores of practices other than *searcher*, from the highest score on, then by id.

    Ids are random: their order prefers nobody. *after*: the score and id of the last one before.
    """
    is_partner = _is_partner(searcher)
    rank = _sum(_worth(want, is_partner) for want in wanted.preferred)
    query = (
        select(listing.c.practice_id, rank.label("score"))
        .where(
            listing.c.practice_id != searcher,
            *(_holds(want, is_partner) for want in wanted.required),
        )
        .order_by(rank.desc(), listing.c.practice_id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(
            tuple_(-rank, listing.c.practice_id) > tuple_(literal(-after[0]), literal(after[1]))
        )
    return [(row.practice_id, row.score) for row in tx.all(query)]


def count(tx: Transaction, wanted: Wanted, searcher: str) -> Counted:
    """Of public profiles only, so that everybody could count the same by asking for pages."""
    is_partner = _is_partner(searcher)
    fails = [
        case((_holds(want, is_partner), 0), else_=1).label(f"fails_{number}")
        for number, want in enumerate(wanted.required)
    ]
    looked_at = (
        select(literal(0).label("fails_none"), *fails).where(listing.c.practice_id != searcher).subquery()
    )
    each = [looked_at.c[fail.name] for fail in fails]
    failed = _sum(each)
    sums = [_how_many(failed == 0), *(_how_many(and_(fail == 1, failed == 1)) for fail in each)]
    (row,) = tx.all(select(*sums).select_from(looked_at))
    found, *missed = map(int, row)
    codes = [want.code for want in wanted.required]
    return Counted(int(found), tuple(zip(codes, missed, strict=True)))


def partners_of(tx: Transaction, practice_id: str) -> frozenset[str]:
    """Who has an active partnership with it."""
    return frozenset(row[0] for row in tx.all(_partners_of(practice_id)))


def _partners_of(practice_id: str) -> Select[Any]:
    ours = or_(
        partnership.c.proposer_practice_id == practice_id, partnership.c.partner_practice_id == practice_id
    )
    other = case(
        (partnership.c.proposer_practice_id == practice_id, partnership.c.partner_practice_id),
        else_=partnership.c.proposer_practice_id,
    )
    return select(other).where(ours, partnership.c.state == "active")


def _is_partner(searcher: str) -> ColumnElement[bool]:
    return listing.c.practice_id.in_(_partners_of(searcher))


def _holds(want: Want, is_partner: ColumnElement[bool]) -> ColumnElement[bool]:
    conditions = [_condition(test, is_partner) for _, test in want.tests]
    return and_(*conditions) if want.every else or_(*conditions)


def _worth(want: Want, is_partner: ColumnElement[bool]) -> ColumnElement[int]:
    if not want.every:
        return case((_holds(want, is_partner), want.points), else_=0)
    return _sum(case((_condition(test, is_partner), want.points), else_=0) for _, test in want.tests)


def _condition(test: Test, is_partner: ColumnElement[bool]) -> ColumnElement[bool]:
    match test:
        case AnyBit(columns, bits):
            return or_(*(listing.c[column].bitwise_and(bits) != 0 for column in columns))
        case Speaks(language):
            return listing.c[LANGUAGES].contains(f",{language},", autoescape=True)
        case AtMost(column, number):
            return func.coalesce(listing.c[column] <= number, False)
        case HasOpenings(fresh_since):
            return and_(listing.c.openings > 0, _is_fresh(fresh_since))
        case OpensBetween(fresh_since, since, until, services):
            opening = select(next_opening.c.practice_id).where(
                next_opening.c.at >= since,
                next_opening.c.at <= until,
                next_opening.c.service.in_(sorted(services)),
            )
            return and_(_is_fresh(fresh_since), listing.c.practice_id.in_(opening))
        case IsPartner():
            return is_partner


def _is_fresh(since: datetime) -> ColumnElement[bool]:
    return func.coalesce(listing.c.stated_at >= since, False)


def _sum(parts: Iterable[ColumnElement[int]]) -> ColumnElement[int]:
    total: ColumnElement[int] = literal(0)
    for part in parts:
        total = total + part
    return total


def _how_many(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
