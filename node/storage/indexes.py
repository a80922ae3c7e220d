"""The entries by which a block, its transactions and its records are found. Only they live here.

An entry is a put in the database for every transaction or record, which costs more than its bytes.
So records of one type are kept as runs of neighbours: a block whose records share a type has one;
and digests and references of a large batch are put together, see runs.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from node.chain.block import Header, ResultCode, TransactionResult
from node.chain.record import Notarization
from node.chain.transaction import Payload
from node.crypto.suite import Suite
from node.errors import StorageError
from node.limits import BLOCK_TXS_MAX
from node.storage import keys
from node.storage.runs import RECORDS_LEAST, runs_of

_INDEX_BYTES: Final = 2
_INDEXES: Final = tuple(index.to_bytes(_INDEX_BYTES, "big") for index in range(BLOCK_TXS_MAX))
_POSITION_BYTES_MAX: Final = 10


def index_entries(
    header: Header,
    first_log_index: int,
    written: Iterable[tuple[bytes, Payload | None]],
    results: Iterable[TransactionResult],
    suite: Suite,
) -> list[tuple[bytes, bytes]]:
    """Return the index keys and values of one block; `keys` says what they are.

    `written` has the id and the payload of each transaction; of one without records, None will do.
    """
    entries = [(keys.log_index_at_time(header.time_ms), keys.number(first_log_index))]
    if header.log_size > first_log_index:  # true of every block but genesis
        entries.append((keys.block_at_log_index(first_log_index), keys.number(header.height)))
    put, height = entries.append, _short(header.height)
    run_type, run_first, end = "", 0, 0
    for index, ((tx_id, payload), result) in enumerate(zip(written, results, strict=True)):
        put((keys.TRANSACTION + tx_id, height + _INDEXES[index]))
        if result.code is not ResultCode.OK or not isinstance(payload, Notarization):
            continue
        first, references, count = result.log_index, payload.references, payload.count
        # Transactions with leaves are neighbours in the log: those between them have none.
        if payload.type_code != run_type:
            if end:
                put((keys.records_by_type(run_type) + keys.number(run_first), keys.number(end)))
            run_type, run_first = payload.type_code, first
        end = first + count
        if count > 1:
            entries += _digest_entries(payload.split_digests(), first)
            if references is not None:
                entries += _reference_entries(references, first, suite)
            continue
        place = keys.log_index(first)  # of what comes by the thousand, without the rows of others
        put((keys.records_by_digest(payload.digests) + place, b""))
        if references is not None and references[0] is not None:
            hashed = keys.reference_hash(references[0], suite)
            put((keys.records_by_reference(hashed) + place, b""))
    if end:
        put((keys.records_by_type(run_type) + keys.number(run_first), keys.number(end)))
    return entries


def transaction_position(value: bytes) -> tuple[int, int]:
    """Return (height, index in the block) from a transaction's entry; raises `StorageError`."""
    if not 0 < len(value) <= _POSITION_BYTES_MAX:
        raise StorageError(
            f"stored transaction index: expected a short number, got {len(value)} bytes",
            code="GC-3003",
            fix="the database is damaged: remove it and start again to rebuild it",
        )
    return divmod(int.from_bytes(value, "big"), 1 << 8 * _INDEX_BYTES)


def _short(number: int) -> bytes:
    """Return a number without leading zeros."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


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
