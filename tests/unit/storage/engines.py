"""The stores under test: every engine behind the key-value port, and how each is found again."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import pytest

from node.storage.disk_engine import EngineOptions
from node.storage.kv import KeyValueStore
from node.storage.leveldb import LevelDBStore
from node.storage.memory import MemoryStore
from node.storage.rocksdb import RocksDBStore


@dataclass
class Engine:
    """A store under test, and how a process that stopped finds it again."""

    store: KeyValueStore
    reopen: Callable[[KeyValueStore], KeyValueStore]


class Open(Protocol):
    """Opens a store on disk."""

    def __call__(
        self, path: Path, *, create: bool, options: EngineOptions | None = None
    ) -> KeyValueStore: ...


@dataclass(frozen=True)
class DiskEngine:
    """An engine on disk, and where its files lie in the folder of a store."""

    name: str
    open: Open
    log_pattern: str
    table_pattern: str

    def log(self, path: Path) -> Path:
        """Return the log of the store at `path` that holds most."""
        return max(path.glob(self.log_pattern), key=lambda log: log.stat().st_size)


LEVELDB: Final = DiskEngine("leveldb", LevelDBStore.open, "*.log", "*.ldb")
ROCKSDB: Final = DiskEngine("rocksdb", RocksDBStore.open, "log/*.log", "*.sst")
DISK_ENGINES: Final = (LEVELDB, ROCKSDB)


def on_disk(disk: DiskEngine, directory: Path) -> Engine:
    path = directory / "db"

    def reopen(store: KeyValueStore) -> KeyValueStore:
        store.close()
        return disk.open(path, create=False)

    return Engine(disk.open(path, create=True), reopen)


def leveldb_engine(directory: Path) -> Engine:
    return on_disk(LEVELDB, directory)


def rocksdb_engine(directory: Path) -> Engine:
    return on_disk(ROCKSDB, directory)


def memory_engine(_directory: Path) -> Engine:
    def reopen(store: KeyValueStore) -> KeyValueStore:
        assert isinstance(store, MemoryStore)
        return store.crash(keep=store.unsynced_batches)

    return Engine(MemoryStore(), reopen)


ENGINES: Final = {"leveldb": leveldb_engine, "rocksdb": rocksdb_engine, "memory": memory_engine}


def record_syncs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of what is synced from Python from now on, in order."""
    names: list[str] = []
    fsync = os.fsync

    def recording_fsync(descriptor: int) -> None:
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    return names
