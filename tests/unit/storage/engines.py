"""The stores under test: every engine behind the key-value port, and how each is found again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from node.assembly.engines import LEVELDB, ROCKSDB, installed_engines
from node.storage.disk_engine import EngineOptions
from node.storage.kv import KeyValueStore
from node.storage.memory import MemoryStore

if TYPE_CHECKING:  # either engine may not be installed
    import pytest

    from node.storage.leveldb import LevelDBStore
    from node.storage.rocksdb import RocksDBStore


@dataclass
class Engine:
    """A store under test, and how a process that stopped finds it again."""

    store: KeyValueStore
    reopen: Callable[[KeyValueStore], KeyValueStore]


@dataclass(frozen=True)
class DiskEngine:
    """An engine on disk, and where its files lie in the folder of a store."""

    name: str
    store: type[LevelDBStore | RocksDBStore]
    log_pattern: str
    table_pattern: str

    def open(
        self, path: Path, *, create: bool, options: EngineOptions | None = None
    ) -> KeyValueStore:
        """Open the store at `path`."""
        return self.store.open(path, create=create, options=options)

    def log(self, path: Path) -> Path:
        """Return the log of the store at `path` that holds most."""
        return max(path.glob(self.log_pattern), key=lambda log: log.stat().st_size)


def _installed() -> Iterator[DiskEngine]:
    if LEVELDB in installed_engines():
        from node.storage.leveldb import LevelDBStore  # noqa: PLC0415 - may not be installed

        yield DiskEngine(LEVELDB, LevelDBStore, "*.log", "*.ldb")
    if ROCKSDB in installed_engines():
        from node.storage.rocksdb import RocksDBStore  # noqa: PLC0415 - may not be installed

        yield DiskEngine(ROCKSDB, RocksDBStore, "log/*.log", "*.sst")


DISK_ENGINES: Final = tuple(_installed())
"""Those whose binding is installed: LevelDB's has no wheel for each Python and machine."""


def on_disk(disk: DiskEngine, directory: Path) -> Engine:
    path = directory / "db"

    def reopen(store: KeyValueStore) -> KeyValueStore:
        store.close()
        return disk.open(path, create=False)

    return Engine(disk.open(path, create=True), reopen)


def memory_engine(_directory: Path) -> Engine:
    def reopen(store: KeyValueStore) -> KeyValueStore:
        assert isinstance(store, MemoryStore)
        return store.crash(keep=store.unsynced_batches)

    return Engine(MemoryStore(), reopen)


ENGINES: Final[dict[str, Callable[[Path], Engine]]] = {
    **{disk.name: partial(on_disk, disk) for disk in DISK_ENGINES},
    "memory": memory_engine,
}


def record_syncs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of what is synced from Python from now on, in order."""
    names: list[str] = []
    fsync = os.fsync

    def recording_fsync(descriptor: int) -> None:
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    return names
