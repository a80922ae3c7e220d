"""Pages: what a large subtree is made of, as one validator tells another. Nothing is stored so.

The page at *place* p, a string of hexadecimal digits, is the subtree of all keys whose path begins
with p, down to its sixteen *slots*, one for each next digit: four levels of the tree. Who has its
hash from above learns by the page the hashes of what is below it, and fetches that piece by piece.

In memory each subtree is one byte string, so that its length tells what it is:

- 0 bytes: no key;
- 32 bytes: the hash of two keys or more;
- 96 bytes: exactly one key, its leaf (key path || hash(value)) followed by the leaf's hash.

A page in memory has all its 31 subtrees. As it travels it has the slots alone: one byte for the
length of each, then each in order, a leaf without its hash. What is missing is hashed again on
reading, so that a page is only ever taken for the one its parent names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from node.chain.merkle import DIGEST_BYTES
from node.chain.struct import Struct
from node.crypto import domains
from node.crypto.hashing import NewHash
from node.crypto.suite import Suite
from node.errors import ProofError

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
LEAF_TAG: Final = domains.tagged(domains.STATE_LEAF, b"")
"""What is hashed before a key path and the hash of its value."""

NODE_TAG: Final = domains.tagged(domains.STATE_NODE, b"")
"""What is hashed before the hashes of two subtrees."""


def lone_leaf(leaf: bytes, suite: Suite) -> bytes:
    """Return the subtree of one key, given key path || hash(value)."""
    return leaf + suite.new_hash(LEAF_TAG + leaf).digest()


def has_more_keys(subtree: bytes) -> bool:
    """Say whether a subtree has two keys or more."""
    return len(subtree) == DIGEST_BYTES


def hash_of(subtree: bytes) -> bytes:
    """Return the hash of a subtree."""
    return subtree[-DIGEST_BYTES:] or EMPTY


def first_path(place: str) -> int:
    """Return the number of the lowest key path below a place, hexadecimal digits."""
    return int(place.ljust(2 * DIGEST_BYTES, "0"), 16)


class Page(Struct, frozen=True, gc=False):
    """Four levels of the tree: `subtrees[1]` is all of it, the last sixteen are the slots."""

    subtrees: tuple[bytes, ...]

    @property
    def top(self) -> bytes:
        """All that is below the place of this page: what the page above has in its slot."""
        return self.subtrees[TOP]

    @classmethod
    def of_slots(cls, slots: Sequence[bytes], suite: Suite) -> Page:
        """Return the page with these sixteen subtrees for its slots; hashes what is above them."""
        new_hash = suite.new_hash
        row = subtrees = list(slots)
        while len(row) > 1:
            pairs = zip(row[::2], row[1::2], strict=True)
            row = [_above(left, right, new_hash) for left, right in pairs]
            subtrees = row + subtrees
        return cls((b"", *subtrees))

    def encode(self) -> bytes:
        """Return the form in which it travels."""
        slots = self.subtrees[SLOTS:]
        sizes = bytes(map(len, slots))
        if _LONE_LEAF_BYTES in sizes:
            slots = tuple([slot[:LEAF_BYTES] for slot in slots])
        return sizes + b"".join(slots)

    @classmethod
    def decode(cls, data: bytes, place: str, suite: Suite) -> Page:
        """Read the page of `place`; raises `ProofError` (`state-page`)."""
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
                    raise _malformed(place, f"slot {len(row)} cannot hold {leaf.hex()}")
                row.append(lone_leaf(leaf, suite))
            else:
                row.append(b"")
        if len(data) != end:
            raise _malformed(place, f"expected {end} bytes, got {len(data)}")
        return cls.of_slots(row, suite)


def _above(left: bytes, right: bytes, new_hash: NewHash) -> bytes:
    """Return the subtree above two: what there is if only one has a key, and no more than one."""
    if left and right:
        return new_hash(NODE_TAG + left[-DIGEST_BYTES:] + right[-DIGEST_BYTES:]).digest()
    if len(left) == DIGEST_BYTES:
        return new_hash(NODE_TAG + left + EMPTY).digest()
    if len(right) == DIGEST_BYTES:
        return new_hash(NODE_TAG + EMPTY + right).digest()
    return left or right


def _malformed(place: str, problem: str) -> ProofError:
    return ProofError("state-page", f"page {place or 'root'}: {problem}")
