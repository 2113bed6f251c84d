"""The outbox of notifications: what is to be told to whom, and the messages that tell it."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Update, and_, bindparam, or_, select, update

from tandem_clinic.store.tables import notification, worklist_item
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_new

NOTICES = "notices"
"""What a commit wakes that leaves something to be told."""

NONE_NEEDED = "-"
UNREACHED = "!"
"""In place of a message: the person has no channel that this clinic has."""

_reached, _notice, _message = notification.reached, notification.notice, notification.message


@dataclass(frozen=True, slots=True)
class Reached:
    """How one person of the clinic is reached."""

    staff_id: str
    channels: list[list[str]]
    time_zone: str
    quiet_from: int
    quiet_until: int
    digest_minutes: int
    cover_staff_id: str
    escalate_after_minutes: int


@dataclass(frozen=True, slots=True)
class Message:
    message_id: str
    staff_id: str
    channel: str
    address: str
    items: int
    state: str
    attempts: int
    next_at: datetime
    created_at: datetime
    sent_at: datetime | None


_REACHED = select(*(_reached.c[name] for name in Reached.__slots__))
_MESSAGE = select(*(_message.c[name] for name in Message.__slots__))

_WHOM = (
    select(worklist_item.c.item_id, worklist_item.c.raised_at, _reached.c.staff_id)
    .join_from(
        worklist_item,
        _reached,
        or_(worklist_item.c.staff_id == "", worklist_item.c.staff_id == _reached.c.staff_id),
    )
    .where(worklist_item.c.kind == bindparam("of"), worklist_item.c.subject_id == bindparam("subject"))
)
_NEW = {"as_cover": False, "message_id": "", "escalated": False}


def announce(tx: Transaction, kind: str, subject_id: str) -> None:
    """Leave to be told, in the transaction that raised the item, whoever wants to be told of it. Once for each time it was raised."""
    for row in tx.all(_WHOM, of=kind, subject=subject_id):
        insert_new(tx, _notice, dict(row._mapping) | _NEW)
        tx.wake(NOTICES)


def reach(tx: Transaction, person: Reached, now: datetime) -> None:
    values = {name: getattr(person, name) for name in Reached.__slots__} | {"changed_at": now}
    if not insert_new(tx, _reached, values):
        tx.execute(update(_reached).where(_reached.c.staff_id == person.staff_id).values(values))


def reached(tx: Transaction, staff_id: str) -> Reached | None:
    row = tx.first(_REACHED.where(_reached.c.staff_id == staff_id))
    return None if row is None else Reached(**row._mapping)


@dataclass(frozen=True, slots=True)
class Notice:
    item_id: str
    raised_at: datetime
    as_cover: bool
    waits: bool
    """Whether the item is open still, and has not been raised anew since."""


def untold(tx: Transaction) -> dict[str, list[Notice]]:
    """By person, what no message carries yet."""
    return _by_person(tx, _notice.c.message_id == "")


def late(tx: Transaction) -> dict[str, list[Notice]]:
    """By person, what is with them and has not gone to their cover."""
    return _by_person(
        tx, and_(~_notice.c.escalated, ~_notice.c.as_cover, _notice.c.message_id != NONE_NEEDED)
    )


def _by_person(tx: Transaction, condition: ColumnElement[bool]) -> dict[str, list[Notice]]:
    query = (
        select(
            _notice.c.staff_id,
            _notice.c.item_id,
            _notice.c.raised_at,
            _notice.c.as_cover,
            worklist_item.c.done_at,
            worklist_item.c.raised_at.label("latest"),
        )
        .join_from(_notice, worklist_item, _notice.c.item_id == worklist_item.c.item_id)
        .where(condition)
        .order_by(_notice.c.raised_at)
    )
    found: dict[str, list[Notice]] = {}
    for row in tx.all(query):
        waits = row.done_at is None and row.latest == row.raised_at
        found.setdefault(row.staff_id, []).append(Notice(row.item_id, row.raised_at, row.as_cover, waits))
    return found


def carry(tx: Transaction, staff_id: str, told: Sequence[Notice], message_id: str) -> None:
    for each in told:
        tx.execute(update(_notice).where(_is(staff_id, each)).values(message_id=message_id))


def _is(staff_id: str, which: Notice) -> ColumnElement[bool]:
    return and_(
        _notice.c.staff_id == staff_id,
        _notice.c.item_id == which.item_id,
        _notice.c.raised_at == which.raised_at,
        _notice.c.as_cover == which.as_cover,
    )


def escalate(tx: Transaction, person: Reached, which: Notice) -> None:
    """Leave it to be told to their cover, too."""
    tx.execute(update(_notice).where(_is(person.staff_id, which)).values(escalated=True))
    values = {"item_id": which.item_id, "raised_at": which.raised_at, "staff_id": person.cover_staff_id}
    insert_new(tx, _notice, values | _NEW | {"as_cover": True})


def settle_escalation(tx: Transaction, staff_id: str, which: Notice) -> None:
    """It was done in time: there is nothing for the cover."""
    tx.execute(update(_notice).where(_is(staff_id, which)).values(escalated=True))


def write(tx: Transaction, staff_id: str, channel: str, address: str, items: int, now: datetime) -> str:
    message_id = f"msg_{secrets.token_hex(13)}"
    tx.execute(
        _message.insert(),
        {
            "message_id": message_id,
            "staff_id": staff_id,
            "channel": channel,
            "address": address,
            "items": items,
            "state": "ready",
            "attempts": 0,
            "next_at": now,
            "created_at": now,
            "sent_at": None,
        },
    )
    return message_id


def hand_on(tx: Transaction, old: str, new: str) -> None:
    """What *old* was to tell, *new* tells."""
    tx.execute(update(_notice).where(_notice.c.message_id == old).values(message_id=new))


def last_written_at(tx: Transaction, staff_id: str) -> datetime | None:
    query = select(_message.c.created_at).where(_message.c.staff_id == staff_id)
    row = tx.first(query.order_by(_message.c.created_at.desc()).limit(1))
    return None if row is None else row.created_at


def due(tx: Transaction, now: datetime, limit: int = 50) -> list[Message]:
    """What is to be sent, or sent again because it is in doubt whether it was, or came back."""
    query = _MESSAGE.where(_message.c.state.in_(("ready", "sending", "bounced")), _message.c.next_at <= now)
    return [Message(**row._mapping) for row in tx.all(query.order_by(_message.c.next_at).limit(limit))]


def get(tx: Transaction, message_id: str) -> Message | None:
    row = tx.first(_MESSAGE.where(_message.c.message_id == message_id))
    return None if row is None else Message(**row._mapping)


def listed(tx: Transaction, limit: int = 200) -> list[Message]:
    query = _MESSAGE.order_by(_message.c.created_at.desc()).limit(limit)
    return [Message(**row._mapping) for row in tx.all(query)]


def claim(tx: Transaction, message: Message, now: datetime, doubt_after: timedelta) -> bool:
    """Mark it as being sent, before its content leaves. False if another process has it."""
    claimed = tx.execute(
        _as_known(message, False)
        .values(state="sending", attempts=message.attempts + 1, next_at=now + doubt_after)
        .returning(_message.c.message_id)
    )
    return claimed.first() is not None


def mark_sent(tx: Transaction, message_id: str, now: datetime) -> None:
    tx.execute(_of(message_id).values(state="sent", sent_at=now))


def put_off(tx: Transaction, message: Message, claimed: bool, until: datetime) -> None:
    tx.execute(
        _as_known(message, claimed).values(state="ready", attempts=message.attempts + 1, next_at=until)
    )


def give_up(tx: Transaction, message: Message, claimed: bool) -> bool:
    """False if another process has it."""
    ended = _as_known(message, claimed).values(state="failed").returning(_message.c.message_id)
    return tx.execute(ended).first() is not None


def mark_bounced(tx: Transaction, message_id: str, now: datetime) -> None:
    """It was sent, and came back. What follows is the notifier's to do."""
    tx.execute(_of(message_id).where(_message.c.state == "sent").values(state="bounced", next_at=now))


def _of(message_id: str) -> Update:
    return update(_message).where(_message.c.message_id == message_id)


def _as_known(message: Message, claimed: bool) -> Update:
    """Only if no other process has moved it since: as it was read, or as this one's own claim left it."""
    state, attempts = ("sending", message.attempts + 1) if claimed else (message.state, message.attempts)
    return _of(message.message_id).where(_message.c.state == state, _message.c.attempts == attempts)
