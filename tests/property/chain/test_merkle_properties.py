"""The row-by-row tree of node/chain/merkle.py against the recursive definitions of RFC 9162."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.chain.merkle import (
    TreeHead,
    consistency_path,
    inclusion_path,
    leaf_hash,
    merkle_root,
    verify_consistency,
    verify_inclusion,
)
from node.crypto.hashing import HashFunction
from node.errors import ProofError

sha256 = HashFunction(hashlib.sha256)


# --- RFC 9162 sections 2.1.1, 2.1.3.1 and 2.1.4.1, transcribed ---


def split(n: int) -> int:
    """Return the largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(entries: Sequence[bytes]) -> bytes:
    if not entries:
        return sha256(b"")
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0])
    k = split(len(entries))
    return sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:]))


def path(m: int, entries: Sequence[bytes]) -> list[bytes]:
    if len(entries) == 1:
        return []
    k = split(len(entries))
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def subproof(m: int, entries: Sequence[bytes], *, known: bool) -> list[bytes]:
    if m == len(entries):
        return [] if known else [mth(entries)]
    k = split(len(entries))
    if m <= k:
        return [*subproof(m, entries[:k], known=known), mth(entries[k:])]
    return [*subproof(m - k, entries[k:], known=False), mth(entries[:k])]


# --- Laws ---


def entries_of(size: int) -> list[bytes]:
    return [index.to_bytes(2, "big") for index in range(size)]


def hashes_of(entries: Sequence[bytes]) -> list[bytes]:
    return [leaf_hash(entry, sha256) for entry in entries]


@pytest.mark.parametrize("size", range(66))
def test_every_small_tree_is_the_tree_of_the_rfc(size: int) -> None:
    entries = entries_of(size)
    leaves = hashes_of(entries)
    head = TreeHead(size, mth(entries))
    assert merkle_root(leaves, sha256) == head.root
    for index in range(size):
        proof = inclusion_path(leaves, index, sha256)
        assert proof == path(index, entries)
        verify_inclusion(leaves[index], index, proof, head, sha256)
    for old_size in range(1, size + 1):
        proof = consistency_path(leaves, old_size, sha256)
        assert proof == subproof(old_size, entries, known=True)
        verify_consistency(TreeHead(old_size, mth(entries[:old_size])), head, proof, sha256)


sizes = st.integers(min_value=1, max_value=600)


@given(st.lists(st.binary(max_size=40), max_size=300))
def test_roots_over_any_entries(entries: list[bytes]) -> None:
    assert merkle_root(hashes_of(entries), sha256) == mth(entries)


@given(sizes, st.data())
def test_a_proof_holds_for_its_own_index_and_leaf_alone(size: int, data: st.DataObject) -> None:
    leaves = hashes_of(entries_of(size))
    index = data.draw(st.integers(0, size - 1), "index")
    proof = inclusion_path(leaves, index, sha256)
    root = merkle_root(leaves, sha256)
    verify_inclusion(leaves[index], index, proof, TreeHead(size, root), sha256)

    other_index = data.draw(st.integers(0, size + 8).filter(lambda at: at != index), "other index")
    with pytest.raises(ProofError):
        verify_inclusion(leaves[index], other_index, proof, TreeHead(size, root), sha256)
    with pytest.raises(ProofError, match="proof-root"):
        verify_inclusion(flipped(leaves[index], 0), index, proof, TreeHead(size, root), sha256)


@given(sizes, st.data())
def test_any_flipped_bit_breaks_an_inclusion_path(size: int, data: st.DataObject) -> None:
    leaves = hashes_of(entries_of(size + 1))
    index = data.draw(st.integers(0, size), "index")
    proof = inclusion_path(leaves, index, sha256)
    at = data.draw(st.integers(0, len(proof) * 256 - 1), "bit")
    proof[at // 256] = flipped(proof[at // 256], at % 256)
    with pytest.raises(ProofError, match="proof-root"):
        verify_inclusion(
            leaves[index], index, proof, TreeHead(size + 1, merkle_root(leaves, sha256)), sha256
        )


@given(sizes, sizes, st.data())
def test_any_flipped_bit_breaks_a_consistency_path(
    old_size: int, growth: int, data: st.DataObject
) -> None:
    leaves = hashes_of(entries_of(old_size + growth))
    old = TreeHead(old_size, merkle_root(leaves[:old_size], sha256))
    new = TreeHead(len(leaves), merkle_root(leaves, sha256))
    proof = consistency_path(leaves, old_size, sha256)
    verify_consistency(old, new, proof, sha256)
    at = data.draw(st.integers(0, len(proof) * 256 - 1), "bit")
    proof[at // 256] = flipped(proof[at // 256], at % 256)
    with pytest.raises(ProofError, match=r"proof-(old-)?root"):
        verify_consistency(old, new, proof, sha256)


@given(sizes, st.integers(min_value=2, max_value=300), st.data())
def test_a_rewritten_log_has_no_consistency_proof(
    old_size: int, growth: int, data: st.DataObject
) -> None:
    leaves = hashes_of(entries_of(old_size + growth))
    old = TreeHead(old_size, merkle_root(leaves[:old_size], sha256))
    rewritten = data.draw(st.integers(0, old_size - 1), "rewritten")
    leaves[rewritten] = flipped(leaves[rewritten], 0)
    new = TreeHead(len(leaves), merkle_root(leaves, sha256))
    with pytest.raises(ProofError, match=r"proof-(old-)?root"):
        verify_consistency(old, new, consistency_path(leaves, old_size, sha256), sha256)


def flipped(digest: bytes, bit: int) -> bytes:
    changed = bytearray(digest)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
