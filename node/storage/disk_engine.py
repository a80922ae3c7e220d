"""What the engines on disk share: options, refusals, and that none writes after a failed write.

How one engine keeps the contract of `node.storage.kv` stands in its own module.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from node.errors import StorageError


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What one process may tune; nothing here changes what is stored.

    Together they bound the memory of an engine: the cache, twice the write buffer, and what it
    keeps of each open table.
    """

    bloom_bits_per_key: int = 10
    """Filter per table, so that looking up an absent key reads no block: 10 bits err in 1%."""

    cache_bytes: int = 32 * 2**20
    """Blocks kept in memory, beside the operating system's own cache."""

    write_buffer_bytes: int = 32 * 2**20
    """Written data kept in memory before it becomes a sorted table. Up to twice this is held, and
    as much is replayed when the store opens. Nearly all keys are hashes, so each such table is
    merged with all that lies below: with half of this, engines write half as much again."""

    table_bytes: int = 8 * 2**20
    """Size of one sorted table: a ledger grows to many of them."""

    open_files_max: int = 500
    """File descriptors the engine may hold."""


class FailStop:
    """Lets one writer in at a time, and none any more after one failed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._failure: StorageError | None = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold everybody else off; raises `StorageError` where a write failed before."""
        with self._lock:
            if self._failure is not None:
                raise StorageError(
                    f"{self._path}: refused after a failed write: {self._failure}",
                    fix="stop the node, repair what failed and start it again",
                ) from self._failure
            try:
                yield
            except StorageError as error:
                self._failure = error
                raise


def in_use(path: Path) -> StorageError:
    """Return the refusal of a database that a running process has open (GC-3002)."""
    return StorageError(
        f"{path}: the database is in use by a running process",
        code="GC-3002",
        fix="stop the other process, or give this node a directory of its own",
    )


def damaged(path: Path, text: str) -> StorageError:
    """Return the refusal of a damaged database (GC-3003); `text` is the engine's."""
    return StorageError(
        f"{path}: the database is damaged: {text}",
        code="GC-3003",
        fix="move the directory away; the node rebuilds it from the other validators",
    )


def refused_by_disk(path: Path, text: str) -> StorageError:
    """Return what an engine's words for a failing disk mean: a full one (GC-3004) or any other."""
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return StorageError(
            f"{path}: the disk is full: {text}",
            code="GC-3004",
            fix="free space here and start the node again; nothing synced is lost",
        )
    return StorageError(f"{path}: {text}", fix="check the path, its permissions and the disk")
