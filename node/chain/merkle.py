"""RFC 9162 section 2.1 Merkle trees over a list of leaf hashes. Only that algebra lives here.

Trees here are held whole, as the list of their leaf hashes; `node.chain.log` does the same for a
log too large to hold. A tree is seen as rows of digests, each row joined, so that it is hashed at
once: row 0 holds the leaf hashes, and each further row the hashes of neighbouring pairs, a last odd
one moving up as it is. This is the tree the RFC defines by splitting at the largest power of two,
without the recursion. The node at (height, index) covers the leaves from index * 2**height up to
(index + 1) * 2**height, or to the end of the tree.

Where the RFC is silent or loose, these verifiers are strict:

- a digest of another size than `DIGEST_BYTES` (an empty one, say) is never hashed into a root;
- nothing is in the empty tree, whatever root is given for it;
- nothing is a consistency proof from the empty tree, not even to itself: it would show nothing.
  Who starts from an empty tree has no old head to hold on to, and needs no proof;
- trees of equal size are consistent if their roots are equal and the path is empty (the RFC speaks
  of strictly smaller trees only).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from node.chain.encoding import UINT64_MAX
from node.crypto.hashing import HashFunction
from node.errors import ProofError

DIGEST_BYTES: Final = 32
_PAIR_BYTES: Final = 2 * DIGEST_BYTES

NodeAt = Callable[[int, int], bytes]
"""Gives the hash of the node at (height, index) of one tree."""

_LEAF_PREFIX: Final = b"\x00"
_NODE_PREFIX: Final = b"\x01"


@dataclass(frozen=True, slots=True)
class TreeHead:
    """How many leaves a tree has, and the root over them.

    Both must come from one trusted source: a root alone does not fix the size of its tree.
    """

    size: int
    root: bytes


def leaf_hash(leaf: bytes, hash_function: HashFunction) -> bytes:
    """Return the hash of one entry (RFC 9162 section 2.1.1)."""
    return hash_function(_LEAF_PREFIX + leaf)


def node_hash(left: bytes, right: bytes, hash_function: HashFunction) -> bytes:
    """Return the hash of an inner node over its children's hashes (RFC 9162 section 2.1.1)."""
    return hash_function(_NODE_PREFIX + left + right)


def leaf_hashes(leaves: Iterable[bytes], hash_function: HashFunction) -> list[bytes]:
    """Return the hash of each entry in turn, as `leaf_hash`; fast for runs of equal length."""
    hashes: list[bytes] = []
    for size, run in groupby(leaves, len):
        if size:
            hashes += digests_of(hash_function.many(_LEAF_PREFIX, b"".join(run), size))
        else:
            hashes += [leaf_hash(leaf, hash_function) for leaf in run]
    return hashes


def digest_at(row: bytes, index: int) -> bytes:
    """Return one of the digests that are joined in a row."""
    return row[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]


def digests_of(row: bytes) -> list[bytes]:
    """Return the digests that are joined in a row."""
    return [row[at : at + DIGEST_BYTES] for at in range(0, len(row), DIGEST_BYTES)]


def hash_pairs(row: bytes, hash_function: HashFunction) -> bytes:
    """Return the row of the hashes of the neighbouring pairs; a last odd one is left out."""
    pairs = row[: len(row) - len(row) % _PAIR_BYTES]
    return hash_function.many(_NODE_PREFIX, pairs, _PAIR_BYTES)


def tree_rows(row: bytes, hash_function: HashFunction) -> list[bytes]:
    """Return the rows of a tree, from that of its leaf hashes to that of its root."""
    rows = [row]
    while len(row) > DIGEST_BYTES:
        row = _row_above(row, hash_function)
        rows.append(row)
    return rows


def row_root(row: bytes, hash_function: HashFunction) -> bytes:
    """Return the root over a row of leaf hashes, as `merkle_root`."""
    while len(row) > DIGEST_BYTES:
        row = _row_above(row, hash_function)
    return row or hash_function(b"")


def _row_above(row: bytes, hash_function: HashFunction) -> bytes:
    odd = row[-DIGEST_BYTES:] if len(row) % _PAIR_BYTES else b""
    return hash_pairs(row, hash_function) + odd


def merkle_root(leaf_hashes: Sequence[bytes], hash_function: HashFunction) -> bytes:
    """Return the root over `leaf_hashes`; over none it is the hash of nothing.

    Takes one hash less than there are leaves.
    """
    return row_root(b"".join(leaf_hashes), hash_function)


def inclusion_path(
    leaf_hashes: Sequence[bytes], index: int, hash_function: HashFunction
) -> list[bytes]:
    """Return the path from leaf `index` up to the root (RFC 9162 section 2.1.3.1).

    Raises `ProofError` if there is no such leaf.
    """
    rows = tree_rows(b"".join(leaf_hashes), hash_function)
    return inclusion_path_of(
        lambda height, at: digest_at(rows[height], at), index, len(leaf_hashes)
    )


def consistency_path(
    leaf_hashes: Sequence[bytes], old_size: int, hash_function: HashFunction
) -> list[bytes]:
    """Return the proof that the first `old_size` leaves are a prefix (RFC 9162 section 2.1.4.1).

    Raises `ProofError` unless 0 < old_size <= len(leaf_hashes).
    """
    rows = tree_rows(b"".join(leaf_hashes), hash_function)
    return consistency_path_of(
        lambda height, at: digest_at(rows[height], at), old_size, len(leaf_hashes)
    )


def inclusion_path_of(node_at: NodeAt, index: int, size: int) -> list[bytes]:
    """Return the path from leaf `index` up, in the tree of `size` leaves that `node_at` reads.

    Raises `ProofError` if there is no such leaf.
    """
    _check_index(index, size)
    return [node_at(height, sibling) for height, sibling in _siblings(0, index, size)]


def consistency_path_of(node_at: NodeAt, old_size: int, size: int) -> list[bytes]:
    """Return the proof that the first `old_size` leaves are a prefix of the tree of `size` leaves.

    `node_at` reads the tree of `size` leaves. Raises `ProofError` unless 0 < old_size <= size.
    """
    _check_sizes(old_size, size)
    if old_size == size:
        return []
    height, index = _last_perfect_subtree(old_size)
    siblings = _siblings(height, index, size)
    # The old root is known to the verifier: it need not be sent when it is itself the seed.
    seed = [(height, index)] if index else []
    return [node_at(*position) for position in seed + siblings]


def root_from_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], hash_function: HashFunction
) -> bytes:
    """Return the root that `path` leads to from the leaf hash `leaf` (RFC 9162 section 2.1.3.2).

    The caller compares it with a root it trusts. Raises `ProofError` if the path cannot belong to
    this index and size: `proof-index`, `proof-path-length` or `proof-digest-size`.
    """
    _check_index(index, size)
    siblings = _siblings(0, index, size)
    _check_path_length(path, len(siblings))
    _check_digest_sizes(leaf, *path)
    node = leaf
    for (_, sibling), digest in zip(siblings, path, strict=True):
        pair = (node, digest) if _is_right(sibling) else (digest, node)
        node = node_hash(*pair, hash_function)
    return node


def verify_inclusion(
    leaf: bytes, index: int, path: Sequence[bytes], head: TreeHead, hash_function: HashFunction
) -> None:
    """Check that the leaf hash `leaf` stands at `index` in the tree of `head`.

    Raises `ProofError`: as `root_from_inclusion`, or `proof-root`.
    """
    _check_root(head.root, root_from_inclusion(leaf, index, head.size, path, hash_function))


def verify_consistency(
    old: TreeHead, new: TreeHead, path: Sequence[bytes], hash_function: HashFunction
) -> None:
    """Check that the tree of `old` is a prefix of the tree of `new` (RFC 9162 section 2.1.4.2).

    Raises `ProofError`: `proof-sizes`, `proof-path-length`, `proof-digest-size`, `proof-old-root`
    or `proof-root`.
    """
    _check_sizes(old.size, new.size)
    if old.size == new.size:
        _check_path_length(path, 0)
        _check_root(new.root, old.root)
        return
    _check_digest_sizes(old.root, *path)
    index = _last_perfect_subtree(old.size)[1]
    # Where the old tree is perfect, its root is the seed, which the RFC does not send.
    old_root, new_root = prefix_roots(
        old.size, new.size, path if index else [old.root, *path], hash_function
    )
    _check_root(old.root, old_root, "proof-old-root")
    _check_root(new.root, new_root)


def prefix_path_of(node_at: NodeAt, old_size: int, size: int) -> list[bytes]:
    """Return what `prefix_roots` takes, from the tree of `size` leaves that `node_at` reads.

    Raises `ProofError` unless 0 < old_size < size.
    """
    _check_prefix(old_size, size)
    height, index = _last_perfect_subtree(old_size)
    return [node_at(*at) for at in [(height, index), *_siblings(height, index, size)]]


def prefix_roots(
    old_size: int, size: int, path: Sequence[bytes], hash_function: HashFunction
) -> tuple[bytes, bytes]:
    """Return the root of the first `old_size` leaves and that of all `size`, as a path shows them.

    The path is that of RFC 9162 section 2.1.4.1, but it always begins with the hash of the last
    perfect subtree of the old tree. Who trusts the root of all can trust the other: no tree with
    that root begins with another prefix of this size. Raises `ProofError`: `proof-sizes`,
    `proof-path-length` or `proof-digest-size`.
    """
    _check_prefix(old_size, size)
    height, index = _last_perfect_subtree(old_size)
    siblings = _siblings(height, index, size)
    _check_path_length(path, len(siblings) + 1)
    _check_digest_sizes(*path)
    old_node = new_node = path[0]
    for (_, sibling), digest in zip(siblings, path[1:], strict=True):
        if _is_right(sibling):  # beyond the old tree
            new_node = node_hash(new_node, digest, hash_function)
        else:
            old_node = node_hash(digest, old_node, hash_function)
            new_node = node_hash(digest, new_node, hash_function)
    return old_node, new_node


def _siblings(height: int, index: int, size: int) -> list[tuple[int, int]]:
    """Return (height, index) of each sibling met from a node up to the root, lowest first."""
    siblings = []
    last = (size - 1) >> height
    while last:
        if index ^ 1 <= last:  # else the node is the odd last one and moves up as it is
            siblings.append((height, index ^ 1))
        height, index, last = height + 1, index >> 1, last >> 1
    return siblings


def _is_right(sibling: int) -> bool:
    """Tell whether the node at this index is the right child of its parent."""
    return sibling % 2 == 1


def _last_perfect_subtree(size: int) -> tuple[int, int]:
    """Return (height, index) of the rightmost perfect subtree of a tree; index 0 if it is all."""
    height = (size & -size).bit_length() - 1
    return height, (size >> height) - 1


def _check_index(index: int, size: int) -> None:
    if not 0 <= index < size <= UINT64_MAX:
        raise ProofError("proof-index", f"expected an index below size {size}, got {index}")


def _check_sizes(old_size: int, new_size: int) -> None:
    if not 0 < old_size <= new_size <= UINT64_MAX:
        raise ProofError(
            "proof-sizes",
            f"expected 0 < old size <= new size < 2**64, got {old_size} and {new_size}",
        )


def _check_prefix(old_size: int, size: int) -> None:
    _check_sizes(old_size, size)
    if old_size == size:
        raise ProofError("proof-sizes", f"expected a proper prefix, got {size} of {size}")


def _check_path_length(path: Sequence[bytes], expected: int) -> None:
    if len(path) != expected:
        problem = "too short" if len(path) < expected else "too long"
        raise ProofError(
            "proof-path-length", f"{problem}: expected {expected} hashes, got {len(path)}"
        )


def _check_digest_sizes(*digests: bytes) -> None:
    for digest in digests:
        if len(digest) != DIGEST_BYTES:
            raise ProofError(
                "proof-digest-size", f"expected {DIGEST_BYTES} bytes, got {len(digest)}"
            )


def _check_root(expected: bytes, got: bytes, rule: str = "proof-root") -> None:
    if expected != got:
        raise ProofError(rule, f"expected {expected.hex()}, got {got.hex()}")
