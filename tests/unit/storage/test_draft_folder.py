"""Where a draft lies: it goes on after a kill, and becomes the ledger by one rename."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from node.errors import StorageError
from node.storage.draft_folder import DraftFolder, install_draft
from node.storage.kv import WriteBatch
from node.storage.leveldb import LevelDBStore

open_store = partial(LevelDBStore.open, create=True)


def write(store_at: Path, value: bytes) -> None:
    store = open_store(store_at)
    put(store, value)
    store.close()


def put(store: LevelDBStore, value: bytes) -> None:
    batch = WriteBatch()
    batch.put(b"key", value)
    store.write(batch, sync=True)


def read(store_at: Path) -> bytes | None:
    store = LevelDBStore.open(store_at, create=False)
    value = store.get(b"key")
    store.close()
    return value


def drafted(data: Path) -> DraftFolder:
    """Return the place of a draft that holds another value than the database."""
    write(data, b"old")
    drafts = DraftFolder(data, open_store)
    store = drafts.open()
    assert isinstance(store, LevelDBStore)
    put(store, b"new")
    return drafts


def test_a_draft_goes_on_after_its_process_and_changes_nothing_until_it_is_complete(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    drafted(data).close()
    again = DraftFolder(data, open_store)
    assert again.open().get(b"key") == b"new"
    assert again.open() is again.open()
    again.close()
    assert not install_draft(data)
    assert read(data) == b"old"


def test_a_complete_draft_is_the_ledger_from_the_next_start_on(tmp_path: Path) -> None:
    data = tmp_path / "data"
    drafted(data).complete()
    assert read(data) == b"old", "the one in use is left alone"
    assert install_draft(data)
    assert read(data) == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert not install_draft(data)


def test_an_installation_cut_short_is_done_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    drafted(data).complete()
    for path in data.iterdir():  # half of the old one is gone
        path.unlink()
        break
    assert install_draft(data)
    assert read(data) == b"new"


def test_a_draft_that_is_not_wanted_or_damaged_is_removed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    drafts = drafted(data)
    drafts.discard()
    drafts.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    drafted(data).close()
    (manifest,) = (tmp_path / "data.draft").glob("MANIFEST-*")
    manifest.write_bytes(b"damaged")
    again = DraftFolder(data, open_store)
    assert again.open().get(b"key") is None
    again.close()


def test_a_draft_in_use_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    drafts = drafted(data)
    with pytest.raises(StorageError) as refusal:
        DraftFolder(data, open_store).open()
    assert refusal.value.code == "GC-3002"
    drafts.close()
