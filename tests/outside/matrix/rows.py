"""What a row of the matrix is: a receipt, good or broken in one way, in each format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from node.cli.paper.render import render_pdf
from node.timestamp.consistency import ConsistencyProof
from node.timestamp.export import COSE, EXPORTS, NATIVE, QR, TLOG, TSR
from node.timestamp.opening import PDF
from node.timestamp.receipt import Receipt
from tests.vectors.receipt.story import DOCUMENT

FORMATS: Final = (NATIVE, TSR, TLOG, COSE, QR, PDF)


@dataclass(frozen=True, slots=True)
class Absent:
    """Why a format cannot be broken in this way."""

    reason: str


@dataclass(frozen=True, slots=True)
class Sample:
    """What verifiers are given besides the trust file."""

    data: bytes
    document: bytes = DOCUMENT


Cell = tuple[Sample, ...] | Absent
"""Of one format. All its samples are to have one verdict."""
Cells = Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Row:
    """One way to be good or broken."""

    name: str
    make: Callable[[], Cells]


NO_TOKEN: Final = Absent("it carries no time-stamp token")


NO_ROOM: Final = Absent("it has no room for what joins a receipt to a later block")


def export(name: str, receipt: Receipt, join: ConsistencyProof | None = None) -> bytes:
    """Return a receipt, refreshed or not, in a format, PDF included."""
    make = render_pdf if name == PDF else EXPORTS[name].make
    data = make(receipt, join)
    if data is None:
        raise ValueError(f"the receipt lacks what {name} needs")
    return data


def in_formats(*receipts: Receipt, **others: Absent | Iterable[bytes]) -> Cells:
    """Return receipts in every format, but those of which something else is said."""
    return {name: _cell(others.get(name), name, receipts) for name in FORMATS}


def refreshed(receipt: Receipt, join: ConsistencyProof) -> Cells:
    """Return a refreshed receipt in every format with room for it."""
    without = {TLOG: NO_ROOM, QR: NO_ROOM}
    return without | {
        name: (Sample(export(name, receipt, join)),) for name in FORMATS if name not in without
    }


def _cell(other: Absent | Iterable[bytes] | None, name: str, receipts: Iterable[Receipt]) -> Cell:
    if isinstance(other, Absent):
        return other
    files = (export(name, receipt) for receipt in receipts) if other is None else other
    return tuple(map(Sample, files))


def only(reason: str, **cells: Iterable[bytes]) -> Cells:
    """Return some formats, and why the others are not there."""
    return {name: _cell(cells.get(name, Absent(reason)), name, ()) for name in FORMATS}


def ends_flipped(data: bytes, piece: bytes | None = None) -> tuple[bytes, bytes]:
    """Return data with one bit of the first, and of the last, byte of a piece of it flipped."""
    start = 0 if piece is None else data.index(piece)
    end = start + len(data if piece is None else piece)
    return flipped(data, start), flipped(data, end - 1)


def flipped(data: bytes, at: int) -> bytes:
    """Return data with one bit of a byte flipped."""
    at %= len(data)
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
