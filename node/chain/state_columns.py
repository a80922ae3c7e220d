"""One update of a tree by columns: all its changed buckets together, then all hashes by level.

It gives what `Batch.apply` gives, and leaves to it whatever is no usual case. It pays where many
keys change and kernels hash them: a process that wants it prepares it.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from node.chain.merkle import digests_of
from node.chain.state_bucket import BUCKET_KEYS_MAX, Bucket, paths_by, place_of
from node.chain.state_fork import (
    EMPTY_TREE,
    Fork,
    StateTree,
    parted,
    read_named,
    root_of,
)
from node.chain.state_page import DEPTH_MAX, EMPTY, LEAF_BYTES, LEAF_TAG, NODE_TAG
from node.chain.state_update import Batch
from node.crypto.hashing import REFERENCE, NewHash, has_kernel, hash_each, hash_many, hash_nodes
from node.crypto.suite import Suite
from node.errors import invariant

if TYPE_CHECKING:
    from types import ModuleType

    from node.chain.state_kernels import Changed

COLUMNS_MIN: Final = 16
"""Changes from which columns always pay."""

_SAMPLE_KEYS: Final = 200
_prepared: Final[dict[NewHash, ModuleType]] = {}


def prepare_columns(suite: Suite) -> bool:
    """Have updates by this suite made by columns in this process, and tell whether they are.

    They are not where its hash has no kernel loaded (`node.crypto.hashing.load_kernel`). The first
    time ever takes some ten seconds of the processor.
    """
    if not has_kernel(suite.new_hash):
        return False
    from node.chain import state_kernels  # noqa: PLC0415 - needs what kernels need

    _prepared[suite.new_hash] = state_kernels
    values: list[dict[bytes, bytes | None]] = [
        {b"key %d" % number: b"value" for number in range(first, first + _SAMPLE_KEYS)}
        for first in (0, _SAMPLE_KEYS // 2)
    ]
    values[1] |= {b"key 0": b"another value"}
    trees: list[StateTree] = [EMPTY_TREE, EMPTY_TREE]
    buckets: dict[bytes, Bucket | None] = {}
    for changes in values:  # also compiles it
        batches = [Batch(changes, buckets.get, suite, paths_by(suite)) for _ in trees]
        columns, each = batches
        trees = [apply_by_columns(columns, trees[0]), each.apply(trees[1], 0, 0, 0, len(changes))]
        same = trees[0] == trees[1] and columns.buckets == each.buckets
        if not same:
            del _prepared[suite.new_hash]
        invariant(same, "the kernel of the state tree changes buckets otherwise than by hand")
        buckets |= each.buckets
    return True


def has_columns(suite: Suite, changes: Mapping[bytes, bytes | None]) -> bool:
    """Say whether an update is made by columns: where that is prepared, and pays."""
    return (
        len(changes) >= COLUMNS_MIN and suite.new_hash in _prepared and None not in changes.values()
    )


def apply_by_columns(batch: Batch, tree: StateTree) -> StateTree:
    """Return `tree` after all changes of a batch, which removes nothing; fills its buckets."""
    paths, by_path, suite = batch.paths, batch.by_path, batch.suite
    kernels = _prepared[suite.new_hash]
    ends = list(parted(tree, paths))
    stored = [
        read_named(batch.read_bucket, place_of(paths[first], depth), node).stored if node else b""
        for node, depth, first, _ in ends
    ]
    rows = [by_path[path] for path in paths]
    values = [value or b"" for _, value in rows]
    joined_paths = [path.to_bytes(LEAF_BYTES // 2, "big") for path in paths]
    leaves = [
        path + digest
        for path, digest in zip(joined_paths, hash_each(suite.new_hash, b"", values), strict=True)
    ]
    changed = kernels.change_buckets(
        stored,
        [depth for _, depth, _, _ in ends],
        [after for _, _, _, after in ends],
        kernels.Changes(
            paths=b"".join(joined_paths),
            keys=[key for key, _ in rows],
            values=values,
            leaf_hashes=hash_many(suite.new_hash, LEAF_TAG, b"".join(leaves), LEAF_BYTES),
        ),
        BUCKET_KEYS_MAX,
    )
    return _Columns(batch, ends, changed, kernels).tree_after(tree)


Made = StateTree | int
"""A subtree, or the number of one whose hash is not known yet: of a bucket first, then of forks."""


class _Columns:
    """The tree above changed buckets, in the making: first what it is made of, then its hashes."""

    def __init__(
        self,
        batch: Batch,
        ends: Sequence[tuple[bytes, int, int, int]],
        changed: Changed,
        kernels: ModuleType,
    ) -> None:
        self._batch, self._ends, self._changed = batch, ends, changed
        self._unchanged, self._by_hand = kernels.UNCHANGED, kernels.BY_HAND
        self._parts = len(changed.depths)
        self._places: list[bytes] = [b""] * self._parts
        self._next_end = self._next_part = 0
        self._pairs = array(REFERENCE)
        self._pair_count = len(changed.pairs) // (2 * self._pairs.itemsize)
        self._known: list[bytes] = []
        self._known_count = len(changed.known) // len(EMPTY)
        self._lefts: list[Made] = []
        self._rights: list[Made] = []

    def tree_after(self, tree: StateTree) -> StateTree:
        """Return the tree with the changes."""
        changed, new_hash = self._changed, self._batch.suite.new_hash
        top, _ = self._subtree(tree, 0, len(self._ends))
        known = changed.known + b"".join(self._known)
        pairs = changed.pairs + self._pairs.tobytes()
        digests = digests_of(hash_nodes(new_hash, NODE_TAG, known, pairs))
        made: list[StateTree] = []
        below = b"".join(digests[: self._pair_count])
        parts = zip(self._places, changed.depths, changed.finished(below), strict=True)
        buckets = self._batch.buckets
        for place, depth, stored in parts:
            if stored:
                buckets[place] = bucket = Bucket(depth, stored)
                made.append(bucket.hash)
            else:
                made.append(EMPTY_TREE)
        for digest, left, right in zip(
            digests[self._pair_count :], self._lefts, self._rights, strict=True
        ):
            made.append(
                Fork(
                    digest,
                    made[left] if isinstance(left, int) else left,
                    made[right] if isinstance(right, int) else right,
                )
            )
        return made[top] if isinstance(top, int) else top

    def _subtree(self, node: StateTree, depth: int, after: int) -> tuple[Made, int]:
        """Return a subtree after the changes up to the end `after`, and what refers to its hash.

        The same object if it is the same.
        """
        ends, first = self._ends, self._next_end
        if type(node) is not Fork:
            return self._end(node)
        if after - first == 1:
            return self._one_path(node, depth)
        bit = 1 << DEPTH_MAX - 1 - depth
        paths, middle = self._batch.paths, first
        while middle < after and not paths[ends[middle][2]] & bit:
            middle += 1
        left, right = node.left, node.right
        left_made: Made = left
        right_made: Made = right
        left_reference = right_reference = -1
        if first < middle:
            left_made, left_reference = self._subtree(left, depth + 1, middle)
        if middle < after:
            right_made, right_reference = self._subtree(right, depth + 1, after)
        if left_made is left and right_made is right:
            return node, -1
        if left_made is left:
            left_reference = self._refer(left)
        if right_made is right:
            right_reference = self._refer(right)
        return self._fork(left_made, left_reference, right_made, right_reference)

    def _one_path(self, node: StateTree, depth: int) -> tuple[Made, int]:
        """Return a subtree of which one end changes: along the one path to it."""
        path = self._batch.paths[self._ends[self._next_end][2]]
        on_path: list[Fork] = []
        below = DEPTH_MAX - depth
        while type(node) is Fork:
            on_path.append(node)
            below -= 1
            node = node.right if path >> below & 1 else node.left
        made, reference = self._end(node)
        if made is node:
            return on_path[0], -1
        turns, known, pairs = path >> below, self._known, self._pairs
        lefts, rights = self._lefts, self._rights
        sibling = self._known_count + len(known)
        number, next_reference = self._parts + len(lefts), -1 - self._pair_count - len(lefts)
        for above in reversed(on_path):
            if turns & 1:
                beside = above.left
                pairs.append(sibling)
                pairs.append(reference)
                lefts.append(beside)
                rights.append(made)
            else:
                beside = above.right
                pairs.append(reference)
                pairs.append(sibling)
                lefts.append(made)
                rights.append(beside)
            known.append(beside.hash if type(beside) is Fork else beside or EMPTY)
            made, reference = number, next_reference
            number += 1
            next_reference -= 1
            sibling += 1
            turns >>= 1
        return made, reference

    def _end(self, node: bytes) -> tuple[Made, int]:
        """Return what becomes of the next bucket, and what refers to its hash."""
        end = self._next_end
        self._next_end = end + 1
        status = self._changed.statuses[end]
        if status == self._unchanged:
            return node, -1
        batch, (_, depth, first, after) = self._batch, self._ends[end]
        start = batch.paths[first] >> DEPTH_MAX - depth << DEPTH_MAX - depth
        if status == self._by_hand:
            made = batch.apply_to_bucket(node, depth, start, first, after)
            return made, -1 if made is node else self._refer(made)
        part = self._next_part
        if self._changed.part_ends[end] == part + 1:
            self._next_part = part + 1
            self._places[part] = place_of(start, depth)
            return part, self._changed.roots[part]
        if node:
            batch.buckets[place_of(start, depth)] = None
        return self._parted(depth, start)

    def _parted(self, depth: int, start: int) -> tuple[Made, int]:
        """Return the subtree of the next parts: those of a bucket that had too many keys."""
        part = self._next_part
        if self._changed.depths[part] == depth:
            self._next_part = part + 1
            self._places[part] = place_of(start, depth)
            return part, self._changed.roots[part]
        left = self._parted(depth + 1, start)
        right = self._parted(depth + 1, start | 1 << DEPTH_MAX - 1 - depth)
        return self._fork(*left, *right)

    def _fork(
        self, left: Made, left_reference: int, right: Made, right_reference: int
    ) -> tuple[int, int]:
        """Return the fork of two subtrees."""
        count = len(self._lefts)
        self._pairs.extend((left_reference, right_reference))
        self._lefts.append(left)
        self._rights.append(right)
        return self._parts + count, -1 - self._pair_count - count

    def _refer(self, node: StateTree) -> int:
        """Return what refers to the hash of a subtree that is there."""
        self._known.append(root_of(node))
        return self._known_count + len(self._known) - 1
