"""The few file operations durability rests on, as a port, and the operating system behind it.

Crash tests and the simulator put a disk of their own behind the port: one that loses what was not
synced, or fails at a chosen operation.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol


class AppendFile(Protocol):
    """A file open for appending. After an `OSError` its content past the last sync is unknown."""

    def write(self, data: bytes) -> None:
        """Append all of `data`; an error or a crash may leave any prefix of it.

        Once written it survives the process; a power loss only once synced.
        """

    def sync(self) -> None:
        """Make everything appended before the call durable."""

    def close(self) -> None:
        """Release the file without syncing it."""


class FileSystem(Protocol):
    """Files and names. Every method raises `OSError`; it may have taken effect all the same."""

    def names(self, directory: Path) -> list[str]:
        """Return the names in `directory`; `FileNotFoundError` where it does not exist."""

    def read(self, path: Path) -> bytes:
        """Return the whole content of a file."""

    def create(self, path: Path) -> AppendFile:
        """Make an empty file; `FileExistsError` where the name is taken."""

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, atomically; durable with the next `sync_directory`."""

    def remove(self, path: Path) -> None:
        """Remove a name; durable with the next `sync_directory`."""

    def make_directory(self, directory: Path) -> None:
        """Make `directory`, durably, in an existing parent; one that exists already is fine."""

    def sync_directory(self, directory: Path) -> None:
        """Make the names in `directory` durable."""


class SystemFile:
    """An `AppendFile` of the operating system."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> None:
        """Append all of `data`."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def sync(self) -> None:
        """Make content and size durable; times may lag, which nobody reads."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Release the descriptor."""
        os.close(self._descriptor)


class SystemFiles:
    """The `FileSystem` of the operating system."""

    def names(self, directory: Path) -> list[str]:
        """Return the names in `directory`."""
        return [path.name for path in directory.iterdir()]

    def read(self, path: Path) -> bytes:
        """Return the whole content of a file."""
        return path.read_bytes()

    def create(self, path: Path) -> SystemFile:
        """Make an empty file, readable by its owner alone."""
        return SystemFile(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600))

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, atomically."""
        source.rename(target)

    def remove(self, path: Path) -> None:
        """Remove a name."""
        path.unlink()

    def make_directory(self, directory: Path) -> None:
        """Make `directory` and its name durable."""
        directory.mkdir(mode=0o700, exist_ok=True)
        sync_path(directory.parent)

    def sync_directory(self, directory: Path) -> None:
        """Make the names in `directory` durable."""
        sync_path(directory)


def sync_path(path: Path) -> None:
    """Make the content of a file, or the names in a directory, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
