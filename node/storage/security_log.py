"""The security log: who did what, allowed or refused, in lines that no one can change unseen.

Files `security-NUMBER.jsonl` of one folder, together one chain. A line is one JSON object whose
last member `hash` is SHA-256 over a tag, the hash of the line before and the object without that
member: whoever changes, removes or inserts a line would have to make all hashes after it anew, and
what was recorded of them on a chain then says otherwise. What entries are about is their writer's;
the bounds and the chain of hashes live here, and nothing secret belongs in an entry.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from node.errors import ConfigError, ProofError, StorageError

NAME_PATTERN: Final = "security-*.jsonl"
FILE_BYTES_MAX: Final = 67_108_864
LINE_BYTES_MAX: Final = 8_192
REFUSALS_PER_S_MAX: Final = 50
"""More are counted, not written: who floods a door must not fill the disk behind it."""
FIRST: Final = bytes(32)
"""What stands for the hash before the first line."""

_TAG: Final = b"govchain/security-log/1\0"
_HASH_TAIL_BYTES: Final = len(',"hash":""}') + 64
_TEXT_CHARACTERS_MAX: Final = 512


@dataclass(frozen=True, slots=True)
class Head:
    """How far a log goes, and the hash of its last line."""

    size: int
    """Lines."""
    digest: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """A line that was read, its hash checked."""

    number: int
    """From 0."""
    digest: bytes
    fields: Mapping[str, Any]


class SecurityLog:
    """The log of one folder, to be written by one process. Not safe for threads."""

    def __init__(self, folder: Path, source: str, now_ms: Callable[[], int]) -> None:
        """Go on with the log of `folder`, made if need be; `source` names who writes.

        What a crash left half written at its end is cut off, and said so. Raises `ConfigError`
        where another process writes, or a line of its newest file is not as written (GC-2708).
        """
        self._folder, self._source, self._now_ms = folder, source, now_ms
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            self._take_lock()
            cut_bytes = _cut_tail(folder)
            self._head = _find_head(folder)
            self._file = self._open_newest()
        except OSError as error:
            raise StorageError(f"{folder}: {error.strerror}") from error
        self._second, self._refused, self._unwritten = 0, 0, 0
        self._is_synced = True
        if self._head.size == 0:
            self.write("log.begun", "allowed", log=secrets.token_hex(16))
        elif cut_bytes:
            self.write("log.recovered", "allowed", bytes_cut=cut_bytes)

    @property
    def head(self) -> Head:
        """How far it goes."""
        return self._head

    def write(self, what: str, outcome: str, who: str = "", **about: str | int | bool) -> None:
        """Append an entry: `outcome` is `allowed` or `refused`.

        On disk after the next `sync`; in the system's hands at once, so that only a machine that
        fails can lose it. Texts are cut to 512 characters. Raises `StorageError`.
        """
        now_ms = self._now_ms()
        if outcome == "refused":
            if now_ms // 1_000 != self._second:
                self._second, self._refused = now_ms // 1_000, 0
            self._refused += 1
            if self._refused > REFUSALS_PER_S_MAX:
                self._unwritten += 1
                return
        fields: dict[str, str | int | bool] = {
            "number": self._head.size,
            "time_ms": now_ms,
            "source": self._source,
            "what": what,
            "outcome": outcome,
            "who": who[:_TEXT_CHARACTERS_MAX],
        }
        if self._unwritten:
            fields["refusals_not_written"] = self._unwritten
        fields |= {
            name: value[:_TEXT_CHARACTERS_MAX] if isinstance(value, str) else value
            for name, value in about.items()
        }
        body = msgspec.json.encode(fields)
        digest = line_digest(self._head.digest, body)
        line = body[:-1] + b',"hash":"' + digest.hex().encode() + b'"}\n'
        if len(line) > LINE_BYTES_MAX:
            raise StorageError(f"security log: expected a line of at most {LINE_BYTES_MAX} bytes")
        self._append(line)
        self._head, self._unwritten = Head(self._head.size + 1, digest), 0

    def sync(self) -> None:
        """Make all that was written durable; raises `StorageError`."""
        if self._is_synced:
            return
        self._is_synced = True
        try:
            os.fsync(self._file)
        except OSError as error:
            raise StorageError(f"{self._folder}: {error.strerror}") from error

    def close(self) -> None:
        """Sync and close; nothing may be written any more."""
        self.sync()
        os.close(self._file)
        os.close(self._lock)

    def _append(self, line: bytes) -> None:
        try:
            if os.fstat(self._file).st_size + len(line) > FILE_BYTES_MAX:
                self.sync()
                os.close(self._file)
                self._file = _open_file(self._folder, self._head.size)
            self._is_synced = False
            if os.write(self._file, line) != len(line):
                raise StorageError(f"{self._folder}: a line was written in part", code="GC-3004")
        except OSError as error:
            raise StorageError(f"{self._folder}: {error.strerror}") from error

    def _open_newest(self) -> int:
        files = _files(self._folder)
        if not files:
            return _open_file(self._folder, 0)
        return os.open(files[-1], os.O_WRONLY | os.O_APPEND)

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{self._folder}: another process writes this security log",
                code="GC-3002",
                fix="stop that process",
            ) from error


def read_log(folder: Path) -> Iterator[Entry]:
    """Yield the entries of a log, each checked against the one before.

    Raises `ProofError` naming the first line that is not what was written.
    """
    return _read_files(_files(folder), Head(0, FIRST))


def _read_files(files: Sequence[Path], after: Head) -> Iterator[Entry]:
    number, digest = after.size, after.digest
    for path in files:
        with path.open("rb") as file:
            while line := file.readline(LINE_BYTES_MAX + 1):
                where = f"{path.name}, line {number}"
                fields = _read_line(line, digest, where)
                if fields.get("number") != number:
                    raise ProofError("log-number", f"{where}: says {fields.get('number')!r:.40}")
                digest = bytes.fromhex(fields.pop("hash"))
                yield Entry(number, digest, fields)
                number += 1


def check_log(folder: Path) -> Head:
    """Return how far a log goes; raises `ProofError` as `read_log` does."""
    head = Head(0, FIRST)
    for entry in read_log(folder):
        head = Head(entry.number + 1, entry.digest)
    return head


def _find_head(folder: Path) -> Head:
    """Return how far a log goes; only the newest file is checked, whatever there is of others."""
    files = _files(folder)
    head = Head(0, FIRST)
    if len(files) > 1:
        with files[-2].open("rb") as file:
            file.seek(-min(LINE_BYTES_MAX, files[-2].stat().st_size), os.SEEK_END)
            before = file.read()[-len('"}\n') - 64 : -len('"}\n')]
        head = Head(int(files[-1].stem.removeprefix("security-")), bytes.fromhex(before.decode()))
    try:
        for entry in _read_files(files[-1:], head):
            head = Head(entry.number + 1, entry.digest)
    except ProofError as error:
        raise ConfigError(
            f"{folder}: {error}",
            code="GC-2708",
            fix="keep the folder for examination: move it away, then start again",
        ) from error
    return head


def _read_line(line: bytes, before: bytes, where: str) -> dict[str, Any]:
    if not line.endswith(b"}\n") or len(line) <= _HASH_TAIL_BYTES:
        raise ProofError("log-line", f"{where}: is not whole")
    body = line[: -_HASH_TAIL_BYTES - 1] + b"}"
    expected = b',"hash":"' + line_digest(before, body).hex().encode() + b'"}\n'
    if line[-_HASH_TAIL_BYTES - 1 :] != expected:
        raise ProofError("log-hash", f"{where}: it, or what came before, is not as written")
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ProofError("log-line", f"{where}: {error}") from error


def line_digest(before: bytes, body: bytes) -> bytes:
    """Return the hash of a line: of what came before it and its object without `hash`."""
    return hashlib.sha256(_TAG + before + body).digest()


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(NAME_PATTERN))


def _open_file(folder: Path, first: int) -> int:
    path = folder / f"security-{first:012d}.jsonl"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
    descriptor = os.open(path, flags, 0o600)
    folder_descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder_descriptor)
    finally:
        os.close(folder_descriptor)
    return descriptor


def _cut_tail(folder: Path) -> int:
    """Cut what stands after the last whole line of the newest file; return how many bytes."""
    files = _files(folder)
    if not files:
        return 0
    with files[-1].open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LINE_BYTES_MAX))
        tail = file.read()
        end = tail.rfind(b"\n") + 1
        cut = len(tail) - end
        if cut:
            file.truncate(size - cut)
            os.fsync(file.fileno())
    return cut
