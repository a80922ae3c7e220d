"""The key-value port on LevelDB: the only module that imports the binding.

Foreign exceptions die here, as `StorageError` with cause and fix. Four traits of LevelDB and its
binding shape the code and its use:

- Replaying its own log, LevelDB by default drops what is damaged and goes on behind the gap. Here
  it refuses to open instead, and verifies the checksum of every block it reads.
- When it starts a new log file it does not sync the old one, so a synced batch could survive a
  power loss that an earlier, unsynced batch does not. `write` syncs the older logs first.
- The binding's ranged iterator returns nothing for a backward range that holds only its first
  key. Scans use the raw iterator.
- A page of zeros in its own log it takes for the end of that 32 KiB block and goes on behind it. So
  after a power loss (not after the death of the process) unsynced batches may lack one in their
  middle and nobody notices. Batches that must not have a gap are written with `sync`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final

import plyvel

from node.errors import StorageError
from node.storage.disk_engine import EngineOptions, FailStop, damaged, in_use, refused_by_disk
from node.storage.filesystem import sync_path
from node.storage.kv import WriteBatch, scan_bounds

_FOREIGN_ERRORS: Final = (plyvel.Error, OSError, RuntimeError)  # the last: the store is closed


class LevelDBView:
    """A `KeyValueView` of a database, or of one of its snapshots: the binding reads both alike."""

    def __init__(self, database: Any, path: Path) -> None:  # noqa: ANN401 - the binding has no types
        self._database = database
        self._path = path

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        try:  # spelled out: entering a context manager costs as much as the reading
            value: bytes | None = self._database.get(key, verify_checksums=True)
        except _FOREIGN_ERRORS as error:
            raise _explain(error, self._path) from error
        return value

    def scan(
        self, prefix: bytes, *, start: bytes = b"", reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs under `prefix` in order, as `KeyValueStore.scan` promises."""
        lower, upper = scan_bounds(prefix, start, reverse=reverse)
        with _foreign_errors_explained(self._path):
            # An iterator of LevelDB sees the store as it was when the iterator was made: now.
            cursor = self._database.raw_iterator(verify_checksums=True)
        return islice(self._pairs(cursor, lower, upper, reverse=reverse), limit)

    def close(self) -> None:
        """Release it; an iterator still in use ends with `StorageError`."""
        self._database.close()

    def _pairs(
        self,
        cursor: Any,  # noqa: ANN401 - the binding has no types
        lower: bytes,
        upper: bytes | None,
        *,
        reverse: bool,
    ) -> Iterator[tuple[bytes, bytes]]:
        with _foreign_errors_explained(self._path), closing(cursor):
            if reverse:
                _seek_below(cursor, upper)
            else:
                cursor.seek(lower)
            while cursor.valid():
                key, value = cursor.item()
                if key < lower or (upper is not None and key >= upper):
                    return
                yield key, value
                if reverse:
                    cursor.prev()
                else:
                    cursor.next()


class LevelDBStore(LevelDBView):
    """A `KeyValueStore` in one directory, which one process at a time may open."""

    def __init__(self, database: Any, path: Path) -> None:  # noqa: ANN401 - the binding has no types
        super().__init__(database, path)
        self._fail_stop = FailStop(path)
        self._unsynced = False

    @classmethod
    def open(
        cls, path: Path, *, create: bool, options: EngineOptions | None = None
    ) -> LevelDBStore:
        """Open the store at `path`; with `create` an absent one is made, in an existing parent.

        Raises `StorageError`: in use by a process (GC-3002), damaged (GC-3003), disk full
        (GC-3004), or any other refusal of the disk (GC-3001).
        """
        options = options or EngineOptions()
        with _foreign_errors_explained(path):
            database = plyvel.DB(
                os.fspath(path),
                create_if_missing=create,
                paranoid_checks=True,
                bloom_filter_bits=options.bloom_bits_per_key,
                lru_cache_size=options.cache_bytes,
                write_buffer_size=options.write_buffer_bytes,
                max_file_size=options.table_bytes,
                max_open_files=options.open_files_max,
                # Digests and signatures do not shrink: it saves 8 % of the disk, and three times
                # the CPU time that rewriting tables takes without it.
                compression=None,
            )
            if create:
                sync_path(path.parent)  # LevelDB syncs its directory, but not that directory's name
        return cls(database, path)

    def view(self) -> LevelDBView:
        """Return the store as it is now; what it shows is not compacted away until closed."""
        with _foreign_errors_explained(self._path):
            return LevelDBView(self._database.snapshot(), self._path)

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        """Apply `batch` whole or not at all, as `KeyValueStore.write` promises."""
        with self._fail_stop.writing(), _foreign_errors_explained(self._path):
            self._write(batch, sync=sync)

    def compact(self, start: bytes, end: bytes) -> None:
        """Rewrite the tables of a range without what nobody reads any more."""
        with _foreign_errors_explained(self._path):
            self._database.compact_range(start=start, stop=end)

    def _write(self, batch: WriteBatch, *, sync: bool) -> None:
        if sync and self._unsynced:
            for log in self._path.glob("*.log"):
                with suppress(FileNotFoundError):  # its content has just become a synced table
                    sync_path(log)
        foreign = self._database.write_batch(sync=sync)
        put = foreign.put
        # In order: each is put into a list that is sorted, next to the one before it. That saves a
        # quarter of the write, and costs half as much.
        for key, value in sorted(batch.changes()):
            if value is None:
                foreign.delete(key)
            else:
                put(key, value)
        foreign.write()
        self._unsynced = not sync


def _seek_below(cursor: Any, upper: bytes | None) -> None:  # noqa: ANN401 - the binding has no types
    """Put `cursor` on the last key below `upper`; None means on the last key of all."""
    if upper is not None:
        cursor.seek(upper)
        if cursor.valid():
            cursor.prev()
            return
    cursor.seek_to_last()


@contextmanager
def _foreign_errors_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except _FOREIGN_ERRORS as error:
        raise _explain(error, path) from error


def _explain(error: Exception, path: Path) -> StorageError:
    """Say what a failure of the binding means; its exceptions carry LevelDB's text as bytes."""
    cause = error.args[0] if error.args else ""
    text = cause.decode(errors="replace") if isinstance(cause, bytes) else str(error)
    if text.startswith("IO error: lock "):
        return in_use(path)
    if isinstance(error, plyvel.CorruptionError):
        return damaged(path, text)
    return refused_by_disk(path, text)
