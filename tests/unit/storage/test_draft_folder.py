"""Where a draft lies: it goes on after a kill, and becomes the ledger by one rename."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from node.errors import StorageError
from node.storage.draft_folder import DraftFolder, install_draft
from node.storage.kv import KeyValueStore, WriteBatch
from tests.unit.storage.engines import DISK_ENGINES, DiskEngine


@dataclass(frozen=True)
class Place:
    """A database on one engine, and the draft beside it."""

    engine: DiskEngine
    data: Path

    def open(self, path: Path) -> KeyValueStore:
        return self.engine.open(path, create=True)

    def drafts(self) -> DraftFolder:
        return DraftFolder(self.data, self.open)

    def read(self) -> bytes | None:
        store = self.engine.open(self.data, create=False)
        value = store.get(b"key")
        store.close()
        return value

    def drafted(self) -> DraftFolder:
        """Return the place of a draft that holds another value than the database."""
        store = self.open(self.data)
        put(store, b"old")
        store.close()
        drafts = self.drafts()
        put(drafts.open(), b"new")
        return drafts


@pytest.fixture(params=DISK_ENGINES, ids=lambda engine: engine.name)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(request.param, tmp_path / "data")


def put(store: KeyValueStore, value: bytes) -> None:
    batch = WriteBatch()
    batch.put(b"key", value)
    store.write(batch, sync=True)


@pytest.mark.parametrize("code", ["GC-3003", "GC-3013", "GC-3014"])
def test_a_draft_that_cannot_be_opened_or_is_of_another_engine_is_begun_anew(
    place: Place, code: str
) -> None:
    place.drafted().close()
    opened: list[Path] = []

    def open_store(path: Path) -> KeyValueStore:
        opened.append(path)
        if len(opened) == 1:
            raise StorageError("it cannot be opened", code=code)
        return place.open(path)

    drafts = DraftFolder(place.data, open_store)
    assert drafts.open().get(b"key") is None
    assert opened == [place.data.with_name("data.draft")] * 2
    drafts.close()
    assert place.read() == b"old"


def test_a_draft_goes_on_after_its_process_and_changes_nothing_until_it_is_complete(
    place: Place,
) -> None:
    data = place.data
    place.drafted().close()
    again = place.drafts()
    assert again.open().get(b"key") == b"new"
    assert again.open() is again.open()
    again.close()
    assert not install_draft(data)
    assert place.read() == b"old"


def test_a_complete_draft_is_the_ledger_from_the_next_start_on(place: Place) -> None:
    data, folder = place.data, place.data.parent
    place.drafted().complete()
    assert place.read() == b"old", "the one in use is left alone"
    assert install_draft(data)
    assert place.read() == b"new"
    assert [path.name for path in folder.iterdir()] == ["data"]
    assert not install_draft(data)


def test_an_installation_cut_short_is_done_again(place: Place) -> None:
    data = place.data
    place.drafted().complete()
    next(path for path in data.iterdir() if path.is_file()).unlink()  # half of the old one is gone
    assert install_draft(data)
    assert place.read() == b"new"


def test_a_draft_that_is_not_wanted_or_damaged_is_removed(place: Place) -> None:
    folder = place.data.parent
    drafts = place.drafted()
    drafts.discard()
    drafts.discard()
    assert [path.name for path in folder.iterdir()] == ["data"]
    place.drafted().close()
    (manifest,) = (folder / "data.draft").glob("MANIFEST-*")
    manifest.write_bytes(b"damaged")
    again = place.drafts()
    assert again.open().get(b"key") is None
    again.close()


def test_a_draft_in_use_is_refused(place: Place) -> None:
    drafts = place.drafted()
    with pytest.raises(StorageError) as refusal:
        place.drafts().open()
    assert refusal.value.code == "GC-3002"
    drafts.close()
