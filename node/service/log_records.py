"""What the write-ahead log holds: the typed records, and nothing about files.

Order in the log carries the promises: a block stands before the PREPARE for it, a prepared
certificate before the COMMIT that rests on it, a NEW-VIEW before the first vote of its view.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, assert_never

from node.chain.block import CertifiedHeader, Header
from node.chain.certificate import Vote
from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_blob,
    expect_list,
)
from node.chain.struct import Struct
from node.consensus.messages import NewView, ViewChange
from node.errors import StorageError
from node.limits import BLOCK_TXS_MAX, PEER_MESSAGE_BYTES_MAX, TX_BYTES_MAX


class RecordType(IntEnum):
    """Type byte of a log record; never reused."""

    BLOCK = 1
    VOTE = 2
    PREPARED = 3
    VIEW_CHANGE = 4
    NEW_VIEW = 5
    COMMITTED = 6


class BlockRecord(Struct, frozen=True, gc=False):
    """A block this validator prepared: header and every encoded transaction."""

    header: Header
    transactions: tuple[bytes, ...]


class VoteRecord(Struct, frozen=True, gc=False):
    """A vote this validator signed: the double-sign guard."""

    vote: Vote


class PreparedRecord(Struct, frozen=True, gc=False):
    """The certificate a COMMIT of this validator rests on."""

    item: CertifiedHeader


class ViewChangeRecord(Struct, frozen=True, gc=False):
    """A VIEW-CHANGE this validator signed: it votes in no lower view ever again."""

    message: ViewChange


class NewViewRecord(Struct, frozen=True, gc=False):
    """A NEW-VIEW this validator adopted."""

    message: NewView


class CommittedRecord(Struct, frozen=True, gc=False):
    """A block that became final here; nothing waits for this record to be durable.

    A rotation restates the newest: votes for blocks up to it are no longer in the log.
    """

    item: CertifiedHeader


LogRecord = (
    BlockRecord | VoteRecord | PreparedRecord | ViewChangeRecord | NewViewRecord | CommittedRecord
)


def epoch_of(record: LogRecord) -> int:
    """Return the epoch that a record is about."""
    match record:
        case VoteRecord():
            return record.vote.epoch
        case BlockRecord():
            return record.header.epoch
        case ViewChangeRecord() | NewViewRecord():
            return record.message.epoch
        case PreparedRecord() | CommittedRecord():
            return record.item.header.epoch
        case _:
            assert_never(record)


def encode_log_record(record: LogRecord) -> tuple[int, bytes]:
    """Return type byte and payload."""
    value: Any
    match record:
        case BlockRecord():
            kind, value = (
                RecordType.BLOCK,
                [record.header.encoded, list(record.transactions)],
            )
        case VoteRecord():
            kind, value = RecordType.VOTE, record.vote.to_value()
        case PreparedRecord():
            kind, value = RecordType.PREPARED, record.item.to_value()
        case ViewChangeRecord():
            kind, value = RecordType.VIEW_CHANGE, record.message.to_value()
        case NewViewRecord():
            kind, value = RecordType.NEW_VIEW, record.message.to_value()
        case CommittedRecord():
            kind, value = RecordType.COMMITTED, record.item.to_value()
        case _:
            assert_never(record)
    return int(kind), encode(value)


def decode_log_record(kind: int, payload: bytes, signature_size: int) -> LogRecord:
    """Read a record back; raises `DecodeError` or `StorageError` on what this never wrote."""
    value = decode(payload, what="log record", size_max=PEER_MESSAGE_BYTES_MAX)
    match kind:
        case RecordType.BLOCK:
            header, listed = expect_array(value, 2, "log block")
            transactions = tuple(
                expect_blob(item, "log block transaction", size_max=TX_BYTES_MAX)
                for item in expect_list(listed, BLOCK_TXS_MAX, "log block transactions")
            )
            return BlockRecord(Header.from_value(header), transactions)
        case RecordType.VOTE:
            return VoteRecord(Vote.from_value(value, signature_size))
        case RecordType.PREPARED:
            return PreparedRecord(CertifiedHeader.from_value(value, signature_size))
        case RecordType.VIEW_CHANGE:
            return ViewChangeRecord(ViewChange.from_value(value, signature_size))
        case RecordType.NEW_VIEW:
            return NewViewRecord(NewView.from_value(value, signature_size))
        case RecordType.COMMITTED:
            return CommittedRecord(CertifiedHeader.from_value(value, signature_size))
        case _:
            raise StorageError(
                f"log record type {kind} is unknown",
                fix="start this home with the version that wrote it",
            )
