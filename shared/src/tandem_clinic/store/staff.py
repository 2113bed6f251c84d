"""People and systems of the clinic, and the tokens that they come with. Tokens are kept as hashes only."""

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import select, update

from tandem_clinic.domain.staff import Role, Staff
from tandem_clinic.store.refusals import NotKnown
from tandem_clinic.store.tables import access_token, staff
from tandem_platform.storage import Transaction

_PREFIX = "tdm_"


def add(tx: Transaction, display_name: str, roles: frozenset[Role], now: datetime) -> Staff:
    staff_id = f"staff_{secrets.token_hex(13)}"
    tx.execute(
        staff.insert().values(
            staff_id=staff_id, display_name=display_name, roles=sorted(roles), disabled=False, created_at=now
        )
    )
    return Staff(staff_id, display_name, roles)


def get(tx: Transaction, staff_id: str) -> Staff:
    row = tx.first(select(staff).where(staff.c.staff_id == staff_id))
    if row is None:
        raise NotKnown("staff member", "staff_id")
    return Staff(row.staff_id, row.display_name, frozenset(Role(role) for role in row.roles))


def is_disabled(tx: Transaction, staff_id: str) -> bool:
    row = tx.first(select(staff.c.disabled).where(staff.c.staff_id == staff_id))
    return row is None or row.disabled


def disable(tx: Transaction, staff_id: str, now: datetime) -> None:
    """Their tokens end with them."""
    get(tx, staff_id)
    tx.execute(update(staff).where(staff.c.staff_id == staff_id).values(disabled=True))
    tx.execute(
        update(access_token)
        .where(access_token.c.staff_id == staff_id, access_token.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )


def issue_token(tx: Transaction, staff_id: str, now: datetime, lifetime: timedelta | None = None) -> str:
    """The token, which is shown this once. It holds 256 random bits, so that a plain hash keeps it safe."""
    token = _PREFIX + secrets.token_urlsafe(32)
    tx.execute(
        access_token.insert().values(
            token_hash=_hash(token),
            staff_id=get(tx, staff_id).staff_id,
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
        )
    )
    return token


def revoke_token(tx: Transaction, token: str, now: datetime) -> None:
    tx.execute(
        update(access_token)
        .where(access_token.c.token_hash == _hash(token), access_token.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )


def with_token(tx: Transaction, token: str, now: datetime) -> Staff | None:
    """Whose token it is, if it is good now."""
    row = tx.first(
        select(staff.c.staff_id, staff.c.display_name, staff.c.roles, access_token.c.expires_at)
        .join(staff, staff.c.staff_id == access_token.c.staff_id)
        .where(
            access_token.c.token_hash == _hash(token),
            access_token.c.revoked_at.is_(None),
            staff.c.disabled.is_(False),
        )
    )
    if row is None or (row.expires_at is not None and row.expires_at <= now):
        return None
    return Staff(row.staff_id, row.display_name, frozenset(Role(role) for role in row.roles))


def _hash(token: str) -> bytes:
    return hashlib.sha256(b"tandem-access-token-1" + token.encode()).digest()
