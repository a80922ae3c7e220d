"""A refreshed receipt: one of an epoch whose keys are retired, joined to a later, certified header.

Keys that decide nothing any more may have leaked, so whoever pins a later epoch takes nothing on
their word. The quorum of a later header signed a log in which the receipt's own header stands:
that needs no key of the past. Kept in a file named `*.refreshed`; proto/RECEIPT.md says how to
verify it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from node.chain.encoding import decode, encode, expect_array, expect_blob, expect_version
from node.errors import DecodeError
from node.limits import RECEIPT_BYTES_MAX, RECEIPT_FILE_BYTES_MAX
from node.timestamp.consistency import ConsistencyProof
from node.timestamp.receipt import Receipt

REFRESHED: Final = "refreshed"
REFRESHED_SUFFIX: Final = ".refreshed"
_FORMAT: Final = "govchain-refreshed"
REFRESHED_PREFIX: Final = encode([_FORMAT, *[None] * 3])[: 2 + len(_FORMAT)]
"""What such a file, and no other of ours, begins with."""


@dataclass(frozen=True, slots=True)
class RefreshedReceipt:
    """A receipt and what joins its header to a later one. Untrusted."""

    receipt: Receipt
    joined: ConsistencyProof
    """Its old header is to be the receipt's, its newer one of an epoch that is still believed."""

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `refreshed-receipt`."""
        return encode([_FORMAT, 1, self.receipt.encode(), self.joined.encode()])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a refreshed receipt; raises `DecodeError` on all but the canonical bytes of one."""
        what = "refreshed receipt"
        form, version, receipt, joined = expect_array(
            decode(data, what=what, size_max=RECEIPT_FILE_BYTES_MAX), 4, what
        )
        if form != _FORMAT:
            raise DecodeError(f"{what}: expected {_FORMAT!r}, got {form!r:.40}")
        expect_version(version, what)
        parts = [
            expect_blob(part, f"{what} {name}", size_max=RECEIPT_BYTES_MAX)
            for part, name in ((receipt, "receipt"), (joined, "proof"))
        ]
        return cls(Receipt.decode(parts[0]), ConsistencyProof.decode(parts[1]))


def encode_receipt(receipt: Receipt, join: ConsistencyProof | None) -> bytes:
    """Return the bytes of a receipt, refreshed if there is what joins it to a later block."""
    return receipt.encode() if join is None else RefreshedReceipt(receipt, join).encode()


def decode_receipt(data: bytes) -> tuple[Receipt, ConsistencyProof | None]:
    """Read a receipt, refreshed or not; raises `DecodeError` for anything else."""
    if not data.startswith(REFRESHED_PREFIX):
        return Receipt.decode(data), None
    refreshed = RefreshedReceipt.decode(data)
    return refreshed.receipt, refreshed.joined
