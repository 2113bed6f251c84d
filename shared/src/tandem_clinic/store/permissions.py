"""Permissions as this clinic knows them: those that it gave, and those that it was given."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update

from tandem_care.categories import Basis, Category, Effect, Purpose
from tandem_care.permission import Permission, PermissionState
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.store.tables import consent_answer, permission
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_new
from tandem_platform.storage.lists import among


@dataclass(frozen=True, slots=True)
class PermissionRecord:
    """``version`` 0: queued, not confirmed. ``state`` "refused": the hub did not take it."""

    permission_id: str
    version: int
    episode_id: str
    discloser_practice_id: str
    recipient_practice_id: str
    categories: tuple[str, ...]
    purpose: str
    basis: str
    effect: str
    state: str
    starts_at: datetime
    ends_at: datetime | None
    history_from: datetime | None
    evidence_hash: bytes
    recorded_by: str
    changed_at: datetime
    acknowledged_at: datetime | None = None
    entry_ids: tuple[str, ...] = ()
    """What a denial forbids where that is not its categories."""

    @property
    def is_confirmed(self) -> bool:
        return self.version > 0

    def to_rule(self) -> Permission:
        """The record in the terms of the algebra that decides."""
        return Permission(
            id=self.permission_id,
            version=max(self.version, 1),
            discloser=self.discloser_practice_id,
            recipient=self.recipient_practice_id,
            episode=self.episode_id,
            categories=frozenset(Category(code) for code in self.categories),
            purpose=Purpose(self.purpose),
            basis=Basis(self.basis),
            effect=Effect(self.effect),
            starts_at=self.starts_at,
            ends_at=self.ends_at,
            history_from=self.history_from,
            items=frozenset(self.entry_ids),
            # The hub's "pending" is an active permission whose start lies ahead.
            state=PermissionState.ACTIVE if self.state == "pending" else PermissionState(self.state),
        )


_COLUMNS = tuple(permission.c[name] for name in PermissionRecord.__slots__)
_OF_EPISODES = (
    select(*_COLUMNS)
    .where(among(permission.c.episode_id, "episodes"))
    .order_by(permission.c.starts_at, permission.c.permission_id)
)


def _record(row: Row[Any]) -> PermissionRecord:
    values = dict(row._mapping)
    values["categories"] = tuple(values["categories"])
    values["entry_ids"] = tuple(values["entry_ids"])
    return PermissionRecord(**values)


def _values(record: PermissionRecord) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in PermissionRecord.__slots__}
    values["categories"] = list(record.categories)
    values["entry_ids"] = list(record.entry_ids)
    return values


def add(tx: Transaction, record: PermissionRecord, evidence: bytes | None = None) -> bool:
    """Whether it is new. *evidence* is encrypted already."""
    return insert_new(tx, permission, {**_values(record), "evidence": evidence})


def get(tx: Transaction, permission_id: str) -> PermissionRecord:
    found = find(tx, permission_id)
    if found is None:
        raise NotKnown("permission", "permission_id")
    return found


def find(tx: Transaction, permission_id: str) -> PermissionRecord | None:
    row = tx.first(select(*_COLUMNS).where(permission.c.permission_id == permission_id), lock="exclusive")
    return None if row is None else _record(row)


def evidence(tx: Transaction, permission_id: str) -> bytes | None:
    row = tx.first(select(permission.c.evidence).where(permission.c.permission_id == permission_id))
    return None if row is None else row.evidence


def change(tx: Transaction, permission_id: str, **changes: Any) -> None:
    if "categories" in changes:
        changes["categories"] = list(changes["categories"])
    tx.execute(update(permission).where(permission.c.permission_id == permission_id).values(**changes))


def of_episode(tx: Transaction, episode_id: str) -> list[PermissionRecord]:
    return [_record(row) for row in tx.all(_OF_EPISODES, episodes=[episode_id])]


def rules_of(tx: Transaction, episode_ids: Collection[str]) -> dict[str, list[Permission]]:
    """What decides in each: everything but what the hub refused. A grant that is queued counts; the hub decides again."""
    rules: dict[str, list[Permission]] = {episode_id: [] for episode_id in episode_ids}
    for row in tx.all(_OF_EPISODES, episodes=list(rules)):
        if row.state != "refused":
            rules[row.episode_id].append(_record(row).to_rule())
    return rules


def add_answer(
    tx: Transaction,
    answer_id: str,
    patient_id: str,
    episode_id: str,
    answer: str,
    categories: list[str],
    recorded_by: str,
    now: datetime,
) -> None:
    tx.execute(
        consent_answer.insert().values(
            answer_id=answer_id,
            patient_id=patient_id,
            episode_id=episode_id,
            answer=answer,
            categories=categories,
            recorded_by=recorded_by,
            answered_at=now,
        )
    )


def answers_of(tx: Transaction, episode_id: str) -> list[dict[str, Any]]:
    query = select(consent_answer).where(consent_answer.c.episode_id == episode_id)
    return [dict(row._mapping) for row in tx.all(query.order_by(consent_answer.c.answered_at))]
