"""The operating system's files: what is asked of it, and in which order."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from node.storage.filesystem import SystemFiles


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Which call synced which name, in order."""
    calls: list[tuple[str, str]] = []

    def recording(name: str, sync: Callable[[int], None]) -> Callable[[int], None]:
        def record(descriptor: int) -> None:
            calls.append((name, Path(f"/proc/self/fd/{descriptor}").readlink().name))
            sync(descriptor)

        return record

    monkeypatch.setattr(os, "fsync", recording("fsync", os.fsync))
    monkeypatch.setattr(os, "fdatasync", recording("fdatasync", os.fdatasync))
    return calls


def test_a_file_is_written_synced_and_renamed(
    tmp_path: Path, synced: list[tuple[str, str]]
) -> None:
    files = SystemFiles()
    files.make_directory(tmp_path / "wal")
    files.make_directory(tmp_path / "wal")
    file = files.create(tmp_path / "wal" / "new")
    file.write(b"one ")
    file.write(b"two")
    file.sync()
    files.rename(tmp_path / "wal" / "new", tmp_path / "wal" / "final")
    files.sync_directory(tmp_path / "wal")
    file.write(b" three")
    file.close()
    assert synced == [
        ("fsync", tmp_path.name),
        ("fsync", tmp_path.name),
        ("fdatasync", "new"),
        ("fsync", "wal"),
    ]
    assert files.names(tmp_path / "wal") == ["final"]
    assert files.read(tmp_path / "wal" / "final") == b"one two three"
    files.remove(tmp_path / "wal" / "final")
    assert files.names(tmp_path / "wal") == []


def test_a_write_goes_on_until_all_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    file = SystemFiles().create(tmp_path / "file")
    file.write(b"more than three bytes")
    file.close()
    assert (tmp_path / "file").read_bytes() == b"more than three bytes"


def test_a_taken_name_is_not_created_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    with pytest.raises(FileExistsError):
        SystemFiles().create(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"kept"


def test_an_absent_directory_has_no_names(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SystemFiles().names(tmp_path / "absent")
