"""What a disk adds to the contract of the port, on every engine: locks, damage, refusals."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from node.errors import StorageError
from node.storage.disk_engine import EngineOptions, refused_by_disk
from node.storage.kv import KeyValueStore, WriteBatch
from tests.unit.storage.engines import DISK_ENGINES, DiskEngine


@pytest.fixture(params=DISK_ENGINES, ids=lambda engine: engine.name)
def engine(request: pytest.FixtureRequest) -> DiskEngine:
    made: DiskEngine = request.param
    return made


def one(key: bytes, value: bytes) -> WriteBatch:
    batch = WriteBatch()
    batch.put(key, value)
    return batch


def filled(engine: DiskEngine, path: Path, count: int) -> KeyValueStore:
    """Write `count` pairs of incompressible values, past several log files, and sync the last."""
    options = EngineOptions(write_buffer_bytes=65_536)
    store = engine.open(path, create=True, options=options)
    for number in range(count):
        store.write(one(b"%06d" % number, os.urandom(200)), sync=False)
    store.write(one(b"last", b""), sync=True)
    return store


def killed(store: KeyValueStore, path: Path) -> None:
    """Close the store, and put its files back to what they were before: as after a kill."""
    before = path.with_name("before")
    shutil.copytree(path, before)
    store.close()
    shutil.rmtree(path)
    before.rename(path)


def test_an_absent_database_is_refused_unless_it_is_to_be_created(
    engine: DiskEngine, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match="does not exist") as caught:
        engine.open(tmp_path / "db", create=False)
    assert caught.value.fix


def test_a_database_in_a_missing_directory_is_refused(engine: DiskEngine, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        engine.open(tmp_path / "missing" / "db", create=True)
    assert not (tmp_path / "missing").exists()


def test_a_database_open_in_another_process_is_in_use(engine: DiskEngine, tmp_path: Path) -> None:
    path = tmp_path / "db"
    store = engine.open(path, create=True)
    program = (
        "import sys; from pathlib import Path; from node.errors import StorageError\n"
        "from tests.unit.storage.engines import DISK_ENGINES\n"
        "(engine,) = (each for each in DISK_ENGINES if each.name == sys.argv[2])\n"
        "try: engine.open(Path(sys.argv[1]), create=False)\n"
        "except StorageError as error: print(error.code, error)"
    )
    command = [sys.executable, "-c", program, str(path), engine.name]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    assert answer.stdout.startswith("GC-3002")
    assert "in use" in answer.stdout
    with pytest.raises(StorageError, match="in use") as caught:
        engine.open(path, create=False)
    assert caught.value.code == "GC-3002"
    store.close()


def test_views_and_scans_still_held_do_not_keep_a_closed_database_in_use(
    engine: DiskEngine, tmp_path: Path
) -> None:
    path = tmp_path / "db"
    store = filled(engine, path, 10)
    view = store.view()
    scans = [store.scan(b""), view.scan(b""), store.scan(b"", limit=1)]
    assert [len(next(scan)) for scan in scans] == [2, 2, 2]
    store.close()
    with closing(engine.open(path, create=False)) as reopened:
        assert reopened.get(b"last") == b""
    for scan in scans[:2]:
        with pytest.raises(StorageError, match="closed"):
            next(scan)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("position", [0.0, 0.5, 0.97])
def test_a_damaged_table_is_reported_and_never_read_around(
    engine: DiskEngine, tmp_path: Path, position: float, *, reverse: bool
) -> None:
    path = tmp_path / "db"
    filled(engine, path, 2_000).close()
    table = max(path.glob(engine.table_pattern), key=lambda file: file.stat().st_size)
    content = bytearray(table.read_bytes())
    content[int(position * (len(content) - 4_096)) + 100] ^= 0x01
    table.write_bytes(content)
    with closing(engine.open(path, create=False)) as store, pytest.raises(StorageError) as caught:
        list(store.scan(b"", reverse=reverse))
    assert caught.value.code == "GC-3003"
    assert "damaged" in str(caught.value)


def test_a_damaged_value_is_reported_and_never_returned(engine: DiskEngine, tmp_path: Path) -> None:
    path = tmp_path / "db"
    filled(engine, path, 2_000).close()
    for table in path.glob(engine.table_pattern):
        content = bytearray(table.read_bytes())
        content[100] ^= 0x01
        table.write_bytes(content)
    store = engine.open(path, create=False)
    view = store.view()
    for reader in (store, view):
        with pytest.raises(StorageError) as caught:
            reader.get(b"%06d" % 0)
        assert caught.value.code == "GC-3003"
    store.close()


def test_a_missing_table_refuses_to_open(engine: DiskEngine, tmp_path: Path) -> None:
    path = tmp_path / "db"
    filled(engine, path, 2_000).close()
    next(path.glob(engine.table_pattern)).unlink()
    with pytest.raises(StorageError) as caught:
        engine.open(path, create=False)
    assert caught.value.code == "GC-3003"


def test_a_damaged_log_refuses_to_open_and_never_loses_the_middle(
    engine: DiskEngine, tmp_path: Path
) -> None:
    path = tmp_path / "db"
    store = engine.open(path, create=True)
    for number in range(100):
        store.write(one(b"%d" % number, b"value" * 100), sync=True)
    killed(store, path)
    log = engine.log(path)
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 0x01
    log.write_bytes(content)
    with pytest.raises(StorageError) as caught:
        engine.open(path, create=False)
    assert caught.value.code == "GC-3003"


def test_a_log_torn_at_its_end_loses_whole_batches_only(engine: DiskEngine, tmp_path: Path) -> None:
    path = tmp_path / "db"
    store = engine.open(path, create=True)
    for number in range(3):
        batch = WriteBatch()
        batch.put(b"left", b"%d" % number)
        batch.put(b"right", b"%d" % number)
        store.write(batch, sync=True)
    killed(store, path)
    log = engine.log(path)
    os.truncate(log, log.stat().st_size - 1)
    with closing(engine.open(path, create=False)) as reopened:
        assert dict(reopened.scan(b"")) == {b"left": b"1", b"right": b"1"}


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
    engine: DiskEngine, tmp_path: Path
) -> None:
    path = tmp_path / "db"
    store = engine.open(path, create=True)
    store.write(one(b"before", b"1"), sync=True)
    batch = one(b"large", os.urandom(200_000))
    batch.put(b"small", b"1")
    with files_limited_to(65_536), pytest.raises(StorageError, match="File too large"):
        store.write(batch, sync=True)
    with pytest.raises(StorageError, match="failed write"):
        store.write(one(b"after", b"1"), sync=False)
    assert store.get(b"before") == b"1"
    store.close()
    with closing(engine.open(path, create=False)) as reopened:
        assert (reopened.get(b"large") is None) == (reopened.get(b"small") is None)
        assert reopened.get(b"before") == b"1"
        assert reopened.get(b"after") is None
        reopened.write(one(b"after", b"1"), sync=True)


def test_a_failed_sync_is_a_failed_write(
    engine: DiskEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = engine.open(tmp_path / "db", create=True)
    store.write(one(b"before", b"1"), sync=False)

    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(StorageError, match="Input/output error"):
            store.write(one(b"large", b"2"), sync=True)
    with pytest.raises(StorageError, match="failed write"):
        store.write(one(b"after", b"1"), sync=False)
    store.close()


def test_a_database_that_may_not_be_written_is_refused(engine: DiskEngine, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        path = tmp_path / "file in the way"
        path.write_bytes(b"")
    else:
        path = tmp_path / "db"
        path.mkdir(mode=stat.S_IRUSR)
    with pytest.raises(StorageError) as caught:
        engine.open(path, create=True)
    assert caught.value.code == "GC-3001"
    assert caught.value.fix


@pytest.mark.parametrize("text", ["x.log: No space left on device", "Disk quota exceeded"])
def test_a_full_disk_is_named(text: str) -> None:
    explained = refused_by_disk(Path("/x"), f"IO error: {text}")
    assert explained.code == "GC-3004"
    assert "full" in str(explained)
