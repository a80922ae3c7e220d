"""Where a validator can be killed while it persists what: the points, the kinds, and their product.

The kinds are read off the product's own lists: log records from `RecordType`, votes from `Phase`,
batches of the ledger from the key schema. Something new there is a new row, which fails the matrix
until a run has reached it, or a kind that no row names, which fails at once (`known_prefixes`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from node.chain.block import Header
from node.chain.certificate import Phase, QuorumCertificate
from node.crypto.suite import Suite
from node.service.log_records import (
    BlockRecord,
    CommittedRecord,
    RecordType,
    VoteRecord,
    decode_log_record,
)
from node.storage import keys
from node.storage.kv import WriteBatch
from node.storage.segment import HEAD_BYTES
from node.storage.stored_block import decode_header_value


class Point(StrEnum):
    """A moment of persisting."""

    BEFORE_WRITE = "before-write"
    """The record is signed or made; nothing of it is in the file."""
    TORN_WRITE = "torn-write"
    """The file ends in the middle of it."""
    AFTER_WRITE = "after-write"
    """It is in the file, not synced: the death of a process leaves it there."""
    POWER_LOSS = "power-loss"
    """The same moment, and everything not synced is gone."""
    AFTER_SYNC = "after-sync"
    """It is durable; what rests on it has not been sent or counted."""
    NO_SPACE = "no-space"
    """Not killed: the disk takes half of it and is full, and the program has to end by itself."""

    BEFORE_BATCH = "before-batch"
    """The ledger is behind what the turn made final."""
    TORN_BATCH = "torn-batch"
    """The database's own log ends in the middle of the batch."""
    AFTER_BATCH = "after-batch"
    """Between the ledger and the log: the one knows of it, the other does not."""

    BEFORE_SEGMENT = "before-segment"
    SEGMENT_WRITTEN = "segment-written"
    """Under its temporary name, not synced."""
    SEGMENT_SYNCED = "segment-synced"
    SEGMENT_NAMED = "segment-named"
    """Both the old and the new segment are there."""
    NAME_SYNCED = "name-synced"
    OLD_REMOVED = "old-removed"

    DRAFT_WHOLE = "draft-whole"
    """A ledger made from a snapshot is durable, and still called a draft."""
    READY_NAMED = "ready-named"
    READY_SYNCED = "ready-synced"
    LEDGER_TORN = "ledger-torn"
    """Half of the files of the old ledger are gone."""
    LEDGER_GONE = "ledger-gone"
    LEDGER_NAMED = "ledger-named"
    LEDGER_SYNCED = "ledger-synced"


RECORD_POINTS: Final = tuple(Point)[:6]
BATCH_POINTS: Final = tuple(Point)[6:9]
SEGMENT_POINTS: Final = tuple(Point)[9:15]
SWITCH_POINTS: Final = tuple(Point)[15:]

PROPOSAL: Final = "proposal"
BARRIER: Final = "barrier"
"""The record that the last block of an epoch is final."""

BLOCK_BATCH: Final = "block-batch"
BLOCKS_BATCH: Final = "blocks-batch"
"""Several blocks at once, of a validator that catches up."""
BARRIER_BATCH: Final = "barrier-batch"
LOGGED_BATCH: Final = "logged-batch"
"""A block that the log brings back into the ledger, at start-up."""
GENESIS_BATCH: Final = "genesis-batch"
EVIDENCE_BATCH: Final = "evidence-batch"
CHECKPOINT_BATCH: Final = "checkpoint-batch"
"""A checkpoint of the public log that a quorum cosigned."""
COMPACT_BATCH: Final = "compact-batch"
"""A checkpoint that the shares of a quorum add up to certify."""

DRAFT_BATCH: Final = "draft-batch"
"""A part of a ledger made from a snapshot, in a database of its own until it is whole."""
DRAFT_END: Final = "draft-end"
"""The batch that makes it a ledger."""
PAST_BATCH: Final = "past-batch"
"""Blocks below a snapshot, written after it."""
PAST_END: Final = "past-end"
"""The batch after which nothing of the past is missing."""

ROTATION: Final = "rotation"
START_UP: Final = "start-up"
SWITCH: Final = "switch"
"""From the ledger in use to the one made from a snapshot, within one process."""

BATCH_PREFIXES: Final[Mapping[str, frozenset[bytes]]] = {
    GENESIS_BATCH: frozenset({keys.FORMAT}),
    EVIDENCE_BATCH: frozenset({keys.EVIDENCE}),
    CHECKPOINT_BATCH: frozenset({keys.CHECKPOINT}),
    COMPACT_BATCH: frozenset({keys.COMPACT}),
    DRAFT_BATCH: frozenset({keys.DRAFT_MARK}),
    PAST_BATCH: frozenset({keys.MISSING_PAST}),
    BLOCK_BATCH: frozenset(
        {
            keys.TIP,
            keys.HEADER,
            keys.BODY,
            keys.TRANSACTION,
            keys.STATE,
            keys.STATE_KEY,
            keys.LOG_TILE,
            keys.BLOCK_AT_LOG_INDEX,
            keys.LOG_INDEX_AT_TIME,
            keys.RECORD_BY_DIGEST,
            keys.RECORD_BY_REFERENCE,
            keys.DIGEST_RUN,
            keys.REFERENCE_RUN,
            keys.RECORD_BY_TYPE,
        }
    ),
}
"""Which batch writes keys of a family; `BLOCK_BATCH` stands for all batches of blocks."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One death to be died."""

    point: Point
    kind: str

    def __str__(self) -> str:
        return f"{self.point},{self.kind}"


def record_kinds() -> list[str]:
    """Return the kinds of log records, from the product's list of them."""
    kinds = []
    for each in RecordType:
        if each is RecordType.VOTE:
            kinds += [phase.name.lower() for phase in Phase]
        else:
            kinds.append(_name(each))
        if each is RecordType.BLOCK:
            kinds.append(PROPOSAL)
        if each is RecordType.COMMITTED:
            kinds.append(BARRIER)
    return kinds


def batch_kinds() -> list[str]:
    """Return the kinds of batches that the ledger writes."""
    return [*BATCH_PREFIXES, DRAFT_END, PAST_END, BLOCKS_BATCH, BARRIER_BATCH, LOGGED_BATCH]


def tables() -> list[tuple[Sequence[Point], Sequence[str]]]:
    """Return the points and the kinds whose product the matrix is, table by table."""
    return [
        (RECORD_POINTS, record_kinds()),
        (BATCH_POINTS, batch_kinds()),
        (SEGMENT_POINTS, (ROTATION, START_UP)),
        (SWITCH_POINTS, (SWITCH,)),
    ]


def matrix() -> list[Cell]:
    """Return every cell, in the order of the tables."""
    return [Cell(point, kind) for points, kinds in tables() for kind in kinds for point in points]


def cover() -> list[Cell]:
    """Return as few cells as can be in which every point and every kind appears."""
    return [
        Cell(points[number % len(points)], kinds[number % len(kinds)])
        for points, kinds in tables()
        for number in range(max(len(points), len(kinds)))
    ]


def known_prefixes() -> frozenset[bytes]:
    """Return the families of keys that some batch of the table writes."""
    return frozenset().union(*BATCH_PREFIXES.values())


# ---------------------------------------------------------------------- what is being written


def frames(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield type, start and end of each record in what is appended to the log at once."""
    offset = 0
    while offset < len(data):
        length, _checksum, kind = struct.unpack_from(">IIB", data, offset)
        end = offset + HEAD_BYTES + length
        yield kind, offset, end
        offset = end


def record_kinds_of(kind: int, payload: bytes, me: int, suite: Suite) -> frozenset[str]:
    """Return which rows of the table a record of validator `me` belongs to."""
    match decode_log_record(kind, payload, suite.signature_size):
        case VoteRecord(vote=vote):
            return frozenset({vote.subject.phase.name.lower()})
        case BlockRecord(header=header) if header.proposer == me:
            return frozenset({PROPOSAL})
        case CommittedRecord(item=item) if is_barrier(item.header, item.certificate):
            return frozenset({_name(RecordType.COMMITTED), BARRIER})
        case _:
            return frozenset({_name(RecordType(kind))})


def batch_kinds_of(
    batch: WriteBatch, suite: Suite, *, is_starting: bool, is_draft: bool = False
) -> frozenset[str]:
    """Return which rows of the table a batch belongs to; none where it is empty.

    `is_starting` is before the engine starts, `is_draft` in the database of a draft. Raises
    `ValueError` for a batch of keys that no row stands for.
    """
    changes = dict(batch.changes())
    prefixes = frozenset(key[:1] for key in changes)
    if unknown := prefixes - known_prefixes():
        raise ValueError(f"keys that no row of the crash matrix stands for: {sorted(unknown)}")
    if is_draft:
        return frozenset({DRAFT_END if keys.FORMAT in prefixes else DRAFT_BATCH} if changes else ())
    if keys.FORMAT in prefixes:
        return frozenset({GENESIS_BATCH})
    for kind in (EVIDENCE_BATCH, CHECKPOINT_BATCH, COMPACT_BATCH):
        if prefixes & BATCH_PREFIXES[kind]:
            return frozenset({kind})
    if keys.MISSING_PAST in prefixes:
        return frozenset({PAST_END if changes[keys.MISSING_PAST] is None else PAST_BATCH})
    headers = [value for key, value in changes.items() if key[:1] == keys.HEADER and value]
    if not headers:
        return frozenset()
    if is_starting:
        return frozenset({LOGGED_BATCH})
    kinds = {BLOCK_BATCH if len(headers) == 1 else BLOCKS_BATCH}
    for value in headers:
        header, certificate = decode_header_value(value, suite)
        if certificate is not None and is_barrier(header, certificate):
            kinds.add(BARRIER_BATCH)
    return frozenset(kinds)


def is_barrier(header: Header, certificate: QuorumCertificate) -> bool:
    """Whether another set decides from the next height on."""
    return header.next_set_digest != certificate.set_digest


def select(cells: Iterable[Cell], wanted: str) -> list[Cell]:
    """Return the cells of a point and kind, or that begin so: `POINT,KIND`, either may be empty."""
    point, _, kind = wanted.partition(",")
    found = [c for c in cells if c.point.startswith(point) and c.kind.startswith(kind)]
    return [c for c in found if c.kind == kind] or found


def _name(kind: RecordType) -> str:
    return kind.name.lower().replace("_", "-")
