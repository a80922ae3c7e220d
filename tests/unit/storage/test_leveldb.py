"""What LevelDB needs done for it: names and older logs made durable."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.storage.kv import WriteBatch
from tests.unit.storage.engines import record_syncs

pytest.importorskip("plyvel", reason="NOT RUN: LevelDB's binding is not installed")

from node.storage.leveldb import LevelDBStore


def one(key: bytes, value: bytes) -> WriteBatch:
    batch = WriteBatch()
    batch.put(key, value)
    return batch


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return record_syncs(monkeypatch)


def test_creating_a_database_makes_its_name_durable(tmp_path: Path, synced: list[str]) -> None:
    LevelDBStore.open(tmp_path / "db", create=True).close()
    assert synced == [tmp_path.name]


def test_a_synced_write_first_syncs_the_logs_that_hold_unsynced_ones(
    tmp_path: Path, synced: list[str]
) -> None:
    path = tmp_path / "db"
    store = LevelDBStore.open(path, create=True)
    (log,) = path.glob("*.log")
    synced.clear()
    store.write(one(b"a", b"1"), sync=True)
    assert synced == []
    store.write(one(b"b", b"2"), sync=False)
    store.write(one(b"c", b"3"), sync=True)
    assert synced == [log.name]
    store.write(one(b"d", b"4"), sync=True)
    assert synced == [log.name]
    store.close()
