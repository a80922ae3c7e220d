"""A log file of bounded size, for a process whose standard error nobody else keeps."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

LOG_BYTES_MAX: Final = 16 << 20
"""Size at which a log file is put aside; with the one put aside before, the most it ever takes."""
PREVIOUS_SUFFIX: Final = ".1"
"""Ends the name of the one put aside."""


class LogFile:
    """Makes a file this process's standard error, and writes to it what a text stream would.

    Whatever else the process says there, a library's last words before a crash say, lands in the
    same file. Before the file outgrows `size_max` bytes it is put aside, replacing the one before,
    and a new one begun. May be used from several threads.
    """

    def __init__(self, path: Path, *, size_max: int = LOG_BYTES_MAX) -> None:
        """Begin or continue the file at `path`; raises `OSError`."""
        self._path, self._size_max = path, size_max
        self._lock = threading.Lock()
        # Standard output too, where it is the same: else it would stay with the old file.
        self._streams = (1, 2) if os.path.sameopenfile(1, 2) else (2,)
        self._open()

    def write(self, text: str) -> None:
        """Write whole lines; what the disk refuses is lost: words must not end what they tell."""
        data = text.encode(errors="backslashreplace")
        with self._lock, suppress(OSError):
            if os.fstat(2).st_size + len(data) > self._size_max:
                self._path.replace(self._path.with_name(self._path.name + PREVIOUS_SUFFIX))
                self._open()
            os.write(2, data)

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def _open(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream in self._streams:
            os.dup2(descriptor, stream)
        os.close(descriptor)
