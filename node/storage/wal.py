"""The write-ahead log: opaque records in one append-only log, durable before anyone acts on them.

The caller appends, syncs, and sends what depends on a record only when `durable_lsn` has reached
it. What the records mean is the caller's; the bytes on disk are `node.storage.segment`'s.

On disk the log is one live segment, `<number>.wal`. A new segment is always made the same way:
written whole under a temporary name, synced, renamed, its directory synced; then the older ones are
removed. The highest number is therefore complete in itself, whatever a crash left beside it, and
`create`, `open` and a rotation share that one path. `open` copies the replayed records into a new
segment instead of trusting the old file's place in the page cache: a sync that failed before the
restart would otherwise pass unnoticed, and a torn tail needs no repair in place.

Only `create` makes an empty log. A validator that lost its log may have voted and not know it, so
`open` refuses a missing log, another validator's log, and one with a damaged record.
"""

from __future__ import annotations

import errno
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from node.errors import StorageError, invariant
from node.storage.filesystem import AppendFile, FileSystem, SystemFiles
from node.storage.segment import (
    RECORD_BYTES_MAX,
    ParsedSegment,
    Record,
    SegmentHeader,
    Tail,
    WalCorruption,
    encode_record,
    parse_segment,
)

__all__ = [
    "RECORD_BYTES_MAX",
    "ParsedSegment",
    "Record",
    "Replay",
    "SegmentHeader",
    "Tail",
    "WalCorruption",
    "WriteAheadLog",
    "encode_record",
    "parse_segment",
]

SEGMENT_BYTES_TARGET: Final = 8_388_608  # rotation falls due here; `open` reads and copies it all

_SEGMENT_NAME: Final = re.compile(r"(\d{16})\.wal")
_TEMPORARY_NAME: Final = re.compile(r"\d{16}\.wal\.tmp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What `WriteAheadLog.open` found."""

    records: tuple[Record, ...]
    """Every record of the log, oldest first; all of them are durable now."""

    dropped_bytes: int
    """Length of the torn tail that was left behind; 0 after a clean stop."""


class WriteAheadLog:
    """An open log. `append` and `sync` may run in different threads.

    Any refusal of the disk raises `StorageError` and stops the log: every later call raises too,
    as what the disk holds is then unknown. The process must end; `open` finds out.

    Whoever opens a log holds the `InstanceLock` of its directory.
    """

    def __init__(
        self, filesystem: FileSystem, directory: Path, header: SegmentHeader, live: _Segment
    ) -> None:
        self._filesystem = filesystem
        self._directory = directory
        self._header = header
        self._live = live
        self._base_bytes = self._size_bytes = live.size_bytes
        self._last_lsn = self._durable_lsn = header.first_lsn + header.base_records - 1
        self._rotation: _Rotation | None = None
        """Begun, and carried out by the next `sync`."""
        self._stopped: BaseException | None = None
        self._closed = False
        self._sync_lock = threading.Lock()  # one sync at a time; taken before _lock
        self._lock = threading.Lock()  # guards the fields, never held while syncing
        self.fsync_count = 0
        """Syncs of files and directories since the log was opened."""

    @classmethod
    def create(
        cls, directory: Path, identity: bytes, *, filesystem: FileSystem | None = None
    ) -> None:
        """Make an empty log for `identity` (32 bytes) in `directory`, whose parent exists.

        For the initialisation of a new validator alone. Raises `StorageError` (GC-3008) where a
        log exists.
        """
        filesystem = filesystem or SystemFiles()
        with _disk_errors_explained(directory):
            filesystem.make_directory(directory)
            if _segment_numbers(filesystem, directory):
                raise StorageError(
                    f"{directory}: expected no log, found one",
                    code="GC-3008",
                    fix="start the node as it is, or initialise a new one elsewhere",
                )
            header = SegmentHeader(number=1, first_lsn=1, base_records=0, identity=identity)
            _remove_temporary_files(filesystem, directory)
            _install(filesystem, directory, header, ()).file.close()

    @classmethod
    def open(
        cls, directory: Path, identity: bytes, *, filesystem: FileSystem | None = None
    ) -> tuple[WriteAheadLog, Replay]:
        """Open the log of `identity` (32 bytes) and return it with the records it holds.

        Raises `StorageError`: no log (GC-3005), another validator's (GC-3007), another format
        (GC-3009), a disk that refuses (GC-3001, GC-3004); `WalCorruption` (GC-3006) for damage.
        """
        filesystem = filesystem or SystemFiles()
        with _disk_errors_explained(directory):
            numbers = _segment_numbers(filesystem, directory)
            if not numbers:
                raise _missing(directory)
            number = max(numbers)
            data = filesystem.read(directory / _segment_name(number))
            parsed = _parse_own(data, number, identity, directory)
            header = SegmentHeader(
                number=number + 1,
                first_lsn=parsed.header.first_lsn,
                base_records=len(parsed.records),
                identity=identity,
            )
            _remove_temporary_files(filesystem, directory)
            live = _install(filesystem, directory, header, parsed.records)
            _remove_segments(filesystem, directory, numbers)
        replay = Replay(records=parsed.records, dropped_bytes=len(data) - parsed.valid_length)
        return cls(filesystem, directory, header, live), replay

    @property
    def last_lsn(self) -> int:
        """Log sequence number of the last record appended; 0 in a log that never held one."""
        return self._last_lsn

    @property
    def durable_lsn(self) -> int:
        """Every record up to this number survives any crash."""
        return self._durable_lsn

    @property
    def rotation_due(self) -> bool:
        """Whether the live segment has outgrown both its target and twice its snapshot."""
        return self._size_bytes >= max(SEGMENT_BYTES_TARGET, 2 * self._base_bytes)

    def append(self, records: Sequence[tuple[int, bytes]]) -> int:
        """Write `records` (type 0..255, payload), in order, and return the last one's number.

        They survive the process from here on, but a power loss only after `sync`.
        """
        framed = _framed(records)
        with self._lock, self._stopping_on_error():
            self._live.file.write(framed)
            self._size_bytes += len(framed)
            self._last_lsn += len(records)
            if self._rotation is not None:
                self._rotation.appended.append(framed)
            return self._last_lsn

    def begin_rotation(self, snapshot_records: Sequence[tuple[int, bytes]]) -> None:
        """Have the next `sync` replace the log by `snapshot_records` and what follows them.

        The snapshot must restate everything still needed of all records appended so far, synced or
        not, so this is called by the thread that appends; it does not touch the disk. A crash
        leaves the log as it was, with what follows, or as it becomes; never a mixture.
        """
        with self._lock, self._stopping_on_error():
            invariant(self._rotation is None, "a rotation begins when the last one is complete")
            self._rotation = _Rotation(self._last_lsn + 1, snapshot_records)
            self._last_lsn += len(snapshot_records)

    def sync(self) -> int:
        """Make every record appended so far durable, with one sync; return the new `durable_lsn`.

        Without a new record nothing is synced. Records appended meanwhile wait for the next call.
        A rotation that was begun is carried out.
        """
        with self._sync_lock:
            with self._lock, self._stopping_on_error():
                target, file, rotation = self._last_lsn, self._live.file, self._rotation
                appended = b"" if rotation is None else rotation.take_appended()
            with self._stopping_on_error():
                if rotation is not None:
                    self._replace(rotation, appended, target)
                elif target > self._durable_lsn:
                    file.sync()
                    self.fsync_count += 1
            self._durable_lsn = target
            return target

    def _replace(self, rotation: _Rotation, appended: bytes, target_lsn: int) -> None:
        """Put a new segment in the place of the live one, durable up to `target_lsn`.

        While it is synced, the live segment takes what is appended. The lock is held only while
        the new one gets that too, and its name: whichever of the two a crash leaves has it all.
        """
        header = SegmentHeader(
            number=self._header.number + 1,
            first_lsn=rotation.first_lsn,
            base_records=target_lsn - rotation.first_lsn + 1,
            identity=self._header.identity,
        )
        content = header.encode() + _framed(rotation.snapshot) + appended
        file = _write_synced(self._filesystem, self._directory, header, content)
        self.fsync_count += 1
        with self._lock:
            late = rotation.take_appended()
            file.write(late)
            _give_name(self._filesystem, self._directory, header)
            replaced, self._live = self._live, _Segment(file, len(content) + len(late))
            self._header, self._rotation = header, None
            self._base_bytes, self._size_bytes = len(content), self._live.size_bytes
        self._filesystem.sync_directory(self._directory)
        self.fsync_count += 1
        replaced.file.close()
        _remove_segments(self._filesystem, self._directory, [header.number - 1])

    def close(self) -> None:
        """Release the file without syncing; every later call is refused. Closing twice is fine."""
        with self._sync_lock, self._lock:
            if not self._closed:
                self._closed = True
                self._stopped = self._stopped or StorageError("it is closed")
                self._live.file.close()

    @contextmanager
    def _stopping_on_error(self) -> Iterator[None]:
        if self._stopped is not None:
            raise StorageError(
                f"{self._directory}: the log takes no more calls: {self._stopped}",
                fix="end the process and start it again",
            ) from self._stopped
        try:
            with _disk_errors_explained(self._directory):
                yield
        except BaseException as error:  # an interrupt, too, may have cut a record in two
            self._stopped = error
            raise


@dataclass(frozen=True, slots=True)
class _Segment:
    """The segment being appended to, as it was when it got its name."""

    file: AppendFile
    size_bytes: int


@dataclass(slots=True)
class _Rotation:
    """What the next segment begins with."""

    first_lsn: int
    snapshot: Sequence[tuple[int, bytes]]
    appended: list[bytes] = field(default_factory=list)
    """Framed records that followed, and are not written to the next segment yet."""

    def take_appended(self) -> bytes:
        taken = b"".join(self.appended)
        self.appended.clear()
        return taken


def _install(
    filesystem: FileSystem,
    directory: Path,
    header: SegmentHeader,
    records: Sequence[tuple[int, bytes]],
) -> _Segment:
    """Make a segment that is complete and durable from the moment it has its name."""
    content = header.encode() + _framed(records)
    file = _write_synced(filesystem, directory, header, content)
    _give_name(filesystem, directory, header)
    filesystem.sync_directory(directory)
    return _Segment(file, len(content))


def _write_synced(
    filesystem: FileSystem, directory: Path, header: SegmentHeader, content: bytes
) -> AppendFile:
    file = filesystem.create(directory / f"{_segment_name(header.number)}.tmp")
    file.write(content)
    file.sync()
    return file


def _give_name(filesystem: FileSystem, directory: Path, header: SegmentHeader) -> None:
    name = _segment_name(header.number)
    filesystem.rename(directory / f"{name}.tmp", directory / name)


def _framed(records: Sequence[tuple[int, bytes]]) -> bytes:
    return b"".join(encode_record(kind, payload) for kind, payload in records)


def _parse_own(data: bytes, number: int, identity: bytes, directory: Path) -> ParsedSegment:
    """Parse the live segment; refuse it unless it is this validator's and sound."""
    parsed = parse_segment(data)
    if parsed.header.identity != identity:
        raise StorageError(
            f"{directory}: the log belongs to validator {parsed.header.identity.hex()[:16]}, "
            f"expected {identity.hex()[:16]}",
            code="GC-3007",
            fix="point the node at its own directory; never copy a log between validators",
        )
    if parsed.header.number != number:
        raise WalCorruption(f"expected segment {number}, got {parsed.header.number}", 0)
    parsed.require_sound()
    return parsed


def _segment_name(number: int) -> str:
    return f"{number:016d}.wal"


def _segment_numbers(filesystem: FileSystem, directory: Path) -> list[int]:
    try:
        names = filesystem.names(directory)
    except FileNotFoundError:
        return []
    return [int(match[1]) for name in names if (match := _SEGMENT_NAME.fullmatch(name))]


def _remove_segments(filesystem: FileSystem, directory: Path, numbers: Sequence[int]) -> None:
    """Remove superseded segments. Should a crash bring one back, the newest still counts alone."""
    for number in numbers:
        filesystem.remove(directory / _segment_name(number))


def _remove_temporary_files(filesystem: FileSystem, directory: Path) -> None:
    """Remove segments that a crash left unfinished; nothing was ever promised on them."""
    for name in filesystem.names(directory):
        if _TEMPORARY_NAME.fullmatch(name):
            filesystem.remove(directory / name)


def _missing(directory: Path) -> StorageError:
    return StorageError(
        f"{directory}: expected the log of this validator, found none; without it the validator "
        "may already have voted and not know it",
        code="GC-3005",
        fix="put the log back, never an older copy; if it is lost, this validator may vote again "
        "only under a new key: govchain node rotate",
    )


@contextmanager
def _disk_errors_explained(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StorageError(
                f"{directory}: the disk is full",
                code="GC-3004",
                fix="free space here and start the node again; nothing synced is lost",
            ) from error
        raise StorageError(
            f"{directory}: the disk refused: {error}",
            fix="check the path, its permissions and the disk, then start the node again",
        ) from error
