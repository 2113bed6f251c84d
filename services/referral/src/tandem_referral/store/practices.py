"""The directory: practices, what they offer, and their key bundles."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, insert, select, update

from tandem.directory.v1.directory_pb2 import Capacity, Practice, SignedKeyBundle
from tandem_platform.errors import Code, Refusal
from tandem_platform.storage.database import Lock, Transaction
from tandem_platform.storage.inserts import insert_new
from tandem_referral.store import listings
from tandem_referral.store.tables import key_bundle, practice


class PracticeNotFound(Refusal):
    def __init__(self) -> None:
        super().__init__(Code.NOT_FOUND, "PRACTICE_NOT_FOUND", "There is no such practice in this network.")


class PracticeExists(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.ALREADY_EXISTS,
            "PRACTICE_EXISTS",
            "A practice of this id is registered already.",
            field="practice.practice_id",
            way_out="Choose another id, or leave the practice as it is.",
        )


@dataclass(frozen=True, slots=True)
class AsOf:
    """When somebody looks, and how long a statement of openings holds."""

    now: datetime
    fresh_for: timedelta

    @property
    def fresh_since(self) -> datetime:
        return self.now - self.fresh_for


def register(tx: Transaction, profile: Practice, now: datetime) -> None:
    values = {**_columns(profile), "practice_id": profile.practice_id, "registered_at": now}
    if not insert_new(tx, practice, values):
        raise PracticeExists
    listings.add(tx, profile)


def get(tx: Transaction, practice_id: str, as_of: AsOf, *, lock: Lock | None = None) -> Practice:
    """Raises PracticeNotFound."""
    row = tx.first(select(practice).where(practice.c.practice_id == practice_id), lock=lock)
    if row is None:
        raise PracticeNotFound
    return _practice(row, as_of)


def several(tx: Transaction, practice_ids: Sequence[str], as_of: AsOf) -> list[Practice]:
    """In the order of the ids."""
    rows = tx.all(select(practice).where(practice.c.practice_id.in_(practice_ids)))
    found = {row.practice_id: row for row in rows}
    return [_practice(found[practice_id], as_of) for practice_id in practice_ids]


def roles_of(tx: Transaction, practice_id: str) -> Sequence[str]:
    """Raises PracticeNotFound."""
    row = tx.first(select(practice.c.profile).where(practice.c.practice_id == practice_id))
    if row is None:
        raise PracticeNotFound
    return Practice.FromString(row.profile).roles


def lock(tx: Transaction, practice_id: str) -> None:
    """The practice's own row, exclusively. Raises PracticeNotFound."""
    query = select(practice.c.practice_id).where(practice.c.practice_id == practice_id)
    if tx.first(query, lock="exclusive") is None:
        raise PracticeNotFound


def lock_pair(tx: Transaction, one: str, other: str) -> None:
    """Both rows exclusively, so that two practices cannot offer each other a partnership at once."""
    query = select(practice.c.practice_id).where(practice.c.practice_id.in_([one, other]))
    if len(tx.all(query.order_by(practice.c.practice_id), lock="exclusive")) < 2:
        raise PracticeNotFound


def all_ids(tx: Transaction, after: str = "", limit: int | None = None) -> list[str]:
    query = select(practice.c.practice_id).where(practice.c.practice_id > after)
    return [row.practice_id for row in tx.all(query.order_by(practice.c.practice_id).limit(limit))]


def replace_profile(tx: Transaction, profile: Practice) -> None:
    tx.execute(
        update(practice).where(practice.c.practice_id == profile.practice_id).values(_columns(profile))
    )
    listings.replace(tx, profile)


def state_capacity(tx: Transaction, practice_id: str, capacity: Capacity, now: datetime) -> None:
    """Raises PracticeNotFound."""
    stated = (
        update(practice)
        .where(practice.c.practice_id == practice_id)
        .values(capacity=capacity.SerializeToString(deterministic=True), capacity_stated_at=now)
        .returning(practice.c.practice_id)
    )
    if tx.execute(stated).first() is None:
        raise PracticeNotFound
    listings.state_capacity(tx, practice_id, capacity, now)


def last_bundle(tx: Transaction, practice_id: str) -> SignedKeyBundle | None:
    query = select(key_bundle.c.bundle).where(key_bundle.c.practice_id == practice_id)
    row = tx.first(query.order_by(key_bundle.c.version.desc()).limit(1))
    return None if row is None else SignedKeyBundle.FromString(row.bundle)


def bundles(tx: Transaction, practice_id: str) -> list[SignedKeyBundle]:
    """Every version, oldest first."""
    query = select(key_bundle.c.bundle).where(key_bundle.c.practice_id == practice_id)
    return [SignedKeyBundle.FromString(row.bundle) for row in tx.all(query.order_by(key_bundle.c.version))]


def add_bundle(tx: Transaction, bundle: SignedKeyBundle, now: datetime) -> None:
    tx.execute(
        insert(key_bundle).values(
            practice_id=bundle.practice_id,
            version=bundle.version,
            bundle=bundle.SerializeToString(deterministic=True),
            published_at=now,
        )
    )


def certify_bundle_anew(tx: Transaction, bundle: SignedKeyBundle) -> None:
    """The same version with another proof. When it was first published stays as it was."""
    tx.execute(
        update(key_bundle)
        .where(key_bundle.c.practice_id == bundle.practice_id, key_bundle.c.version == bundle.version)
        .values(bundle=bundle.SerializeToString(deterministic=True))
    )


def _practice(row: Row[Any], as_of: AsOf) -> Practice:
    found = Practice.FromString(row.profile)
    if row.capacity_stated_at is not None:
        capacity = found.capacity
        capacity.MergeFromString(row.capacity)
        upcoming = [each for each in capacity.next_openings if each.at.ToDatetime(UTC) >= as_of.now]
        del capacity.next_openings[:]
        capacity.next_openings.extend(upcoming)
        capacity.stated_at.FromDatetime(row.capacity_stated_at)
        capacity.stale = row.capacity_stated_at < as_of.fresh_since
        capacity.age_minutes = max(as_of.now - row.capacity_stated_at, timedelta()) // timedelta(minutes=1)
    return found


def _columns(profile: Practice) -> dict[str, Any]:
    kept = Practice()
    kept.CopyFrom(profile)
    kept.ClearField("capacity")
    return {"profile": kept.SerializeToString(deterministic=True), "version": profile.version}
