"""Terms of partnerships: what the hub told of them, and the texts that are known here."""

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import select, update

from tandem_care.terms import STANDARD, STANDARD_HASH, text_hash
from tandem_clinic.store.tables import agreement, terms_text
from tandem_platform.storage import Transaction
from tandem_platform.storage.inserts import insert_new


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """accepted_at: when the side that had not proposed them accepted."""

    partnership_id: str
    number: int
    text_hash: bytes
    proposed_by_us: bool
    proposed_at: datetime
    accepted_at: datetime | None


_COLUMNS = tuple(agreement.c[name] for name in Agreement.__slots__)


def put(tx: Transaction, told: Agreement) -> None:
    """What was accepted stays so, whatever older news comes later."""
    if not insert_new(tx, agreement, asdict(told)) and told.accepted_at is not None:
        tx.execute(
            update(agreement)
            .where(agreement.c.partnership_id == told.partnership_id, agreement.c.number == told.number)
            .values(accepted_at=told.accepted_at)
        )


def of(tx: Transaction, partnership_id: str) -> list[Agreement]:
    """The latest first."""
    query = select(*_COLUMNS).where(agreement.c.partnership_id == partnership_id)
    return [Agreement(**row._mapping) for row in tx.all(query.order_by(agreement.c.number.desc()))]


def waiting(tx: Transaction, partnership_id: str) -> Agreement | None:
    """Terms that one side has not accepted yet: the latest, if no other took their place."""
    latest = next(iter(of(tx, partnership_id)), None)
    return None if latest is None or latest.accepted_at is not None else latest


def keep_text(tx: Transaction, text: str, now: datetime) -> bytes:
    """The text's digest."""
    digest = text_hash(text)
    insert_new(tx, terms_text, {"text_hash": digest, "text": text, "kept_at": now})
    return digest


def text_of(tx: Transaction, digest: bytes) -> str | None:
    """None where only the partner has it."""
    if digest == STANDARD_HASH:
        return STANDARD
    row = tx.first(select(terms_text.c.text).where(terms_text.c.text_hash == digest))
    return None if row is None else str(row.text)
