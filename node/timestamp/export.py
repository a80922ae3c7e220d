"""A receipt in other formats: pure functions of one native receipt, the same bytes on any machine.

What a format needs and the receipt does not hold cannot be made up here: then there is no export.
A COSE Receipt and a `.tsr` carry the native one for `opening.py` to find again, with what it was
refreshed by; a tlog-proof and the text of a QR code (`compact_verify.py`) stand alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Protocol

from node.timestamp.compact import CompactReceipt
from node.timestamp.consistency import ConsistencyProof
from node.timestamp.cose import CoseReceipt, protected_header
from node.timestamp.cose_stamp import check_stamp
from node.timestamp.log.proof import TLOG_PROOF_SUFFIX, tlog_proof_of
from node.timestamp.receipt import RECEIPT_SUFFIX, Receipt
from node.timestamp.refreshed import REFRESHED_SUFFIX, encode_receipt
from node.timestamp.tokens.of_record import TSR_SUFFIX, encode_tsr


class Maker(Protocol):
    """Makes a format of a receipt and, if it was refreshed, of what joins it to a later block."""

    def __call__(self, receipt: Receipt, join: ConsistencyProof | None = None) -> bytes | None:
        """Return the format's bytes, or None where the receipt lacks what the format needs."""


@dataclass(frozen=True, slots=True)
class Export:
    """How a format is made."""

    suffix: str
    """Of its files."""
    make: Maker
    joined_suffix: str | None = None
    """Of its files that hold a join too; None where it has no room for one, which is left out."""


NATIVE: Final = "native"
TSR: Final = "tsr"
COSE: Final = "cose"
QR: Final = "qr"
TLOG: Final = "tlog"
COSE_SUFFIX: Final = ".cose"
QR_SUFFIX: Final = ".qr.txt"


def export_native(receipt: Receipt, join: ConsistencyProof | None = None) -> bytes:
    """Return the receipt's own bytes, refreshed or not (proto/RECEIPT.md)."""
    return encode_receipt(receipt, join)


def export_cose(receipt: Receipt, join: ConsistencyProof | None = None) -> bytes | None:
    """Return the COSE Receipt that carries it; None without a validator's signature of the root."""
    made = cose_receipt_of(receipt, join)
    return None if made is None else made.encode()


def export_tlog(
    receipt: Receipt,
    join: ConsistencyProof | None = None,  # noqa: ARG001 - left out: its policy is of one epoch
) -> bytes | None:
    """Return the C2SP tlog-proof of the record; None without a checkpoint of the public log.

    None for a degraded T too: this form could not show that the validators do not vouch for it.
    """
    if receipt.checkpoint is None or receipt.block.header.time_degraded:
        return None
    return tlog_proof_of(receipt).encode()


def export_qr(
    receipt: Receipt,
    join: ConsistencyProof | None = None,  # noqa: ARG001 - left out: it fits no code
) -> bytes | None:
    """Return the text of a QR code; None without a compact certificate over the record.

    None for a degraded T too, as for a tlog-proof.
    """
    if receipt.compact is None or receipt.block.header.time_degraded:
        return None
    made = CompactReceipt(
        chain_id=receipt.chain_id,
        suite=receipt.suite,
        leaf=receipt.leaf,
        log_index=receipt.log_index,
        proof=receipt.compact,
    )
    return made.text()


def export_stamped_cose(
    receipt: Receipt, token: bytes, join: ConsistencyProof | None = None
) -> bytes | None:
    """Return the COSE Receipt with a time-stamp token over its signature, as `export_cose`.

    Raises what `check_stamp` raises where the token is not of this signature.
    """
    made = cose_receipt_of(receipt, join)
    if made is None:
        return None
    stamped = replace(made, token=token)
    check_stamp(stamped, receipt.block.header.time_ms)
    return stamped.encode()


def cose_receipt_of(receipt: Receipt, join: ConsistencyProof | None = None) -> CoseReceipt | None:
    """Return the COSE Receipt of a receipt, without a token; None where it has no signature.

    `join` stands beside the carried receipt, in a header of its own: who knows only the receipt
    finds it as ever. No header of ours is signed; each proves itself, or fails.
    """
    if receipt.cose is None:
        return None
    return CoseReceipt(
        protected=protected_header(receipt.chain_id, receipt.cose.vote_key),
        log_size=receipt.block.header.log_size,
        log_index=receipt.log_index,
        log_path=receipt.log_path,
        signature=receipt.cose.signature,
        carried=receipt.encode(),
        join=None if join is None else join.encode(),
    )


EXPORTS: Final[Mapping[str, Export]] = MappingProxyType(
    {
        NATIVE: Export(RECEIPT_SUFFIX, export_native, REFRESHED_SUFFIX),
        TSR: Export(TSR_SUFFIX, encode_tsr, TSR_SUFFIX),
        TLOG: Export(TLOG_PROOF_SUFFIX, export_tlog),
        COSE: Export(COSE_SUFFIX, export_cose, COSE_SUFFIX),
        QR: Export(QR_SUFFIX, export_qr),
    }
)
"""By the name of the format. What has to be rendered (PDF) is no function of pure rooms."""
