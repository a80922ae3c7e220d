"""The largest checkpoint this node ever cosigned, in a file: it never cosigns a smaller one.

The file outlives the ledger, which may be rebuilt, and is on disk before a cosignature leaves. It
holds the text of that checkpoint, as anybody can read it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from node.chain.merkle import TreeHead
from node.errors import DecodeError, StorageError
from node.storage.filesystem import FileSystem, SystemFiles
from node.timestamp.log.checkpoint import Checkpoint

COSIGNED_FILE: Final = "cosigned.checkpoint"
_TEXT_BYTES_MAX: Final = 4_096


class CosignedFile:
    """What one cosigner said last of one log. Used by one thread at a time."""

    def __init__(self, path: Path, origin: str, files: FileSystem | None = None) -> None:
        """Read the file at `path`, if there is one.

        Raises `StorageError` where it is damaged or of another log.
        """
        self._path, self._origin = path, origin
        self._files: FileSystem = files or SystemFiles()
        self._last = self._read()

    @property
    def last(self) -> TreeHead | None:
        """The largest head ever permitted; None where none was."""
        return self._last

    def permit(self, head: TreeHead) -> bool:
        """Say whether this head may be cosigned, and have that on disk.

        Larger ones may, and the same one again. Raises `StorageError`.
        """
        last = self._last
        if last is not None and head.size <= last.size:
            return head == last
        self._write(Checkpoint(self._origin, head))
        self._last = head
        return True

    def _read(self) -> TreeHead | None:
        try:
            text = self._files.read(self._path)[:_TEXT_BYTES_MAX].decode()
            found = Checkpoint.parse(text)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self._path}: {error.strerror}") from error
        except (DecodeError, UnicodeDecodeError) as error:
            raise StorageError(f"{self._path}: {error}", fix="restore it from a copy") from error
        if found.origin != self._origin:
            raise StorageError(f"{self._path}: is of another log, {found.origin:.90}")
        return found.head

    def _write(self, checkpoint: Checkpoint) -> None:
        draft = self._path.with_name(f"{self._path.name}.new")
        try:
            with suppress(FileNotFoundError):
                self._files.remove(draft)
            file = self._files.create(draft)
            try:
                file.write(checkpoint.text.encode())
                file.sync()
            finally:
                file.close()
            self._files.rename(draft, self._path)
            self._files.sync_directory(self._path.parent)
        except OSError as error:
            raise StorageError(f"{self._path}: {error.strerror}") from error
