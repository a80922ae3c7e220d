"""What RocksDB needs done for it: logs made durable, options that hold, scans of their own."""

from __future__ import annotations

import os
import re
from contextlib import closing
from pathlib import Path

import pytest

from node.errors import StorageError
from node.storage.disk_engine import EngineOptions
from node.storage.kv import WriteBatch
from node.storage.rocksdb import RocksDBStore
from tests.unit.storage.engines import record_syncs


def one(key: bytes, value: bytes) -> WriteBatch:
    batch = WriteBatch()
    batch.put(key, value)
    return batch


def test_creating_a_database_makes_its_names_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = record_syncs(monkeypatch)
    RocksDBStore.open(tmp_path / "db", create=True).close()
    assert synced == ["db", tmp_path.name]


def test_a_synced_write_syncs_every_log_and_the_names_of_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "db"
    options = EngineOptions(write_buffer_bytes=65_536)
    with closing(RocksDBStore.open(path, create=True, options=options)) as store:
        (first,) = (path / "log").iterdir()
        synced = record_syncs(monkeypatch)
        store.write(one(b"a", b"1"), sync=False)
        assert synced == []
        store.write(one(b"b", b"2"), sync=True)
        assert synced == [first.name, "log"]
        store.write(one(b"c", b"3"), sync=True)
        assert synced == [first.name, "log", first.name]
        while {log.name for log in (path / "log").iterdir()} == {first.name}:
            store.write(one(b"d", os.urandom(10_000)), sync=False)
        synced.clear()
        store.write(one(b"e", b"5"), sync=True)
        assert synced[-2] > first.name  # the new log, after the old one where it is still there
        assert synced[-1] == "log"


def test_options_hold_for_a_database_made_with_others(tmp_path: Path) -> None:
    path = tmp_path / "db"
    RocksDBStore.open(path, create=True).close()
    options = EngineOptions(cache_bytes=1_234_567, write_buffer_bytes=7 * 2**20)
    RocksDBStore.open(path, create=False, options=options).close()
    diary = (path / "LOG").read_text(errors="replace")
    assert re.findall(r"Options.write_buffer_size: (\d+)", diary) == [str(7 * 2**20)]
    assert re.findall(r"capacity : (\d+)", diary) == ["1234567"]


def test_what_the_binding_keeps_beside_the_database_may_be_lost(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with closing(RocksDBStore.open(path, create=True)) as store:
        store.write(one(b"a", b"1"), sync=True)
    (path / "rocksdict-config.json").write_bytes(b"")
    for stored_options in path.glob("OPTIONS-*"):
        stored_options.unlink()
    with closing(RocksDBStore.open(path, create=False)) as store:
        assert store.get(b"a") == b"1"


def test_a_zeroed_page_in_the_log_is_no_end(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with closing(RocksDBStore.open(path, create=True)) as store:
        for number in range(100):
            store.write(one(b"%d" % number, os.urandom(2_000)), sync=False)
        (log,) = (path / "log").iterdir()
        content = bytearray(log.read_bytes())
    for page_start in (65_536, 65_536 + 4_096):  # at the beginning of a block, and in it
        hole = bytearray(content)
        hole[page_start : page_start + 4_096] = bytes(4_096)
        fresh = tmp_path / f"hole at {page_start}"
        RocksDBStore.open(fresh, create=True).close()
        (log,) = (fresh / "log").iterdir()
        log.write_bytes(hole)
        with pytest.raises(StorageError) as caught:
            RocksDBStore.open(fresh, create=False)
        assert caught.value.code == "GC-3003"


def test_scans_of_one_view_do_not_disturb_each_other(tmp_path: Path) -> None:
    with closing(RocksDBStore.open(tmp_path / "db", create=True)) as store:
        batch = WriteBatch()
        for number in range(300):
            batch.put(b"%03d" % number, b"")
        store.write(batch, sync=True)
        with closing(store.view()) as view:
            pairs = zip(view.scan(b""), view.scan(b"", reverse=True), strict=True)
            met = [(int(up), int(down)) for (up, _), (down, _) in pairs]
    assert met == [(number, 299 - number) for number in range(300)]


def test_an_error_that_is_not_the_bindings_is_not_blamed_on_the_disk(tmp_path: Path) -> None:
    with closing(RocksDBStore.open(tmp_path / "db", create=True)) as store:
        with pytest.raises(KeyError):
            store.get("text")  # type: ignore[arg-type]
        assert store.get(b"text") is None
