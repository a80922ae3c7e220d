"""Where the draft of a ledger lies, and how it becomes the ledger: two names beside the database.

`data.draft` is being made. Renamed to `data.ready` it is the ledger: that rename is the one moment
of change. Whoever opens the database next puts it in the place of the old one, which is removed; a
crash anywhere in that leaves it to be done again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from node.errors import StorageError
from node.storage.filesystem import sync_path
from node.storage.kv import KeyValueStore

_OF_NO_USE: Final = ("GC-3003", "GC-3013", "GC-3014")
"""Why a database does not open, and will not: damaged, of another engine, of one not installed."""


class DraftFolder:
    """The place of a draft beside the database in the folder `data`."""

    def __init__(self, data: Path, open_store: Callable[[Path], KeyValueStore]) -> None:
        """`open_store` opens the database in a folder, or begins one there."""
        self._data, self._open_store = data, open_store
        self._draft = data.with_name(f"{data.name}.draft")
        self._ready = _ready(data)
        self._store: KeyValueStore | None = None

    def open(self) -> KeyValueStore:
        """Begin a draft, or go on with the one there is; raises `StorageError`.

        One that is damaged, or of another engine, is removed: all of it can be fetched again.
        """
        if self._store is None:
            try:
                self._store = self._open_store(self._draft)
            except StorageError as error:
                if error.code not in _OF_NO_USE:
                    raise
                self.discard()
                self._store = self._open_store(self._draft)
        return self._store

    def close(self) -> None:
        """Close the draft, as it is."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def complete(self) -> None:
        """Have the draft, which is durable, be the ledger from now on; raises `StorageError`."""
        self.close()
        try:
            self._draft.rename(self._ready)
            sync_path(self._data.parent)
        except OSError as error:
            raise StorageError(f"{self._ready}: {error}", fix="check the disk") from error

    def discard(self) -> None:
        """Remove the draft, if there is one; raises `StorageError`."""
        self.close()
        _remove(self._draft)


def install_draft(data: Path) -> bool:
    """Put a complete draft in the place of the database, which is not open; say if there was one.

    Raises `StorageError`.
    """
    ready = _ready(data)
    if not ready.exists():
        return False
    _remove(data)
    try:
        ready.rename(data)
        sync_path(data.parent)
    except OSError as error:
        raise StorageError(f"{data}: {error}", fix="check the disk") from error
    return True


def _ready(data: Path) -> Path:
    return data.with_name(f"{data.name}.ready")


def _remove(folder: Path) -> None:
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise StorageError(
            f"{folder}: {error}", fix="check its permissions and the disk"
        ) from error
