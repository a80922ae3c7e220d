"""The key-value port: what every store behind it promises. No implementation may live here.

`node.storage.leveldb` and `node.storage.rocksdb` keep the promise on disk, `node.storage.memory` in
memory; one set of contract tests holds all to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol


class WriteBatch:
    """Changes that happen together. For one key the later change wins."""

    __slots__ = ("_changes",)

    def __init__(self) -> None:
        self._changes: dict[bytes, bytes | None] = {}

    def put(self, key: bytes, value: bytes) -> None:
        """Set `key` to `value`."""
        self._changes[key] = value

    def put_all(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Set each key to its value, as `put` does."""
        self._changes.update(pairs)

    def delete(self, key: bytes) -> None:
        """Remove `key`; a key that is not there stays absent."""
        self._changes[key] = None

    def changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield each key once with its new value, None for a deletion."""
        return iter(self._changes.items())

    def __len__(self) -> int:
        return len(self._changes)


class KeyValueView(Protocol):
    """An ordered map from bytes to bytes, to read. Order is that of unsigned bytes.

    Any method may be called from any thread, except that `close` comes after every other call has
    returned. Every method raises `StorageError`, and nothing else, when the store does not keep
    its contract or is closed.
    """

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""

    def scan(
        self, prefix: bytes, *, start: bytes = b"", reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return the keys that begin with `prefix`, with their values, in order.

        `start` is a whole key: iteration begins at it, or at the nearest key past it in the
        direction of travel. Empty means the first key of the prefix, or the last with `reverse`.
        At most `limit` pairs are returned. The pairs are those present when `scan` was called,
        whatever is written before they are read.
        """

    def close(self) -> None:
        """Release it; closing twice is harmless."""


class KeyValueStore(KeyValueView, Protocol):
    """Such a map that can be changed and outlives the process.

    Closing it makes no unsynced batch durable, and ends its views.
    """

    def view(self) -> KeyValueView:
        """Return the map as it is now, whatever is written later.

        Until the view is closed the disk keeps what it shows, replaced or not.
        """

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        """Apply `batch` whole or not at all, even across a crash.

        With `sync` the batch and every batch before it are durable on return. Without it the batch
        outlives the process at once, and a power loss takes it together with those after it: what
        remains is a prefix of the unsynced batches. Where an engine keeps less, its module says so.

        After an error it is unknown whether the batch was applied. The store refuses every later
        write, and only reopening it tells.
        """

    def compact(self, start: bytes, end: bytes) -> None:
        """Give back the disk what was replaced or removed from `start` up to `end`, exclusive.

        What is there stays as it is, and others may read and write meanwhile. It takes as long as
        rewriting the range: whoever may not wait compacts slice by slice.
        """


def scan_bounds(prefix: bytes, start: bytes, *, reverse: bool) -> tuple[bytes, bytes | None]:
    """Return what `scan` covers as [lower, upper); an upper bound of None is the end of the map."""
    lower, upper = prefix, _prefix_end(prefix)
    if start and not reverse:
        lower = max(lower, start)
    elif start:
        past_start = start + b"\x00"  # the smallest key above `start`
        upper = past_start if upper is None else min(upper, past_start)
    return lower, upper


def _prefix_end(prefix: bytes) -> bytes | None:
    """Return the smallest key above every key with `prefix`, or None where there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None
