"""Kept checkpoints: by size, the newest, and never another one for the same size."""

from __future__ import annotations

import pytest

from node.errors import StorageError
from node.storage import keys
from node.storage.checkpoints import CheckpointStore, KeptCheckpoint
from node.storage.kv import WriteBatch
from node.storage.memory import MemoryStore


def kept(size: int, epoch: int = 0, note: bytes = b"note") -> KeptCheckpoint:
    return KeptCheckpoint(size, epoch, note)


def test_they_are_found_by_size_and_the_newest_first() -> None:
    store = CheckpointStore(MemoryStore())
    assert store.newest() is None
    for each in (kept(5), kept(300, 1), kept(70_000, 2)):
        store.keep(each)
    assert store.at(300) == kept(300, 1)
    assert store.at(301) is None
    assert store.newest() == kept(70_000, 2)
    assert store.newest(69_999) == kept(300, 1)
    assert store.newest(300) == kept(300, 1)
    assert store.newest(4) is None


def test_one_that_was_served_never_changes() -> None:
    store = CheckpointStore(MemoryStore())
    store.keep(kept(5, note=b"first"))
    store.keep(kept(5, note=b"second"))
    assert store.at(5) == kept(5, note=b"first")


def test_a_damaged_one_is_told_as_such() -> None:
    memory = MemoryStore()
    batch = WriteBatch()
    batch.put(keys.checkpoint(5), b"\x00")
    memory.write(batch, sync=False)
    with pytest.raises(StorageError, match="checkpoint of size 5"):
        CheckpointStore(memory).at(5)
