"""The key-value port on RocksDB, for where LevelDB's binding has no wheel: the one importer of it.

Foreign exceptions die here, as `StorageError` with cause and fix. Traits of RocksDB and of its
binding, rocksdict, that shape the code and its use:

- The binding holds the interpreter's lock in every call: no other thread runs while RocksDB waits
  for a disk. So it never syncs: batches reach the operating system with `write`, and the logs are
  synced from here, where the lock is let go. They have a folder of their own, which is short.
- The stored options of an existing database win over those given, unless these are given a second
  time for the column family `default`: memory would not be bounded as told.
- Opening makes all missing folders, those above included, even where nothing may be made.
- Its snapshots are none for iterators, which see what is written later; but each iterator sees the
  database as it was when it was made. So a view is one iterator, and a scan a view of its own.
- `items` ends at damage as if at the end. Views use the raw iterator, and ask it why it ended.
- An iterator keeps the database open, and locked, after `close`. All are let go first.
- The binding raises `Exception` itself for whatever RocksDB refuses; only its text tells more.
- It takes a folder of LevelDB for its own, and rewrites it so that LevelDB reads it no more. Who
  opens a folder finds out first who made it, as `node.assembly.engines` does.
- Replaying its logs, RocksDB by default ends at the first damage and drops what follows. Here it
  takes a torn end of a log, and refuses any other damage.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final, Self
from weakref import WeakSet

import rocksdict

from node.errors import StorageError
from node.storage.disk_engine import EngineOptions, FailStop, damaged, in_use, refused_by_disk
from node.storage.filesystem import sync_path
from node.storage.kv import WriteBatch, scan_bounds

_CURRENT_NAME: Final = "CURRENT"  # names the manifest: where it is there is a database
_LOGS_NAME: Final = "log"
_LOCKED: Final = ("While lock file: ", "lock hold by current process")
_INFO_LOG_BYTES: Final = 2**20
_INFO_LOGS_KEPT: Final = 2
_MANIFEST_BYTES: Final = 4 * 2**20
_MANIFEST_PREALLOCATION_BYTES: Final = 2**16
_COMPACTING_THREADS: Final = 2
_READ_AHEAD_PAIRS: Final = 64


class RocksDBView:
    """A `KeyValueView` of the database as it was when this was made, by one iterator.

    The iterator holds every file that there was: until it is closed, the disk keeps them.
    """

    def __init__(self, cursor: rocksdict.RdictIter, path: Path) -> None:
        self._cursor: rocksdict.RdictIter | None = cursor  # never in a local: `close` ends it
        self._path = path
        self._lock = threading.Lock()

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        found = self._read(key, None, reverse=False, count=1)
        return found[0][1] if found and found[0][0] == key else None

    def scan(
        self, prefix: bytes, *, start: bytes = b"", reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs under `prefix` in order, as `KeyValueStore.scan` promises."""
        self._opened()
        lower, upper = scan_bounds(prefix, start, reverse=reverse)
        return islice(self._pairs(lower, upper, reverse=reverse), limit)

    def close(self) -> None:
        """Release it; a scan still in use ends with `StorageError`."""
        self._cursor = None

    def _pairs(
        self, lower: bytes, upper: bytes | None, *, reverse: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        count = 1  # who wants one pair does not pay for more
        while pairs := self._read(lower, upper, reverse=reverse, count=count):
            for pair in pairs:
                self._opened()
                yield pair
            last = pairs[-1][0]
            if reverse:
                upper = last
            else:
                lower = last + b"\x00"
            count = min(2 * count, _READ_AHEAD_PAIRS)

    def _read(
        self, lower: bytes, upper: bytes | None, *, reverse: bool, count: int
    ) -> list[tuple[bytes, bytes]]:
        """Return the first `count` pairs of a range, or the last ones backwards."""
        pairs: list[tuple[bytes, bytes]] = []
        with self._lock, _foreign_errors_explained(self._path):
            if reverse:
                self._seek_below(upper)
            else:
                self._opened().seek(lower)
            while len(pairs) < count and (key := self._opened().key()) is not None:
                if key < lower or (upper is not None and key >= upper):
                    return pairs
                pairs.append((key, self._opened().value()))
                if reverse:
                    self._opened().prev()
                else:
                    self._opened().next()
            self._opened().status()  # raises where that was not the end, but damage
        return pairs

    def _seek_below(self, upper: bytes | None) -> None:
        """Go to the last key below `upper`; None means to the last key of all."""
        if upper is None:
            self._opened().seek_to_last()
            return
        self._opened().seek_for_prev(upper)
        if self._opened().key() == upper:
            self._opened().prev()

    def _opened(self) -> rocksdict.RdictIter:
        if self._cursor is None:
            raise _closed(self._path)
        return self._cursor


class RocksDBStore:
    """A `KeyValueStore` in one directory, which one process at a time may open."""

    def __init__(self, database: rocksdict.Rdict, path: Path) -> None:
        self._database: rocksdict.Rdict | None = database
        self._path = path
        self._views: WeakSet[RocksDBView] = WeakSet()  # each keeps the database open
        self._fail_stop = FailStop(path)
        self._logs = path / _LOGS_NAME
        self._durable_logs: frozenset[str] = frozenset()  # whose names survive a power loss

    @classmethod
    def open(cls, path: Path, *, create: bool, options: EngineOptions | None = None) -> Self:
        """Open the store at `path`; with `create` an absent one is made, in an existing parent.

        Raises `StorageError`: in use by a process (GC-3002), damaged (GC-3003), disk full
        (GC-3004), or any other refusal of the disk (GC-3001).
        """
        foreign = _foreign_options(options or EngineOptions(), path, create=create)
        if not create and not (path / _CURRENT_NAME).exists():
            raise refused_by_disk(path, "the database does not exist")
        with _foreign_errors_explained(path):
            if create:
                path.mkdir(exist_ok=True)
            database = rocksdict.Rdict(os.fspath(path), foreign, {"default": foreign})
            if create:
                sync_path(path)
                sync_path(path.parent)
        return cls(database, path)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        try:  # spelled out: entering a context manager costs as much as the reading
            value: bytes | None = self._opened().get(key)
        except Exception as error:
            raise _explain(error, self._path) from error
        return value

    def scan(
        self, prefix: bytes, *, start: bytes = b"", reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return the pairs under `prefix` in order, as `KeyValueStore.scan` promises."""
        return self.view().scan(prefix, start=start, reverse=reverse, limit=limit)

    def view(self) -> RocksDBView:
        """Return the store as it is now; the files of now stay on the disk until it is closed."""
        with _foreign_errors_explained(self._path):
            view = RocksDBView(self._opened().iter(), self._path)
        self._views.add(view)
        return view

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        """Apply `batch` whole or not at all, as `KeyValueStore.write` promises."""
        with self._fail_stop.writing(), _foreign_errors_explained(self._path):
            foreign = rocksdict.WriteBatch(raw_mode=True)
            for key, value in batch.changes():
                if value is None:
                    foreign.delete(key)
                else:
                    foreign.put(key, value)
            self._opened().write(foreign)
            if sync:
                self._sync_logs()

    def compact(self, start: bytes, end: bytes) -> None:
        """Rewrite the tables of a range; meanwhile no other thread of this process runs."""
        with _foreign_errors_explained(self._path):
            self._opened().compact_range(start, end)

    def close(self) -> None:
        """Close it, and with it every view and scan."""
        for view in list(self._views):
            view.close()
        database, self._database = self._database, None
        if database is not None:
            with suppress(Exception):  # it makes tables of what is in the logs, which may fail
                database.close()

    def _sync_logs(self) -> None:
        """Make all that was written durable: it is in a log, or already in a synced table."""
        logs = sorted(self._logs.glob("*.log"))
        for log in logs:
            with suppress(FileNotFoundError):  # its content has just become a synced table
                sync_path(log)
        names = frozenset(log.name for log in logs)
        if not names <= self._durable_logs:
            sync_path(self._logs)
        self._durable_logs = names

    def _opened(self) -> rocksdict.Rdict:
        if self._database is None:
            raise _closed(self._path)
        return self._database


def _foreign_options(options: EngineOptions, path: Path, *, create: bool) -> rocksdict.Options:
    foreign = rocksdict.Options(raw_mode=True)
    foreign.create_if_missing(create)
    foreign.set_paranoid_checks(True)
    foreign.set_wal_recovery_mode(rocksdict.DBRecoveryMode.tolerate_corrupted_tail_records())
    foreign.set_wal_dir(os.fspath(path / _LOGS_NAME))
    foreign.set_write_buffer_size(options.write_buffer_bytes)
    foreign.set_target_file_size_base(options.table_bytes)
    foreign.set_max_open_files(options.open_files_max)
    foreign.set_max_background_jobs(_COMPACTING_THREADS)
    foreign.set_max_manifest_file_size(_MANIFEST_BYTES)
    foreign.set_manifest_preallocation_size(_MANIFEST_PREALLOCATION_BYTES)
    foreign.set_max_log_file_size(_INFO_LOG_BYTES)  # its diary, not what holds the batches
    foreign.set_keep_log_file_num(_INFO_LOGS_KEPT)
    # Digests and signatures do not shrink.
    foreign.set_compression_type(rocksdict.DBCompressionType.none())
    tables = rocksdict.BlockBasedOptions()
    tables.set_bloom_filter(options.bloom_bits_per_key, False)  # noqa: FBT003 - positional only
    tables.set_block_cache(rocksdict.Cache(options.cache_bytes))
    tables.set_cache_index_and_filter_blocks(True)  # else no bound holds for them
    foreign.set_block_based_table_factory(tables)
    return foreign


def _closed(path: Path) -> StorageError:
    return StorageError(f"{path}: the store is closed")


@contextmanager
def _foreign_errors_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _explain(error, path) from error


def _explain(error: Exception, path: Path) -> StorageError:
    """Say what a failure of the binding or the disk means; raises any other as it is."""
    if type(error) is not Exception and not isinstance(error, OSError):
        raise error
    text = str(error)
    if any(words in text for words in _LOCKED):
        return in_use(path)
    if text.startswith("Corruption: "):
        return damaged(path, text)
    return refused_by_disk(path, text)
