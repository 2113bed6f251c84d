"""Practices' newest public keys, as their key bundles say."""

from datetime import datetime
from functools import lru_cache

from sqlalchemy import bindparam, select

from tandem.directory.v1.directory_pb2 import SignedKeyBundle
from tandem_platform.sealing import KeyBundle
from tandem_platform.storage import Transaction
from tandem_referral.store.tables import key_bundle


def newest(tx: Transaction, practice_id: str) -> KeyBundle | None:
    """The bundle with the highest version; it names all signing keys before it."""
    row = tx.first(_NEWEST, of=practice_id)
    return None if row is None else _parsed(bytes(row.bundle))


def published_at(tx: Transaction, practice_id: str) -> datetime | None:
    """When the practice published the newest."""
    row = tx.first(_NEWEST, of=practice_id)
    return None if row is None else row.published_at


_NEWEST = (
    select(key_bundle.c.bundle, key_bundle.c.published_at)
    .where(key_bundle.c.practice_id == bindparam("of"))
    .order_by(key_bundle.c.version.desc())
    .limit(1)
)


@lru_cache(maxsize=4096)
def _parsed(message: bytes) -> KeyBundle:
    return KeyBundle.decoded(SignedKeyBundle.FromString(message).bundle)
