"""Opening a receipt in whatever format: which it is, by its first bytes, and what it carries.

What such a format says besides the native receipt it carries must be what that exports to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from node.crypto.suite import SHA_256, DocumentDigest, document_digest_by_id
from node.errors import CryptoError, DecodeError, ProofError
from node.timestamp.consistency import ConsistencyProof
from node.timestamp.cose import COSE_START, CoseReceipt
from node.timestamp.cose_stamp import check_stamp
from node.timestamp.export import COSE, NATIVE, TSR, cose_receipt_of
from node.timestamp.history import expect_equal
from node.timestamp.pdf_attachment import attached_file
from node.timestamp.receipt import Receipt
from node.timestamp.refreshed import REFRESHED, decode_receipt
from node.timestamp.steps import NotRootedError
from node.timestamp.tokens.of_record import carries_chain_proof, open_tsr
from node.timestamp.tokens.reading import ReadToken, is_token_or_answer, token_of_answer

PDF: Final = "pdf"
_PDF_START: Final = b"%PDF-"


@dataclass(frozen=True, slots=True)
class OpenedReceipt:
    """What a file says, in the only form that can be verified. Untrusted."""

    format: str
    receipt: Receipt
    size_bytes: int
    """Of the native receipt."""
    stamped_ms: int | None = None
    """When the signature of a COSE Receipt existed, by a token over it: ms since 1970 UTC."""
    joined: ConsistencyProof | None = None
    """What joins the receipt's header to a later one, if it was refreshed."""


def open_receipt(data: bytes) -> OpenedReceipt:
    """Return the receipt in a file of any format that carries one.

    Raises `DecodeError` for what is none, `ProofError` where the format says otherwise than what it
    carries, `CryptoError` for a token over it that nobody signed, and `NotRootedError` for a COSE
    Receipt that carries none: one validator's word.
    """
    if is_token_or_answer(data):
        receipt, join = open_tsr(data)
        return OpenedReceipt(TSR, receipt, len(receipt.encode()), joined=join)
    if data.startswith(COSE_START):
        return _open_cose(data)
    is_pdf = data.startswith(_PDF_START)
    receipt, join = decode_receipt(attached_file(data) if is_pdf else data)
    found = PDF if is_pdf else NATIVE if join is None else REFRESHED
    size_bytes = len(data) if found == NATIVE else len(receipt.encode())
    return OpenedReceipt(found, receipt, size_bytes, joined=join)


def token_in(data: bytes) -> bytes | None:
    """Return the time-stamp token that a file is, or holds; None where it holds none.

    Raises what `open_receipt` does.
    """
    if is_token_or_answer(data) and not carries_chain_proof(data):
        return token_of_answer(data)
    return open_receipt(data).receipt.token


def digest_algorithm_of(data: bytes) -> DocumentDigest:
    """Return the algorithm to hash a document with before it is compared with a receipt.

    SHA-256 where the bytes do not tell: verification then says what is wrong with them.
    """
    try:
        if is_token_or_answer(data) and not carries_chain_proof(data):
            return ReadToken.decode(token_of_answer(data)).info.imprint.algorithm
        return document_digest_by_id(open_receipt(data).receipt.leaf.record.digest_algorithm)
    except (CryptoError, DecodeError, NotRootedError, ProofError):
        return SHA_256


def _open_cose(data: bytes) -> OpenedReceipt:
    written = CoseReceipt.decode(data)
    if written.carried is None:
        raise NotRootedError(
            "a COSE Receipt that carries no chain proof is the word of one validator, about a leaf "
            "that it does not hold"
        )
    receipt = Receipt.decode(written.carried)
    made = cose_receipt_of(receipt)
    if made is None:
        raise ProofError("cose-carried", "expected a receipt with a COSE signature")
    expect_equal("cose-header", made.protected.hex(), written.protected.hex())
    for rule, ours, theirs in (
        ("cose-log-size", made.log_size, written.log_size),
        ("cose-log-index", made.log_index, written.log_index),
        ("cose-log-path", made.log_path, written.log_path),
        ("cose-signature", made.signature, written.signature),
    ):
        if ours != theirs:
            raise ProofError(rule, "expected that of the receipt it carries")
    time_ms = receipt.block.header.time_ms
    stamped_ms = None if written.token is None else check_stamp(written, time_ms)
    join = None if written.join is None else ConsistencyProof.decode(written.join)
    return OpenedReceipt(COSE, receipt, len(written.carried), stamped_ms, join)
