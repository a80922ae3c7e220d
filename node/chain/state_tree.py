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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Self, final

from node.chain.encoding import decode, encode, expect_array, expect_bytes, expect_list
from node.chain.merkle import DIGEST_BYTES
from node.chain.state_bucket import (
    BUCKET_KEYS_MAX,
    Bucket,
    PathOf,
    Rows,
    joined_rows,
    key_path,
    leaf_hash,
    malformed,
    path_number,
    paths_by,
    place_of,
    trie_hash,
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
from node.chain.struct import Struct
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

BucketReader = Callable[[bytes], Bucket | None]
"""Gives the bucket stored at a place (`place_of`), or None if there is none."""


@final
class Fork(Struct, frozen=True, gc=False):
    """A subtree of more keys than a bucket has.

    It is told from others by its exact type, as `isinstance` takes four times as long.
    """

    hash: bytes
    left: StateTree
    right: StateTree


StateTree = Fork | bytes
"""A subtree, or all of a tree: a fork, the hash of a bucket, or no bytes where there is no key."""

EMPTY_TREE: Final = b""

_NO_KEYS: Final = Bucket.empty(0)
_NO_BUCKETS: Final[Mapping[bytes, Bucket]] = {}


@dataclass(frozen=True, slots=True)
class TreeUpdate:
    """The next tree, and what turns the stored buckets of the one before into its own."""

    tree: StateTree
    buckets: dict[bytes, Bucket | None]
    """The buckets that differ, by place; None for one that is no more."""

    @property
    def root(self) -> bytes:
        """The hash of the next tree."""
        return root_of(self.tree)


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
        self._path_of = cache(paths_by(suite))
        self._foreseen: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a key, or None; raises `StorageError` as `update` does."""
        if key in self._foreseen:
            return self._foreseen[key]
        path = self._path_of(key)
        node, depth = _descend(self._tree, path, DEPTH_MAX)
        if type(node) is Fork or not node:
            return None
        return _read(self._read_bucket, place_of(path, depth), node).get(path, key)

    def foresee(self, keys: Iterable[bytes]) -> None:
        """Look up keys that `get` will be asked for, all together: what they share is walked once.

        Raises `StorageError` as `update` does.
        """
        path_of, found = self._path_of, self._foreseen
        key_at = {path_of(key): key for key in keys}
        paths = sorted(key_at)
        for node, depth, first, after in _parted(self._tree, paths):
            if not node:
                found.update(dict.fromkeys(key_at[path] for path in paths[first:after]))
                continue
            bucket = _read(self._read_bucket, place_of(paths[first], depth), node)
            for path in paths[first:after]:
                key = key_at[path]
                found[key] = bucket.get(path, key)

    def update(self, changes: Mapping[bytes, bytes | None]) -> TreeUpdate:
        """Return what the function `update` does."""
        if not changes:
            return TreeUpdate(self._tree, {})
        batch = _Batch(changes, self._read_bucket, self._suite, self._path_of)
        return TreeUpdate(batch.apply(self._tree, 0, 0, 0, len(changes)), batch.buckets)


def root_of(tree: StateTree) -> bytes:
    """Return the hash of a tree or subtree."""
    return tree.hash if type(tree) is Fork else tree or EMPTY


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
    batch = _Batch(values, _NO_BUCKETS.get, suite, paths_by(suite))
    start = first_path(place)
    return TreeUpdate(batch.apply(EMPTY_TREE, depth, start, 0, len(values)), batch.buckets)


def tree_of_buckets(hashes: Sequence[tuple[bytes, bytes]], suite: Suite) -> StateTree:
    """Return the tree of the buckets at these places, in order, with these hashes."""
    return _Grown(hashes, suite).subtree(0, len(hashes), 0, 0)


def bucket_place(tree: StateTree, path: int) -> bytes | None:
    """Return the place of the bucket that has the key of a path, if any has; None for no bucket."""
    node, depth = _descend(tree, path, DEPTH_MAX)
    return place_of(path, depth) if node else None


def places_below(tree: StateTree, place: str) -> Iterable[bytes]:
    """Yield the places of all buckets that may hold keys below `place`, in order of paths."""
    start, end = first_path(place), PAGE_LEVELS * len(place)
    node, depth = _descend(tree, start, end)
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
    bucket = _read(read_bucket, place_of(path, len(siblings)), node)
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


class _Batch:
    """One update of one tree: the buckets it changes."""

    def __init__(
        self,
        changes: Mapping[bytes, bytes | None],
        read_bucket: BucketReader,
        suite: Suite,
        path_of: PathOf,
    ) -> None:
        self._read_bucket, self._suite, self._new_hash = read_bucket, suite, suite.new_hash
        self._path_of = path_of
        self._by_path = {path_of(key): (key, changes[key]) for key in changes}
        self._paths = sorted(self._by_path)
        self._shrinks = None in changes.values()
        self.buckets: dict[bytes, Bucket | None] = {}

    def apply(self, node: StateTree, depth: int, start: int, first: int, after: int) -> StateTree:
        """Return `node`, whose paths begin at `start`, after the changes from `first` on.

        The same object if it is the same. It calls itself once per level, so at most 256 deep.
        """
        if after - first == 1 and not self._shrinks:
            return self._apply_one(node, depth, first)
        if type(node) is not Fork:
            return (
                self._apply_to_bucket(node, depth, start, first, after) if first < after else node
            )
        bit = 1 << DEPTH_MAX - 1 - depth
        middle = bisect_left(self._paths, start | bit, first, after)
        left, right = node.left, node.right
        if first < middle:
            left = self.apply(left, depth + 1, start, first, middle)
        if middle < after:
            right = self.apply(right, depth + 1, start | bit, middle, after)
        if left is node.left and right is node.right:
            return node
        if self._shrinks and not (type(left) is Fork or type(right) is Fork):
            return self._fork_or_merge(left, right, depth, start)
        return self._fork(left, right)

    def _apply_one(self, node: StateTree, depth: int, at: int) -> StateTree:
        """Return `node` after one change, which removes nothing: as `apply`, along its one path."""
        path = self._paths[at]
        on_path: list[Fork] = []
        below = DEPTH_MAX - depth  # bits of the path that are not decided yet
        while type(node) is Fork:
            on_path.append(node)
            below -= 1
            node = node.right if path >> below & 1 else node.left
        turns = path >> below  # a number of as many bits as the depth: the next one is the last
        depth = DEPTH_MAX - below
        changed = self._apply_to_bucket(node, depth, turns << below, at, at + 1)
        if changed is node:
            return on_path[0] if on_path else node
        new_hash, digest = self._new_hash, root_of(changed)
        for above in reversed(on_path):
            if turns & 1:
                beside = above.left
                other = beside.hash if type(beside) is Fork else beside or EMPTY
                digest = new_hash(NODE_TAG + other + digest).digest()
                changed = Fork(digest, beside, changed)
            else:
                beside = above.right
                other = beside.hash if type(beside) is Fork else beside or EMPTY
                digest = new_hash(NODE_TAG + digest + other).digest()
                changed = Fork(digest, changed, beside)
            turns >>= 1
        return changed

    def _fork(self, left: StateTree, right: StateTree) -> Fork:
        return Fork(self._new_hash(NODE_TAG + root_of(left) + root_of(right)).digest(), left, right)

    def _apply_to_bucket(
        self, node: bytes, depth: int, start: int, first: int, after: int
    ) -> StateTree:
        """Return the subtree of the bucket `node`, perhaps an empty one, after changes."""
        place, suite = place_of(start, depth), self._suite
        old = _read(self._read_bucket, place, node) if node else _NO_KEYS
        if after - first > BUCKET_KEYS_MAX:
            rows = self._with_many_changes(old, first, after)
        else:
            new = old if node else Bucket.empty(depth)
            for path in self._paths[first:after]:
                new = new.with_change(path, *self._by_path[path], suite)
            if new is old or not (new.marks or node):
                return node
            if 0 < new.count <= BUCKET_KEYS_MAX:
                self.buckets[place] = new = new.hashed(suite)
                return new.hash
            rows = new.rows_to_build(start, self._path_of)
        if node:
            self.buckets[place] = None
        subtree = self._build(rows, 0, len(rows[0]), depth, start)
        if subtree == node:  # nothing moved
            self.buckets.pop(place, None)
            return node
        return subtree

    def _with_many_changes(self, old: Bucket, first: int, after: int) -> Rows:
        """Return the rows of a bucket after so many changes that most of it will be new."""
        paths, leaf_hashes, keys, values = old.rows(self._path_of)
        rows = dict(zip(paths, zip(leaf_hashes, keys, values, strict=True), strict=True))
        for path in self._paths[first:after]:
            key, value = self._by_path[path]
            if value is None:
                rows.pop(path, None)
            else:
                rows[path] = (leaf_hash(path, value, self._suite), key, value)
        ordered = sorted(rows)
        sorted_rows = [rows[path] for path in ordered]
        leaf_hashes, keys, values = ([row[at] for row in sorted_rows] for at in range(3))
        return ordered, leaf_hashes, keys, values

    def _build(self, rows: Rows, first: int, after: int, depth: int, start: int) -> StateTree:
        """Return the subtree of these rows, in buckets of its own."""
        if first == after:
            return EMPTY_TREE
        if after - first <= BUCKET_KEYS_MAX:
            paths, leaf_hashes, keys, values = rows
            part = slice(first, after)
            own = paths[part], leaf_hashes[part], keys[part], values[part]
            bucket = Bucket.of(depth, own, self._suite)
            self.buckets[place_of(start, depth)] = bucket
            return bucket.hash
        bit = 1 << DEPTH_MAX - 1 - depth
        middle = bisect_left(rows[0], start | bit, first, after)
        left = self._build(rows, first, middle, depth + 1, start)
        return self._fork(left, self._build(rows, middle, after, depth + 1, start | bit))

    def _fork_or_merge(self, left: bytes, right: bytes, depth: int, start: int) -> StateTree:
        """Return the subtree of two buckets, of which either may have shrunk."""
        at_right = start | 1 << DEPTH_MAX - 1 - depth
        halves = {place_of(start, depth + 1): left, place_of(at_right, depth + 1): right}
        buckets = [
            self.buckets.get(place) or _read(self._read_bucket, place, node)
            for place, node in halves.items()
            if node
        ]
        count = sum(bucket.count for bucket in buckets)
        if count > BUCKET_KEYS_MAX:
            return self._fork(left, right)
        self.buckets |= dict.fromkeys(halves)
        return self._build(joined_rows(buckets, self._path_of), 0, count, depth, start)


def _read(read_bucket: BucketReader, place: bytes, expected: bytes) -> Bucket:
    """Return the bucket at `place` if it is the one whose hash the tree holds."""
    bucket = read_bucket(place)
    if bucket is None:
        raise malformed(place, "missing")
    if bucket.hash != expected:
        raise malformed(place, f"expected {expected.hex()}, got {bucket.hash.hex()}")
    return bucket


def _descend(tree: StateTree, path: int, depth_max: int) -> tuple[StateTree, int]:
    """Return the subtree that a path leads to, no deeper than asked for, and how deep that is."""
    node, below = tree, DEPTH_MAX  # bits of the path that are not decided yet
    while below > DEPTH_MAX - depth_max and type(node) is Fork:
        below -= 1
        node = node.right if path >> below & 1 else node.left
    return node, DEPTH_MAX - below


def _parted(tree: StateTree, paths: Sequence[int]) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield the bucket hash, none for no bucket, at which so many of the sorted `paths` end.

    With it come how deep that is, and of which paths: from the first one up to another.
    """
    waiting = [(tree, DEPTH_MAX, 0, len(paths))] if paths else []
    while waiting:
        node, below, first, after = waiting.pop()
        while type(node) is Fork:
            below -= 1
            if paths[first] >> below & 1:
                node = node.right
            elif after - first == 1 or not paths[after - 1] >> below & 1:
                node = node.left
            else:
                middle = bisect_left(paths, (paths[first] >> below | 1) << below, first, after)
                waiting.append((node.right, below, middle, after))
                node, after = node.left, middle
        yield node, DEPTH_MAX - below, first, after


def _slot(
    tree: StateTree, start: int, depth: int, read_bucket: BucketReader, suite: Suite
) -> bytes:
    """Return the subtree of the paths that share `depth` bits with `start`, as pages hold it."""
    node, above = _descend(tree, start, depth)
    if type(node) is Fork:
        return node.hash
    if not node:
        return b""
    bucket = _read(read_bucket, place_of(start, above), node)
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
