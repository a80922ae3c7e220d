"""The locks that keep a second process from using the same home directory, or the same key."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from node.errors import StorageError

LOCK_NAME: Final = "lock"
KEY_LOCK_PREFIX: Final = "\0govchain-key-"  # the NUL makes the socket's name abstract: no file
_PID_BYTES_MAX: Final = 20


class InstanceLock:
    """An exclusive lock on a directory, held from `with` to its end or the process's.

    The operating system releases it when the process dies, however it dies. It binds the processes
    of one machine; the same key on a second machine is not its to see.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK_NAME
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Take the lock without waiting; raises `StorageError`, GC-3002 where it is held."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                self._take(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise StorageError(
                f"{self._path}: cannot be locked: {error}",
                fix="check the path, its permissions and that its file system has locks",
            ) from error
        self._descriptor = descriptor
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release the lock. The file stays: removing it could free a lock just taken on it."""
        os.close(self._descriptor)

    def _take(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(descriptor, _PID_BYTES_MAX, 0).decode(errors="replace").strip()
            raise StorageError(
                f"{self._path.parent}: in use by process {pid or 'unknown'}",
                code="GC-3002",
                fix="stop that process, or give this node a directory and a key of its own",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


class KeyLock:
    """An exclusive claim on a signing key, by its public half, whatever home it was copied to.

    Two processes that vote under one key would sign contradictions, each with a log of its own. The
    claim is a Unix socket with an abstract name, which the system frees with the process. It binds
    one network namespace of one machine: neither containers nor machines see each other's.
    """

    def __init__(self, public_key: bytes) -> None:
        self._name = KEY_LOCK_PREFIX + public_key.hex()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> Self:
        """Take the claim without waiting; raises `StorageError`, GC-3002 where it is held."""
        try:
            self._socket.bind(self._name)
        except OSError as error:
            self._socket.close()
            if error.errno != errno.EADDRINUSE:
                raise StorageError(f"the key cannot be claimed: {error}") from error
            raise StorageError(
                "this validator's key is in use by another process of this machine",
                code="GC-3002",
                fix="stop that process: one key must never vote from two places",
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release the claim."""
        self._socket.close()
