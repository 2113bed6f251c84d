"""Partnerships, and the partners' keys that were verified and pinned."""

from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, select, update

from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.store.tables import partner_key, partnership
from tandem_platform.clock import Clock
from tandem_platform.sealing.bundles import KeyBundle
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_new


@dataclass(frozen=True, slots=True)
class Partnership:
    partnership_id: str
    partner_practice_id: str
    state: str
    proposed_by_us: bool
    version: int
    partner_name: str
    partner_phone: str
    partner_on_call_phone: str
    partner_allows_treatment_basis: bool
    fingerprint: str
    fingerprint_confirmed_by: str
    fingerprint_confirmed_at: datetime | None
    changed_at: datetime

    @property
    def is_active(self) -> bool:
        return self.state == "active"


_COLUMNS = tuple(partnership.c[name] for name in Partnership.__slots__)
_BY_ID = select(*_COLUMNS).where(partnership.c.partnership_id == bindparam("id"))
_NEWEST_KEY = (
    select(partner_key.c.bundle)
    .where(partner_key.c.practice_id == bindparam("practice"))
    .order_by(partner_key.c.version.desc())
    .limit(1)
)


def decoded(bundle: bytes | None) -> KeyBundle | None:
    return None if bundle is None else _decoded(bytes(bundle))


@lru_cache(maxsize=256)
def _decoded(bundle: bytes) -> KeyBundle:
    return KeyBundle.decoded(bundle)


def add(tx: Transaction, new: Partnership) -> bool:
    return insert_new(tx, partnership, asdict(new))


def get(tx: Transaction, partnership_id: str) -> Partnership:
    found = find(tx, partnership_id)
    if found is None:
        raise NotKnown("partnership", "partnership_id")
    return found


def find(tx: Transaction, partnership_id: str) -> Partnership | None:
    row = tx.execute(_BY_ID, {"id": partnership_id}).first()
    return None if row is None else Partnership(**row._mapping)


def with_practice(tx: Transaction, practice_id: str) -> Partnership | None:
    """The latest partnership with *practice_id*."""
    row = tx.first(
        select(*_COLUMNS)
        .where(partnership.c.partner_practice_id == practice_id)
        .order_by(partnership.c.changed_at.desc())
        .limit(1)
    )
    return None if row is None else Partnership(**row._mapping)


def listed(tx: Transaction) -> list[Partnership]:
    return [
        Partnership(**row._mapping) for row in tx.all(select(*_COLUMNS).order_by(partnership.c.partner_name))
    ]


def change(tx: Transaction, partnership_id: str, **changes: Any) -> None:
    tx.execute(update(partnership).where(partnership.c.partnership_id == partnership_id).values(**changes))


class Pins:
    """The pinned bundles of partners, inside one transaction: the port of tandem_platform.sealing."""

    def __init__(self, tx: Transaction, clock: Clock) -> None:
        self._tx = tx
        self._clock = clock

    def get(self, practice_id: str) -> KeyBundle | None:
        row = self._tx.execute(_NEWEST_KEY, {"practice": practice_id}).first()
        return None if row is None else decoded(row.bundle)

    def put(self, bundle: KeyBundle) -> None:
        """Versions at or above it are replaced: a practice that lost its keys may start anew, confirmed by a person."""
        self._tx.execute(
            partner_key.delete().where(
                partner_key.c.practice_id == bundle.practice_id, partner_key.c.version >= bundle.version
            )
        )
        self._tx.execute(
            partner_key.insert().values(
                practice_id=bundle.practice_id,
                version=bundle.version,
                bundle=bundle.encoded,
                pinned_at=self._clock.now(),
            )
        )
