"""How records of a large batch are found by digest or reference: in runs, not one by one. No IO.

An entry of its own costs the disk some 25 bytes for each record, most of them the database's, and
ten thousand of them as much time as all hashes of their batch. So those of one transaction are put
together: parted by how their fingerprints begin, sixteen ways or, of many records, 256 ways. A run
is the fingerprints of one part, each followed by 2 bytes, how many leaves after the transaction's
first one its record stands; sorted, so that what it holds depends on the records alone.

Whoever looks for a fingerprint reads one run of each large batch there is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from typing import Final

from node.errors import StorageError
from node.storage import keys

RECORDS_LEAST: Final = 500
"""Of fewer records each has an entry of its own: more batches would be more runs to read."""
MANY_RECORDS: Final = 4_096
_FEW_PARTS_BITS: Final = 4
_MANY_PARTS_BITS: Final = 8
_OFFSET_BYTES: Final = 2  # a transaction has at most 10,000 records
_ROW_BYTES: Final = keys.FINGERPRINT_BYTES + _OFFSET_BYTES

Scan = Callable[..., Iterator[tuple[bytes, bytes]]]
"""`KeyValueView.scan`."""


def runs_of(
    family: bytes, fingerprints: Iterable[tuple[int, bytes]], count: int, first: int
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of the runs of a transaction.

    `fingerprints` has, for each of `count` records, its operation index and what begins with its
    fingerprint; the log index of operation 0 is `first`.
    """
    size = keys.FINGERPRINT_BYTES
    rows = sorted(
        [each[:size] + index.to_bytes(_OFFSET_BYTES, "big") for index, each in fingerprints]
    )
    bits = _MANY_PARTS_BITS if count >= MANY_RECORDS else _FEW_PARTS_BITS
    start = 0
    for part in range(1 << bits):
        above = part + 1 << 8 - bits
        end = bisect_left(rows, bytes((above,))) if above < 1 << 8 else count
        if start < end:
            yield keys.run(family, bits, part, first), b"".join(rows[start:end])
        start = end


def found_in_runs(
    scan: Scan, family: bytes, fingerprint: bytes, first: int, end: int
) -> Iterator[int]:
    """Yield the log indexes from `first` up to `end` of this fingerprint, in order."""
    by_parting = (
        _found(scan, keys.runs(family, bits, fingerprint[0] >> 8 - bits), fingerprint, first, end)
        for bits in (_FEW_PARTS_BITS, _MANY_PARTS_BITS)
    )
    yield from merge(*by_parting)


def _found(scan: Scan, prefix: bytes, fingerprint: bytes, first: int, end: int) -> Iterator[int]:
    start = prefix + keys.log_index(first)
    for key, _ in scan(prefix, start=start, reverse=True, limit=1):
        start = key  # the run that begins by then may go on beyond it
    for key, rows in scan(prefix, start=start):
        run_first = keys.last_log_index(key)
        if run_first >= end:
            return
        for offset in _offsets(rows, fingerprint):
            if first <= run_first + offset < end:
                yield run_first + offset


def _offsets(rows: bytes, fingerprint: bytes) -> Iterator[int]:
    """Yield the offsets under a fingerprint, in order."""
    if len(rows) % _ROW_BYTES:
        raise StorageError(
            f"stored run of an index: expected rows of {_ROW_BYTES} bytes, got {len(rows)} bytes",
            code="GC-3003",
            fix="the database is damaged: remove it and start again to rebuild it",
        )
    at = rows.find(fingerprint)
    while at >= 0:
        if at % _ROW_BYTES == 0:
            row_end = at + _ROW_BYTES
            yield int.from_bytes(rows[row_end - _OFFSET_BYTES : row_end], "big")
        at = rows.find(fingerprint, at + 1)
