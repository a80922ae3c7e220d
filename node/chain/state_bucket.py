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
from node.chain.state_page import DEPTH_MAX, EMPTY, LEAF_TAG, NODE_TAG
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

_KEY_TAG: Final = domains.tagged(domains.STATE_KEY, b"")
_MARK_BYTES: Final = 4
_NEVER: Final = DEPTH_MAX + 2
"""Above every bit of a path."""
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
    new_hash, number = suite.new_hash, int.from_bytes
    return lambda key: number(new_hash(_KEY_TAG + key).digest(), "big")


def place_of(path: int, depth: int) -> bytes:
    """Return the name of the subtree that `path` enters at `depth`: its bits, and how many.

    Of places none of which holds another, names sort as the key paths below them.
    """
    size = (depth + 7) >> 3
    bits = path >> (DEPTH_MAX - depth) << (8 * size - depth)
    return bits.to_bytes(size, "big") + bytes((depth,))


class Bucket(Struct, frozen=True, gc=False):
    """A few keys, in the order of their paths, with their values and the hashes of their leaves.

    It is kept as it is stored, column by column: a change cuts out and puts in, and what it does
    not touch is never taken apart.
    """

    depth: int
    """How many bits of their paths all keys share, at least."""
    hash: bytes
    """Of the subtree these keys are."""
    marks: bytes
    leaf_hashes: bytes
    sizes: bytes | tuple[int, ...]
    """Of what is in `blobs`; bytes where none is above 255."""
    blobs: bytes
    """What all keys begin with, what each has beyond it, and the values."""

    @classmethod
    def empty(cls, depth: int) -> Bucket:
        """Return one of no keys, which is never stored."""
        return cls(depth, b"", b"", b"", b"\x00", b"")

    @classmethod
    def of(cls, depth: int, rows: Rows, suite: Suite) -> Bucket:
        """Return the bucket of these rows, at least one."""
        paths, leaf_hashes, keys, values = rows
        shift = _mark_shift(depth)
        marks = [path >> shift & _MARK_MASK for path in paths]
        if len(set(marks)) == len(marks):
            subtree = trie_hash(marks, leaf_hashes, depth, DEPTH_MAX - shift, suite.new_hash)
        else:
            subtree = trie_hash(paths, leaf_hashes, depth, DEPTH_MAX, suite.new_hash)
        return cls._of_columns(depth, subtree, (marks, leaf_hashes, keys, values))

    @classmethod
    def _of_columns(cls, depth: int, subtree: bytes, rows: Rows) -> Bucket:
        """Return the bucket with these marks, leaf hashes, keys and values."""
        marks, leaf_hashes, keys, values = rows
        blobs = [*_without_beginning(keys), *values]
        return cls(
            depth,
            subtree,
            _numbers(len(marks)).pack(*marks),
            b"".join(leaf_hashes),
            _sizes(list(map(len, blobs))),
            b"".join(blobs),
        )

    @property
    def count(self) -> int:
        """How many keys it has."""
        return len(self.marks) // _MARK_BYTES

    @property
    def keys(self) -> list[bytes]:
        """The keys."""
        beginning, *tails = self._blobs(0, self.count + 1)
        return [beginning + tail for tail in tails]

    @property
    def values(self) -> list[bytes]:
        """The values."""
        return self._blobs(self.count + 1, 2 * self.count + 1)

    def rows(self, path_of: PathOf) -> Rows:
        """Return the columns, with the paths of the keys."""
        return self.paths(path_of), self.split_leaf_hashes(), self.keys, self.values

    def rows_to_build(self, start: int, path_of: PathOf) -> Rows:
        """Return the columns of what is no bucket any more, whose paths begin as `start` does.

        Where it has a key too many, and its marks are enough to part it and to be those of its
        halves, paths have zeros after the marks: so no key is hashed.
        """
        shift, marks = _mark_shift(self.depth), _numbers(self.count).unpack(self.marks)
        if len(marks) != BUCKET_KEYS_MAX + 1 or len(set(marks)) < len(marks):
            return self.rows(path_of)
        half_depth = DEPTH_MAX - shift - (marks[0] ^ marks[-1]).bit_length() + 1
        if _mark_shift(half_depth) != shift:
            return self.rows(path_of)
        known = start >> shift & ~_MARK_MASK
        paths = [(known | mark) << shift for mark in marks]
        return paths, self.split_leaf_hashes(), self.keys, self.values

    def split_leaf_hashes(self) -> tuple[bytes, ...]:
        """Return the leaf hashes, one by one."""
        return _digests(self.count).unpack(self.leaf_hashes)

    def get(self, path: int, key: bytes) -> bytes | None:
        """Return the value under a key of this path, or None."""
        mark = path >> _mark_shift(self.depth) & _MARK_MASK
        marks, wanted = self.marks, mark.to_bytes(_MARK_BYTES, "big")
        found = marks.find(wanted)
        while found >= 0:  # as a rule there is none, and nothing is taken apart
            at, within = divmod(found, _MARK_BYTES)
            if not within and self._key(at) == key:
                return self._blob(1 + self.count + at)
            found = marks.find(wanted, found + 1)
        return None

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
        mark = path >> _mark_shift(self.depth) & _MARK_MASK
        count = len(self.marks) // _MARK_BYTES
        marks = _numbers(count).unpack(self.marks)
        at = bisect_left(marks, mark)
        while at < count and marks[at] == mark:
            there = self._key(at)
            if there == key:
                return self._with_value(at, path, value, suite)
            if path_number(there, suite) > path:
                break
            at += 1
        if value is None:
            return self
        beginning = self.sizes[0]
        if not (count and key.startswith(self.blobs[:beginning])):
            return self._rebuilt(at, (mark, leaf_hash(path, value, suite), key, value), 0)
        sizes, blobs = list(self.sizes), self.blobs
        tail_at, value_at = sum(sizes[: 1 + at]), sum(sizes[: 1 + count + at])
        sizes.insert(1 + count + at, len(value))
        sizes.insert(1 + at, len(key) - beginning)
        cut, leaf_cut = at * _MARK_BYTES, at * DIGEST_BYTES
        leaf = leaf_hash(path, value, suite)
        return Bucket(
            self.depth,
            b"",
            self.marks[:cut] + mark.to_bytes(_MARK_BYTES, "big") + self.marks[cut:],
            self.leaf_hashes[:leaf_cut] + leaf + self.leaf_hashes[leaf_cut:],
            _sizes(sizes),
            b"".join(
                (blobs[:tail_at], key[beginning:], blobs[tail_at:value_at], value, blobs[value_at:])
            ),
        )

    def _with_value(self, at: int, path: int, value: bytes | None, suite: Suite) -> Bucket:
        """Return the bucket with another value under its key `at`, or without it."""
        if value is None:
            return self._rebuilt(at, None, 1)
        sizes, blobs, column = list(self.sizes), self.blobs, 1 + self.count + at
        start = sum(sizes[:column])
        end = start + sizes[column]
        if blobs[start:end] == value:
            return self
        sizes[column] = len(value)
        leaf, cut = leaf_hash(path, value, suite), at * DIGEST_BYTES
        leaf_hashes = self.leaf_hashes[:cut] + leaf + self.leaf_hashes[cut + DIGEST_BYTES :]
        return Bucket(
            self.depth,
            b"",
            self.marks,
            leaf_hashes,
            _sizes(sizes),
            blobs[:start] + value + blobs[end:],
        )

    def _rebuilt(self, at: int, row: tuple[int, bytes, bytes, bytes] | None, gone: int) -> Bucket:
        """Return the bucket with a row, if any, in place of so many at `at`, made anew."""
        count = self.count
        marks = list(_numbers(count).unpack(self.marks))
        columns = marks, list(self.split_leaf_hashes()), self.keys, self.values
        for number, column in enumerate(columns):
            column[at : at + gone] = [] if row is None else [row[number]]
        if not marks:
            return Bucket.empty(self.depth)
        return self._of_columns(self.depth, b"", columns)

    def hashed(self, suite: Suite) -> Bucket:
        """Return the bucket with its hash. It has keys."""
        count, end = self.count, DEPTH_MAX - _mark_shift(self.depth)
        paths: Sequence[int] = _numbers(count).unpack(self.marks)
        if len(set(paths)) < count:
            paths, end = self.paths(paths_by(suite)), DEPTH_MAX
        leaf_hashes = self.split_leaf_hashes()
        subtree = trie_hash(paths, leaf_hashes, self.depth, end, suite.new_hash)
        return Bucket(self.depth, subtree, self.marks, self.leaf_hashes, self.sizes, self.blobs)

    def encode(self) -> bytes:
        """Return the stored form."""
        sizes, width = self.sizes, 1
        if not isinstance(sizes, bytes):
            width = 2 if max(sizes) < 1 << 16 else 4
            sizes = _numbers(len(sizes), width).pack(*sizes)
        head = bytes((self.count, width))
        data = b"".join((self.hash, head, self.marks, self.leaf_hashes, sizes, self.blobs))
        return crc32(data).to_bytes(_CRC_BYTES, "big") + data

    @classmethod
    def decode(cls, data: bytes, place: bytes) -> Bucket:
        """Read the bucket stored for a place; raises `StorageError`.

        What is not the very bytes that were stored is refused; nothing is hashed.
        """
        subtree, count, width = cls.read_head(data, place)
        leaves_at = _HEAD.size + count * _MARK_BYTES
        sizes_at = leaves_at + count * DIGEST_BYTES
        blobs_at = sizes_at + (2 * count + 1) * width
        column = data[sizes_at:blobs_at]
        sizes = column if width == 1 else _numbers(2 * count + 1, width).unpack(column)
        marks, leaf_hashes = data[_HEAD.size : leaves_at], data[leaves_at:sizes_at]
        return cls(place[-1], subtree, marks, leaf_hashes, sizes, data[blobs_at:])

    @staticmethod
    def read_head(data: bytes, place: bytes) -> tuple[bytes, int, int]:
        """Return hash, number of keys and width of a stored bucket, as `decode` does."""
        if len(data) < _HEAD.size:
            raise malformed(place, f"expected at least {_HEAD.size} bytes, got {len(data)}")
        crc, subtree, count, width = _HEAD.unpack_from(data)
        if crc != crc32(memoryview(data)[_CRC_BYTES:]) or width not in _WIDTHS:
            raise malformed(place, "these are not the bytes that were stored")
        return subtree, count, width

    def _key(self, at: int) -> bytes:
        return self._blob(0) + self._blob(1 + at)

    def _blob(self, at: int) -> bytes:
        start = sum(self.sizes[:at])
        return self.blobs[start : start + self.sizes[at]]

    def _blobs(self, first: int, after: int) -> list[bytes]:
        start, blobs, found = sum(self.sizes[:first]), self.blobs, []
        for size in self.sizes[first:after]:
            end = start + size
            found.append(blobs[start:end])
            start = end
        return found


def joined_rows(buckets: Sequence[Bucket], path_of: PathOf) -> Rows:
    """Return the rows of several buckets, which are in the order of their places."""
    paths = [path for bucket in buckets for path in bucket.paths(path_of)]
    leaf_hashes = [each for bucket in buckets for each in bucket.split_leaf_hashes()]
    keys = [key for bucket in buckets for key in bucket.keys]
    return paths, leaf_hashes, keys, [value for bucket in buckets for value in bucket.values]


def leaf_hash(path: int, value: bytes, suite: Suite) -> bytes:
    """Return the hash of the leaf of a key with this value."""
    new_hash = suite.new_hash
    leaf = path.to_bytes(DIGEST_BYTES, "big") + new_hash(value).digest()
    return new_hash(LEAF_TAG + leaf).digest()


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
    partings.append(end - depth + 1)
    tops, waiting = [_NEVER], [EMPTY]  # which bits part what waits from what follows, growing
    for path, leaf, parting in zip(paths, leaf_hashes, partings, strict=True):
        if tops[-1] > parting:
            tops.append(parting)
            waiting.append(leaf)
            continue
        node, height = leaf, _NEVER  # in bits, from the last one of paths; a leaf is not lifted
        while height < parting - 1 or tops[-1] < parting:
            if height >= tops[-1] - 1:
                height = tops.pop()
                pair = waiting.pop() + node
            else:  # of two keys or more, and alone so far up
                pair = EMPTY + node if path >> height & 1 else node + EMPTY
                height += 1
            node = new_hash(NODE_TAG + pair).digest()
        tops.append(parting)
        waiting.append(node)
    return waiting[1]


_MARK_SHIFTS: Final = tuple(
    DEPTH_MAX - _MARK_BITS - min(depth & ~7, DEPTH_MAX - _MARK_BITS)
    for depth in range(DEPTH_MAX + 1)
)
_mark_shift: Final = _MARK_SHIFTS.__getitem__
"""Gives how many bits of a path follow its mark in a bucket at a depth."""


@lru_cache
def _numbers(count: int, width: int = _MARK_BYTES) -> Layout:
    """Return how so many marks, or sizes of this width, are laid out."""
    return Layout(f">{count}{_WIDTHS[width]}")


@lru_cache
def _digests(count: int) -> Layout:
    """Return how so many hashes are laid out."""
    return Layout(f"{DIGEST_BYTES}s" * count)


def _sizes(sizes: list[int]) -> bytes | tuple[int, ...]:
    """Return sizes as a bucket has them."""
    return bytes(sizes) if max(sizes) < 1 << 8 else tuple(sizes)


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
