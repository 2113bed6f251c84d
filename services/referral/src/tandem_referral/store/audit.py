"""Audit chains: one for each practice, of what it may know, and one for the hub itself.

What was withheld is recorded in its discloser's chain alone:
no number, size or time of a recipient's chain may depend on it.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select, update

from tandem.audit.v1.audit_pb2 import AuditRecord
from tandem_platform.audit.chain import NO_LINKS, Fact, Head, Link, extend, link_in, record_of
from tandem_platform.storage.database import Transaction
from tandem_platform.storage.inserts import insert_new, insert_rows
from tandem_platform.storage.lists import among
from tandem_referral.store.tables import audit_head, audit_leaf, audit_record

HUB = "hub"
"""The chain of what concerns no practice."""

_STAGED = "audit.staged"
# Heads are locked after everything else that a transaction locks, but before the logs, which come at rank 0.
_BEFORE_LOGS = -1


def append(
    tx: Transaction,
    chain: str,
    *,
    at: datetime,
    action: str,
    episode_id: str = "",
    entry_id: str = "",
    counterpart_practice_id: str = "",
    category: int = 0,
    permission_id: str = "",
    permission_version: int = 0,
    rule: str = "",
    referral_id: str = "",
) -> None:
    """Add a record to *chain* (a practice's id or HUB) when *tx* commits. *category*: the contract's number."""
    staged: dict[str, list[Fact]] | None = tx.notes.get(_STAGED)
    if staged is None:
        staged = tx.notes[_STAGED] = _Staged()
        tx.before_commit(_write_staged, rank=_BEFORE_LOGS)
    staged.setdefault(chain, []).append(
        Fact(
            at=at,
            action=action,
            episode_id=episode_id,
            entry_id=entry_id,
            counterpart_practice_id=counterpart_practice_id,
            category=category,
            permission_id=permission_id,
            permission_version=permission_version,
            rule=rule,
            referral_id=referral_id,
        )
    )


class _Staged(dict[str, list[Fact]]):
    def copy(self) -> "_Staged":
        return _Staged({chain: list(facts) for chain, facts in self.items()})


def _write_staged(tx: Transaction) -> None:
    staged: Mapping[str, Sequence[Fact]] = tx.notes.pop(_STAGED, {})
    if not staged:
        return
    heads = _lock_heads(tx, sorted(staged))
    rows: list[dict[str, Any]] = []
    moved: list[dict[str, Any]] = []
    for chain, facts in staged.items():
        links = extend(chain, heads[chain], facts)
        rows += [_row_of(chain, link) for link in links]
        moved.append({"of": chain, "to": links[-1].number, "with_hash": links[-1].hash})
    insert_rows(tx, audit_record, rows)
    tx.execute(_MOVING, moved)


_MOVING = (
    update(audit_head)
    .where(audit_head.c.chain == bindparam("of"))
    .values(number=bindparam("to"), hash=bindparam("with_hash"))
)
_LOCKING = (
    select(audit_head)
    .where(among(audit_head.c.chain, "chains"))
    .order_by(audit_head.c.chain)
    .with_for_update()
)


def _lock_heads(tx: Transaction, chains: Sequence[str]) -> dict[str, Head]:
    rows = tx.all(_LOCKING, chains=chains)
    if len(rows) < len(chains):
        for chain in chains:
            insert_new(tx, audit_head, {"chain": chain, "number": 0, "hash": NO_LINKS.hash})
        rows = tx.all(_LOCKING, chains=chains)
    return {row.chain: Head(row.number, bytes(row.hash)) for row in rows}


def open_chain(tx: Transaction, chain: str) -> None:
    """Put a practice under every root from its first minute, whether it has records or not."""
    _lock_heads(tx, [chain])


def heads(tx: Transaction) -> dict[str, Head]:
    return {row.chain: Head(row.number, bytes(row.hash)) for row in tx.all(select(audit_head))}


def links(tx: Transaction, chain: str, after: int = 0, limit: int | None = None) -> Iterator[Link]:
    """The links of *chain* above number *after*, in order."""
    query = (
        select(audit_record)
        .where(audit_record.c.chain == chain, audit_record.c.number > after)
        .order_by(audit_record.c.number)
        .limit(limit)
    )
    for row in tx.execute(query):
        record = AuditRecord.FromString(row.record)
        record.number, record.previous_hash, record.hash = row.number, row.previous_hash, row.hash
        record.at.FromDatetime(row.at)
        yield link_in(record)


def last_written_at(tx: Transaction) -> datetime | None:
    """The latest time that the newest record of any chain bears."""
    newest = (audit_record.c.chain == audit_head.c.chain) & (audit_record.c.number == audit_head.c.number)
    row = tx.first(
        select(func.max(audit_record.c.at).label("at")).select_from(audit_head.join(audit_record, newest))
    )
    return None if row is None else row.at


def chains(tx: Transaction) -> list[str]:
    """Every chain that has records or a head."""
    recorded = select(audit_record.c.chain).distinct()
    return sorted(row.chain for row in tx.all(select(audit_head.c.chain).union(recorded)))


def heads_under(tx: Transaction, tree_number: int) -> dict[str, Head]:
    """The heads that the tree was made of: of each chain the last one written for it or for a tree before."""
    earlier = audit_leaf.alias("earlier")
    last = (
        select(func.max(earlier.c.tree_number))
        .where(earlier.c.chain == audit_head.c.chain, earlier.c.tree_number <= tree_number)
        .correlate(audit_head)
        .scalar_subquery()
    )
    query = select(audit_leaf.c.chain, audit_leaf.c.head_number, audit_leaf.c.head_hash).join(
        audit_head, (audit_head.c.chain == audit_leaf.c.chain) & (audit_leaf.c.tree_number == last)
    )
    return {row.chain: Head(row.head_number, bytes(row.head_hash)) for row in tx.all(query)}


def _row_of(chain: str, link: Link) -> dict[str, Any]:
    record = record_of(link)
    for kept_beside in ("number", "at", "previous_hash", "hash"):
        record.ClearField(kept_beside)
    return {
        "chain": chain,
        "number": link.number,
        "at": link.fact.at,
        "record": record.SerializeToString(deterministic=True),
        "previous_hash": link.previous_hash,
        "hash": link.hash,
    }
