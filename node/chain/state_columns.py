"""One update of a tree by columns: all its changed buckets together, then all hashes by level.

It gives what `Batch.apply` gives, and leaves to it whatever is no usual case. It pays where many
keys change and kernels hash them: a process that wants it prepares it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from node.chain.merkle import DIGEST_BYTES, digests_of
from node.chain.state_bucket import BUCKET_KEYS_MAX, Bucket, paths_by, place_of
from node.chain.state_fork import (
    EMPTY_TREE,
    Fork,
    StateTree,
    read_named,
)
from node.chain.state_page import DEPTH_MAX, EMPTY, LEAF_BYTES, LEAF_TAG, NODE_TAG
from node.chain.state_update import Batch
from node.crypto.hashing import (
    REFERENCE,
    NewHash,
    has_kernel,
    hash_each,
    hash_many,
    hash_nodes,
    load_kernel,
)
from node.crypto.suite import Suite
from node.errors import invariant

if TYPE_CHECKING:
    from types import ModuleType

    from node.chain.state_kernels import Changed

COLUMNS_MIN: Final = 16
"""Changes from which columns always pay."""

_SAMPLE_KEYS: Final = 200
_prepared: Final[dict[NewHash, ModuleType]] = {}


def load_kernels(suite: Suite) -> bool:
    """Have trees hashed and updated by kernels in this process, and tell whether they are.

    They are not where numba is missing (extra `[kernels]`). It takes half a second of the
    processor; the first time ever, when they are compiled, more than twenty.
    """
    return load_kernel(suite.new_hash) and prepare_columns(suite)


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
        descent = Descent(trees[0], columns.paths)
        trees = [apply_by_columns(columns, descent), each.apply(trees[1], 0, 0, 0, len(changes))]
        same = trees[0] == trees[1] and columns.buckets == each.buckets
        if not same:
            del _prepared[suite.new_hash]
        invariant(same, "the kernel of the state tree changes buckets otherwise than by hand")
        buckets |= each.buckets
    return True


def has_columns(suite: Suite, keys: Collection[bytes]) -> bool:
    """Say whether so many keys are worth columns, in a process that has prepared them."""
    return len(keys) >= COLUMNS_MIN and suite.new_hash in _prepared


End = tuple[bytes, int, int, int]
"""What is no fork, at which so many of sorted paths end: a bucket's hash, none for no bucket; how
deep that is; and which paths: from the first one up to another."""


class Descent:
    """Where sorted paths lead in a tree: down to an end each, and what lies beside on the way.

    Forks on the way to one end alone are its *chain*, of which what is beside is kept alone. Those
    above, where ends meet, are the *crown*.
    """

    def __init__(self, tree: StateTree, paths: Sequence[int]) -> None:
        self.tree, self.paths = tree, paths
        self.ends: list[End] = []
        self.besides: list[StateTree] = []
        """Of all chains, each from the top down."""
        self.chain_ends: list[int] = []
        """For each end, where its chain ends among `besides`."""
        self.chain_tops: list[StateTree] = []
        """What each chain begins with: the end itself, where there is none."""
        self.crown: list[tuple[Fork, int, int]] = []
        """Each fork after those below it, with what is left and right of it: the number of an end,
        of a fork of the crown, counted on behind all ends, or -1 where no path leads."""
        top = self._go_down(tree, DEPTH_MAX, 0, len(paths))
        after = len(self.ends) - 2  # so many after -2, or 0, is the first fork of the crown
        self.crown = [
            (above, left if left >= -1 else after - left, right if right >= -1 else after - right)
            for above, left, right in self.crown
        ]
        self.top = top if top >= 0 else after - top
        """The number of the whole tree."""
        self.places = [place_of(paths[first], depth) for _, depth, first, _ in self.ends]

    def _go_down(self, node: StateTree, below: int, first: int, after: int) -> int:
        """Return the number of an end, or -2 and down for a fork of the crown."""
        top, paths, path = node, self.paths, self.paths[first]
        if after - first == 1:
            besides = self.besides
            while type(node) is Fork:
                below -= 1
                if path >> below & 1:
                    besides.append(node.left)
                    node = node.right
                else:
                    besides.append(node.right)
                    node = node.left
        if type(node) is not Fork:
            self.ends.append((node, DEPTH_MAX - below, first, after))
            self.chain_ends.append(len(self.besides))
            self.chain_tops.append(top)
            return len(self.ends) - 1
        bit = 1 << below - 1
        middle = first
        if not path & bit:
            middle = bisect_left(paths, (path >> below - 1 | 1) << below - 1, first, after)
        left = self._go_down(node.left, below - 1, first, middle) if first < middle else -1
        right = self._go_down(node.right, below - 1, middle, after) if middle < after else -1
        self.crown.append((node, left, right))
        return -1 - len(self.crown)


def apply_by_columns(batch: Batch, descent: Descent) -> StateTree:
    """Return a tree after all changes of a batch, which removes nothing; fills its buckets.

    The descent is along the batch's paths.
    """
    by_path, new_hash = batch.by_path, batch.suite.new_hash
    kernels = _prepared[new_hash]
    stored = [
        read_named(batch.read_bucket, place, node).stored if node else b""
        for place, (node, _, _, _) in zip(descent.places, descent.ends, strict=True)
    ]
    rows = [by_path[path] for path in batch.paths]
    values = [value or b"" for _, value in rows]
    paths = [path.to_bytes(DIGEST_BYTES, "big") for path in batch.paths]
    digests = hash_each(new_hash, b"", values)
    leaves = b"".join([part for leaf in zip(paths, digests, strict=True) for part in leaf])
    joined_paths = b"".join(paths)
    changed = kernels.change_buckets(
        stored,
        [depth for _, depth, _, _ in descent.ends],
        [after for _, _, _, after in descent.ends],
        kernels.Changes(
            paths=joined_paths,
            keys=[key for key, _ in rows],
            values=values,
            leaf_hashes=hash_many(new_hash, LEAF_TAG, leaves, LEAF_BYTES),
        ),
        BUCKET_KEYS_MAX,
    )
    return _Columns(batch, descent, changed, kernels).tree_after(joined_paths)


Made = StateTree | int
"""A subtree, or the number of one whose hash is not known yet: of a bucket first, then of forks."""

_UNMOVED: Final = -(1 << 31)
"""Refers to nothing: the end is the same as before."""


class _Columns:
    """The tree above changed buckets, in the making: first what it is made of, then its hashes."""

    def __init__(
        self, batch: Batch, descent: Descent, changed: Changed, kernels: ModuleType
    ) -> None:
        self._batch, self._descent, self._changed = batch, descent, changed
        self._kernels = kernels
        self._places: list[bytes] = [b""] * len(changed.depths)
        self._next_part = 0
        self._pairs = array(REFERENCE)
        self._pair_count = len(changed.pairs) // (2 * self._pairs.itemsize)
        self._known: list[bytes] = []
        self._known_count = len(changed.known) // DIGEST_BYTES
        self._forks: list[tuple[int, int]] = []
        """Of buckets that had a key too many: what is left and right."""

    def tree_after(self, joined_paths: bytes) -> StateTree:
        """Return the tree with the changes."""
        descent, changed = self._descent, self._changed
        ends = self._ends()
        known = [changed.known, *self._known, *map(_hash, descent.besides)]
        chains = self._kernels.chain_pairs(
            joined_paths,
            [depth for _, depth, _, _ in descent.ends],
            [first for _, _, first, _ in descent.ends],
            descent.chain_ends,
            [reference for _, reference in ends],
            self._known_count + len(self._known),
            self._pair_count + len(self._forks),
            _UNMOVED,
        )
        row = self._hash(b"".join(known), changed.pairs + self._pairs.tobytes() + chains)
        parted_at = self._pair_count * DIGEST_BYTES
        chained_at = parted_at + len(self._forks) * DIGEST_BYTES
        made = self._put_buckets(row[:parted_at])
        for digest, (left, right) in zip(
            digests_of(row[parted_at:chained_at]), self._forks, strict=True
        ):
            made.append(Fork(digest, made[left], made[right]))
        bottoms = [
            (made[end] if isinstance(end, int) else end, reference != _UNMOVED)
            for end, reference in ends
        ]
        return self._crowned(self._chained(bottoms, digests_of(row[chained_at:])))

    def _hash(self, known: bytes, pairs: bytes) -> bytes:
        return hash_nodes(self._batch.suite.new_hash, NODE_TAG, known, pairs)

    def _put_buckets(self, digests: bytes) -> list[StateTree]:
        """Put all parts among the batch's buckets, given what they hash; return their hashes."""
        buckets, hashes = self._batch.buckets, list[StateTree]()
        parts = zip(
            self._places, self._changed.depths, self._changed.finished(digests), strict=True
        )
        for place, depth, stored in parts:
            if stored:
                buckets[place] = bucket = Bucket(depth, stored)
                hashes.append(bucket.hash)
            else:
                hashes.append(EMPTY_TREE)
        return hashes

    def _chained(
        self, bottoms: Sequence[tuple[StateTree, bool]], digests: Sequence[bytes]
    ) -> list[StateTree]:
        """Return what each chain is after the changes, given what each ends in, and its hashes."""
        descent, tops = self._descent, list[StateTree]()
        besides, paths, start, used = descent.besides, descent.paths, 0, 0
        columns = zip(bottoms, descent.ends, descent.chain_ends, descent.chain_tops, strict=True)
        for (node, is_moved), (_, depth, first, _), end, top in columns:
            if not is_moved:
                tops.append(top)
                start = end
                continue
            turns = paths[first] >> DEPTH_MAX - depth
            for at in range(end - 1, start - 1, -1):
                digest = digests[used]
                used += 1
                if turns & 1:
                    node = Fork(digest, besides[at], node)  # noqa: PLW2901 - one up the chain
                else:
                    node = Fork(digest, node, besides[at])  # noqa: PLW2901
                turns >>= 1
            tops.append(node)
            start = end
        return tops

    def _crowned(self, subtrees: list[StateTree]) -> StateTree:
        """Return the tree, given what its chains are."""
        descent = self._descent
        known = [_hash(each) for each in subtrees]
        references = list(range(len(subtrees)))
        is_moved = [old is not new for old, new in zip(descent.chain_tops, subtrees, strict=True)]
        pairs, moved = array(REFERENCE), list[tuple[int, Fork, int, int]]()
        for above, left, right in descent.crown:
            if (left >= 0 and is_moved[left]) or (right >= 0 and is_moved[right]):
                for side, beside in ((left, above.left), (right, above.right)):
                    if side >= 0:
                        pairs.append(references[side])
                    else:
                        pairs.append(len(known))
                        known.append(_hash(beside))
                references.append(-1 - len(moved))
                is_moved.append(True)
                moved.append((len(subtrees), above, left, right))
            else:
                references.append(len(known))
                known.append(above.hash)
                is_moved.append(False)
            subtrees.append(above)
        digests = digests_of(self._hash(b"".join(known), pairs.tobytes()))
        for digest, (number, above, left, right) in zip(digests, moved, strict=True):
            subtrees[number] = Fork(
                digest,
                subtrees[left] if left >= 0 else above.left,
                subtrees[right] if right >= 0 else above.right,
            )
        return subtrees[descent.top]

    def _ends(self) -> list[tuple[Made, int]]:
        """Return what becomes of each end, and what refers to its hash."""
        ends = list[tuple[Made, int]]()
        changed, places, roots = self._changed, self._descent.places, self._changed.roots
        is_changed = self._kernels.CHANGED
        for end, (status, after) in enumerate(
            zip(changed.statuses, changed.part_ends, strict=True)
        ):
            part = self._next_part
            if status == is_changed and after == part + 1:  # as a rule
                self._next_part = after
                self._places[part] = places[end]
                ends.append((part, roots[part]))
            else:
                ends.append(self._unusual_end(end, status))
        return ends

    def _unusual_end(self, end: int, status: int) -> tuple[Made, int]:
        """Return the same of one that is unchanged, left to be done by hand, or to be parted."""
        batch, kernels = self._batch, self._kernels
        node, depth, first, after = self._descent.ends[end]
        if status == kernels.UNCHANGED:
            return node, _UNMOVED
        start = batch.paths[first] >> DEPTH_MAX - depth << DEPTH_MAX - depth
        if status == kernels.BY_HAND:
            made = batch.apply_to_bucket(node, depth, start, first, after)
            if made is node:
                return node, _UNMOVED
            self._known.append(_hash(made))
            return made, self._known_count + len(self._known) - 1
        if node:
            batch.buckets[self._descent.places[end]] = None
        return self._parted(depth, start)

    def _parted(self, depth: int, start: int) -> tuple[int, int]:
        """Return the subtree of the next parts: those of a bucket that had too many keys."""
        part = self._next_part
        if self._changed.depths[part] == depth:
            self._next_part = part + 1
            self._places[part] = place_of(start, depth)
            return part, self._changed.roots[part]
        left, left_reference = self._parted(depth + 1, start)
        right, right_reference = self._parted(depth + 1, start | 1 << DEPTH_MAX - 1 - depth)
        count = len(self._forks)
        self._pairs.extend((left_reference, right_reference))
        self._forks.append((left, right))
        return len(self._places) + count, -1 - self._pair_count - count


def _hash(node: StateTree) -> bytes:
    return node.hash if type(node) is Fork else node or EMPTY
