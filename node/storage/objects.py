"""Objects kept beside the ledger, by name: the port, and the store in a folder. Bytes alone.

What an object is, and whether it is whole, its owner knows: a name is at most three parts, each of
hexadecimal digits or a number, so that no name leads out of the store. Unlike what the ledger
needs, objects can be fetched again: what a store refuses ends no process.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from node.errors import NodeError
from node.storage.filesystem import sync_path

FREE_BYTES_LEAST: Final = 1_073_741_824
"""A store on a disk with less room than this takes nothing: the ledger beside it needs some."""

NAME: Final = re.compile(r"[0-9a-f]{1,64}(/[0-9a-f]{1,64}){0,2}")
"""Of an object or a folder of objects."""
_TEMPORARY: Final = "."
_MODE: Final = 0o600
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_FOLDER_MODE: Final = 0o700


class ObjectStoreError(NodeError):
    """The store of objects refused, or has no room; the node goes on without."""

    code = "GC-2602"


class ObjectStore(Protocol):
    """Objects by name. Every method may raise `ObjectStoreError`; then nothing is known."""

    def put(self, name: str, data: bytes) -> None:
        """Keep an object, whole or not at all, durable on return; the same again is nothing."""

    def get(self, name: str) -> bytes | None:
        """Return an object as it lies there, or None."""

    def names(self, folder: str = "") -> Sequence[str]:
        """Return the last parts of the names right below a folder; none where there is none."""

    def age_s(self, folder: str, now_s: int) -> int:
        """Return how long ago, at least, something last came into a folder; 0 if unknown."""

    def remove(self, name: str) -> None:
        """Remove an object, or a folder with all in it; durable on return."""


class DirectoryObjects:
    """Objects as files of a folder, readable by its owner alone."""

    def __init__(self, root: Path, bytes_max: int) -> None:
        """Keep at most `bytes_max` in `root`, which is made where it is not there."""
        self._root, self._bytes_max = root, bytes_max
        self._held_bytes: int | None = None

    def put(self, name: str, data: bytes) -> None:
        """Keep an object."""
        path = self._path(name)
        try:
            if not path.exists():
                self._write(path, data)
            sync_path(path.parent)
        except OSError as error:
            raise _refused(self._root, error) from error

    def _write(self, path: Path, data: bytes) -> None:
        self._make_room(len(data))
        _make_folders(path.parent)
        temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(temporary, _FLAGS, _MODE), "wb") as file:
                file.write(data)
                file.flush()
                os.fdatasync(file.fileno())
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)
        self._held_bytes = (self._held_bytes or 0) + len(data)

    def get(self, name: str) -> bytes | None:
        """Return an object."""
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _refused(self._root, error) from error

    def names(self, folder: str = "") -> Sequence[str]:
        """Return what lies in a folder."""
        path = self._path(folder) if folder else self._root
        try:
            return sorted(each.name for each in path.iterdir() if NAME.fullmatch(each.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _refused(self._root, error) from error

    def age_s(self, folder: str, now_s: int) -> int:
        """Return how long ago a name was last added to a folder."""
        try:
            return max(0, now_s - int(self._path(folder).stat().st_mtime))
        except OSError:
            return 0

    def remove(self, name: str) -> None:
        """Remove an object or a folder."""
        path = self._path(name)
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            if path.parent.is_dir():
                sync_path(path.parent)
        except OSError as error:
            raise _refused(self._root, error) from error
        self._held_bytes = None  # counted anew when something comes

    def _make_room(self, size_bytes: int) -> None:
        _make_folders(self._root)
        if self._held_bytes is None:
            self._held_bytes = sum(
                file.stat().st_size for file in self._root.rglob("*") if file.is_file()
            )
        if self._held_bytes + size_bytes > self._bytes_max:
            raise ObjectStoreError(
                f"{self._root}: holds {self._held_bytes} bytes, of {self._bytes_max} allowed",
                fix="raise vault.max_gib in node.toml, or shred what is not needed",
            )
        if shutil.disk_usage(self._root).free < FREE_BYTES_LEAST + size_bytes:
            raise ObjectStoreError(
                f"{self._root}: less than {FREE_BYTES_LEAST} bytes are free on its disk",
                fix="make room on the disk of the vault",
            )

    def _path(self, name: str) -> Path:
        return self._root / checked_name(name)


def checked_name(name: str) -> str:
    """Return a name that leads out of no store; raises `ObjectStoreError` for any other."""
    if not NAME.fullmatch(name):
        raise ObjectStoreError(f"object name: expected hexadecimal parts, got {name!r:.80}")
    return name


def _make_folders(folder: Path) -> None:
    """Make a folder and those above it, for its owner alone, their names durable."""
    if not folder.is_dir():
        _make_folders(folder.parent)
        folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        sync_path(folder.parent)


def _refused(root: Path, error: OSError) -> ObjectStoreError:
    return ObjectStoreError(
        f"{root}: {error.strerror or error}", fix="check the folder of the vault and its disk"
    )
