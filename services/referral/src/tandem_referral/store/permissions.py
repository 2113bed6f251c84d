"""Permissions, their versions and their scopes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, and_, bindparam, func, or_, select, update

from tandem.consent.v1.consent_pb2 import Permission as PermissionMessage
from tandem_care.categories import Basis, Category, Effect, Purpose
from tandem_care.permission import Permission, PermissionState
from tandem_platform.rpc import words
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_new
from tandem_platform.storage.lists import among_rows
from tandem_referral.store.tables import permission, permission_version, practice, revocation, scope

PENDING = "pending"


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """One direction of an episode. Its row is the lock between releasing and changing what may be released."""

    episode_id: str
    discloser: str
    recipient: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.episode_id, self.discloser, self.recipient


def open_scopes(tx: Transaction, scopes: Iterable[Scope]) -> None:
    for each in sorted(scopes):
        opened = {
            "episode_id": each.episode_id,
            "discloser_practice_id": each.discloser,
            "recipient_practice_id": each.recipient,
        }
        insert_new(tx, scope, opened)


def lock_scopes_shared(tx: Transaction, scopes: Iterable[Scope]) -> None:
    """Hold off every change of permission in these scopes until the transaction ends. In one order, always."""
    tx.all(_LOCKING_SHARED, scopes=[each.key for each in set(scopes)])


def lock_scope_exclusive(tx: Transaction, each: Scope) -> None:
    """Wait for releases under way in this scope, then hold off further ones until the transaction ends."""
    tx.first(_LOCKING, **_place_of(each))


_ONE = select(scope.c.version).where(
    scope.c.episode_id == bindparam("episode"),
    scope.c.discloser_practice_id == bindparam("discloser"),
    scope.c.recipient_practice_id == bindparam("recipient"),
)
_LOCKING = _ONE.with_for_update()
_KEY = (scope.c.episode_id, scope.c.discloser_practice_id, scope.c.recipient_practice_id)
_LOCKING_SHARED = (
    select(scope.c.version).where(among_rows(_KEY, "scopes")).order_by(*_KEY).with_for_update(read=True)
)


def _place_of(each: Scope) -> dict[str, Any]:
    return {"episode": each.episode_id, "discloser": each.discloser, "recipient": each.recipient}


def _categories(numbers: Iterable[int]) -> bytes:
    return ",".join(str(number) for number in sorted(set(numbers))).encode()


def _numbers(stored: bytes) -> list[int]:
    return [int(number) for number in stored.decode().split(",")]


def _ids(stored: str) -> list[str]:
    return stored.split(",") if stored else []


def insert(tx: Transaction, made: PermissionMessage, *, recorded_by: str, base: bool, now: datetime) -> None:
    """Store version 1. Its id must be fresh."""
    tx.execute(
        _INSERT,
        {
            "permission_id": made.permission_id,
            "version": made.version,
            "episode_id": made.episode_id,
            "discloser_practice_id": made.discloser_practice_id,
            "recipient_practice_id": made.recipient_practice_id,
            "recorded_by": recorded_by,
            "categories": _categories(made.categories),
            "entry_ids": ",".join(sorted(set(made.entry_ids))),
            "purpose": made.purpose,
            "basis": made.basis,
            "effect": made.effect,
            "state": made.state,
            "starts_at": _time(made, "starts_at"),
            "ends_at": _time(made, "ends_at"),
            "history_from": _time(made, "history_from"),
            "evidence_hash": made.evidence_hash,
            "base": base,
            "changed_at": now,
        },
    )
    _add_version(tx, made.permission_id, made.version, made.state, recorded_by, now)


_INSERT = permission.insert()
_INSERT_VERSION = permission_version.insert()


def _time(message: PermissionMessage, field: str) -> datetime | None:
    return getattr(message, field).ToDatetime(UTC) if message.HasField(field) else None  # type: ignore[arg-type]


def _add_version(
    tx: Transaction, permission_id: str, version: int, state: str, by: str, now: datetime
) -> None:
    tx.execute(
        _INSERT_VERSION,
        {
            "permission_id": permission_id,
            "version": version,
            "state": state,
            "changed_by": by,
            "changed_at": now,
        },
    )


def set_state(tx: Transaction, row: Row[Any], state: str, by: str, now: datetime) -> int:
    """A new version in *state*; returns its number."""
    version = int(row.version) + 1
    tx.execute(
        update(permission)
        .where(permission.c.permission_id == row.permission_id)
        .values(version=version, state=state, changed_at=now)
    )
    _add_version(tx, row.permission_id, version, state, by, now)
    return version


def find(tx: Transaction, permission_id: str) -> Row[Any] | None:
    return tx.first(_BY_ID, of=permission_id)


_BY_ID = select(permission).where(permission.c.permission_id == bindparam("of"))


def scope_of(row: Row[Any]) -> Scope:
    return Scope(row.episode_id, row.discloser_practice_id, row.recipient_practice_id)


def in_scopes(tx: Transaction, scopes: Iterable[Scope]) -> dict[Scope, list[Permission]]:
    """Every scope's permissions, for the decision. Read after the scopes' locks were taken."""
    return _rules(scopes, _rows_in(tx, scopes))


def in_scopes_at(
    tx: Transaction, scopes: Iterable[Scope], now: datetime
) -> tuple[dict[Scope, list[Permission]], set[Scope]]:
    """Also in which of them a permit has begun by the clock, and no version says so yet.

    Not where a denial has ended: that something waits for it would tell the recipient of the denial.
    """
    rows = _rows_in(tx, scopes)
    return _rules(scopes, rows), {scope_of(row) for row in rows if _has_begun(row, now)}


def _rows_in(tx: Transaction, scopes: Iterable[Scope]) -> Sequence[Row[Any]]:
    wanted = sorted({each.key for each in scopes})
    return tx.all(_IN_SCOPES, scopes=wanted) if wanted else []


def _rules(scopes: Iterable[Scope], rows: Iterable[Row[Any]]) -> dict[Scope, list[Permission]]:
    found: dict[Scope, list[Permission]] = {each: [] for each in scopes}
    for row in rows:
        found[scope_of(row)].append(to_rule(row))
    return found


def _has_begun(row: Row[Any], now: datetime) -> bool:
    return (
        words.effect_code(row.effect) == Effect.PERMIT and row.state == PENDING and bool(row.starts_at <= now)
    )


_IN_SCOPES = select(permission).where(
    among_rows(
        (permission.c.episode_id, permission.c.discloser_practice_id, permission.c.recipient_practice_id),
        "scopes",
    )
)


def to_rule(row: Row[Any]) -> Permission:
    return Permission(
        id=row.permission_id,
        version=row.version,
        discloser=row.discloser_practice_id,
        recipient=row.recipient_practice_id,
        episode=row.episode_id,
        categories=frozenset(Category(words.category_code(number)) for number in _numbers(row.categories)),
        purpose=Purpose(words.purpose_code(row.purpose)),
        basis=Basis(words.basis_code(row.basis)),
        effect=Effect(words.effect_code(row.effect)),
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        history_from=row.history_from,
        items=frozenset(_ids(row.entry_ids)),
        # What has not started is kept from permitting by its start, which the decision reads too.
        state=PermissionState.ACTIVE if row.state == PENDING else PermissionState(row.state),
    )


def to_message(row: Row[Any]) -> PermissionMessage:
    message = PermissionMessage(
        permission_id=row.permission_id,
        version=row.version,
        episode_id=row.episode_id,
        discloser_practice_id=row.discloser_practice_id,
        recipient_practice_id=row.recipient_practice_id,
        categories=_numbers(row.categories),  # type: ignore[arg-type]
        purpose=row.purpose,
        basis=row.basis,
        effect=row.effect,
        state=row.state,
        evidence_hash=row.evidence_hash,
        entry_ids=_ids(row.entry_ids),
    )
    message.starts_at.FromDatetime(row.starts_at)
    message.changed_at.FromDatetime(row.changed_at)
    if row.ends_at is not None:
        message.ends_at.FromDatetime(row.ends_at)
    if row.history_from is not None:
        message.history_from.FromDatetime(row.history_from)
    return message


def visible_to(practice_id: str) -> Any:
    """A practice sees what it discloses by and what it is permitted; a denial is the discloser's alone."""
    permits = words.effect_number(Effect.PERMIT)
    return or_(
        permission.c.discloser_practice_id == practice_id,
        and_(permission.c.recipient_practice_id == practice_id, permission.c.effect == permits),
    )


def listed(tx: Transaction, practice_id: str, episode_id: str, after: str, limit: int) -> Sequence[Row[Any]]:
    query = select(permission).where(visible_to(practice_id), permission.c.permission_id > after)
    if episode_id:
        query = query.where(permission.c.episode_id == episode_id)
    return tx.all(query.order_by(permission.c.permission_id).limit(limit))


def find_visible(tx: Transaction, permission_id: str, practice_id: str) -> Row[Any] | None:
    return tx.first(
        select(permission).where(permission.c.permission_id == permission_id, visible_to(practice_id))
    )


def due(tx: Transaction, now: datetime, limit: int = 200) -> Sequence[Row[Any]]:
    """Permissions whose time has come: to start, or to end."""
    starting = and_(permission.c.state == PENDING, permission.c.starts_at <= now)
    ending = and_(permission.c.state.in_((PENDING, "active", "held")), permission.c.ends_at <= now)
    return tx.all(
        select(permission).where(or_(starting, ending)).order_by(permission.c.permission_id).limit(limit)
    )


def note_revocation(tx: Transaction, recipient: str, permission_id: str, version: int) -> None:
    """Number the revocation for its recipient; the recipient's row in the directory is the lock for counting."""
    tx.first(select(practice.c.practice_id).where(practice.c.practice_id == recipient), lock="exclusive")
    last = tx.first(
        select(func.coalesce(func.max(revocation.c.number), 0).label("number")).where(
            revocation.c.recipient_practice_id == recipient
        )
    )
    assert last is not None
    tx.execute(
        revocation.insert().values(
            recipient_practice_id=recipient,
            number=last.number + 1,
            permission_id=permission_id,
            permission_version=version,
        )
    )


def revocations_above(tx: Transaction, recipient: str, number: int) -> Sequence[Row[Any]]:
    return tx.all(
        select(revocation)
        .where(revocation.c.recipient_practice_id == recipient, revocation.c.number > number)
        .order_by(revocation.c.number)
    )


def acknowledge_revocation(
    tx: Transaction, recipient: str, permission_id: str, version: int, now: datetime
) -> bool:
    """Whether this is the first time that it is acknowledged."""
    statement = (
        update(revocation)
        .where(
            revocation.c.recipient_practice_id == recipient,
            revocation.c.permission_id == permission_id,
            revocation.c.permission_version <= version,
            revocation.c.acknowledged_at.is_(None),
        )
        .values(acknowledged_at=now)
        .returning(revocation.c.number)
    )
    return bool(tx.execute(statement).all())


def not_active_now(tx: Transaction, permission_ids: Iterable[str], now: datetime) -> set[str]:
    """Which of these permit nothing at *now*."""
    wanted = set(permission_ids)
    if not wanted:
        return set()
    columns = (permission.c.permission_id, permission.c.state, permission.c.starts_at, permission.c.ends_at)
    active = {
        row.permission_id
        for row in tx.all(select(*columns).where(permission.c.permission_id.in_(wanted)))
        if row.state == "active" and row.starts_at <= now and (row.ends_at is None or now < row.ends_at)
    }
    return wanted - active
