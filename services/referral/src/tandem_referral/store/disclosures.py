"""What a practice has disclosed: to whom, when, under which permission, and whether it arrived."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, literal, select, tuple_

from tandem.common.v1.common_pb2 import Category
from tandem_platform.storage.database import Transaction
from tandem_platform.storage.types import UtcTime
from tandem_referral.store.entries import RELEASED
from tandem_referral.store.tables import release


class Place(NamedTuple):
    """A place in the order of disclosures."""

    released_at: datetime
    entry_id: str
    recipient: str


@dataclass(frozen=True, slots=True)
class Disclosed:
    entry_id: str
    episode_id: str
    recipient: str
    category: Category.ValueType
    released_at: datetime
    delivered_at: datetime | None
    voided_at: datetime | None
    permission_id: str
    permission_version: int


def made_by(
    tx: Transaction,
    discloser: str,
    *,
    episode_id: str = "",
    since: datetime,
    after: Place | None = None,
    limit: int,
) -> list[Disclosed]:
    """The oldest first; an entry voided before it arrived is among them, marked."""
    order = (release.c.released_at, release.c.entry_id, release.c.recipient_practice_id)
    query = (
        select(release)
        .where(release.c.discloser_practice_id == discloser, release.c.released_at >= since)
        .order_by(*order)
        .limit(limit)
    )
    if episode_id:
        query = query.where(release.c.episode_id == episode_id)
    if after is not None:
        place = (literal(after.released_at, UtcTime), literal(after.entry_id), literal(after.recipient))
        query = query.where(tuple_(*order) > tuple_(*place))
    return [_disclosed(row) for row in tx.all(query)]


def _disclosed(row: Row[Any]) -> Disclosed:
    return Disclosed(
        entry_id=row.entry_id,
        episode_id=row.episode_id,
        recipient=row.recipient_practice_id,
        category=Category.ValueType(int(row.category)),
        released_at=row.released_at,
        delivered_at=row.delivered_at,
        # An entry that was voided may have been released again, under another permission.
        voided_at=None if row.result == RELEASED else row.voided_at,
        permission_id=row.permission_id,
        permission_version=row.permission_version,
    )
