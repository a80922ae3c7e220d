"""The disk of one simulated validator: a log segment of which only the synced prefix is certain."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from node.errors import StorageError
from node.storage.segment import Record, SegmentHeader, encode_record, parse_segment


class SimulatedLog:
    """The write-ahead log in its real format, without files. Survives its validator's crashes."""

    def __init__(self, identity: bytes) -> None:
        self._identity = identity
        self._number = 1
        self._first_lsn = 1
        self.durable_bytes = bytearray(self._header(base_records=0))
        self._unsynced: list[tuple[int, bytes]] = []
        """Records (type, payload) not covered by a completed sync, oldest first."""
        self._snapshot: list[tuple[int, bytes]] | None = None
        """What the next sync replaces the log by, if a rotation has begun."""
        self._since: list[tuple[int, bytes]] = []
        """What was appended since it began, to the old segment and to the new one."""
        self.last_lsn = 0
        self.durable_lsn = 0
        self.syncs = 0
        self.is_full = False
        """Whether there is no space for another record."""
        self.synced_types: list[int] = []
        """Types of the records that the last sync made durable."""

    @property
    def unsynced_types(self) -> list[int]:
        """Types of the records that a crash may take."""
        return [kind for kind, _ in self._unsynced]

    def append(self, records: Sequence[tuple[int, bytes]]) -> int:
        """Write records where a crash may take them; return the last one's number.

        Raises `StorageError`, and writes nothing, where there is no space.
        """
        if self.is_full:
            raise StorageError("no space for the log")
        self._unsynced += records
        if self._snapshot is not None:
            self._since += records
        self.last_lsn += len(records)
        return self.last_lsn

    def begin_rotation(self, snapshot: Sequence[tuple[int, bytes]]) -> None:
        """Have the sync that begins now replace the log by `snapshot` and what follows it."""
        self._snapshot = [*snapshot]
        self._first_lsn = self.last_lsn + 1
        self.last_lsn += len(snapshot)

    @property
    def snapshot(self) -> Sequence[tuple[int, bytes]] | None:
        """What the sync under way replaces the log by; None if it only adds to it."""
        return self._snapshot

    def synced(self, lsn: int) -> list[tuple[int, bytes]]:
        """Complete a sync begun when `lsn` was the last record; return what became durable.

        Of a rotation, what followed the snapshot.
        """
        if self._snapshot is None:
            count = lsn - self.durable_lsn
            records, self._unsynced = self._unsynced[:count], self._unsynced[count:]
        else:
            snapshot, self._snapshot = self._snapshot, None
            count = lsn + 1 - self._first_lsn - len(snapshot)
            records, self._unsynced = self._since[:count], self._since[count:]
            self._since = []
            self._number += 1
            base_records = len(snapshot) + count
            self.durable_bytes = bytearray(self._header(base_records=base_records))
            self.durable_bytes += _framed(snapshot)
        self.durable_bytes += _framed(records)
        self.durable_lsn = lsn
        self.syncs += 1
        self.synced_types = [kind for kind, _ in records]
        return records

    def crash(self, random: Random, *, power_loss: bool) -> None:
        """Keep what a restart would find: after a power loss a prefix, its last record torn."""
        lost = _framed(self._unsynced)
        self._unsynced.clear()
        if self._snapshot is not None:  # the new segment has no name yet
            self._snapshot, self._since = None, []
        if power_loss and lost:
            kept = random.randrange(len(lost) + 1)
            never_written = random.choice((0, 0, 1, 64))  # the file grew, its bytes did not come
            lost = lost[:kept] + bytes(never_written)
        self.durable_bytes += lost

    def rot(self, random: Random) -> bool:
        """Flip one bit of what is durable, but not in the last record, if there is one before.

        The last may look torn, as after a power loss: then its loss is the sync's to answer for.
        What a power loss has left behind it is torn.
        """
        records = parse_segment(bytes(self.durable_bytes)).records
        if len(records) < 2:
            return False
        before_last = _framed([(record.kind, record.payload) for record in records[:-1]])
        end = len(self._header(base_records=0)) + len(before_last)
        self.durable_bytes[random.randrange(end)] ^= 1 << random.randrange(8)
        return True

    def open(self) -> tuple[Record, ...]:
        """Parse the log as a starting validator does, and begin a new segment with its records."""
        parsed = parse_segment(bytes(self.durable_bytes))
        parsed.require_sound()
        self._number += 1
        self._first_lsn = parsed.header.first_lsn
        self.durable_bytes = bytearray(self._header(base_records=len(parsed.records)))
        self.durable_bytes += _framed(parsed.records)
        self.last_lsn = self.durable_lsn = self._first_lsn + len(parsed.records) - 1
        return parsed.records

    def _header(self, *, base_records: int) -> bytes:
        return SegmentHeader(
            number=self._number,
            first_lsn=self._first_lsn,
            base_records=base_records,
            identity=self._identity,
        ).encode()


def _framed(records: Sequence[tuple[int, bytes]]) -> bytes:
    return b"".join(encode_record(kind, payload) for kind, payload in records)
