"""The key-value port in memory, for simulation and tests. Nothing durable may live here.

It keeps the contract of `node.storage.kv` and can also die: it remembers which batches were not
yet synced, and `crash` answers with the store a restarted process would find.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterator

from node.errors import StorageError, invariant
from node.storage.kv import WriteBatch, scan_bounds


class MemoryStore:
    """A `KeyValueStore` without a disk. A new one is empty."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []  # the keys of _values, in order
        self._undo: list[dict[bytes, bytes | None]] = []  # per unsynced batch: the values it hid
        self._closed = False
        self._origin: MemoryStore | None = None  # whose view this is
        self._lock = threading.Lock()

    @property
    def is_closed(self) -> bool:
        """Whether every further call is refused."""
        return self._closed

    @property
    def unsynced_batches(self) -> int:
        """How many of the latest batches a crash may take away."""
        return len(self._undo)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        self._refuse_if_closed()
        return self._values.get(key)

    def scan(
        self, prefix: bytes, *, start: bytes = b"", reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs under `prefix` in order, as `KeyValueStore.scan` promises."""
        self._refuse_if_closed()
        lower, upper = scan_bounds(prefix, start, reverse=reverse)
        with self._lock:
            first = bisect.bisect_left(self._keys, lower)
            end = len(self._keys) if upper is None else bisect.bisect_left(self._keys, upper)
            if limit is not None and reverse:
                first = max(first, end - limit)
            elif limit is not None:
                end = min(end, first + limit)
            pairs = [(key, self._values[key]) for key in self._keys[first:end]]
        return self._while_open(reversed(pairs) if reverse else iter(pairs))

    def view(self) -> MemoryStore:
        """Return the pairs as they are now: a copy, which ends with this store."""
        self._refuse_if_closed()
        copy = MemoryStore()
        copy._origin = self
        with self._lock:
            copy._values, copy._keys = self._values.copy(), self._keys.copy()
        return copy

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        """Apply `batch`; with `sync`, nothing written so far can be lost any more."""
        self._refuse_if_closed()
        with self._lock:
            self._undo.append({key: self._values.get(key) for key, _ in batch.changes()})
            for key, value in batch.changes():
                self._set(key, value)
            if sync:
                self._undo.clear()

    def compact(self, start: bytes, end: bytes) -> None:  # noqa: ARG002
        """Do nothing: what is replaced or removed takes no memory."""
        self._refuse_if_closed()

    def close(self) -> None:
        """Refuse every later call except `crash`."""
        self._closed = True

    def crash(self, *, keep: int) -> MemoryStore:
        """Return what a restart finds when the first `keep` unsynced batches reached the disk.

        This store is closed; `keep` is capped at `unsynced_batches`, which is also what a restart
        of the process alone finds. All that the new store holds is durable.
        """
        invariant(keep >= 0, f"expected a count of batches to keep, got {keep}")
        self.close()
        restarted = MemoryStore()
        restarted._values, restarted._keys = self._values.copy(), self._keys.copy()
        for hidden in reversed(self._undo[keep:]):
            for key, value in hidden.items():
                restarted._set(key, value)
        return restarted

    def _set(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            if self._values.pop(key, None) is not None:
                del self._keys[bisect.bisect_left(self._keys, key)]
            return
        if key not in self._values:
            bisect.insort(self._keys, key)
        self._values[key] = value

    def _while_open(self, pairs: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        for pair in pairs:
            self._refuse_if_closed()
            yield pair

    def _refuse_if_closed(self) -> None:
        if self._closed or (self._origin is not None and self._origin.is_closed):
            raise StorageError("the store is closed")
