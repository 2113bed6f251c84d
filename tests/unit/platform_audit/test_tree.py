"""Proofs lead to the root, and tell their reader nothing about anybody else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem_platform.audit.chain import NO_LINKS, Head
from tandem_platform.audit.tree import Tree, leaf_hash, proves

SECRET = bytes(range(32))
NETWORKS = st.dictionaries(
    st.text(alphabet="abc", min_size=1, max_size=5),
    st.builds(Head, st.integers(0, 2**60), st.binary(min_size=32, max_size=32)),
    min_size=1,
    max_size=20,
)


def a_network(size: int) -> dict[str, Head]:
    return {f"practice-{n}": Head(n, bytes([n]) * 32) for n in range(size)}


@given(NETWORKS, st.binary(min_size=32, max_size=32))
def test_every_chain_has_a_proof_and_all_paths_are_equally_long(heads, secret):
    tree = Tree(secret, heads)
    proofs = [tree.proof(chain) for chain in heads]
    assert all(proves(proof) for proof in proofs)
    assert len({(len(proof.path), proof.leaf_count) for proof in proofs}) == 1


@pytest.mark.parametrize(
    "forge",
    [
        lambda p: replace(p, chain="practice-9"),
        lambda p: replace(p, head=Head(p.head.number + 1, p.head.hash)),
        lambda p: replace(p, head=Head(p.head.number, bytes(32))),
        lambda p: replace(p, salt=bytes(32)),
        lambda p: replace(p, leaf_index=p.leaf_index ^ 1),
        lambda p: replace(p, leaf_index=p.leaf_index + p.leaf_count),
        lambda p: replace(p, leaf_count=p.leaf_count * 2),
        lambda p: replace(p, path=p.path[:-1]),
        lambda p: replace(p, path=(bytes(32), *p.path[1:])),
        lambda p: replace(p, root=bytes(32)),
    ],
)
def test_a_forged_proof_proves_nothing(forge):
    assert not proves(forge(Tree(SECRET, a_network(5)).proof("practice-3")))


def test_a_new_secret_moves_root_salts_and_places_though_no_head_moved():
    before, after = Tree(SECRET, a_network(16)), Tree(bytes(32), a_network(16))
    assert before.root != after.root
    assert any(before.proof(chain).leaf_index != after.proof(chain).leaf_index for chain in a_network(16))


def test_a_practice_cannot_try_out_what_its_sibling_leaf_holds():
    heads = {"juniper": Head(7, bytes([7]) * 32), "riverbend": NO_LINKS}
    proof = Tree(SECRET, heads).proof("juniper")
    assert leaf_hash(proof.salt, "riverbend", NO_LINKS) not in proof.path


def test_two_networks_that_differ_in_another_practice_give_the_same_proof_in_all_but_hashes():
    busy, idle = a_network(6), {**a_network(6), "practice-5": Head(90, bytes([90]) * 32)}
    one, other = Tree(SECRET, busy).proof("practice-2"), Tree(SECRET, idle).proof("practice-2")
    assert replace(one, path=(), root=b"") == replace(other, path=(), root=b"")
    assert len(one.path) == len(other.path)
