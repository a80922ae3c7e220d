"""The entries by which a block, its transactions and its records are found. Only they live here.

An entry is a put in the database for every transaction or record, which costs more than its bytes.
So records of one type are kept as runs of neighbours: a block whose records share a type has one;
and digests and references of a large batch are put together, see runs.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from node.chain.block import Header, ResultCode, TransactionResult
from node.chain.record import Notarization
from node.chain.transaction import Payload
from node.crypto.suite import Suite
from node.errors import StorageError
from node.storage import keys
from node.storage.runs import RECORDS_LEAST, runs_of

_INDEX_BITS: Final = 16  # a block has at most 5,000 transactions
_POSITION_BYTES_MAX: Final = 10

_Committed = tuple[Notarization, int]  # what a transaction wrote, and from which log index on


def index_entries(
    header: Header,
    first_log_index: int,
    written: Iterable[tuple[bytes, Payload | None]],
    results: Iterable[TransactionResult],
    suite: Suite,
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the index keys and values of one block; `keys` says what they are.

    `written` has the id and the payload of each transaction; of one without records, None will do.
    """
    yield keys.log_index_at_time(header.time_ms), keys.number(first_log_index)
    if header.log_size > first_log_index:  # true of every block but genesis
        yield keys.block_at_log_index(first_log_index), keys.number(header.height)
    height, committed = header.height, list[_Committed]()
    for index, ((tx_id, payload), result) in enumerate(zip(written, results, strict=True)):
        yield keys.transaction(tx_id), _position_value(height, index)
        if result.code is ResultCode.OK and isinstance(payload, Notarization):
            committed.append((payload, result.log_index))
    for payload, first in committed:
        digests, references = payload.split_digests(), payload.references
        if len(digests) == 1:  # of what comes by the thousand, without the rows below
            place = keys.log_index(first)
            yield keys.records_by_digest(digests[0]) + place, b""
            if references is not None and references[0] is not None:
                hashed = keys.reference_hash(references[0], suite)
                yield keys.records_by_reference(hashed) + place, b""
            continue
        yield from _digest_entries(digests, first)
        if references is not None:
            yield from _reference_entries(references, first, suite)
    yield from _type_entries(committed)


def transaction_position(value: bytes) -> tuple[int, int]:
    """Return (height, index in the block) from a transaction's entry; raises `StorageError`."""
    if not 0 < len(value) <= _POSITION_BYTES_MAX:
        raise StorageError(
            f"stored transaction index: expected a short number, got {len(value)} bytes",
            code="GC-3003",
            fix="the database is damaged: remove it and start again to rebuild it",
        )
    return divmod(int.from_bytes(value, "big"), 1 << _INDEX_BITS)


def _position_value(height: int, index: int) -> bytes:
    position = height << _INDEX_BITS | index
    return position.to_bytes((position.bit_length() + 7) // 8, "big")


def _digest_entries(digests: Sequence[bytes], first: int) -> Iterator[tuple[bytes, bytes]]:
    if len(digests) >= RECORDS_LEAST:
        yield from runs_of(keys.DIGEST_RUN, enumerate(digests), len(digests), first)
        return
    for log_index, digest in enumerate(digests, start=first):
        yield keys.records_by_digest(digest) + keys.log_index(log_index), b""


def _reference_entries(
    references: Sequence[str | None], first: int, suite: Suite
) -> Iterator[tuple[bytes, bytes]]:
    hashed = [
        (index, keys.reference_hash(reference, suite))
        for index, reference in enumerate(references)
        if reference is not None
    ]
    if len(hashed) >= RECORDS_LEAST:
        yield from runs_of(keys.REFERENCE_RUN, hashed, len(hashed), first)
        return
    for index, each in hashed:
        yield keys.records_by_reference(each) + keys.log_index(first + index), b""


def _type_entries(committed: Iterable[_Committed]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the runs of one type. Committed transactions are neighbours: others have no leaves."""
    for type_code, run in groupby(committed, key=lambda each: each[0].type_code):
        neighbours = list(run)
        first, (last, log_index) = neighbours[0][1], neighbours[-1]
        end = log_index + last.count
        yield keys.records_by_type(type_code) + keys.number(first), keys.number(end)
