"""Referrals as the hub tells of them."""

from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select, update

from tandem_clinic.domain.episodes import OVER, ReferralView
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.store.tables import hub_referral
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_new

_COLUMNS = tuple(hub_referral.c[name] for name in ReferralView.__slots__)
_OF_EPISODE = (
    select(*_COLUMNS)
    .where(hub_referral.c.episode_id == bindparam("episode"))
    .order_by(hub_referral.c.requested_at.desc())
    .limit(1)
)


def add(tx: Transaction, referral: ReferralView) -> bool:
    """Whether it is new."""
    return insert_new(tx, hub_referral, asdict(referral))


def get(tx: Transaction, referral_id: str) -> ReferralView:
    found = find(tx, referral_id)
    if found is None:
        raise NotKnown("referral", "referral_id")
    return found


def find(tx: Transaction, referral_id: str) -> ReferralView | None:
    row = tx.first(_HELD, of=referral_id)
    return None if row is None else ReferralView(**row._mapping)


_HELD = select(*_COLUMNS).where(hub_referral.c.referral_id == bindparam("of")).with_for_update()


def of_episode(tx: Transaction, episode_id: str) -> ReferralView | None:
    row = tx.execute(_OF_EPISODE, {"episode": episode_id}).first()
    return None if row is None else ReferralView(**row._mapping)


def listed(tx: Transaction, *, state: str = "", intake: str = "", limit: int = 200) -> list[ReferralView]:
    """Newest first."""
    query = select(*_COLUMNS)
    if state:
        query = query.where(hub_referral.c.state == state)
    if intake:
        query = query.where(hub_referral.c.intake == intake)
    query = query.order_by(hub_referral.c.requested_at.desc(), hub_referral.c.referral_id).limit(limit)
    return [ReferralView(**row._mapping) for row in tx.all(query)]


def change(tx: Transaction, referral: ReferralView, **changes: Any) -> ReferralView:
    tx.execute(
        update(hub_referral).where(hub_referral.c.referral_id == referral.referral_id).values(**changes)
    )
    return replace(referral, **changes)


def due(tx: Transaction, by: datetime) -> list[ReferralView]:
    """Open ones whose clock runs out by then, longest overdue first."""
    return [ReferralView(**row._mapping) for row in tx.all(_DUE, by=by, over=sorted(OVER))]


_DUE = (
    select(*_COLUMNS)
    .where(
        hub_referral.c.due_at <= bindparam("by"),
        hub_referral.c.state.not_in(bindparam("over", expanding=True)),
    )
    .order_by(hub_referral.c.due_at)
    .limit(500)
)


def is_replaced(tx: Transaction, referral_id: str) -> bool:
    """By a referral of our own, queued or confirmed."""
    return successor(tx, referral_id) is not None


def successor(tx: Transaction, referral_id: str) -> ReferralView | None:
    """The re-route that replaces it, unless the hub refused that one."""
    row = tx.first(_SUCCESSOR, of=referral_id)
    return None if row is None else ReferralView(**row._mapping)


_SUCCESSOR = select(*_COLUMNS).where(
    hub_referral.c.replaces_referral_id == bindparam("of"), hub_referral.c.state != "refused"
)


def note_opened(tx: Transaction, referral_id: str, now: datetime) -> bool:
    """Whether this is the first time that a person opens it here."""
    statement = (
        update(hub_referral)
        .where(hub_referral.c.referral_id == referral_id, hub_referral.c.first_opened_at.is_(None))
        .values(first_opened_at=now)
        .returning(hub_referral.c.referral_id)
    )
    return tx.execute(statement).first() is not None
