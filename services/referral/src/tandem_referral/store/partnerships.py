"""Partnerships, and what hangs on them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, or_, select, update

from tandem_platform.errors import Code, Refusal
from tandem_platform.storage.database import Lock, Transaction
from tandem_platform.storage.inserts import insert_into, insert_new
from tandem_referral.domain.partnership import Partnership, PartnershipState
from tandem_referral.store.tables import episode, partnership, scope, sweep


class PartnershipNotFound(Refusal):
    """There is none, or it is somebody else's: nobody can tell which."""

    def __init__(self) -> None:
        super().__init__(Code.NOT_FOUND, "PARTNERSHIP_NOT_FOUND", "There is no such partnership.")


class IdTaken(Refusal):
    """An id that the caller chose exists, whoever's it is.

    That is no oracle: ids are 128 random bits, so whoever names an existing one has it from somewhere else.
    """

    def __init__(self, field: str) -> None:
        super().__init__(
            Code.FAILED_PRECONDITION,
            "ID_TAKEN",
            "The id is in use already.",
            field=field,
            way_out="Make a new one at random.",
        )


def add(tx: Transaction, new: Partnership, now: datetime) -> None:
    values = {
        "partnership_id": new.id,
        "proposer_practice_id": new.proposer,
        "partner_practice_id": new.partner,
        **_changing(new, now),
    }
    if not insert_new(tx, partnership, values):
        raise IdTaken("partnership_id")


def get(tx: Transaction, partnership_id: str, *, visible_to: str, lock: Lock | None = None) -> Partnership:
    query = select(partnership).where(partnership.c.partnership_id == partnership_id, _is_of(visible_to))
    row = tx.first(query, lock=lock)
    if row is None:
        raise PartnershipNotFound
    return _partnership(row)


def save(tx: Transaction, changed: Partnership, now: datetime) -> None:
    tx.execute(
        update(partnership).where(partnership.c.partnership_id == changed.id).values(_changing(changed, now))
    )


def between(tx: Transaction, one: str, other: str) -> Partnership | None:
    """The partnership of the two that has not ended."""
    query = select(partnership).where(
        _is_of(one), _is_of(other), partnership.c.state != PartnershipState.ENDED
    )
    row = tx.first(query)
    return None if row is None else _partnership(row)


def of(tx: Transaction, practice_id: str, *, after: str = "", limit: int | None = None) -> list[Partnership]:
    """The practice's partnerships, in the order of their ids."""
    query = (
        select(partnership)
        .where(_is_of(practice_id), partnership.c.partnership_id > after)
        .order_by(partnership.c.partnership_id)
        .limit(limit)
    )
    return [_partnership(row) for row in tx.all(query)]


def know_each_other(tx: Transaction, one: str, other: str) -> bool:
    """Whether they have a partnership in any state."""
    query = select(partnership.c.partnership_id).where(_is_of(one), _is_of(other))
    return tx.first(query.limit(1)) is not None


def lock_scopes(tx: Transaction, partnership_id: str) -> Sequence[Row[Any]]:
    """All scopes of the partnership exclusively. They come before the partnership itself, as in releases."""
    ours = select(episode.c.episode_id).where(episode.c.partnership_id == partnership_id)
    query = (
        select(scope)
        .where(scope.c.episode_id.in_(ours))
        .order_by(scope.c.episode_id, scope.c.discloser_practice_id, scope.c.recipient_practice_id)
    )
    return tx.all(query, lock="exclusive")


def ask_for_sweeps(tx: Transaction, scopes: Sequence[Row[Any]], now: datetime) -> None:
    """Have what was withheld in *scopes* decided again."""
    if not scopes:
        return
    asked = insert_into(sweep, tx.dialect).values(
        [
            {
                "episode_id": row.episode_id,
                "discloser_practice_id": row.discloser_practice_id,
                "recipient_practice_id": row.recipient_practice_id,
                "after_sequence": 0,
                "asked_at": now,
            }
            for row in scopes
        ]
    )
    keys = ["episode_id", "discloser_practice_id", "recipient_practice_id"]
    tx.execute(asked.on_conflict_do_update(index_elements=keys, set_={"after_sequence": 0, "asked_at": now}))


def _is_of(practice_id: str) -> ColumnElement[bool]:
    return or_(
        partnership.c.proposer_practice_id == practice_id, partnership.c.partner_practice_id == practice_id
    )


def _changing(changed: Partnership, now: datetime) -> dict[str, Any]:
    return {
        "state": changed.state.value,
        "suspended_by": ",".join(sorted(changed.suspended_by)),
        "version": changed.version,
        "changed_at": now,
    }


def _partnership(row: Row[Any]) -> Partnership:
    return Partnership(
        id=row.partnership_id,
        proposer=row.proposer_practice_id,
        partner=row.partner_practice_id,
        state=PartnershipState(row.state),
        suspended_by=frozenset(filter(None, row.suspended_by.split(","))),
        version=row.version,
    )
