"""The bytes of one segment of the write-ahead log: pure framing and parsing, no IO.

A segment is a header followed by records; all integers are big endian, every checksum is CRC-32C:

    header  magic (8) | version u32 | number u64 | first_lsn u64 | base_records u32
            | identity (32) | checksum u32 of all before it
    record  length u32 | checksum u32 | type u8 | head checksum u32 | payload (length bytes)

A record's checksum covers length, type and payload. The head checksum covers the nine bytes before
it, so that a record cut short is known as such by its head alone: otherwise telling a torn tail
from damage would mean searching the payload, which strangers write, for something like a record.

A bad record is judged by what follows. With no valid record behind it, it is a torn tail: a write
that a crash interrupted, never covered by a completed sync, and dropped. With a valid record behind
it, it is corruption, and nothing may be dropped. The first `base_records` records were durable
before the segment had a name, so among them nothing counts as torn.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

import google_crc32c

from node.errors import InvariantViolation, StorageError, invariant

RECORD_BYTES_MAX: Final = 16_777_216  # the payload of one record
RECORD_TYPE_MAX: Final = 255
IDENTITY_BYTES: Final = 32
FORMAT_VERSION: Final = 1

_MAGIC: Final = b"GOVCWAL\n"
_HEADER: Final = struct.Struct(f">8sIQQI{IDENTITY_BYTES}s")
_CHECKSUM: Final = struct.Struct(">I")
_COVERED: Final = struct.Struct(">IB")  # what a record's checksum covers beside the payload
_HEAD: Final = struct.Struct(">IIB")

HEADER_BYTES: Final = _HEADER.size + _CHECKSUM.size
HEAD_BYTES: Final = _HEAD.size + _CHECKSUM.size


class WalCorruption(StorageError):  # noqa: N818 - the field's term
    """The log holds less than was promised to be durable; `offset` is where, in bytes."""

    code = "GC-3006"

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(
            f"{message} at byte {offset}",
            fix="keep the file for examination; this validator may vote again only under a new "
            "key: govchain node rotate",
        )
        self.offset = offset


class Record(NamedTuple):
    """One opaque record; what `kind` (0..255) and `payload` mean is the caller's."""

    kind: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentHeader:
    """The first bytes of a segment, durable before the segment has a name."""

    number: int
    """Position among the segments; only the highest counts."""

    first_lsn: int
    """Log sequence number of the first record."""

    base_records: int
    """How many records were made durable together with the header."""

    identity: bytes
    """Whose log this is, 32 bytes: a digest over chain and validator."""

    def encode(self) -> bytes:
        """Return the `HEADER_BYTES` bytes of the header."""
        invariant(len(self.identity) == IDENTITY_BYTES, "a log's identity is 32 bytes")
        fields = _HEADER.pack(
            _MAGIC, FORMAT_VERSION, self.number, self.first_lsn, self.base_records, self.identity
        )
        return fields + _CHECKSUM.pack(google_crc32c.value(fields))

    @classmethod
    def decode(cls, data: bytes) -> SegmentHeader:
        """Read the header at the start of `data`.

        Raises `WalCorruption`, or `StorageError` for a version this program does not know.
        """
        fields = data[: _HEADER.size]
        if len(data) < HEADER_BYTES or fields[: len(_MAGIC)] != _MAGIC:
            raise WalCorruption("expected the header of a log segment", 0)
        if google_crc32c.value(fields) != _CHECKSUM.unpack_from(data, _HEADER.size)[0]:
            raise WalCorruption("the checksum of the segment header does not match", 0)
        _, version, number, first_lsn, base_records, identity = _HEADER.unpack(fields)
        if version != FORMAT_VERSION:
            raise StorageError(
                f"expected a log of format {FORMAT_VERSION}, got {version}",
                code="GC-3009",
                fix="run the version of this program that wrote the log",
            )
        return cls(number=number, first_lsn=first_lsn, base_records=base_records, identity=identity)


class Tail(Enum):
    """How a segment ends."""

    CLEAN = "clean"
    """The last byte ends a valid record."""

    TORN = "torn"
    """An interrupted write follows the last valid record; it is to be dropped."""

    CORRUPT = "corrupt"
    """What follows the last valid record had been durable; nothing may be dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedSegment:
    """What a segment holds up to the first byte that is not sound."""

    header: SegmentHeader
    records: tuple[Record, ...]
    valid_length: int
    """Bytes from the start of the segment to the end of its last valid record."""

    tail: Tail

    def require_sound(self) -> None:
        """Raise `WalCorruption` unless the tail is clean or torn."""
        if self.tail is Tail.CORRUPT:
            raise WalCorruption(
                f"record {self.header.first_lsn + len(self.records)} was durable and is damaged",
                self.valid_length,
            )


def encode_record(kind: int, payload: bytes) -> bytes:
    """Return the bytes of one record of type `kind` (0..255)."""
    if not 0 <= kind <= RECORD_TYPE_MAX:
        raise InvariantViolation(f"expected a record type in 0..255, got {kind}")
    if len(payload) > RECORD_BYTES_MAX:
        raise InvariantViolation(
            f"expected a record of at most {RECORD_BYTES_MAX} bytes, got {len(payload)}"
        )
    head = _HEAD.pack(len(payload), _checksum(kind, payload), kind)
    return b"".join((head, _CHECKSUM.pack(google_crc32c.value(head)), payload))


def parse_segment(data: bytes) -> ParsedSegment:
    """Return the records of a segment and the verdict on its tail.

    Raises `WalCorruption` where even the header is unsound; never on account of the records.
    """
    header = SegmentHeader.decode(data)
    records: list[Record] = []
    offset = HEADER_BYTES
    while (record := _record_at(data, offset)) is not None:
        records.append(record)
        offset += HEAD_BYTES + len(record.payload)
    if len(records) < header.base_records or _record_follows(data, offset):
        tail = Tail.CORRUPT
    else:
        tail = Tail.TORN if offset < len(data) else Tail.CLEAN
    return ParsedSegment(header=header, records=tuple(records), valid_length=offset, tail=tail)


def _record_follows(data: bytes, offset: int) -> bool:
    """Return whether a valid record begins anywhere past the bad one at `offset`."""
    while (length := _length_at(data, offset)) is not None:
        offset += HEAD_BYTES + length  # a sound head tells where the next record begins
        if _record_at(data, offset) is not None:
            return True
    return any(_record_at(data, place) is not None for place in range(offset + 1, len(data)))


def _record_at(data: bytes, offset: int) -> Record | None:
    """Return the record that begins at `offset` if it is whole and sound."""
    length = _length_at(data, offset)
    if length is None:
        return None
    _, checksum, kind = _HEAD.unpack_from(data, offset)
    payload = data[offset + HEAD_BYTES : offset + HEAD_BYTES + length]
    if len(payload) != length or _checksum(kind, payload) != checksum:
        return None
    return Record(kind, payload)


def _length_at(data: bytes, offset: int) -> int | None:
    """Return the payload length stated at `offset` if the head there is whole and sound."""
    head = data[offset : offset + _HEAD.size]
    if offset + HEAD_BYTES > len(data):
        return None
    if google_crc32c.value(head) != _CHECKSUM.unpack_from(data, offset + _HEAD.size)[0]:
        return None
    length: int = _HEAD.unpack(head)[0]
    return length if length <= RECORD_BYTES_MAX else None


def _checksum(kind: int, payload: bytes) -> int:
    covered = google_crc32c.value(_COVERED.pack(len(payload), kind))
    checksum: int = google_crc32c.extend(covered, payload)
    return checksum
