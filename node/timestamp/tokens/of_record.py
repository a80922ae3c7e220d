"""Time-stamp tokens of committed records: the file that carries one, and its check.

A `.tsr` file is an answer (TimeStampResp) that grants a token with a receipt in its unsigned
attribute: `openssl ts -verify` takes it as any other, and we find the quorum's word in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from node.crypto import der
from node.crypto.authority import AuthorityCertificate, TokenAlgorithms
from node.errors import DecodeError, ProofError
from node.timestamp.consistency import ConsistencyProof
from node.timestamp.receipt import Receipt, iso_time
from node.timestamp.refreshed import decode_receipt, encode_receipt
from node.timestamp.tokens.check import Expectation, check_token, revoked_since
from node.timestamp.tokens.issuing import (
    CHAIN_PROOF,
    Coordinates,
    SignedAttributes,
    add_chain_proof,
    encode_accuracy,
    encode_certificates,
    encode_granted,
    encode_info,
    encode_signer_id,
    encode_token,
    take_chain_proof,
)
from node.timestamp.tokens.reading import ReadToken, token_of_answer

TSR_SUFFIX: Final = ".tsr"
_SCALAR_BYTES: Final = 32


def coordinates_of(receipt: Receipt) -> Coordinates:
    """Return where the record of a receipt stands."""
    return Coordinates.of(receipt.chain_id, receipt.block.header.height, receipt.log_index)


def encode_tsr(receipt: Receipt, join: ConsistencyProof | None = None) -> bytes | None:
    """Return the `.tsr` file of a receipt, refreshed by `join`; None if it holds no token."""
    if receipt.token is None:
        return None
    carried = encode_receipt(replace(receipt, token=None), join)
    return encode_granted(add_chain_proof(receipt.token, carried))


def carries_chain_proof(data: bytes) -> bool:
    """Tell whether a token or an answer carries a receipt, as far as its form is ours."""
    try:
        return take_chain_proof(token_of_answer(data))[1] is not None
    except (DecodeError, ProofError):
        return der.encode_oid(CHAIN_PROOF) in data  # then it has to be ours, or is nothing


def open_tsr(data: bytes) -> tuple[Receipt, ConsistencyProof | None]:
    """Return the receipt that a token carries, or an answer that grants it, with the token in it.

    And what joins it to a later block, if it was refreshed.

    Raises `DecodeError` or `ProofError` unless the bytes are exactly what the receipt is exported
    to, or the token in that.
    """
    token = token_of_answer(data)
    bare, carried = take_chain_proof(token)
    if carried is None:
        raise DecodeError("token: expected a chain proof")
    receipt, join = decode_receipt(carried)
    if receipt.token is not None:
        raise ProofError("token-carried", "expected null for the token of the receipt inside")
    if data not in (token, encode_granted(token)):
        raise ProofError("answer-form", "expected that the answer grants the token, and no more")
    return replace(receipt, token=bare), join


def check_record_token(receipt: Receipt, expected: Expectation, accuracy_ms: int | None) -> str:
    """Check the token of a receipt against its record, header and the roots; return what it says.

    Of `expected` the document is the record's; `accuracy_ms` is what the chain promises, None where
    it is not known. Every byte of the token is accounted for: it is the one that its parts make.
    Raises `DecodeError`, `CryptoError`, `ProofError` naming the rule, or `NotRootedError` where its
    certificate leads to none of the roots. Where a list revokes that certificate, it is told: that
    the token says what the record says does not rest on its key.
    """
    header = receipt.block.header
    token, path = check_token(receipt.token or b"", expected)
    info = token.info
    if header.time_degraded:
        raise ProofError("token-degraded", "expected none: nobody vouches for the block's time")
    if info.time_ms != header.time_ms:
        raise ProofError("token-time", f"expected {header.time_ms} ms, got {info.time_ms} ms")
    serial_number = coordinates_of(receipt).serial_number
    if info.serial_number != serial_number:
        raise ProofError(
            "token-serial", f"expected {serial_number:x}, the record's, got {info.serial_number:x}"
        )
    if accuracy_ms is not None and info.accuracy != encode_accuracy(accuracy_ms):
        raise ProofError("token-accuracy", f"expected the promised {accuracy_ms} ms")
    if encode_again(token, path) != receipt.token:
        raise ProofError("token-form", "expected the form of this chain's tokens, and no more")
    since_ms = revoked_since(path, expected, token)
    note = "" if since_ms is None else f"; its key is not believed since {iso_time(since_ms)}"
    return f"serial number {serial_number:x}, path of {len(path)} certificates{note}"


def encode_again(token: ReadToken, path: Sequence[AuthorityCertificate]) -> bytes:
    """Return the token that a node makes of the same statement, certificate and signature.

    `path` begins with the signer's certificate. Raises `DecodeError` or `ProofError`.
    """
    leaf, info = path[0], token.info
    algorithms = leaf.token_algorithms
    own = encode_info(
        info.policy,
        info.imprint,
        der.encode_integer(info.serial_number),
        info.time_ms,
        info.accuracy,
        info.nonce,
    )
    held = [each.encoded for each in path if each.encoded in token.certificates]
    certificates = encode_certificates(held) if held else b""
    return encode_token(
        own,
        certificates,
        encode_signer_id(leaf),
        SignedAttributes(leaf.encoded, algorithms).encode(own),
        _read_signature(token.signature, algorithms),
        algorithms,
    )


def _read_signature(data: bytes, algorithms: TokenAlgorithms) -> bytes:
    """Return r || s of a signature of ours."""
    reader = der.read_only(data, der.SEQUENCE, "token signature")
    r, s = reader.read_integer(), reader.read_integer()
    reader.finish()
    if not (0 < r < algorithms.order and 0 < s <= algorithms.s_max):
        raise ProofError("token-signature", "expected one of P-256 with the low s")
    return r.to_bytes(_SCALAR_BYTES, "big") + s.to_bytes(_SCALAR_BYTES, "big")
