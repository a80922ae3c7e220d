"""Hashes of many messages of one length at once. Which hash that is, the caller says.

`hash_many` takes joined messages and gives joined digests: trees hash whole rows by it, without an
object for each leaf. What it gives is what the hash of each message by itself would give.
"""

from __future__ import annotations

from typing import Protocol

from cryptography.hazmat.primitives import hashes

from node.errors import invariant


class Hasher(Protocol):
    """A hash being computed over bytes that arrive in pieces."""

    def update(self, data: bytes, /) -> None:
        """Append `data` to what is hashed."""

    def digest(self) -> bytes:
        """Return the digest of everything so far; more may follow."""


class NewHash(Protocol):
    """Starts a hash, over `data` if given."""

    def __call__(self, data: bytes = b"", /) -> Hasher:
        """Return a hasher that has already taken in `data`."""


class Sm3:
    """SM3 (GB/T 32905) in the shape of `Hasher`.

    `hashlib` offers it only where Python's own OpenSSL was built with it; this library always does.
    """

    __slots__ = ("_state",)

    def __init__(self, data: bytes = b"", /) -> None:
        self._state = hashes.Hash(hashes.SM3())
        self._state.update(data)

    def update(self, data: bytes, /) -> None:
        """Append `data` to what is hashed."""
        self._state.update(data)

    def digest(self) -> bytes:
        """Return the digest of everything so far; more may follow."""
        return self._state.copy().finalize()


def hash_many(new_hash: NewHash, prefix: bytes, items: bytes, size: int) -> bytes:
    """Return the joined digests of `prefix` followed by each of the joined `items`, in order.

    Each item is of `size` bytes, at least one; no items have no digests.
    """
    invariant(size > 0 and len(items) % size == 0, f"{len(items)} bytes are no items of {size}")
    return b"".join(
        [new_hash(prefix + items[at : at + size]).digest() for at in range(0, len(items), size)]
    )
