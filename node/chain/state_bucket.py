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

KEY_TAG: Final = domains.tagged(domains.STATE_KEY, b"")
"""What is hashed before a key."""

_MARK_BYTES: Final = 4
_NEVER: Final = DEPTH_MAX + 2
"""Above every bit of a path."""
_MARK_BITS: Final = 8 * _MARK_BYTES
_MARK_MASK: Final = (1 << _MARK_BITS) - 1
_HEAD: Final = Layout(f">I{DIGEST_BYTES}sBB")
_CRC_BYTES: Final = 4
_COUNT_AT: Final = _CRC_BYTES + DIGEST_BYTES
_WIDTH_AT: Final = _COUNT_AT + 1
_HEAD_BYTES: Final = _HEAD.size
_NO_HASH: Final = bytes(_COUNT_AT)
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
    return lambda key: number(new_hash(KEY_TAG + key).digest(), "big")


def place_of(path: int, depth: int) -> bytes:
    """Return the name of the subtree that `path` enters at `depth`: its bits, and how many.

    Of places none of which holds another, names sort as the key paths below them.
    """
    size = (depth + 7) >> 3
    bits = path >> (DEPTH_MAX - depth) << (8 * size - depth)
    return bits.to_bytes(size, "big") + bytes((depth,))


class Bucket(Struct, frozen=True, gc=False):
    """A few keys, in the order of their paths, with their values and the hashes of their leaves.

    It is kept as it is stored: a change cuts out and puts in, and what it does not touch is never
    taken apart.
    """

    depth: int
    """How many bits of their paths all keys share, at least."""
    stored: bytes
    """The stored form."""

    @classmethod
    def empty(cls, depth: int) -> Bucket:
        """Return one of no keys, which is never stored."""
        return cls(depth, _unhashed(b"", b"", [0], b""))

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
        stored = _unhashed(*_joined_columns(marks, leaf_hashes, keys, values))
        return cls(depth, _with_hash(stored, subtree))

    @property
    def hash(self) -> bytes:
        """Of the subtree these keys are."""
        return self.stored[_CRC_BYTES : _CRC_BYTES + DIGEST_BYTES]

    @property
    def count(self) -> int:
        """How many keys it has."""
        return self.stored[_COUNT_AT]

    @property
    def marks(self) -> bytes:
        """The marks, joined."""
        return self.stored[_HEAD_BYTES : self._leaf_hashes_at]

    @property
    def leaf_hashes(self) -> bytes:
        """The leaf hashes, joined."""
        return self.stored[self._leaf_hashes_at : self._sizes_at]

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
        shift, marks = _mark_shift(self.depth), self._split_marks()
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
        stored = self.stored
        count, wanted = stored[_COUNT_AT], mark.to_bytes(_MARK_BYTES, "big")
        end = _HEAD_BYTES + count * _MARK_BYTES
        found = stored.find(wanted, _HEAD_BYTES, end)
        while found >= 0:  # as a rule there is none, and nothing is taken apart
            at, within = divmod(found - _HEAD_BYTES, _MARK_BYTES)
            if not within and self._key(at) == key:
                (value,) = self._blobs(1 + count + at, 2 + count + at)
                return value
            found = stored.find(wanted, found + 1, end)
        return None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield each key with its value."""
        return zip(self.keys, self.values, strict=True)

    def paths(self, path_of: PathOf) -> list[int]:
        """Return the paths of the keys, which are not stored."""
        return [path_of(key) for key in self.keys]

    def with_change(self, path: int, key: bytes, value: bytes | None, suite: Suite) -> Bucket:
        """Return the bucket with another value under a key, None for none; itself if nothing moved.

        Its hash is left open, as more changes may follow: see `hashed`.
        """
        mark = path >> _mark_shift(self.depth) & _MARK_MASK
        stored = self.stored
        count, width = stored[_COUNT_AT], stored[_WIDTH_AT]
        leaves_at = _HEAD_BYTES + count * _MARK_BYTES
        sizes_at = leaves_at + count * DIGEST_BYTES
        blobs_at = sizes_at + (2 * count + 1) * width
        marks = _numbers(count).unpack_from(stored, _HEAD_BYTES)
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
        column = stored[sizes_at:blobs_at]
        sizes = list(column if width == 1 else _numbers(2 * count + 1, width).unpack(column))
        beginning = sizes[0]
        if not (count and key.startswith(stored[blobs_at : blobs_at + beginning])):
            return self._rebuilt(at, (mark, leaf_hash(path, value, suite), key, value), 0)
        tail_at = blobs_at + sum(sizes[: 1 + at])
        value_at = tail_at + sum(sizes[1 + at : 1 + count + at])
        sizes.insert(1 + count + at, len(value))
        sizes.insert(1 + at, len(key) - beginning)
        mark_at, leaf_at = _HEAD_BYTES + at * _MARK_BYTES, leaves_at + at * DIGEST_BYTES
        head, column = _head_and_sizes(count + 1, sizes)
        parts = (
            head,
            stored[_HEAD_BYTES:mark_at],
            mark.to_bytes(_MARK_BYTES, "big"),
            stored[mark_at:leaf_at],
            leaf_hash(path, value, suite),
            stored[leaf_at:sizes_at],
            column,
            stored[blobs_at:tail_at],
            key[beginning:],
            stored[tail_at:value_at],
            value,
            stored[value_at:],
        )
        return Bucket(self.depth, b"".join(parts))

    def _with_value(self, at: int, path: int, value: bytes | None, suite: Suite) -> Bucket:
        """Return the bucket with another value under its key `at`, or without it."""
        if value is None:
            return self._rebuilt(at, None, 1)
        stored, sizes, count = self.stored, list(self._sizes), self.count
        sizes_at, blobs_at = self._sizes_at, self._blobs_at
        start = blobs_at + sum(sizes[: 1 + count + at])
        end = start + sizes[1 + count + at]
        if stored[start:end] == value:
            return self
        sizes[1 + count + at] = len(value)
        leaf_at = self._leaf_hashes_at + at * DIGEST_BYTES
        head, column = _head_and_sizes(count, sizes)
        parts = (
            head,
            stored[_HEAD_BYTES:leaf_at],
            leaf_hash(path, value, suite),
            stored[leaf_at + DIGEST_BYTES : sizes_at],
            column,
            stored[blobs_at:start],
            value,
            stored[end:],
        )
        return Bucket(self.depth, b"".join(parts))

    def _rebuilt(self, at: int, row: tuple[int, bytes, bytes, bytes] | None, gone: int) -> Bucket:
        """Return the bucket with a row, if any, in place of so many at `at`, made anew."""
        marks, leaf_hashes = list(self._split_marks()), list(self.split_leaf_hashes())
        keys, values = self.keys, self.values
        new = [] if row is None else [row]
        marks[at : at + gone] = [mark for mark, _, _, _ in new]
        leaf_hashes[at : at + gone] = [leaf for _, leaf, _, _ in new]
        keys[at : at + gone] = [key for _, _, key, _ in new]
        values[at : at + gone] = [value for _, _, _, value in new]
        if not marks:
            return Bucket.empty(self.depth)
        return Bucket(self.depth, _unhashed(*_joined_columns(marks, leaf_hashes, keys, values)))

    def hashed(self, suite: Suite) -> Bucket:
        """Return the bucket with its hash. It has keys."""
        stored, end = self.stored, DEPTH_MAX - _mark_shift(self.depth)
        count = stored[_COUNT_AT]
        paths: Sequence[int] = _numbers(count).unpack_from(stored, _HEAD_BYTES)
        if len(set(paths)) < count:
            paths, end = self.paths(paths_by(suite)), DEPTH_MAX
        leaf_hashes = _digests(count).unpack_from(stored, _HEAD_BYTES + count * _MARK_BYTES)
        subtree = trie_hash(paths, leaf_hashes, self.depth, end, suite.new_hash)
        return Bucket(self.depth, _with_hash(stored, subtree))

    @classmethod
    def decode(cls, data: bytes, place: bytes) -> Bucket:
        """Read the bucket stored for a place; raises `StorageError`.

        What is not the very bytes that were stored is refused; nothing is hashed.
        """
        cls.read_head(data, place)
        return cls(place[-1], data)

    @staticmethod
    def read_head(data: bytes, place: bytes) -> tuple[bytes, int, int]:
        """Return hash, number of keys and width of a stored bucket, as `decode` does."""
        if len(data) < _HEAD_BYTES:
            raise malformed(place, f"expected at least {_HEAD_BYTES} bytes, got {len(data)}")
        crc, subtree, count, width = _HEAD.unpack_from(data)
        if crc != crc32(memoryview(data)[_CRC_BYTES:]) or width not in _WIDTHS:
            raise malformed(place, "these are not the bytes that were stored")
        return subtree, count, width

    # --- Where its columns are ---

    @property
    def _leaf_hashes_at(self) -> int:
        return _HEAD_BYTES + self.stored[_COUNT_AT] * _MARK_BYTES

    @property
    def _sizes_at(self) -> int:
        return _HEAD_BYTES + self.stored[_COUNT_AT] * (_MARK_BYTES + DIGEST_BYTES)

    @property
    def _blobs_at(self) -> int:
        return self._sizes_at + (2 * self.stored[_COUNT_AT] + 1) * self.stored[_WIDTH_AT]

    @property
    def _sizes(self) -> Sequence[int]:
        """The sizes of what all keys begin with, of what each has beyond it, and of the values."""
        column, width = self.stored[self._sizes_at : self._blobs_at], self.stored[_WIDTH_AT]
        return column if width == 1 else _numbers(len(column) // width, width).unpack(column)

    def _split_marks(self) -> tuple[int, ...]:
        return _numbers(self.stored[_COUNT_AT]).unpack(self.marks)

    def _key(self, at: int) -> bytes:
        (beginning,), (tail,) = self._blobs(0, 1), self._blobs(1 + at, 2 + at)
        return beginning + tail

    def _blobs(self, first: int, after: int) -> list[bytes]:
        sizes, stored, found = self._sizes, self.stored, []
        start = self._blobs_at + sum(sizes[:first])
        for size in sizes[first:after]:
            end = start + size
            found.append(stored[start:end])
            start = end
        return found


def _joined_columns(
    marks: Sequence[int],
    leaf_hashes: Sequence[bytes],
    keys: Sequence[bytes],
    values: Sequence[bytes],
) -> tuple[bytes, bytes, list[int], bytes]:
    """Return marks, leaf hashes, sizes, and keys with values, as a bucket has them."""
    blobs = [*_without_beginning(keys), *values]
    joined_marks = _numbers(len(marks)).pack(*marks)
    return joined_marks, b"".join(leaf_hashes), list(map(len, blobs)), b"".join(blobs)


def _unhashed(marks: bytes, leaf_hashes: bytes, sizes: Sequence[int], blobs: bytes) -> bytes:
    """Return the stored form, with zeros for the hash and the checksum."""
    head, column = _head_and_sizes(len(marks) // _MARK_BYTES, sizes)
    return b"".join((head, marks, leaf_hashes, column, blobs))


def _head_and_sizes(count: int, sizes: Sequence[int]) -> tuple[bytes, bytes]:
    """Return the head of so many keys, with zeros for hash and checksum, and sizes as stored."""
    largest = max(sizes)
    if largest < 1 << 8:
        return _NO_HASH + bytes((count, 1)), bytes(sizes)
    width = 2 if largest < 1 << 16 else 4
    return _NO_HASH + bytes((count, width)), _numbers(len(sizes), width).pack(*sizes)


def _with_hash(unhashed: bytes, subtree: bytes) -> bytes:
    """Return the stored form with its hash, and the checksum."""
    rest = unhashed[_COUNT_AT:]
    crc = crc32(rest, crc32(subtree))
    return b"".join((crc.to_bytes(_CRC_BYTES, "big"), subtree, rest))


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
