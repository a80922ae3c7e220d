"""Folders for what is of use until its process ends: gone with it, or swept up by the next one.

A living process holds a lock on its folder, which the system releases however that process dies.
Folders of this name, of this user, that nobody holds are therefore left by one that was killed.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from node.errors import StorageError

SCRATCH_PREFIX: Final = "govchain-scratch-"
DATA_NAME: Final = "data"
"""The only name in such a folder."""

_NAME: Final = re.compile(re.escape(SCRATCH_PREFIX) + "[a-z0-9_]{8}")
"""The prefix, and what `mkdtemp` puts behind it."""
_ACCESS: Final = stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder in `parent`, to put `DATA_NAME` into, which is gone again at the end.

    What others left there that were killed is removed first. Raises `StorageError`.
    """
    try:
        _sweep(parent)
        folder, descriptor = _make(parent)
    except OSError as error:
        raise StorageError(
            f"{parent}: {error}",
            fix="name a folder that can be written, on a file system that has locks",
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # while it is held: nobody else sweeps it
        os.close(descriptor)


def _make(parent: Path) -> tuple[Path, int]:
    """Make a folder and hold it; again, where it was swept up before it was held."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=parent))
        with suppress(FileNotFoundError):
            descriptor = _open(folder)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.path.samestat(folder.lstat(), os.fstat(descriptor)):
                    return folder, descriptor
            except OSError:
                os.close(descriptor)
                with suppress(FileNotFoundError):
                    folder.rmdir()
                raise
            os.close(descriptor)


def _sweep(parent: Path) -> None:
    for folder in sorted(parent.glob(f"{SCRATCH_PREFIX}*")):
        if not _NAME.fullmatch(folder.name):
            continue
        with suppress(OSError):  # another's, a link, held, or gone meanwhile: none of it is ours
            descriptor = _open(folder)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_left_over(descriptor):
                    shutil.rmtree(folder)
            finally:
                os.close(descriptor)


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _is_left_over(descriptor: int) -> bool:
    """Tell whether an open folder that nobody holds is one of these, of this user."""
    status = os.fstat(descriptor)
    is_private = status.st_uid == os.geteuid() and status.st_mode & _ACCESS == stat.S_IRWXU
    return is_private and set(os.listdir(descriptor)) <= {DATA_NAME}
