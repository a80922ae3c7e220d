"""Both stores keep one contract: whole objects, durable, under names that lead nowhere else."""

from __future__ import annotations

import os
import secrets
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from node.errors import ConfigError
from node.storage import filesystem, objects
from node.storage.objects import (
    FREE_BYTES_LEAST,
    DirectoryObjects,
    ObjectStore,
    ObjectStoreError,
    UrlObjects,
)

NAME = f"{'0a' * 16}/1/{'ff' * 32}"
FOLDER = NAME.rsplit("/", 1)[0]
ROOM = 1_000_000


@pytest.fixture(params=["directory", "memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "directory":
        return DirectoryObjects(tmp_path / "vault", ROOM)
    url = (
        f"memory://{secrets.token_hex(4)}" if request.param == "memory" else f"file://{tmp_path}/v"
    )
    return UrlObjects(url)


def test_an_object_is_kept_listed_and_removed(store: ObjectStore) -> None:
    assert store.get(NAME) is None
    assert store.names() == store.names(FOLDER) == []
    store.put(NAME, b"content")
    store.put(NAME, b"content")
    assert store.get(NAME) == b"content"
    assert store.names() == ["0a" * 16]
    assert store.names("0a" * 16) == ["1"]
    assert store.names(FOLDER) == ["ff" * 32]
    store.remove(NAME)
    store.remove(NAME)
    assert store.get(NAME) is None


def test_a_folder_goes_with_all_in_it(store: ObjectStore) -> None:
    store.put(NAME, b"content")
    store.put(f"{'0b' * 16}/2/aa", b"")
    store.remove("0a" * 16)
    assert store.names() == ["0b" * 16]
    assert store.get(f"{'0b' * 16}/2/aa") == b""
    store.remove("0c" * 16)


@pytest.mark.parametrize(
    "name", ["", "..", "../a", "a/../b", "/a", "a//b", "a/b/c/d", "A", "x", "a/" + "b" * 65, "a\n"]
)
def test_a_name_that_leads_elsewhere_is_refused(store: ObjectStore, name: str) -> None:
    for attempt in (store.get, store.remove, lambda each: store.put(each, b"content")):
        with pytest.raises(ObjectStoreError, match="object name"):
            attempt(name)


def test_files_are_their_owners_alone_and_nothing_half_is_left(tmp_path: Path) -> None:
    store = DirectoryObjects(tmp_path / "vault", ROOM)
    store.put(NAME, b"content")
    (file,) = (each for each in (tmp_path / "vault").rglob("*") if each.is_file())
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    (file.parent / ".torn").write_bytes(b"what a crash left")
    assert store.names(FOLDER) == ["ff" * 32]


def test_each_object_is_synced_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fdatasync, sync_path = os.fdatasync, filesystem.sync_path

    def note_file(descriptor: int) -> None:
        synced.append("file")
        fdatasync(descriptor)

    def note_folder(folder: Path) -> None:
        synced.append("folder")
        sync_path(folder)

    monkeypatch.setattr(os, "fdatasync", note_file)
    monkeypatch.setattr(objects, "sync_path", note_folder)
    DirectoryObjects(tmp_path / "vault", ROOM).put(NAME, b"content")
    assert synced == ["file", "folder"]


def test_room_is_bounded_and_counted_again_after_a_restart(tmp_path: Path) -> None:
    store = DirectoryObjects(tmp_path / "vault", 10)
    store.put("aa", b"12345")
    with pytest.raises(ObjectStoreError, match="holds 5 bytes, of 10 allowed"):
        store.put("bb", b"123456")
    again = DirectoryObjects(tmp_path / "vault", 10)
    with pytest.raises(ObjectStoreError, match="holds 5 bytes, of 10 allowed"):
        again.put("bb", b"123456")
    again.remove("aa")
    again.put("bb", b"123456")


def test_a_disk_with_no_room_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil's own
    free = usage(2 * FREE_BYTES_LEAST, FREE_BYTES_LEAST, FREE_BYTES_LEAST)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: free)
    with pytest.raises(ObjectStoreError, match="free on its disk"):
        DirectoryObjects(tmp_path / "vault", ROOM).put("aa", b"1")


def test_what_the_disk_refuses_is_told_as_that(tmp_path: Path) -> None:
    (tmp_path / "vault").write_text("a file, where a folder belongs")
    store = DirectoryObjects(tmp_path / "vault", ROOM)
    for attempt in (lambda: store.put("aa", b"1"), lambda: store.get("aa/bb"), store.names):
        with pytest.raises(ObjectStoreError):
            attempt()


def test_a_url_that_nothing_reaches_is_a_fault_of_the_settings() -> None:
    with pytest.raises(ConfigError, match=r"vault\.url"):
        UrlObjects("nonsense://somewhere")
