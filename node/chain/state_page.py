"""Pages: how the state tree is stored, four of its levels together. Walking it is not done here.

The page at *place* p, a string of hexadecimal digits, holds the subtree of all keys whose path
begins with p, down to its sixteen *slots*, one for each next digit. There is a page wherever two
keys share the digits of its place, and one at the root, the empty place, if there is any key at
all. So the pages, too, depend on the content of the map alone, and an update replaces them where
they are.

In memory each subtree is one byte string, so that its length tells what it is:

- 0 bytes: no key;
- 32 bytes: the hash of two keys or more;
- 96 bytes: exactly one key, its leaf (key path || hash(value)) followed by the leaf's hash.

A page in memory has all its 31 subtrees. Stored it has the slots alone: one byte for the length of
each, then each in order, a leaf without its hash. What is missing is hashed again on reading, so
that a page is only ever taken for the one its parent names; who keeps it in memory saves that.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from node.chain.merkle import DIGEST_BYTES
from node.chain.struct import Struct
from node.crypto import domains
from node.crypto.hashing import NewHash
from node.crypto.suite import Suite
from node.errors import StorageError

EMPTY: Final = bytes(DIGEST_BYTES)
"""The root of the map without keys, and the hash of every subtree without keys."""

DEPTH_MAX: Final = 8 * DIGEST_BYTES
PAGE_LEVELS: Final = 4
"""What one hexadecimal digit of a key path decides."""

SLOTS: Final = 1 << PAGE_LEVELS
TOP: Final = 1
"""Subtrees of a page are numbered from the top: 2n and 2n + 1 are below n, the last are slots."""

LEAF_BYTES: Final = 2 * DIGEST_BYTES

_LONE_LEAF_BYTES: Final = LEAF_BYTES + DIGEST_BYTES
_DIGITS: Final = "0123456789abcdef"
_PLACE_DIGITS_MAX: Final = DEPTH_MAX // PAGE_LEVELS - 1
_LEAF_TAG: Final = domains.tagged(domains.STATE_LEAF, b"")
_NODE_TAG: Final = domains.tagged(domains.STATE_NODE, b"")


def lone_leaf(leaf: bytes, suite: Suite) -> bytes:
    """Return the subtree of one key, given key path || hash(value)."""
    return leaf + suite.new_hash(_LEAF_TAG + leaf).digest()


def has_more_keys(subtree: bytes) -> bool:
    """Say whether a subtree has two keys or more."""
    return len(subtree) == DIGEST_BYTES


def hash_of(subtree: bytes) -> bytes:
    """Return the hash of a subtree."""
    return subtree[-DIGEST_BYTES:] or EMPTY


class Page(Struct, frozen=True, gc=False):
    """Four levels of the tree: `subtrees[1]` is all of it, the last sixteen are the slots."""

    subtrees: tuple[bytes, ...]

    @property
    def top(self) -> bytes:
        """All that is below the place of this page: what the page above has in its slot."""
        return self.subtrees[TOP]

    def with_slots(self, changed: Mapping[int, bytes], suite: Suite) -> Page:
        """Return the page with these slots for its own; hashes each subtree above them once.

        Without any it is the same object.
        """
        if not changed:
            return self
        subtrees, touched = list(self.subtrees), 0
        for slot, subtree in changed.items():
            subtrees[SLOTS + slot] = subtree
            touched |= 1 << slot
        new_hash = suite.new_hash
        for node in _nodes_above(touched):
            subtrees[node] = _above(subtrees[2 * node], subtrees[2 * node + 1], new_hash)
        return Page(tuple(subtrees))

    def encode(self) -> bytes:
        """Return the stored form."""
        slots = self.subtrees[SLOTS:]
        sizes = bytes(map(len, slots))
        if _LONE_LEAF_BYTES in sizes:
            slots = tuple([slot[:LEAF_BYTES] for slot in slots])
        return sizes + b"".join(slots)

    @classmethod
    def decode(cls, data: bytes, place: str, suite: Suite) -> Page:
        """Read the page stored for `place`; raises `StorageError`."""
        row: list[bytes] = []
        end = SLOTS
        for digit, size in zip(_DIGITS, data, strict=False):  # too few of either fail below
            start = end
            if size == DIGEST_BYTES and len(place) < _PLACE_DIGITS_MAX:
                end += DIGEST_BYTES
                row.append(data[start:end])
            elif size:
                end += LEAF_BYTES
                leaf = data[start:end]
                if size != _LONE_LEAF_BYTES or not leaf.hex().startswith(place + digit):
                    raise malformed(place, f"slot {len(row)} cannot hold {leaf.hex()}")
                row.append(lone_leaf(leaf, suite))
            else:
                row.append(b"")
        if len(data) != end:
            raise malformed(place, f"expected {end} bytes, got {len(data)}")
        new_hash, subtrees = suite.new_hash, row
        while len(row) > 1:
            pairs = zip(row[::2], row[1::2], strict=True)
            row = [_above(left, right, new_hash) for left, right in pairs]
            subtrees = row + subtrees
        return Page((b"", *subtrees))


EMPTY_PAGE: Final = Page((b"",) * 2 * SLOTS)
"""The page without keys, which is never stored."""


def _above(left: bytes, right: bytes, new_hash: NewHash) -> bytes:
    """Return the subtree above two: what there is if only one has a key, and no more than one."""
    if left and right:
        return new_hash(_NODE_TAG + left[-DIGEST_BYTES:] + right[-DIGEST_BYTES:]).digest()
    if len(left) == DIGEST_BYTES:
        return new_hash(_NODE_TAG + left + EMPTY).digest()
    if len(right) == DIGEST_BYTES:
        return new_hash(_NODE_TAG + EMPTY + right).digest()
    return left or right


@lru_cache(maxsize=4_096)
def _nodes_above(slots: int) -> tuple[int, ...]:
    """Return the nodes above a set of slots, lower ones first; bit s stands for slot s."""
    touched = slots << SLOTS
    for node in range(SLOTS - 1, 0, -1):
        if touched >> 2 * node & 3:
            touched |= 1 << node
    return tuple(node for node in range(SLOTS - 1, 0, -1) if touched >> node & 1)


def malformed(place: str, problem: str) -> StorageError:
    """Return the error for a stored page that cannot be what it should be."""
    return StorageError(
        f"state page {place or 'root'}: {problem}",
        code="GC-3003",
        fix="the database is damaged: remove it and start again to rebuild it",
    )
