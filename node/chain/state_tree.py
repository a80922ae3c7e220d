"""The authenticated map of current state: a compact sparse Merkle tree, read through a port.

A key's place is its *key path*, 256 bits: the tagged hash of the key, most significant bit first, 0
to the left. A subtree is committed to by a hash that depends on its content alone:

- no key: 32 zero bytes (`EMPTY`);
- exactly one key: its leaf, tagged_hash(STATE_LEAF, key path || hash(value)), at whatever depth;
- more keys: tagged_hash(STATE_NODE, left || right).

So the same map has the same root whatever its history, and a key deleted leaves no trace. Distinct
tags keep leaf and inner apart. Key paths are hashes, so depth is logarithmic in the number of keys;
who searches for colliding prefixes deepens the tree for those keys alone, at most to 256.

That is what validators agree on. How a tree is kept is each one's own affair, and this is ours:
keys with their values lie in buckets (`node.chain.state_bucket`), which an owner stores; the hashes
above them are a tree in memory, of which an update makes the next one, that shares with it all but
the paths that changed. So whoever has a tree has all of it as it was, whatever comes later.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Self

from node.chain.encoding import decode, encode, expect_array, expect_bytes, expect_list
from node.chain.merkle import DIGEST_BYTES
from node.chain.state_bucket import (
    KEY_TAG,
    Bucket,
    key_path,
    malformed,
    path_number,
    paths_by,
    place_of,
    trie_hash,
)
from node.chain.state_columns import Descent, apply_by_columns, has_columns
from node.chain.state_fork import (
    EMPTY_TREE,
    BucketReader,
    Fork,
    StateTree,
    descend,
    parted,
    read_named,
    root_of,
)
from node.chain.state_page import (
    DEPTH_MAX,
    EMPTY,
    NODE_TAG,
    PAGE_LEVELS,
    SLOTS,
    Page,
    first_path,
    lone_leaf,
)
from node.chain.state_update import Batch, TreeUpdate
from node.crypto import domains
from node.crypto.suite import Suite
from node.errors import ProofError

__all__ = [
    "DEPTH_MAX",
    "EMPTY",
    "EMPTY_TREE",
    "Bucket",
    "BucketReader",
    "Fork",
    "StateLeaf",
    "StateMap",
    "StateProof",
    "StateTree",
    "TreeUpdate",
    "bucket_place",
    "build_subtree",
    "key_path",
    "page_at",
    "places_below",
    "prove",
    "root_of",
    "tree_of_buckets",
    "update",
    "verify_proof",
]

_PROOF_BYTES_MAX: Final = 16 + (DEPTH_MAX + 2) * (DIGEST_BYTES + 2)

_NO_BUCKETS: Final[Mapping[bytes, Bucket]] = {}


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


class StateMap:
    """The map of one tree, to read and to change: hashes each key once, reads each bucket once."""

    def __init__(self, tree: StateTree, read_bucket: BucketReader, suite: Suite) -> None:
        self._tree, self._suite = tree, suite
        self._read_bucket = cache(read_bucket)
        self._paths = _Paths(suite)
        self._foreseen: dict[bytes, bytes | None] = {}
        self._walked: Descent | None = None

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a key, or None; raises `StorageError` as `update` does."""
        if key in self._foreseen:
            return self._foreseen[key]
        path = self._paths[key]
        node, depth = descend(self._tree, path, DEPTH_MAX)
        if type(node) is Fork or not node:
            return None
        return read_named(self._read_bucket, place_of(path, depth), node).get(path, key)

    def foresee(self, keys: Iterable[bytes]) -> None:
        """Look up keys that `get` will be asked for, all together: what they share is walked once.

        Raises `StorageError` as `update` does.
        """
        found, wanted = self._foreseen, list(keys)
        self._learn(wanted)
        key_at = {self._paths[key]: key for key in wanted}
        paths = sorted(key_at)
        is_many = has_columns(self._suite, wanted)
        ends = self._descent(paths).ends if is_many else parted(self._tree, paths)
        for node, depth, first, after in ends:
            if not node:
                found.update(dict.fromkeys(key_at[path] for path in paths[first:after]))
                continue
            bucket = read_named(self._read_bucket, place_of(paths[first], depth), node)
            for path in paths[first:after]:
                key = key_at[path]
                found[key] = bucket.get(path, key)

    def update(self, changes: Mapping[bytes, bytes | None]) -> TreeUpdate:
        """Return what the function `update` does."""
        if not changes:
            return TreeUpdate(self._tree, {})
        self._learn(changes)
        batch = Batch(changes, self._read_bucket, self._suite, self._paths.__getitem__)
        if None not in changes.values() and has_columns(self._suite, changes):
            tree = apply_by_columns(batch, self._descent(batch.paths))
        else:
            tree = batch.apply(self._tree, 0, 0, 0, len(changes))
        return TreeUpdate(tree, batch.buckets)

    def _descent(self, paths: list[int]) -> Descent:
        """Return where these paths lead. As a rule, what was foreseen is what changes."""
        if self._walked is None or self._walked.paths != paths:
            self._walked = Descent(self._tree, paths)
        return self._walked

    def _learn(self, keys: Iterable[bytes]) -> None:
        """Hash the keys that were not hashed yet."""
        paths = self._paths
        new = [key for key in keys if key not in paths]
        for key, path in zip(new, self._suite.hash.each(KEY_TAG, new), strict=True):
            paths[key] = int.from_bytes(path, "big")


class _Paths(dict[bytes, int]):
    """Key paths as numbers, by key: each hashed once."""

    def __init__(self, suite: Suite) -> None:
        super().__init__()
        self._hashed = paths_by(suite)

    def __missing__(self, key: bytes) -> int:
        path = self[key] = self._hashed(key)
        return path


def update(
    tree: StateTree,
    changes: Mapping[bytes, bytes | None],
    read_bucket: BucketReader,
    suite: Suite,
) -> TreeUpdate:
    """Return the tree after `changes` (key to new value, None for a deletion).

    Buckets that change are read once, and each subtree above them is hashed once. Raises
    `StorageError` if a bucket is missing or not the one its parent names, and whatever
    `read_bucket` raises.
    """
    return StateMap(tree, read_bucket, suite).update(changes)


def build_subtree(place: str, values: Mapping[bytes, bytes], suite: Suite) -> TreeUpdate:
    """Return the subtree at `place`, hexadecimal digits, that holds these keys, and no other.

    Whoever has its hash from above learns by it whether these are all the keys below `place`, and
    their values. Where they are few, the bucket they will be in may be one above. Raises
    `ProofError` (`state-place`) for a key that lies elsewhere.
    """
    depth = PAGE_LEVELS * len(place)
    if depth >= DEPTH_MAX:
        raise ProofError("state-place", f"{place} is a key, and no place of several")
    for key in values:
        if not key_path(key, suite).hex().startswith(place):
            raise ProofError("state-place", f"key {key.hex()} does not lie below {place}")
    batch = Batch(values, _NO_BUCKETS.get, suite, paths_by(suite))
    start = first_path(place)
    return TreeUpdate(batch.apply(EMPTY_TREE, depth, start, 0, len(values)), batch.buckets)


def tree_of_buckets(hashes: Sequence[tuple[bytes, bytes]], suite: Suite) -> StateTree:
    """Return the tree of the buckets at these places, in order, with these hashes."""
    return _Grown(hashes, suite).subtree(0, len(hashes), 0, 0)


def bucket_place(tree: StateTree, path: int) -> bytes | None:
    """Return the place of the bucket that has the key of a path, if any has; None for no bucket."""
    node, depth = descend(tree, path, DEPTH_MAX)
    return place_of(path, depth) if node else None


def places_below(tree: StateTree, place: str) -> Iterable[bytes]:
    """Yield the places of all buckets that may hold keys below `place`, in order of paths."""
    start, end = first_path(place), PAGE_LEVELS * len(place)
    node, depth = descend(tree, start, end)
    stack = [(node, depth, start)]
    while stack:
        node, depth, start = stack.pop()
        if type(node) is Fork:
            stack.append((node.right, depth + 1, start | 1 << DEPTH_MAX - 1 - depth))
            stack.append((node.left, depth + 1, start))
        elif node:
            yield place_of(start, depth)


def page_at(tree: StateTree, place: str, read_bucket: BucketReader, suite: Suite) -> Page | None:
    """Return the page at a place, hexadecimal digits, as it travels; None where no key is below it.

    Raises `StorageError` as `update` does.
    """
    depth = PAGE_LEVELS * len(place)
    if depth == DEPTH_MAX:
        return None
    step = 1 << DEPTH_MAX - depth - PAGE_LEVELS
    start = first_path(place)
    slots = [
        _slot(tree, start + slot * step, depth + PAGE_LEVELS, read_bucket, suite)
        for slot in range(SLOTS)
    ]
    return Page.of_slots(slots, suite) if any(slots) else None


def prove(tree: StateTree, key: bytes, read_bucket: BucketReader, suite: Suite) -> StateProof:
    """Return the proof of what the map of `tree` holds for `key`, which may be nothing.

    Raises `StorageError` as `update` does.
    """
    path = path_number(key, suite)
    siblings: list[bytes] = []
    node = tree
    while type(node) is Fork:
        is_right = _bit(path, len(siblings))
        siblings.append(root_of(node.left if is_right else node.right))
        node = node.right if is_right else node.left
    if not node:
        return StateProof(tuple(siblings), None)
    bucket = read_named(read_bucket, place_of(path, len(siblings)), node)
    paths, leaf_hashes, new_hash = (
        bucket.paths(paths_by(suite)),
        bucket.split_leaf_hashes(),
        suite.new_hash,
    )
    first, after = 0, len(paths)
    while after - first > 1:
        depth = len(siblings) + 1
        below = DEPTH_MAX - depth
        middle = bisect_left(paths, (path >> below | 1) << below, first, after)
        if path >> below & 1:
            beside, first = slice(first, middle), middle
        else:
            beside, after = slice(middle, after), middle
        siblings.append(trie_hash(paths[beside], leaf_hashes[beside], depth, DEPTH_MAX, new_hash))
    if first == after or paths[first] == path:
        return StateProof(tuple(siblings), None)
    digest = suite.hash(bucket.values[first])
    return StateProof(
        tuple(siblings), StateLeaf(paths[first].to_bytes(DIGEST_BYTES, "big"), digest)
    )


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
    siblings, other = proof.siblings, proof.other_leaf
    path = key_path(key, suite)
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
    number = int.from_bytes(path, "big")
    for at in reversed(range(depth)):
        left, right = (siblings[at], node) if _bit(number, at) else (node, siblings[at])
        node = suite.tagged_hash(domains.STATE_NODE, left + right)
    if node != root:
        raise ProofError("state-root", f"expected {root.hex()}, got {node.hex()}")


class _Grown:
    """A tree that is made of the hashes of its buckets; no closure, which would keep them alive."""

    def __init__(self, hashes: Sequence[tuple[bytes, bytes]], suite: Suite) -> None:
        self._hashes, self._new_hash = hashes, suite.new_hash
        self._starts = [
            int.from_bytes(place[:-1].ljust(DIGEST_BYTES, b"\0"), "big") for place, _ in hashes
        ]

    def subtree(self, first: int, after: int, depth: int, start: int) -> StateTree:
        """Return the subtree of the buckets from `first` on, whose paths begin at `start`."""
        if first == after:
            return EMPTY_TREE
        place, bucket_hash = self._hashes[first]
        if place[-1] <= depth:
            if after - first > 1 or place[-1] < depth:
                raise malformed(place, "it overlaps with another")
            return bucket_hash
        bit = 1 << DEPTH_MAX - 1 - depth
        middle = bisect_left(self._starts, start | bit, first, after)
        left = self.subtree(first, middle, depth + 1, start)
        right = self.subtree(middle, after, depth + 1, start | bit)
        return Fork(self._new_hash(NODE_TAG + root_of(left) + root_of(right)).digest(), left, right)


def _slot(
    tree: StateTree, start: int, depth: int, read_bucket: BucketReader, suite: Suite
) -> bytes:
    """Return the subtree of the paths that share `depth` bits with `start`, as pages hold it."""
    node, above = descend(tree, start, depth)
    if type(node) is Fork:
        return node.hash
    if not node:
        return b""
    bucket = read_named(read_bucket, place_of(start, above), node)
    paths = bucket.paths(paths_by(suite))
    first = bisect_left(paths, start)
    after = bisect_left(paths, start + (1 << DEPTH_MAX - depth))
    if after - first == 1:
        path = paths[first].to_bytes(DIGEST_BYTES, "big")
        return lone_leaf(path + suite.hash(bucket.values[first]), suite)
    below, leaf_hashes = paths[first:after], bucket.split_leaf_hashes()[first:after]
    return trie_hash(below, leaf_hashes, depth, DEPTH_MAX, suite.new_hash) if below else b""


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


def _bit(path: int, depth: int) -> int:
    """Return bit `depth` of a key path, the most significant first."""
    return path >> DEPTH_MAX - 1 - depth & 1
