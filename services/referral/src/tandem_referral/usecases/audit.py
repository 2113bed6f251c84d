"""The account that the hub gives of itself: signed roots for everybody, proofs for each, and the operator's check."""

import secrets
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.message import DecodeError
from sqlalchemy import Row, func, insert, select, update

from tandem.exchange.v1.exchange_pb2 import AuditRootPublished, RowBody
from tandem_platform.audit.chain import NO_LINKS, Finding, Head, Link, verify_chain
from tandem_platform.audit.roots import root_fault, sign_root
from tandem_platform.audit.tree import Proof, Tree
from tandem_platform.clock import Clock
from tandem_platform.errors import Code, Refusal
from tandem_platform.exchange.log import stage
from tandem_platform.exchange.rows import downlink
from tandem_platform.sealing import KeyBundle, PracticeKeys
from tandem_platform.storage.at_rest import AtRestBroken
from tandem_platform.storage.database import Database, Transaction
from tandem_referral.store import audit, practices
from tandem_referral.store.tables import audit_leaf, audit_root

EVERY = timedelta(minutes=1)
ANNOUNCED_AT_ONCE = 200
"""Downlinks that one transaction tells of a root: so many releases at most wait for it."""


class TreeNotFound(Refusal):
    def __init__(self) -> None:
        super().__init__(
            Code.NOT_FOUND,
            "TREE_NOT_FOUND",
            "You have no record under a tree of this number.",
            field="tree_number",
            way_out="Take the number from a root that was published to you.",
        )


@dataclass(frozen=True, slots=True)
class Published:
    """A signed root, and what it was signed over."""

    tree_number: int
    at: datetime
    root: bytes
    signature: bytes


class RootPublisher:
    """Publishes a root every minute, also when nothing happened: a root that comes late or not would tell that."""

    def __init__(self, database: Database, clock: Clock, keys: PracticeKeys) -> None:
        self._database = database
        self._clock = clock
        self._keys = keys

    def step(self) -> bool:
        """Announce what is unannounced, or publish if it is time. True if there was something to do."""
        return self._database.run(announce_root) or self._database.run(self._publish_if_due)

    def _publish_if_due(self, tx: Transaction) -> bool:
        now = self._clock.now()
        last = _last_root(tx)
        if last is not None and now < last.published_at + EVERY:
            return False
        publish_root(tx, now, self._keys)
        return True


def publish_root(tx: Transaction, now: datetime, keys: PracticeKeys) -> Published:
    """Put every chain's head under a new signed root. `announce_root` brings it to the downlinks."""
    last = _last_root(tx)
    number = 1 if last is None else last.tree_number + 1
    under_last = audit.heads_under(tx, number - 1)
    heads = audit.heads(tx)
    moved = [
        {"chain": chain, "tree_number": number, "head_number": head.number, "head_hash": head.hash}
        for chain, head in heads.items()
        if under_last.get(chain) != head
    ]
    if moved:
        tx.execute(insert(audit_leaf), moved)
    secret = secrets.token_bytes(32)
    root = Tree(secret, heads).root
    published = Published(number, now, root, sign_root(keys, number, now, root))
    tx.execute(
        insert(audit_root).values(
            tree_number=number,
            published_at=now,
            root=root,
            signature=published.signature,
            secret=secret,
            announced_to="",
        )
    )
    return published


def announce_root(tx: Transaction, at_once: int = ANNOUNCED_AT_ONCE) -> bool:
    """Stage the oldest root that is not on every downlink on some more of them. True if there was one."""
    unannounced = select(audit_root).where(audit_root.c.announced_to.is_not(None))
    row = tx.first(unannounced.order_by(audit_root.c.tree_number).limit(1), lock="exclusive")
    if row is None:
        return False
    members = practices.all_ids(tx, after=row.announced_to, limit=at_once)
    body = RowBody(audit_root_published=_message(row))
    for practice_id in members:
        stage(tx, downlink(practice_id), body, at=row.published_at)
    all_told = len(members) < at_once
    tx.execute(
        update(audit_root)
        .where(audit_root.c.tree_number == row.tree_number)
        .values(announced_to=None if all_told else members[-1])
    )
    return True


def prove(tx: Transaction, practice_id: str, tree_number: int) -> tuple[Published, Proof]:
    """That the practice's chain, as far as it went then, is under the tree's root."""
    row = tx.first(select(audit_root).where(audit_root.c.tree_number == tree_number))
    if row is None:
        raise TreeNotFound
    tree = Tree(row.secret, audit.heads_under(tx, tree_number))
    if practice_id not in tree:
        raise TreeNotFound
    published = Published(row.tree_number, row.published_at, bytes(row.root), bytes(row.signature))
    return published, tree.proof(practice_id)


def verify(tx: Transaction, hub: KeyBundle, against: Iterable[AuditRootPublished] = ()) -> list[Finding]:
    """Everything that is not as it was written, as far as the database and roots kept elsewhere can tell.

    The database alone shows edits, deletions, insertions, reordering and a replaced head. Only roots that clinics
    kept show what its owner could rewrite from end to end: a chain made anew, cut short, or forked.
    """
    findings: list[Finding] = []
    heads = audit.heads(tx)
    for chain in audit.chains(tx):
        findings += _verify_chain(tx, chain, heads.get(chain))
    kept: dict[int, list[AuditRootPublished]] = {}
    for root in against:
        kept.setdefault(root.tree_number, []).append(root)
    newest = tx.first(select(func.max(audit_root.c.tree_number)))
    if newest is not None and newest[0] is not None:
        kept.setdefault(newest[0], [])
    for number in sorted(kept):
        findings += _verify_tree(tx, number, hub, kept[number])
    return findings


_UNREADABLE = (AtRestBroken, DecodeError, ValueError, TypeError, OverflowError, struct.error)
"""What a row that somebody wrote by hand may end in."""


def _verify_chain(tx: Transaction, chain: str, head: Head | None) -> Iterator[Finding]:
    leaves = {
        row.head_number: bytes(row.head_hash)
        for row in tx.all(select(audit_leaf).where(audit_leaf.c.chain == chain))
    }
    last = NO_LINKS
    seen: dict[int, bytes] = {0: NO_LINKS.hash}

    def passing() -> Iterator[Link]:
        nonlocal last
        for link in audit.links(tx, chain):
            last = Head(link.number, link.hash)
            if link.number in leaves:
                seen[link.number] = link.hash
            yield link

    try:
        yield from verify_chain(chain, passing())
    except _UNREADABLE:
        yield Finding(chain, last.number + 1, "unreadable")
        return
    if head is None or head != last:
        yield Finding(chain, last.number, "head-replaced")
    for number, digest in sorted(leaves.items()):
        if number not in seen:
            yield Finding(chain, number, "truncated")
        elif seen[number] != digest:
            yield Finding(chain, number, "chained-anew")


def _compare(kept: AuditRootPublished, row: Row[Any] | None, hub: KeyBundle) -> Iterator[Finding]:
    name = f"tree {kept.tree_number}"
    if root_fault(hub, kept) is not None:
        yield Finding(name, 0, "kept-root-not-signed-by-the-hub")
    elif row is None:
        yield Finding(name, 0, "tree-missing")
    elif _message(row) != kept:
        yield Finding(name, 0, "forked")


def _verify_tree(
    tx: Transaction, number: int, hub: KeyBundle, against: Iterable[AuditRootPublished]
) -> Iterator[Finding]:
    name = f"tree {number}"
    try:
        row = tx.first(select(audit_root).where(audit_root.c.tree_number == number))
        for kept in against:
            yield from _compare(kept, row, hub)
        if row is None:
            return
        message = _message(row)
        if root_fault(hub, message) is not None:
            yield Finding(name, 0, "root-not-signed")
        heads: Mapping[str, Head] = audit.heads_under(tx, number)
        if Tree(row.secret, heads).root != message.root:
            yield Finding(name, 0, "root-not-of-its-leaves")
    except _UNREADABLE:
        yield Finding(name, 0, "unreadable")


def _last_root(tx: Transaction) -> Row[Any] | None:
    return tx.first(select(audit_root).order_by(audit_root.c.tree_number.desc()).limit(1))


def _message(row: Row[Any]) -> AuditRootPublished:
    message = AuditRootPublished(tree_number=row.tree_number, root=row.root, signature=row.signature)
    message.published_at.FromDatetime(row.published_at)
    return message
