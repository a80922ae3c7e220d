"""The entries by which a block, its transactions and its records are found. Only they live here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from node.chain.block import Header, ResultCode, TransactionResult
from node.chain.encoding import encode
from node.chain.record import Notarization
from node.chain.transaction import Transaction
from node.storage import keys


def index_entries(
    header: Header,
    first_log_index: int,
    transactions: Iterable[Transaction],
    results: Iterable[TransactionResult],
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the index keys and values of one block; `keys` says what they are."""
    yield keys.log_index_at_time(header.time_ms), keys.number(first_log_index)
    if header.log_size > first_log_index:  # true of every block but genesis
        yield keys.block_at_log_index(first_log_index), keys.number(header.height)
    for index, (transaction, result) in enumerate(zip(transactions, results, strict=True)):
        yield keys.transaction(transaction.tx_id), encode([header.height, index])
        if result.code is ResultCode.OK:
            yield from _record_entries(transaction.body.payload, result.log_index)


def _record_entries(payload: Notarization, first_log_index: int) -> Iterator[tuple[bytes, bytes]]:
    by_type = keys.records_by_type(payload.type_code)
    for log_index, record in enumerate(payload.records(), start=first_log_index):
        number = keys.number(log_index)
        yield by_type + number, b""
        yield keys.records_by_digest(record.digest) + number, b""
        if record.reference is not None:
            yield keys.records_by_reference(record.reference) + number, b""
