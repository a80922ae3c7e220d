"""What LevelDB adds to the contract of the port: a disk that fails, explained."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import plyvel
import pytest

from node.errors import StorageError
from node.storage.kv import WriteBatch
from node.storage.leveldb import LevelDBOptions, LevelDBStore, _explain


def one(key: bytes, value: bytes) -> WriteBatch:
    batch = WriteBatch()
    batch.put(key, value)
    return batch


def filled(path: Path, count: int) -> LevelDBStore:
    """Write `count` pairs of incompressible values, synced one by one past several log files."""
    options = LevelDBOptions(write_buffer_bytes=65_536)
    store = LevelDBStore.open(path, create=True, options=options)
    for number in range(count):
        store.write(one(b"%06d" % number, os.urandom(200)), sync=False)
    store.write(one(b"last", b""), sync=True)
    return store


def test_an_absent_database_is_refused_unless_it_is_to_be_created(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist") as caught:
        LevelDBStore.open(tmp_path / "db", create=False)
    assert caught.value.fix


def test_a_database_in_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        LevelDBStore.open(tmp_path / "missing" / "db", create=True)


def test_a_database_open_in_another_process_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "db"
    store = LevelDBStore.open(path, create=True)
    program = (
        "import sys; from pathlib import Path; from node.errors import StorageError\n"
        "from node.storage.leveldb import LevelDBStore\n"
        "try: LevelDBStore.open(Path(sys.argv[1]), create=False)\n"
        "except StorageError as error: print(error.code, error)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, path], check=True, capture_output=True, text=True
    )
    assert answer.stdout.startswith("GC-3002")
    assert "in use" in answer.stdout
    with pytest.raises(StorageError, match="in use") as caught:
        LevelDBStore.open(path, create=False)
    assert caught.value.code == "GC-3002"
    store.close()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("position", [0.0, 0.5, 0.97])
def test_a_damaged_table_is_reported_and_never_read_around(
    tmp_path: Path, position: float, *, reverse: bool
) -> None:
    path = tmp_path / "db"
    filled(path, 2_000).close()
    table = max(path.glob("*.ldb"), key=lambda file: file.stat().st_size)
    content = bytearray(table.read_bytes())
    content[int(position * (len(content) - 4_096)) + 100] ^= 0x01
    table.write_bytes(content)
    with pytest.raises(StorageError) as caught:
        list(LevelDBStore.open(path, create=False).scan(b"", reverse=reverse))
    assert caught.value.code == "GC-3003"
    assert "damaged" in str(caught.value)


def test_a_damaged_value_is_reported_and_never_returned(tmp_path: Path) -> None:
    path = tmp_path / "db"
    filled(path, 2_000).close()
    for table in path.glob("*.ldb"):
        content = bytearray(table.read_bytes())
        content[100] ^= 0x01
        table.write_bytes(content)
    store = LevelDBStore.open(path, create=False)
    with pytest.raises(StorageError) as caught:
        store.get(b"%06d" % 0)
    assert caught.value.code == "GC-3003"
    store.close()


def test_a_damaged_log_refuses_to_open_and_never_loses_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "db"
    store = LevelDBStore.open(path, create=True)
    for number in range(100):
        store.write(one(b"%d" % number, b"value" * 100), sync=True)
    store.close()
    (log,) = path.glob("*.log")
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 0x01
    log.write_bytes(content)
    with pytest.raises(StorageError) as caught:
        LevelDBStore.open(path, create=False)
    assert caught.value.code == "GC-3003"


def test_a_log_torn_at_its_end_loses_whole_batches_only(tmp_path: Path) -> None:
    path = tmp_path / "db"
    store = LevelDBStore.open(path, create=True)
    for number in range(3):
        batch = WriteBatch()
        batch.put(b"left", b"%d" % number)
        batch.put(b"right", b"%d" % number)
        store.write(batch, sync=True)
    store.close()
    (log,) = path.glob("*.log")
    os.truncate(log, log.stat().st_size - 1)
    reopened = LevelDBStore.open(path, create=False)
    assert dict(reopened.scan(b"")) == {b"left": b"1", b"right": b"1"}
    reopened.close()


@contextmanager
def files_limited_to(size_bytes: int) -> Iterator[None]:
    """Let every write past `size_bytes` of a file fail, as on a disk that refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_after_a_failed_write_the_store_refuses_writes_until_it_is_reopened(
    tmp_path: Path,
) -> None:
    path = tmp_path / "db"
    store = LevelDBStore.open(path, create=True)
    store.write(one(b"before", b"1"), sync=True)
    batch = one(b"large", os.urandom(200_000))
    batch.put(b"small", b"1")
    with files_limited_to(65_536), pytest.raises(StorageError, match="File too large"):
        store.write(batch, sync=True)
    with pytest.raises(StorageError, match="failed write"):
        store.write(one(b"after", b"1"), sync=False)
    assert store.get(b"before") == b"1"
    store.close()
    reopened = LevelDBStore.open(path, create=False)
    assert (reopened.get(b"large") is None) == (reopened.get(b"small") is None)
    assert reopened.get(b"before") == b"1"
    assert reopened.get(b"after") is None
    reopened.write(one(b"after", b"1"), sync=True)
    reopened.close()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what the store itself syncs, beside what LevelDB does, in order."""
    names: list[str] = []
    fsync = os.fsync

    def recording_fsync(descriptor: int) -> None:
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    return names


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


def test_a_database_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        path = tmp_path / "file in the way"
        path.write_bytes(b"")
    else:
        path = tmp_path / "db"
        path.mkdir(mode=stat.S_IRUSR)
    with pytest.raises(StorageError) as caught:
        LevelDBStore.open(path, create=True)
    assert caught.value.code == "GC-3001"
    assert caught.value.fix


def test_a_full_disk_is_named() -> None:
    error = plyvel.IOError(b"IO error: /x/000003.log: No space left on device")
    explained = _explain(error, Path("/x"))
    assert explained.code == "GC-3004"
    assert "full" in str(explained)
