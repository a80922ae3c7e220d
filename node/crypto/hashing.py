"""Hashes of many messages at once. Which hash that is, the caller says.

`hash_many` takes joined messages and gives joined digests: trees hash whole rows by it, without an
object for each leaf. `hash_nodes` hashes what is above leaves in any shape, level by level. What
they give is what the hash of each message by itself gives: that is the reference, and what runs
where messages are few or long, or no kernel was loaded (`load_kernel`).
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

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
    """SM3 (GB/T 32905) in the shape of `Hasher`, by a library that always has it."""

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

    def copy(self) -> Sm3:
        """Return another that has taken in the same."""
        other = Sm3()
        other._state = self._state.copy()
        return other


# GB/T 32905-2016 appendix A: both examples.
_SM3_EXAMPLES: Final = {
    b"abc": "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
    b"abcd" * 16: "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732",
}


class _Copied(Hasher, Protocol):
    def copy(self) -> _Copied: ...


def _blank_sm3() -> _Copied:
    """Return SM3 over nothing: `hashlib`'s where Python's own OpenSSL has it, and it is right."""
    try:
        blank = hashlib.new("sm3")
        right = all(hashlib.new("sm3", m).hexdigest() == d for m, d in _SM3_EXAMPLES.items())
    except ValueError:
        return Sm3()
    return blank if right else Sm3()


_BLANK_SM3: Final = _blank_sm3()


def new_sm3(data: bytes = b"", /) -> Hasher:
    """Start SM3 over `data`. A copy of a blank one takes a third of the time a new one does."""
    started = _BLANK_SM3.copy()
    started.update(data)
    return started


@dataclass(frozen=True, slots=True)
class HashFunction:
    """A hash, of one message or of many. `new` starts it over bytes that arrive in pieces."""

    new: NewHash

    def __call__(self, data: bytes, /) -> bytes:
        """Return the digest of `data`."""
        return self.new(data).digest()

    def many(self, prefix: bytes, items: bytes, size: int) -> bytes:
        """Return the joined digests of `prefix` and each of the joined `items`, as `hash_many`."""
        return hash_many(self.new, prefix, items, size)

    def each(self, prefix: bytes, items: Sequence[bytes]) -> list[bytes]:
        """Return the digest of `prefix` and each item, in order; fast where many are as long."""
        return hash_each(self.new, prefix, items)


HashMany = Callable[[bytes, bytes, int], bytes]
"""Takes a prefix, joined items and the bytes of one, and gives what `hash_many` does."""

KERNEL_ITEMS_MIN: Final = 16
"""Messages from which a kernel always pays.

Measured (x86-64, SHA-256): as fast as one by one at 4 messages with AVX-512, at 5 with AVX2, at 11
with SSE2 alone.
"""

KERNEL_BYTES_MAX: Final = 1_024
"""Longest items that kernels take. Of longer ones `hashlib` wastes little time between messages."""

HashNodes = Callable[[bytes, bytes, bytes], bytes]
"""Takes a prefix, known digests and pairs, and gives what `hash_nodes` does."""

DIGEST_BYTES: Final = 32
"""Of the digests that `hash_nodes` takes and gives."""

REFERENCE: Final = "i"
"""How `array` names the type of a reference of `hash_nodes`: a signed number of 32 bits."""

_kernels: Final[dict[NewHash, HashMany]] = {}
_node_kernels: Final[dict[NewHash, HashNodes]] = {}


def load_kernel(new_hash: NewHash) -> bool:
    """Let `hash_many` use a compiled kernel for this hash in this process, and tell whether it can.

    It cannot where numba is not installed (extra `[kernels]`), or nothing compiled can be kept.
    Loading takes half a second of the processor, the first time ever five more, and 140 MB of
    memory: it is for processes that hash by the million. Others hash one by one, with the same
    results. May run on a thread of its own.
    """
    try:
        from node.crypto import hashing_kernels  # noqa: PLC0415 - a third of a second
    except (ImportError, RuntimeError):
        return False
    known = {
        hashlib.sha256: (hashing_kernels.sha256_many, hashing_kernels.sha256_nodes),
        new_sm3: (hashing_kernels.sm3_many, hashing_kernels.sm3_nodes),
    }
    if new_hash not in known:
        return False
    kernel, node_kernel = known[new_hash]
    sample = bytes(range(256)) * 17
    for size in (32, 64, 136):  # also compiles it
        same = kernel(b"\x01", sample, size) == _one_by_one(new_hash, b"\x01", sample, size)
        invariant(same, f"the kernel of {new_hash} hashes otherwise than the hash itself")
    pairs = array(REFERENCE, (0, 1, -1, 2, -2, -1)).tobytes()
    digests = sample[: 3 * DIGEST_BYTES]
    same = node_kernel(b"\x01", digests, pairs) == _nodes_in_turn(new_hash, b"\x01", digests, pairs)
    invariant(same, f"the kernel of {new_hash} hashes nodes otherwise than the hash itself")
    _kernels[new_hash] = kernel
    _node_kernels[new_hash] = node_kernel
    return True


def has_kernel(new_hash: NewHash) -> bool:
    """Say whether many are hashed by a kernel in this process."""
    return new_hash in _kernels and new_hash in _node_kernels


def hash_many(new_hash: NewHash, prefix: bytes, items: bytes, size: int) -> bytes:
    """Return the joined digests of `prefix` followed by each of the joined `items`, in order.

    Each item is of `size` bytes, at least one; no items have no digests.
    """
    invariant(size > 0 and len(items) % size == 0, f"{len(items)} bytes are no items of {size}")
    if size <= KERNEL_BYTES_MAX and len(items) >= KERNEL_ITEMS_MIN * size:
        many = _kernels.get(new_hash)
        if many is not None:
            return many(prefix, items, size)
    return _one_by_one(new_hash, prefix, items, size)


def hash_each(new_hash: NewHash, prefix: bytes, items: Sequence[bytes]) -> list[bytes]:
    """Return the digest of `prefix` followed by each item, of any length, in order."""
    if new_hash not in _kernels or len(items) < KERNEL_ITEMS_MIN:
        return [new_hash(prefix + item).digest() for item in items]
    by_size: dict[int, list[int]] = {}
    for index, item in enumerate(items):
        by_size.setdefault(len(item), []).append(index)
    digests = [b""] * len(items)
    for size, indexes in by_size.items():
        if size:
            row = hash_many(new_hash, prefix, b"".join([items[index] for index in indexes]), size)
            bytes_each = len(row) // len(indexes)
            for index, at in zip(indexes, range(0, len(row), bytes_each), strict=True):
                digests[index] = row[at : at + bytes_each]
        else:
            for index in indexes:
                digests[index] = new_hash(prefix).digest()
    return digests


def hash_nodes(new_hash: NewHash, prefix: bytes, known: bytes, pairs: bytes) -> bytes:
    """Return the joined digests of `prefix` followed by the two digests of each pair, in order.

    Pairs are pairs of references (`REFERENCE`, in the order of bytes that the machine has): from 0
    up to one of the joined `known` digests, -1 and down to those of the pairs, all before its own.
    """
    sizes = len(known) % DIGEST_BYTES, len(pairs) % (2 * array(REFERENCE).itemsize)
    invariant(sizes == (0, 0), "what is known and what is to be hashed are whole")
    kernel = _node_kernels.get(new_hash, partial(_nodes_in_turn, new_hash))
    return kernel(prefix, known, pairs)


def _nodes_in_turn(new_hash: NewHash, prefix: bytes, known: bytes, pairs: bytes) -> bytes:
    references = array(REFERENCE)
    references.frombytes(pairs)
    below = [known[at : at + DIGEST_BYTES] for at in range(0, len(known), DIGEST_BYTES)]
    digests: list[bytes] = []
    for left, right in zip(references[::2], references[1::2], strict=True):
        invariant(min(left, right) >= ~len(digests) + 1, "a pair is of what comes before it")
        invariant(max(left, right) < len(below), "a pair is of what is known")
        pair = [digests[~at] if at < 0 else below[at] for at in (left, right)]
        digests.append(new_hash(prefix + pair[0] + pair[1]).digest())
    return b"".join(digests)


def _one_by_one(new_hash: NewHash, prefix: bytes, items: bytes, size: int) -> bytes:
    if new_hash is new_sm3:
        return _sm3_one_by_one(prefix, items, size)
    return b"".join(
        [new_hash(prefix + items[at : at + size]).digest() for at in range(0, len(items), size)]
    )


def _sm3_one_by_one(prefix: bytes, items: bytes, size: int) -> bytes:
    """Return the same by SM3: a tenth sooner, for the prefix is taken in once."""
    started = _BLANK_SM3.copy()
    started.update(prefix)
    digests = []
    for at in range(0, len(items), size):
        one = started.copy()
        one.update(items[at : at + size])
        digests.append(one.digest())
    return b"".join(digests)
