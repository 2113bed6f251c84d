"""Merkle trees over the heads of all chains.

Every tree is filled up to a power of two and its leaves stand in an order drawn by their salts,
so that all paths are equally long and a place in the tree tells nothing.
A leaf's salt is its own: one salt for all would let a practice that has its proof try out what a neighbour's
leaf holds.
"""

import hashlib
import hmac
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tandem_platform.audit.chain import Head

_LEAF, _NODE, _FILL = b"\x00", b"\x01", b"\x02"
"""Leaves, nodes and fillers differ in their first byte: none can be passed off as another (RFC 6962)."""


@dataclass(frozen=True, slots=True)
class Proof:
    """That *head* is the head of *chain* under *root*."""

    chain: str
    head: Head
    salt: bytes
    leaf_index: int
    leaf_count: int
    path: tuple[bytes, ...]
    root: bytes


def leaf_hash(salt: bytes, chain: str, head: Head) -> bytes:
    name = chain.encode()
    return hashlib.sha256(
        _LEAF + salt + struct.pack(">I", len(name)) + name + struct.pack(">Q", head.number) + head.hash
    ).digest()


class Tree:
    """The tree over *heads*, by name of chain. *secret* is random per tree and stays with its maker."""

    def __init__(self, secret: bytes, heads: Mapping[str, Head]) -> None:
        salts = {chain: hmac.digest(secret, b"salt" + chain.encode(), "sha256") for chain in heads}
        self._heads = dict(heads)
        self._salts = salts
        self._places = {
            chain: place for place, chain in enumerate(sorted(heads, key=lambda chain: salts[chain]))
        }
        leaves = [leaf_hash(salts[chain], chain, heads[chain]) for chain in self._places]
        while len(leaves) & (len(leaves) - 1) or not leaves:
            filler = b"fill" + struct.pack(">I", len(leaves))
            leaves.append(hashlib.sha256(_FILL + hmac.digest(secret, filler, "sha256")).digest())
        self._levels = [leaves]
        while len(self._levels[-1]) > 1:
            self._levels.append(_next_level(self._levels[-1]))

    @property
    def root(self) -> bytes:
        return self._levels[-1][0]

    def __contains__(self, chain: str) -> bool:
        return chain in self._places

    def proof(self, chain: str) -> Proof:
        place = self._places[chain]
        path = tuple(level[(place >> height) ^ 1] for height, level in enumerate(self._levels[:-1]))
        return Proof(
            chain, self._heads[chain], self._salts[chain], place, len(self._levels[0]), path, self.root
        )


def proves(proof: Proof) -> bool:
    """Whether the path leads from the leaf to the root."""
    if proof.leaf_count != 1 << len(proof.path) or not 0 <= proof.leaf_index < proof.leaf_count:
        return False
    digest = leaf_hash(proof.salt, proof.chain, proof.head)
    for height, sibling in enumerate(proof.path):
        right = proof.leaf_index >> height & 1
        digest = _node(sibling, digest) if right else _node(digest, sibling)
    return hmac.compare_digest(digest, proof.root)


def _next_level(level: Sequence[bytes]) -> list[bytes]:
    return [_node(level[place], level[place + 1]) for place in range(0, len(level), 2)]


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()
