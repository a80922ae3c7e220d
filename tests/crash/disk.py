"""A disk that keeps only what was synced, and can refuse any one operation, either way.

It implements `node.storage.filesystem.FileSystem`. Content and names each have what the running
system sees and what a power loss leaves; a sync carries the first over to the second.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """The operation that fails, counted from 0, and what it does before it reports the error."""

    operation: int
    applied: bool
    """Whether it takes full effect, durably where that was its purpose."""

    bytes_written: int = 0
    """Of a failing write that is not applied: how much reaches the file."""


@dataclass
class Inode:
    """The content of one file."""

    content: bytes = b""
    durable_bytes: int = 0
    forsaken: bool = False
    """A sync failed: the pages count as clean, and no later sync writes them."""


Names = dict[Path, Inode]


class ModelDisk:
    """One directory on a disk of our own."""

    def __init__(self, *, names: Names | None = None, made: bool = False) -> None:
        self._names: Names = dict(names or {})
        self._durable_names: Names = dict(self._names)
        self._unsynced_changes: list[Callable[[Names], None]] = []
        self._made = made
        self._fault: Fault | None = None
        self.operations = 0
        self.meanwhile: Callable[[], object] | None = None
        """What another thread does, once, while the next sync of a file waits for the disk."""

    def fail(self, fault: Fault | None) -> None:
        """Arrange for one operation to fail, counting from now."""
        self._fault = fault
        self.operations = 0

    @property
    def unsynced_changes(self) -> int:
        """How many creations, renames and removals a power loss may undo."""
        return len(self._unsynced_changes)

    @property
    def unsynced_bytes(self) -> int:
        """The most a power loss may take from any one file."""
        inodes = [*self._names.values(), *self._durable_names.values()]
        return max((len(inode.content) - inode.durable_bytes for inode in inodes), default=0)

    def after_power_loss(self, *, changes_kept: int, bytes_kept: int) -> ModelDisk:
        """Return the disk as found when power comes back.

        The first `changes_kept` unsynced changes of names, and of each file up to `bytes_kept`
        unsynced bytes, happen to have reached it.
        """
        names = dict(self._durable_names)
        for change in self._unsynced_changes[:changes_kept]:
            change(names)
        survivors: Names = {}
        for path, inode in names.items():
            content = inode.content[: inode.durable_bytes + bytes_kept]
            survivors[path] = Inode(content, durable_bytes=len(content))
        return ModelDisk(names=survivors, made=self._made)

    # --- FileSystem ---

    def names(self, directory: Path) -> list[str]:
        if not self._made:
            raise FileNotFoundError(errno.ENOENT, "no such directory", str(directory))
        return [path.name for path in self._names]

    def read(self, path: Path) -> bytes:
        return self._names[path].content

    def create(self, path: Path) -> ModelFile:
        if path in self._names:
            raise FileExistsError(errno.EEXIST, "name taken", str(path))
        inode = Inode()
        self._change(lambda names: names.__setitem__(path, inode))
        return ModelFile(self, inode)

    def rename(self, source: Path, target: Path) -> None:
        self._change(lambda names: names.__setitem__(target, names.pop(source)))

    def remove(self, path: Path) -> None:
        self._change(lambda names: names.__delitem__(path))

    def make_directory(self, directory: Path) -> None:
        def make() -> None:
            self._made = True

        self.perform(f"make {directory}", make)

    def sync_directory(self, directory: Path) -> None:
        def persist() -> None:
            self._durable_names = dict(self._names)
            self._unsynced_changes.clear()

        self.perform(f"sync {directory}", persist)

    def _change(self, change: Callable[[Names], None]) -> None:
        def apply() -> None:
            change(self._names)
            self._unsynced_changes.append(change)

        self.perform("change names", apply)

    def perform(
        self,
        what: str,
        apply: Callable[[], None],
        on_failure: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Do one operation that may be told to fail; `on_failure` gets `Fault.bytes_written`."""
        number, self.operations = self.operations, self.operations + 1
        if self._fault is None or self._fault.operation != number:
            apply()
            return
        if self._fault.applied:
            apply()
        else:
            on_failure(self._fault.bytes_written)
        raise OSError(errno.EIO, f"the model disk fails to {what}")


class ModelFile:
    """A file of the model disk, open for appending."""

    def __init__(self, disk: ModelDisk, inode: Inode) -> None:
        self._disk = disk
        self._inode = inode
        self.closed = False

    def write(self, data: bytes) -> None:
        def append(part: bytes) -> None:
            self._inode.content += part

        self._disk.perform("write", lambda: append(data), lambda count: append(data[:count]))

    def sync(self) -> None:
        def persist() -> None:
            if not self._inode.forsaken:
                self._inode.durable_bytes = len(self._inode.content)

        def forsake(_: int) -> None:
            self._inode.forsaken = True

        meanwhile, self._disk.meanwhile = self._disk.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        self._disk.perform("sync", persist, forsake)

    def close(self) -> None:
        self.closed = True
