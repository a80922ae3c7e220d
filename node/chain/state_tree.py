"""The authenticated map of current state: a compact sparse Merkle tree. Reads nodes through a port.

A key's place is its *key path*, 256 bits: the tagged hash of the key, most significant bit first, 0
to the left. A subtree is committed to by a hash that depends on its content alone:

- no key: 32 zero bytes (`EMPTY`);
- exactly one key: its leaf, tagged_hash(STATE_LEAF, key path || hash(value)), at whatever depth;
- more keys: tagged_hash(STATE_NODE, left || right).

So the same map has the same root whatever its history, and a key deleted leaves no trace. Distinct
tags keep leaf and inner apart. Key paths are hashes, so depth is logarithmic in the number of keys;
who searches for colliding prefixes deepens the tree for those keys alone, at most to 256.

Nodes are stored under their hash, 65 bytes each: 0x00, key path, value digest for a leaf; 0x01,
left, right for an inner node. Within one tree a hash occurs once, since it fixes the keys below and
thereby the place. Values are not in the tree.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from node.chain.encoding import decode, encode, expect_array, expect_bytes, expect_list
from node.chain.merkle import DIGEST_BYTES
from node.crypto import domains
from node.crypto.suite import Suite
from node.errors import ProofError, StorageError

EMPTY: Final = bytes(DIGEST_BYTES)
"""The root of the map without keys, and the hash of every subtree without keys."""

DEPTH_MAX: Final = 8 * DIGEST_BYTES

_LEAF: Final = b"\x00"
_INNER: Final = b"\x01"
_NODE_BYTES: Final = 1 + 2 * DIGEST_BYTES
_PROOF_BYTES_MAX: Final = 16 + (DEPTH_MAX + 2) * (DIGEST_BYTES + 2)

NodeReader = Callable[[bytes], bytes]
"""Gives the stored node of a hash; raises `StorageError` where there is none."""


@dataclass(frozen=True, slots=True)
class TreeUpdate:
    """What turns the stored nodes of one tree into those of the next.

    `new_nodes` (hash -> stored node) are those of the new tree that the old one lacks,
    `stale_nodes` those of the old tree that the new one lacks; no hash is in both. A later update
    may make a stale hash new again: who defers deleting must then forget the deletion, for the new
    node wins.
    """

    root: bytes
    new_nodes: dict[bytes, bytes]
    stale_nodes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class StateLeaf:
    """What a leaf of the tree holds: the path of its key, and the hash of its value."""

    key_path: bytes
    value_digest: bytes

    def hash(self, suite: Suite) -> bytes:
        """Return the hash of a subtree that holds this leaf alone."""
        return suite.tagged_hash(domains.STATE_LEAF, self.key_path + self.value_digest)


@dataclass(frozen=True, slots=True)
class StateProof:
    """Shows what the map of a root holds for one key, or that it holds nothing.

    `siblings` are the hashes of the subtrees beside the key's path, from the root downward. An
    `other_leaf` is the one found where the key would be: a proof of absence. Without it the path
    ends at the key's own leaf (presence) or at an empty subtree (absence).
    """

    siblings: tuple[bytes, ...]
    other_leaf: StateLeaf | None

    def to_value(self) -> list[object]:
        """Return the array [[sibling, ...], null or [key path, value digest]]."""
        other = self.other_leaf
        return [list(self.siblings), other and [other.key_path, other.value_digest]]

    @classmethod
    def from_value(cls, value: object) -> Self:
        """Build from what `to_value` gives, or raise `DecodeError`."""
        siblings, other = expect_array(value, 2, "state proof")
        return cls(
            tuple(
                expect_bytes(sibling, "state proof sibling", size=DIGEST_BYTES)
                for sibling in expect_list(siblings, DEPTH_MAX, "state proof siblings")
            ),
            None if other is None else _leaf_from_value(other),
        )

    def encode(self) -> bytes:
        """Return the canonical encoding of `to_value`."""
        return encode(self.to_value())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode what `encode` gives, or raise `DecodeError`."""
        return cls.from_value(decode(data, what="state proof", size_max=_PROOF_BYTES_MAX))


def key_path(key: bytes, suite: Suite) -> bytes:
    """Return the place of `key` in the tree, 256 bits."""
    return suite.tagged_hash(domains.STATE_KEY, key)


def update(
    root: bytes, changes: Mapping[bytes, bytes | None], read_node: NodeReader, suite: Suite
) -> TreeUpdate:
    """Return what `changes` (key -> value, None to delete) make of the tree of `root`.

    All changes of a block go into one call: each node on a shared prefix is read and hashed once.
    Deleting an absent key, or putting the value a key has, changes nothing. The result, with the
    order of its nodes, does not depend on the order of `changes`. Raises `StorageError` if a stored
    node is malformed, and whatever `read_node` raises.
    """
    batch = _Batch(read_node, suite)
    paths = {
        key_path(key, suite): None if value is None else suite.hash(value)
        for key, value in changes.items()
    }
    new_root = batch.apply(root, 0, sorted(paths.items()))
    return TreeUpdate(
        root=new_root,
        new_nodes={node: data for node, data in batch.placed.items() if node not in batch.removed},
        stale_nodes=tuple(node for node in batch.removed if node not in batch.placed),
    )


def prove(root: bytes, key: bytes, read_node: NodeReader, suite: Suite) -> StateProof:
    """Return the proof of what the map of `root` holds for `key`, which may be nothing.

    Raises `StorageError` if a stored node is malformed, and whatever `read_node` raises.
    """
    path = key_path(key, suite)
    siblings: list[bytes] = []
    node = root
    while node != EMPTY:
        stored = _read(read_node, node, len(siblings))
        if isinstance(stored, StateLeaf):
            return StateProof(tuple(siblings), None if stored.key_path == path else stored)
        node, sibling = stored if _bit(path, len(siblings)) == 0 else stored[::-1]
        siblings.append(sibling)
    return StateProof(tuple(siblings), None)


def verify_proof(
    root: bytes, key: bytes, value: bytes | None, proof: StateProof, suite: Suite
) -> None:
    """Check that the map of `root` holds `value` for `key`, or nothing if `value` is None.

    Raises `ProofError` naming the first rule that fails, in this order:

    1. `state-depth`: at most 256 siblings.
    2. `state-digest-size`: every digest has 32 bytes.
    3. `state-superfluous`: the lowest sibling is not empty, or the path would end above it.
    4. `state-other-leaf`: another leaf is shown for an absent key only, has another key path, and
       stands where the key would be: their paths agree as far as the siblings reach.
    5. `state-root`: leaf (or empty subtree) and siblings hash to `root`.
    """
    path, siblings, other = key_path(key, suite), proof.siblings, proof.other_leaf
    depth = len(siblings)
    if depth > DEPTH_MAX:
        raise ProofError("state-depth", f"expected at most {DEPTH_MAX} siblings, got {depth}")
    for digest in (*siblings, *((other.key_path, other.value_digest) if other else ())):
        if len(digest) != DIGEST_BYTES:
            raise ProofError(
                "state-digest-size", f"expected {DIGEST_BYTES} bytes, got {len(digest)}"
            )
    if siblings and siblings[-1] == EMPTY:
        raise ProofError("state-superfluous", "expected the lowest sibling to be no empty subtree")
    if other is not None:
        _check_other_leaf(other, path, value, depth)
        node = other.hash(suite)
    elif value is not None:
        node = StateLeaf(path, suite.hash(value)).hash(suite)
    else:
        node = EMPTY
    for at in reversed(range(depth)):
        left, right = (node, siblings[at]) if _bit(path, at) == 0 else (siblings[at], node)
        node = suite.tagged_hash(domains.STATE_NODE, left + right)
    if node != root:
        raise ProofError("state-root", f"expected {root.hex()}, got {node.hex()}")


class _Batch:
    """One update of one tree: the nodes it takes out of the old one and puts into the new."""

    def __init__(self, read_node: NodeReader, suite: Suite) -> None:
        self._read_node = read_node
        self._suite = suite
        self.removed: dict[bytes, None] = {}  # of the old tree; placed again where still in use
        self.placed: dict[bytes, bytes] = {}  # hash -> stored node

    def apply(self, node: bytes, depth: int, changes: list[tuple[bytes, bytes | None]]) -> bytes:
        """Return the hash of the subtree `node` at `depth` after `changes` (sorted) to its keys.

        It calls itself once per level, so at most 256 deep.
        """
        if not changes:
            return node
        if node == EMPTY:
            return self._build(
                depth, [StateLeaf(path, new) for path, new in changes if new is not None]
            )
        stored = _read(self._read_node, node, depth)
        if isinstance(stored, StateLeaf):
            self.removed[node] = None
            merged = sorted(({stored.key_path: stored.value_digest} | dict(changes)).items())
            return self._build(
                depth, [StateLeaf(path, new) for path, new in merged if new is not None]
            )
        left, right = stored
        middle = bisect_left(changes, 1, key=lambda change: _bit(change[0], depth))
        new_left = self.apply(left, depth + 1, changes[:middle])
        new_right = self.apply(right, depth + 1, changes[middle:])
        if (new_left, new_right) == stored:
            return node
        self.removed[node] = None
        return self._join(new_left, new_right)

    def _build(self, depth: int, leaves: list[StateLeaf]) -> bytes:
        """Place a subtree at `depth` holding exactly `leaves` (sorted) and return its hash."""
        if not leaves:
            return EMPTY
        if len(leaves) == 1:
            leaf = leaves[0]
            node = leaf.hash(self._suite)
            self.placed[node] = _LEAF + leaf.key_path + leaf.value_digest
            return node
        middle = bisect_left(leaves, 1, key=lambda leaf: _bit(leaf.key_path, depth))
        left = self._build(depth + 1, leaves[:middle])
        return self._join(left, self._build(depth + 1, leaves[middle:]))

    def _join(self, left: bytes, right: bytes) -> bytes:
        """Place the parent of two subtrees and return its hash; a lone leaf moves up instead."""
        if left == EMPTY and (right == EMPTY or self._is_leaf(right)):
            return right
        if right == EMPTY and self._is_leaf(left):
            return left
        node = self._suite.tagged_hash(domains.STATE_NODE, left + right)
        self.placed[node] = _INNER + left + right
        return node

    def _is_leaf(self, node: bytes) -> bool:
        stored = self.placed.get(node)
        return (self._read_node(node) if stored is None else stored).startswith(_LEAF)


def _read(read_node: NodeReader, node: bytes, depth: int) -> StateLeaf | tuple[bytes, bytes]:
    """Return a stored node at `depth`: a leaf, or the hashes of left and right."""
    data = read_node(node)
    kind, first, second = data[:1], data[1 : 1 + DIGEST_BYTES], data[1 + DIGEST_BYTES :]
    if len(data) == _NODE_BYTES:
        if kind == _LEAF:
            return StateLeaf(first, second)
        if kind == _INNER and depth < DEPTH_MAX:
            return first, second
    raise StorageError(f"state node {node.hex()} at depth {depth}: malformed: {data.hex():.140}")


def _check_other_leaf(other: StateLeaf, path: bytes, value: bytes | None, depth: int) -> None:
    """Check rule 4 of `verify_proof`."""
    if value is not None:
        raise ProofError("state-other-leaf", "expected none in a proof of presence")
    if other.key_path == path:
        raise ProofError("state-other-leaf", "expected the leaf of another key, got the key's own")
    differing = int.from_bytes(other.key_path, "big") ^ int.from_bytes(path, "big")
    shared = DEPTH_MAX - differing.bit_length()
    if shared < depth:
        raise ProofError(
            "state-other-leaf",
            f"expected a key path that shares {depth} bits with the key's, got {shared}",
        )


def _leaf_from_value(value: object) -> StateLeaf:
    path, digest = expect_array(value, 2, "state proof other leaf")
    return StateLeaf(
        expect_bytes(path, "state proof key path", size=DIGEST_BYTES),
        expect_bytes(digest, "state proof value digest", size=DIGEST_BYTES),
    )


def _bit(path: bytes, depth: int) -> int:
    """Return bit `depth` of a key path, the most significant first."""
    return path[depth >> 3] >> (7 - (depth & 7)) & 1
