"""Signed roots: what the hub publishes, and what a practice checks with the hub's public key alone."""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from tandem.audit.v1.audit_pb2 import AuditRecord, GetAuditProofResponse
from tandem.exchange.v1.exchange_pb2 import AuditRootPublished
from tandem_platform.audit.chain import Finding, Head, link_in, verify_chain
from tandem_platform.audit.tree import Proof, proves
from tandem_platform.sealing import KeyBundle, PracticeKeys, SignatureFault

_PURPOSE = "audit-root"
_TAG = b"tandem.audit.root.v1"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def sign_root(keys: PracticeKeys, tree_number: int, published_at: datetime, root: bytes) -> bytes:
    """By the hub's own keys."""
    return keys.sign(_PURPOSE, _signed(tree_number, published_at, root))


def root_fault(hub: KeyBundle, told: AuditRootPublished | GetAuditProofResponse) -> SignatureFault | None:
    """Why the root is not signed by the hub; None if it is."""
    try:
        published_at = told.published_at.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        return SignatureFault.INVALID
    message = _signed(told.tree_number, published_at, told.root)
    return hub.signature_fault(_PURPOSE, message, told.signature, version=None, at=published_at)


def verify_kept_chain(
    practice_id: str,
    records: Iterable[AuditRecord],
    proof: GetAuditProofResponse,
    kept: AuditRootPublished,
    hub: KeyBundle,
) -> Iterator[Finding]:
    """What is wrong with the practice's own *records*, given a root that it kept."""
    if (proof.tree_number, proof.root) != (kept.tree_number, kept.root):
        yield Finding(practice_id, 0, "not-the-root-that-was-kept")
    if root_fault(hub, proof) is not None:
        yield Finding(practice_id, 0, "root-not-signed")
    head = Head(proof.head_number, proof.head_hash)
    if not proves(_proof_in(practice_id, proof)):
        yield Finding(practice_id, head.number, "not-under-the-root")
    links = []
    for record in records:
        try:
            links.append(link_in(record))
        except (ValueError, OverflowError):
            yield Finding(practice_id, record.number, "unreadable")
    yield from verify_chain(practice_id, links)
    at_head = next((link.hash for link in links if link.number == head.number), None)
    if head.number and at_head != head.hash:
        yield Finding(practice_id, head.number, "truncated" if at_head is None else "chained-anew")


def _proof_in(practice_id: str, proof: GetAuditProofResponse) -> Proof:
    return Proof(
        practice_id,
        Head(proof.head_number, proof.head_hash),
        proof.salt,
        proof.leaf_index,
        proof.leaf_count,
        tuple(proof.path),
        proof.root,
    )


def _signed(tree_number: int, published_at: datetime, root: bytes) -> bytes:
    micros = (published_at - _EPOCH) // _MICROSECOND
    return hashlib.sha256(_TAG + struct.pack(">Qq", tree_number, micros) + root).digest()
