"""One update of a tree, key by key: the reference for what state_columns.py does by columns."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from node.chain.state_bucket import (
    BUCKET_KEYS_MAX,
    Bucket,
    PathOf,
    Rows,
    joined_rows,
    leaf_hash,
    place_of,
)
from node.chain.state_fork import (
    EMPTY_TREE,
    BucketReader,
    Fork,
    StateTree,
    read_named,
    root_of,
)
from node.chain.state_page import DEPTH_MAX, EMPTY, NODE_TAG
from node.crypto.suite import Suite

_NO_KEYS: Final = Bucket.empty(0)


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


class Batch:
    """One update of one tree: the buckets it changes."""

    def __init__(
        self,
        changes: Mapping[bytes, bytes | None],
        read_bucket: BucketReader,
        suite: Suite,
        path_of: PathOf,
    ) -> None:
        self.read_bucket, self.suite, self._new_hash = read_bucket, suite, suite.new_hash
        self._path_of = path_of
        self.by_path = {path_of(key): (key, changes[key]) for key in changes}
        self.paths = sorted(self.by_path)
        """Of the keys that change: their key and value are in `by_path`."""
        self._shrinks = None in changes.values()
        self.buckets: dict[bytes, Bucket | None] = {}
        """Those that differ afterwards, by place; None for one that is no more."""

    def apply(self, node: StateTree, depth: int, start: int, first: int, after: int) -> StateTree:
        """Return `node`, whose paths begin at `start`, after the changes from `first` on.

        The same object if it is the same. It calls itself once per level, so at most 256 deep.
        """
        if after - first == 1 and not self._shrinks:
            return self._apply_one(node, depth, first)
        if type(node) is not Fork:
            return self.apply_to_bucket(node, depth, start, first, after) if first < after else node
        bit = 1 << DEPTH_MAX - 1 - depth
        middle = bisect_left(self.paths, start | bit, first, after)
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
        path = self.paths[at]
        on_path: list[Fork] = []
        below = DEPTH_MAX - depth  # bits of the path that are not decided yet
        while type(node) is Fork:
            on_path.append(node)
            below -= 1
            node = node.right if path >> below & 1 else node.left
        turns = path >> below  # a number of as many bits as the depth: the next one is the last
        depth = DEPTH_MAX - below
        changed = self.apply_to_bucket(node, depth, turns << below, at, at + 1)
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

    def apply_to_bucket(
        self, node: bytes, depth: int, start: int, first: int, after: int
    ) -> StateTree:
        """Return the subtree of the bucket `node`, perhaps an empty one, after changes."""
        place, suite = place_of(start, depth), self.suite
        old = read_named(self.read_bucket, place, node) if node else _NO_KEYS
        if after - first > BUCKET_KEYS_MAX:
            rows = self._with_many_changes(old, first, after)
        else:
            new = old if node else Bucket.empty(depth)
            for path in self.paths[first:after]:
                new = new.with_change(path, *self.by_path[path], suite)
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
        for path in self.paths[first:after]:
            key, value = self.by_path[path]
            if value is None:
                rows.pop(path, None)
            else:
                rows[path] = (leaf_hash(path, value, self.suite), key, value)
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
            bucket = Bucket.of(depth, own, self.suite)
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
            self.buckets.get(place) or read_named(self.read_bucket, place, node)
            for place, node in halves.items()
            if node
        ]
        count = sum(bucket.count for bucket in buckets)
        if count > BUCKET_KEYS_MAX:
            return self._fork(left, right)
        self.buckets |= dict.fromkeys(halves)
        return self._build(joined_rows(buckets, self._path_of), 0, count, depth, start)
