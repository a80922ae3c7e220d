"""Transactions under way: sent, or about to be, whose receipts are not kept yet.

Each is a file beside the receipts to come, written durably before the transaction is sent and
removed once they are there. So whatever ends a run, the kill of its process included, what may be
on the chain is known: the same bytes are sent again, which a chain takes once, and nothing has to
be recorded a second time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from node.chain.encoding import decode, encode, expect_array, expect_blob, expect_list
from node.chain.transaction import Transaction
from node.cli.outputs import NAME_BYTES_MAX, write_over
from node.crypto.suite import Suite
from node.errors import DecodeError
from node.limits import TX_BYTES_MAX, TX_RECORDS_MAX
from node.operations.topology import sync_folder
from node.timestamp.receipt import RECEIPT_SUFFIX

UNDER_WAY_SUFFIX: Final = ".sent"
UNDER_WAY_FORMAT: Final = "govchain-sent-1"
_FILE_BYTES_MAX: Final = TX_BYTES_MAX + TX_RECORDS_MAX * (NAME_BYTES_MAX + 3) + 64


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A transaction of records, and what the receipts of these are to be called."""

    transaction: Transaction
    names: tuple[str, ...]

    def encode(self) -> bytes:
        """Return the bytes of its file."""
        names = [os.fsencode(name) for name in self.names]
        return encode([UNDER_WAY_FORMAT, self.transaction.encoded, names])

    @classmethod
    def decode(cls, data: bytes, suite: Suite) -> Self:
        """Read such a file; raises `DecodeError`."""
        form, encoded, listed = expect_array(
            decode(data, what="transaction sent", size_max=_FILE_BYTES_MAX), 3, "transaction sent"
        )
        if form != UNDER_WAY_FORMAT:
            raise DecodeError(f"transaction sent: expected {UNDER_WAY_FORMAT}, got {form!r:.40}")
        transaction = Transaction.decode(
            expect_blob(encoded, "transaction sent", size_max=TX_BYTES_MAX), suite
        )
        names = expect_list(listed, TX_RECORDS_MAX, "names of receipts")
        count = transaction.body.payload.count
        if not count or len(names) != count:
            raise DecodeError(f"names of receipts: expected {count}, got {len(names)}")
        distinct = dict.fromkeys(map(_expect_name, names))
        if len(distinct) != count:
            raise DecodeError("names of receipts: expected no name twice")
        return cls(transaction, tuple(distinct))


def keep_under_way(folder: Path, sent: UnderWay) -> None:
    """Write it to a folder, durably; raises `CommandError`."""
    write_over(_path(folder, sent.transaction.tx_id), sent.encode())


def forget_under_way(folder: Path, tx_id: bytes) -> None:
    """Remove it; what lies beside it is made durable before. Raises `OSError`."""
    sync_folder(folder)
    with suppress(FileNotFoundError):
        _path(folder, tx_id).unlink()


def find_under_way(folder: Path, suite: Suite) -> Iterator[tuple[Path, UnderWay | DecodeError]]:
    """Yield what is under way by a folder, in the order of names; raises `OSError`."""
    for path in sorted(folder.glob(f"*{UNDER_WAY_SUFFIX}")):
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES_MAX + 1)
        try:
            yield path, UnderWay.decode(data, suite)
        except DecodeError as error:
            yield path, error


def _path(folder: Path, tx_id: bytes) -> Path:
    return folder / f"{tx_id.hex()}{UNDER_WAY_SUFFIX}"


def _expect_name(value: object) -> str:
    """Return the name of a receipt, which must stay in its folder."""
    name = expect_blob(value, "name of a receipt", size_max=NAME_BYTES_MAX)
    if b"/" in name or b"\0" in name or not name.endswith(RECEIPT_SUFFIX.encode()):
        raise DecodeError(f"name of a receipt: got {name!r:.60}")
    return os.fsdecode(name)
