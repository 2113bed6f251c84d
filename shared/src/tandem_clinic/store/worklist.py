"""What waits for a person, and what the clinic's operator should look at."""

import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, bindparam, case, literal, select, update

from tandem_clinic.domain.staff import Staff
from tandem_clinic.store.notices import announce
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.store.tables import alert, worklist_item
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_new
from tandem_platform.storage.lists import among


@dataclass(frozen=True, slots=True)
class Item:
    """``facts`` are codes and ids. An empty ``staff_id`` means everybody who coordinates."""

    item_id: str
    kind: str
    subject_id: str
    episode_id: str
    staff_id: str
    facts: dict[str, str]
    raised_at: datetime
    done_at: datetime | None


SERVICE = "service"
"""Whose items the service itself takes care of; also the topic that a commit wakes when it raises one."""

_COLUMNS = tuple(worklist_item.c[name] for name in Item.__slots__)


def raise_item(
    tx: Transaction,
    kind: str,
    subject_id: str,
    now: datetime,
    *,
    episode_id: str = "",
    staff_id: str = "",
    **facts: str,
) -> None:
    """One item for each kind and subject; one that was done comes back, one that waits keeps its place and says the latest."""
    if staff_id == SERVICE:
        tx.wake(SERVICE)
    if not _is_new(tx, kind, subject_id, now, episode_id, staff_id, facts):
        tx.execute(
            update(worklist_item)
            .where(worklist_item.c.kind == kind, worklist_item.c.subject_id == subject_id)
            .values(facts=facts, staff_id=staff_id, raised_at=_raised_at(now), done_at=None, done_by="")
        )
    if staff_id != SERVICE:
        announce(tx, kind, subject_id)


def raise_unless_finished(
    tx: Transaction, kind: str, subject_id: str, now: datetime, *, episode_id: str = "", **facts: str
) -> None:
    """As `raise_item`, but what a person has finished stays finished: for what a clock finds again and again."""
    if not _is_new(tx, kind, subject_id, now, episode_id, "", facts):
        tx.execute(
            update(worklist_item)
            .where(
                worklist_item.c.kind == kind,
                worklist_item.c.subject_id == subject_id,
                worklist_item.c.done_at.is_not(None),
                worklist_item.c.done_by == "",
            )
            .values(facts=facts, raised_at=now, done_at=None)
        )
    announce(tx, kind, subject_id)


def _is_new(
    tx: Transaction,
    kind: str,
    subject_id: str,
    now: datetime,
    episode_id: str,
    staff_id: str,
    facts: Mapping[str, str],
) -> bool:
    values = {
        "item_id": f"item_{secrets.token_hex(13)}",
        "kind": kind,
        "subject_id": subject_id,
        "episode_id": episode_id,
        "staff_id": staff_id,
        "facts": facts,
        "raised_at": now,
        "done_at": None,
        "done_by": "",
    }
    return insert_new(tx, worklist_item, values)


def _raised_at(now: datetime) -> ColumnElement[datetime]:
    waiting_since = worklist_item.c.raised_at
    return case((worklist_item.c.done_at.is_(None), waiting_since), else_=literal(now, waiting_since.type))


def settle(
    tx: Transaction, kind: str, subject_ids: str | Collection[str], now: datetime, by: str = ""
) -> None:
    """What the item, or the items, asked for has happened."""
    subjects = [subject_ids] if isinstance(subject_ids, str) else list(subject_ids)
    if subjects:
        tx.execute(_SETTLING, {"of": kind, "subjects": subjects, "now": now, "by": by})


_SETTLING = (
    update(worklist_item)
    .where(
        worklist_item.c.kind == bindparam("of"),
        among(worklist_item.c.subject_id, "subjects"),
        worklist_item.c.done_at.is_(None),
    )
    .values(done_at=bindparam("now"), done_by=bindparam("by"))
)


def settle_others(
    tx: Transaction, kinds: Collection[str], but: Collection[str], episode_id: str, now: datetime
) -> None:
    """What of these kinds no longer waits in the episode, whatever it was about."""
    open_ones = tx.all(
        select(worklist_item.c.item_id, worklist_item.c.subject_id).where(
            worklist_item.c.episode_id == episode_id,
            worklist_item.c.kind.in_(kinds),
            worklist_item.c.done_at.is_(None),
        )
    )
    over = [row.item_id for row in open_ones if row.subject_id not in but]
    if over:
        tx.execute(update(worklist_item).where(worklist_item.c.item_id.in_(over)).values(done_at=now))


def finish(tx: Transaction, item_id: str, by: Staff, now: datetime) -> Item:
    row = tx.first(select(*_COLUMNS).where(worklist_item.c.item_id == item_id))
    if row is None:
        raise NotKnown("worklist item", "item_id")
    if row.done_at is None:
        tx.execute(
            update(worklist_item)
            .where(worklist_item.c.item_id == item_id)
            .values(done_at=now, done_by=by.staff_id)
        )
    return Item(**row._mapping)


def find(tx: Transaction, kind: str, subject_id: str) -> Item | None:
    """Done or not."""
    row = tx.first(_ONE, of=kind, subject=subject_id)
    return None if row is None else Item(**row._mapping)


_ONE = select(*_COLUMNS).where(
    worklist_item.c.kind == bindparam("of"), worklist_item.c.subject_id == bindparam("subject")
)


def waiting(
    tx: Transaction, staff: Staff | None = None, limit: int = 500, *, covering: Collection[str] = ()
) -> list[Item]:
    """Open items of everybody's and, if given, of *staff*'s and of those whom they cover; oldest first."""
    query = select(*_COLUMNS).where(worklist_item.c.done_at.is_(None))
    if staff is not None:
        query = query.where(worklist_item.c.staff_id.in_(["", staff.staff_id, *covering]))
    return [Item(**row._mapping) for row in tx.all(query.order_by(worklist_item.c.raised_at).limit(limit))]


def of_service(tx: Transaction, kinds: Iterable[str]) -> list[Item]:
    """Open items that the service itself takes care of."""
    return [Item(**row._mapping) for row in tx.all(_OF_SERVICE, kinds=list(kinds))]


_OF_SERVICE = (
    select(*_COLUMNS)
    .where(worklist_item.c.done_at.is_(None), among(worklist_item.c.kind, "kinds"))
    .order_by(worklist_item.c.raised_at)
    .limit(50)
)


def raise_alert(tx: Transaction, kind: str, now: datetime, subject_id: str = "", **facts: str) -> None:
    """For whoever runs the clinic's service. Raised again, it keeps its first time until it is cleared."""
    values = {"kind": kind, "subject_id": subject_id, "facts": facts, "raised_at": now, "cleared_at": None}
    if not insert_new(tx, alert, values):
        tx.execute(
            update(alert)
            .where(alert.c.kind == kind, alert.c.subject_id == subject_id, alert.c.cleared_at.is_not(None))
            .values(facts=facts, raised_at=now, cleared_at=None)
        )


def clear_alerts(tx: Transaction, kinds: Collection[str], now: datetime) -> None:
    """What they said is no longer the case. Only those of no subject."""
    if kinds:
        tx.execute(_CLEARING, {"of": list(kinds), "now": now})


_CLEARING = (
    update(alert)
    .where(
        alert.c.kind.in_(bindparam("of", expanding=True)),
        alert.c.subject_id == "",
        alert.c.cleared_at.is_(None),
    )
    .values(cleared_at=bindparam("now"))
)


def alerts(tx: Transaction) -> list[tuple[str, str, dict[str, str], datetime]]:
    query = select(alert.c.kind, alert.c.subject_id, alert.c.facts, alert.c.raised_at)
    return [
        tuple(row) for row in tx.all(query.where(alert.c.cleared_at.is_(None)).order_by(alert.c.raised_at))
    ]
