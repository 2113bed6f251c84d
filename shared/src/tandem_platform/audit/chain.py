"""Chains of audit records: each holds the hash of the one before."""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tandem.audit.v1.audit_pb2 import AuditRecord

START = bytes(32)
"""What stands for the hash before the first record."""

_TAG = b"tandem.audit.record.v1"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NUMBERS = struct.Struct(">QqiQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What one record says. Ids and codes only; empty where it says nothing.

    category: the contract's number, 0 for none.
    """

    at: datetime
    action: str
    episode_id: str = ""
    entry_id: str = ""
    counterpart_practice_id: str = ""
    category: int = 0
    permission_id: str = ""
    permission_version: int = 0
    rule: str = ""
    referral_id: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """One record in its place."""

    number: int
    fact: Fact
    previous_hash: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """The last link of a chain; number 0 and START while there is none."""

    number: int
    hash: bytes


NO_LINKS = Head(0, START)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was written. *number* is where it shows, 0 for a whole chain."""

    chain: str
    number: int
    fault: str


def link_hash(chain: str, number: int, previous_hash: bytes, fact: Fact) -> bytes:
    """SHA-256 over chain, number, the hash before and every field, in an encoding that no two facts share."""
    digest = hashlib.sha256(_TAG)
    micros = (fact.at - _EPOCH) // _MICROSECOND
    digest.update(_NUMBERS.pack(number, micros, fact.category, fact.permission_version))
    digest.update(previous_hash)
    for text in (
        chain,
        fact.action,
        fact.episode_id,
        fact.entry_id,
        fact.counterpart_practice_id,
        fact.permission_id,
        fact.rule,
        fact.referral_id,
    ):
        encoded = text.encode()
        digest.update(struct.pack(">I", len(encoded)))
        digest.update(encoded)
    return digest.digest()


def extend(chain: str, head: Head, facts: Iterable[Fact]) -> list[Link]:
    """The links that put *facts* above *head*, in order."""
    links = []
    number, previous = head.number, head.hash
    for fact in facts:
        number += 1
        digest = link_hash(chain, number, previous, fact)
        links.append(Link(number, fact, previous, digest))
        previous = digest
    return links


def verify_chain(chain: str, links: Iterable[Link], after: Head = NO_LINKS) -> Iterator[Finding]:
    """What is wrong with *links*, which should follow *after* in order and without gaps."""
    number, previous = after.number, after.hash
    for link in links:
        if link.number != number + 1:
            yield Finding(chain, link.number, "out-of-sequence")
        if link.previous_hash != previous:
            yield Finding(chain, link.number, "not-linked-to-the-one-before")
        if link.hash != link_hash(chain, link.number, link.previous_hash, link.fact):
            yield Finding(chain, link.number, "not-what-was-hashed")
        number, previous = link.number, link.hash


def record_of(link: Link) -> AuditRecord:
    fact = link.fact
    record = AuditRecord(
        number=link.number,
        action=fact.action,
        episode_id=fact.episode_id,
        entry_id=fact.entry_id,
        counterpart_practice_id=fact.counterpart_practice_id,
        category=fact.category,  # type: ignore[arg-type]
        permission_id=fact.permission_id,
        permission_version=fact.permission_version,
        rule=fact.rule,
        referral_id=fact.referral_id,
        previous_hash=link.previous_hash,
        hash=link.hash,
    )
    record.at.FromDatetime(fact.at)
    return record


def link_in(record: AuditRecord) -> Link:
    """What `record_of` was given."""
    fact = Fact(
        at=record.at.ToDatetime(tzinfo=UTC),
        action=record.action,
        episode_id=record.episode_id,
        entry_id=record.entry_id,
        counterpart_practice_id=record.counterpart_practice_id,
        category=record.category,
        permission_id=record.permission_id,
        permission_version=record.permission_version,
        rule=record.rule,
        referral_id=record.referral_id,
    )
    return Link(record.number, fact, record.previous_hash, record.hash)
