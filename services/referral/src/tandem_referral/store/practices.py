"""The directory: practices, what they offer, and their key bundles."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, func, insert, literal, or_, select, tuple_, update

from tandem.directory.v1.directory_pb2 import Capacity, Practice, SignedKeyBundle
from tandem_platform.errors import Code, Refusal
from tandem_platform.storage.database import Lock, Transaction
from tandem_platform.storage.inserts import insert_new
from tandem_referral.store.tables import key_bundle, partnership, practice


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is searched for; an empty word and False filter nothing."""

    role: str = ""
    licence_state: str = ""
    modality: str = ""
    language: str = ""
    telehealth: bool = False
    with_openings: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    practice: Practice
    rank: int
    is_partner: bool


def register(tx: Transaction, profile: Practice, now: datetime) -> None:
    values = {**_columns(profile), "practice_id": profile.practice_id, "registered_at": now}
    if not insert_new(tx, practice, values):
        raise PracticeExists


def get(tx: Transaction, practice_id: str, *, stale_before: datetime, lock: Lock | None = None) -> Practice:
    """Capacity stated before *stale_before* is marked stale. Raises PracticeNotFound."""
    row = tx.first(select(practice).where(practice.c.practice_id == practice_id), lock=lock)
    if row is None:
        raise PracticeNotFound
    return _practice(row, stale_before)


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


def state_capacity(
    tx: Transaction, practice_id: str, openings: int, next_opening_at: datetime | None, now: datetime
) -> None:
    stated = (
        update(practice)
        .where(practice.c.practice_id == practice_id)
        .values(openings=openings, capacity_stated_at=now, next_opening_at=next_opening_at)
        .returning(practice.c.practice_id)
    )
    if tx.execute(stated).first() is None:
        raise PracticeNotFound


def search(
    tx: Transaction,
    wanted: Wanted,
    searcher: str,
    *,
    stale_before: datetime,
    after: tuple[int, str] | None,
    limit: int,
) -> list[Found]:
    """Practices other than *searcher*: those with openings first, among them partners first, then by id.

    Ids are random: their order prefers nobody.
    """
    has_openings = and_(
        func.coalesce(practice.c.openings, 0) > 0,
        practice.c.capacity_stated_at.is_not(None),
        practice.c.capacity_stated_at >= stale_before,
    )
    is_partner = practice.c.practice_id.in_(_partners_of(searcher))
    rank = case((has_openings, 0), else_=2) + case((is_partner, 0), else_=1)
    query = (
        select(practice, rank.label("rank"), is_partner.label("is_partner"))
        .where(practice.c.practice_id != searcher, *_conditions(wanted))
        .order_by(rank, practice.c.practice_id)
        .limit(limit)
    )
    if wanted.with_openings:
        query = query.where(has_openings)
    if after is not None:
        query = query.where(
            tuple_(rank, practice.c.practice_id) > tuple_(literal(after[0]), literal(after[1]))
        )
    return [Found(_practice(row, stale_before), row.rank, bool(row.is_partner)) for row in tx.all(query)]


def _partners_of(practice_id: str) -> Any:
    ours = or_(
        partnership.c.proposer_practice_id == practice_id, partnership.c.partner_practice_id == practice_id
    )
    other = case(
        (partnership.c.proposer_practice_id == practice_id, partnership.c.partner_practice_id),
        else_=partnership.c.proposer_practice_id,
    )
    return select(other).where(ours, partnership.c.state == "active")


def _conditions(wanted: Wanted) -> Iterable[ColumnElement[bool]]:
    for column, code in (
        (practice.c.roles, wanted.role),
        (practice.c.licence_states, wanted.licence_state),
        (practice.c.modalities, wanted.modality),
        (practice.c.languages, wanted.language),
    ):
        if code:
            yield column.contains(f",{code},", autoescape=True)
    if wanted.telehealth:
        yield practice.c.telehealth


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


def _practice(row: Row[Any], stale_before: datetime) -> Practice:
    found = Practice.FromString(row.profile)
    if row.capacity_stated_at is not None:
        capacity = Capacity(openings=row.openings, stale=row.capacity_stated_at < stale_before)
        capacity.stated_at.FromDatetime(row.capacity_stated_at)
        if row.next_opening_at is not None:
            capacity.next_opening_at.FromDatetime(row.next_opening_at)
        found.capacity.CopyFrom(capacity)
    return found


def _columns(profile: Practice) -> dict[str, Any]:
    kept = Practice()
    kept.CopyFrom(profile)
    kept.ClearField("capacity")
    return {
        "profile": kept.SerializeToString(deterministic=True),
        "version": profile.version,
        "roles": _listed(profile.roles),
        "licence_states": _listed(profile.licence_states),
        "modalities": _listed(profile.modalities),
        "languages": _listed(profile.languages),
        "telehealth": profile.telehealth,
    }


def _listed(codes: Sequence[str]) -> str:
    return f",{','.join(codes)}," if codes else ""
