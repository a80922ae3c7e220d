"""Which engine opens a database: the one that made it, told or not, or a refusal with its fix."""

from __future__ import annotations

from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from node.assembly import engines
from node.assembly.engines import engine_of, installed_engines, open_database
from node.config import StorageConfig
from node.errors import StorageError
from node.storage.kv import WriteBatch
from tests.unit.storage.engines import DISK_ENGINES

STORES = {disk.name: disk.store for disk in DISK_ENGINES}

with_both = pytest.mark.skipif(
    len(STORES) == 1, reason="NOT RUN: the binding of one engine is not installed"
)


def only(monkeypatch: pytest.MonkeyPatch, binding: str) -> None:
    """Have no other binding than this be installed."""
    others = {"plyvel", "rocksdict"} - {binding}
    monkeypatch.setattr(
        engines, "find_spec", lambda name: None if name in others else find_spec(name)
    )


@with_both
def test_where_both_are_installed_leveldb_is_preferred(tmp_path: Path) -> None:
    assert installed_engines() == ("leveldb", "rocksdb")
    with closing(open_database(tmp_path / "db", create=True)) as store:
        assert isinstance(store, STORES["leveldb"])


@pytest.mark.parametrize("engine", STORES)
def test_a_database_is_opened_by_the_engine_that_made_it(tmp_path: Path, engine: str) -> None:
    path = tmp_path / "db"
    assert engine_of(path) is None
    batch = WriteBatch()
    batch.put(b"a", b"1")
    with closing(open_database(path, create=True, storage=StorageConfig(engine=engine))) as store:
        assert isinstance(store, STORES[engine])
        store.write(batch, sync=True)
    assert engine_of(path) == engine
    with closing(open_database(path, create=False)) as store:
        assert isinstance(store, STORES[engine])
        assert store.get(b"a") == b"1"


def test_without_leveldb_a_new_database_is_one_of_rocksdb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "rocksdict")
    with closing(open_database(tmp_path / "db", create=True)) as store:
        assert isinstance(store, STORES["rocksdb"])


@with_both
@pytest.mark.parametrize(("made_by", "asked"), [("leveldb", "rocksdb"), ("rocksdb", "leveldb")])
def test_a_database_of_another_engine_is_refused_and_stays_as_it_is(
    tmp_path: Path, made_by: str, asked: str
) -> None:
    path = tmp_path / "db"
    STORES[made_by].open(path, create=True).close()
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    with pytest.raises(StorageError, match=f"made by the engine {made_by}") as caught:
        open_database(path, create=True, storage=StorageConfig(engine=asked))
    assert caught.value.code == "GC-3013"
    assert f'"{made_by}"' in caught.value.fix
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before


@with_both
@pytest.mark.parametrize(
    ("made_by", "installed"), [("leveldb", "rocksdict"), ("rocksdb", "plyvel")]
)
def test_a_database_whose_engine_is_not_installed_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_by: str, installed: str
) -> None:
    path = tmp_path / "db"
    STORES[made_by].open(path, create=True).close()
    only(monkeypatch, installed)
    with pytest.raises(StorageError, match=f"the engine {made_by} is needed") as caught:
        open_database(path, create=False)
    assert caught.value.code == "GC-3014"
    assert f"pip install -e '.[{made_by}]'" in caught.value.fix


def test_an_engine_asked_for_and_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "rocksdict")
    with pytest.raises(StorageError, match="plyvel is not installed") as caught:
        open_database(tmp_path / "db", create=True, storage=StorageConfig(engine="leveldb"))
    assert caught.value.code == "GC-3014"
    assert not (tmp_path / "db").exists()


def test_what_memory_the_engine_may_take_is_told_it(tmp_path: Path) -> None:
    storage = StorageConfig(engine="rocksdb", cache_mib=3, write_buffer_mib=2)
    open_database(tmp_path / "db", create=True, storage=storage).close()
    diary = (tmp_path / "db/LOG").read_text(errors="replace")
    assert f"capacity : {3 << 20}" in diary
    assert f"Options.write_buffer_size: {2 << 20}" in diary
