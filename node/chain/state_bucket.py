"""Buckets: how the state tree is stored, a few neighbouring keys with their values in each.

The *bucket* at a place is all of a subtree of at most `BUCKET_KEYS_MAX` keys whose parent has more.
So which buckets there are depends on the content of the map alone, and each key is in one of them.
What is above them, nothing but hashes, is not stored: it follows from the hashes of the buckets.

Stored, a bucket is columns, in the order of key paths:

    crc32 of the rest || hash || keys || width || marks || leaf hashes || sizes || keys, values

One byte tells how many keys, one how wide sizes are. A *mark* is four bytes of a key path, from the
byte on in which the bucket's own place ends: they tell how its keys part without hashing each. What
all keys have in common at their beginning is stored once, as if it were the first of them. Leaf
hashes are stored because they cost more to compute than to keep.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from struct import Struct as Layout
from typing import Final
from zlib import crc32

from node.chain.merkle import DIGEST_BYTES
from node.chain.state_page import DEPTH_MAX, EMPTY, NODE_TAG
from node.chain.struct import Struct
from node.crypto import domains
from node.crypto.hashing import NewHash
from node.crypto.suite import Suite
from node.errors import StorageError

BUCKET_KEYS_MAX: Final = 8
"""What is read and written for one key grows with it, what is kept in memory shrinks."""

Rows = tuple[Sequence[int], Sequence[bytes], Sequence[bytes], Sequence[bytes]]
"""Key paths as numbers, leaf hashes, keys and values, all in the order of paths."""

PathOf = Callable[[bytes], int]
"""Gives the path of a key as a number."""

_MARK_BYTES: Final = 4
_MARK_BITS: Final = 8 * _MARK_BYTES
_MARK_MASK: Final = (1 << _MARK_BITS) - 1
_HEAD: Final = Layout(f">I{DIGEST_BYTES}sBB")
_CRC_BYTES: Final = 4
_WIDTHS: Final = {1: "B", 2: "H", 4: "I"}


def key_path(key: bytes, suite: Suite) -> bytes:
    """Return the place of `key` in the tree, 256 bits."""
    return suite.tagged_hash(domains.STATE_KEY, key)


def path_number(key: bytes, suite: Suite) -> int:
    """Return the key path as a number, which paths sort by."""
    return int.from_bytes(key_path(key, suite), "big")


def paths_by(suite: Suite) -> PathOf:
    """Return `path_number` of a suite."""
    return lambda key: path_number(key, suite)


def place_of(path: int, depth: int) -> bytes:
    """Return the name of the subtree that `path` enters at `depth`: its bits, and how many.

    Of places none of which holds another, names sort as the key paths below them.
    """
    size = (depth + 7) >> 3
    bits = path >> (DEPTH_MAX - depth) << (8 * size - depth)
    return bits.to_bytes(size, "big") + bytes((depth,))


class Bucket(Struct, frozen=True, gc=False):
    """A few keys, in the order of their paths, with their values and the hashes of their leaves."""

    depth: int
    """How many bits of their paths all keys share, at least."""
    hash: bytes
    """Of the subtree these keys are."""
    marks: tuple[int, ...]
    leaf_hashes: tuple[bytes, ...]
    keys: tuple[bytes, ...]
    values: tuple[bytes, ...]

    @classmethod
    def of(cls, depth: int, rows: Rows, suite: Suite) -> Bucket:
        """Return the bucket of these rows, at least one."""
        paths, leaf_hashes, keys, values = rows
        shift = DEPTH_MAX - _mark_end(depth)
        marks = tuple([path >> shift & _MARK_MASK for path in paths])
        subtree = trie_hash(paths, leaf_hashes, depth, DEPTH_MAX, suite.new_hash)
        return cls(depth, subtree, marks, tuple(leaf_hashes), tuple(keys), tuple(values))

    def rows(self, path_of: PathOf) -> Rows:
        """Return the columns, with the paths of the keys."""
        return self.paths(path_of), self.leaf_hashes, self.keys, self.values

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a key, or None."""
        return self.values[self.keys.index(key)] if key in self.keys else None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield each key with its value."""
        return zip(self.keys, self.values, strict=True)

    def paths(self, path_of: PathOf) -> list[int]:
        """Return the paths of the keys, which are not stored."""
        return [path_of(key) for key in self.keys]

    def with_change(self, path: int, key: bytes, value: bytes | None, suite: Suite) -> Bucket:
        """Return the bucket with another value under a key, None for none; itself if nothing moved.

        Its hash is left empty, as more changes may follow: see `hashed`.
        """
        mark = path >> (DEPTH_MAX - _mark_end(self.depth)) & _MARK_MASK
        marks, count = list(self.marks), len(self.marks)
        at = bisect_left(marks, mark)
        while (
            at < count
            and marks[at] == mark
            and self.keys[at] != key
            and path_number(self.keys[at], suite) < path
        ):
            at += 1
        is_here = at < count and self.keys[at] == key
        if value == (self.values[at] if is_here else None):
            return self
        leaf_hashes, keys, values = list(self.leaf_hashes), list(self.keys), list(self.values)
        if is_here:
            del marks[at], leaf_hashes[at], keys[at], values[at]
        if value is not None:
            marks.insert(at, mark)
            leaf_hashes.insert(at, leaf_hash(path, value, suite))
            keys.insert(at, key)
            values.insert(at, value)
        columns = tuple(marks), tuple(leaf_hashes), tuple(keys), tuple(values)
        return Bucket(self.depth, b"", *columns)

    def hashed(self, suite: Suite) -> Bucket:
        """Return the bucket with its hash. It has keys."""
        marks, end = self.marks, _mark_end(self.depth)
        is_told_apart = len(set(marks)) == len(marks)
        paths, end = (marks, end) if is_told_apart else (self.paths(paths_by(suite)), DEPTH_MAX)
        subtree = trie_hash(paths, self.leaf_hashes, self.depth, end, suite.new_hash)
        return Bucket(self.depth, subtree, marks, self.leaf_hashes, self.keys, self.values)

    def encode(self) -> bytes:
        """Return the stored form."""
        count = len(self.keys)
        blobs = [*_without_beginning(self.keys), *self.values]
        sizes = list(map(len, blobs))
        largest = max(sizes)
        width = 1 if largest < 1 << 8 else 2 if largest < 1 << 16 else 4
        columns = _layout(count, width).pack(*self.marks, *self.leaf_hashes, *sizes)
        data = b"".join((self.hash, bytes((count, width)), columns, *blobs))
        return crc32(data).to_bytes(_CRC_BYTES, "big") + data

    @classmethod
    def decode(cls, data: bytes, place: bytes) -> Bucket:
        """Read the bucket stored for a place; raises `StorageError`.

        What is not the very bytes that were stored is refused; nothing is hashed.
        """
        subtree, count, width = cls.read_head(data, place)
        layout = _layout(count, width)
        columns = layout.unpack_from(data, _HEAD.size)
        start = _HEAD.size + layout.size
        blobs: list[bytes] = []
        for size in columns[2 * count :]:
            end = start + size
            blobs.append(data[start:end])
            start = end
        beginning, tails = blobs[0], blobs[1 : count + 1]
        keys = tuple([beginning + tail for tail in tails])
        values = tuple(blobs[count + 1 :])
        return cls(place[-1], subtree, columns[:count], columns[count : 2 * count], keys, values)

    @staticmethod
    def read_head(data: bytes, place: bytes) -> tuple[bytes, int, int]:
        """Return hash, number of keys and width of a stored bucket, as `decode` does."""
        if len(data) < _HEAD.size:
            raise malformed(place, f"expected at least {_HEAD.size} bytes, got {len(data)}")
        crc, subtree, count, width = _HEAD.unpack_from(data)
        if crc != crc32(memoryview(data)[_CRC_BYTES:]) or width not in _WIDTHS:
            raise malformed(place, "these are not the bytes that were stored")
        return subtree, count, width


def joined_rows(buckets: Sequence[Bucket], path_of: PathOf) -> Rows:
    """Return the rows of several buckets, which are in the order of their places."""
    paths = [path for bucket in buckets for path in bucket.paths(path_of)]
    leaf_hashes = [each for bucket in buckets for each in bucket.leaf_hashes]
    keys = [key for bucket in buckets for key in bucket.keys]
    return paths, leaf_hashes, keys, [value for bucket in buckets for value in bucket.values]


def leaf_hash(path: int, value: bytes, suite: Suite) -> bytes:
    """Return the hash of the leaf of a key with this value."""
    leaf = path.to_bytes(DIGEST_BYTES, "big") + suite.hash(value)
    return suite.tagged_hash(domains.STATE_LEAF, leaf)


def trie_hash(
    paths: Sequence[int], leaf_hashes: Sequence[bytes], depth: int, end: int, new_hash: NewHash
) -> bytes:
    """Return the hash of the subtree at `depth` of leaves in order, which may be none.

    Paths are numbers that end with bit `end` of the path, all different; `depth` is one that they
    reach up to. It is as the definition has it (see state_tree.py), but goes from each leaf to the
    next: what is open to the left waits, with the bit in which it parts from what follows.
    """
    if not paths:
        return EMPTY
    partings = [(left ^ right).bit_length() for left, right in pairwise(paths)]
    waiting: list[tuple[int, bytes]] = []
    for path, leaf, parting in zip(paths, leaf_hashes, (*partings, end - depth + 1), strict=True):
        node, height = leaf, 0  # in bits, from the last one of paths
        while waiting and waiting[-1][0] < parting:
            top, left = waiting.pop()
            if 0 < height < top - 1:
                node = _lifted(node, path, range(height, top - 1), new_hash)
            node, height = new_hash(NODE_TAG + left + node).digest(), top
        if 0 < height < parting - 1:
            node = _lifted(node, path, range(height, parting - 1), new_hash)
        waiting.append((parting, node))
    return waiting[0][1]


def _lifted(node: bytes, path: int, heights: range, new_hash: NewHash) -> bytes:
    """Return the hash of the subtree in which `node`, of two keys or more, is alone so far up."""
    for at in heights:
        pair = EMPTY + node if path >> at & 1 else node + EMPTY
        node = new_hash(NODE_TAG + pair).digest()
    return node


def _mark_end(depth: int) -> int:
    """Return the bit of a path that marks of a bucket at `depth` end before."""
    return min(depth & ~7, DEPTH_MAX - _MARK_BITS) + _MARK_BITS


@lru_cache
def _layout(count: int, width: int) -> Layout:
    """Return how marks, leaf hashes and sizes of a bucket of so many keys are laid out."""
    return Layout(f">{count}I" + f"{DIGEST_BYTES}s" * count + f"{2 * count + 1}{_WIDTHS[width]}")


def _without_beginning(column: Sequence[bytes]) -> list[bytes]:
    """Return what all items begin with, and then what each has beyond it."""
    low, high = min(column), max(column)
    size = min(len(low), len(high))
    differing = int.from_bytes(low[:size], "big") ^ int.from_bytes(high[:size], "big")
    shared = size - (differing.bit_length() + 7 >> 3)
    return [low[:shared], *[each[shared:] for each in column]]


def malformed(place: bytes, problem: str) -> StorageError:
    """Return the error for a stored bucket that cannot be what it should be."""
    return StorageError(
        f"state bucket {place.hex()}: {problem}",
        code="GC-3003",
        fix="the database is damaged: remove it and start again to rebuild it",
    )
