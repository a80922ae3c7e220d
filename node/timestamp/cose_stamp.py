"""The time-stamp token in header 270 of a COSE Receipt (3161-ctt, RFC 9921).

It is over the CBOR encoding of the signature, and says that the *signature* existed. So it is never
the token of the receipt's own record, which is over the user's document and dated T: it is one more
token, asked for once the receipt is there (`govchain timestamp`).
"""

from __future__ import annotations

from node.errors import ProofError
from node.timestamp.cose import CoseReceipt
from node.timestamp.receipt import iso_time
from node.timestamp.tokens.check import Expectation, check_token_alone
from node.timestamp.tokens.issuing import take_chain_proof
from node.timestamp.tokens.of_record import encode_again
from node.timestamp.tokens.reading import ReadToken, token_of_answer


def stamp_of_answer(data: bytes) -> bytes:
    """Return the token in a `.tsr` file, or a bare one, without the chain proof it may carry.

    Raises `DecodeError` or `ProofError`.
    """
    return take_chain_proof(token_of_answer(data))[0]


def check_stamp(receipt: CoseReceipt, time_ms: int) -> int:
    """Check the token of a COSE Receipt; return its genTime in ms since 1970 UTC.

    `time_ms` is T of the root that is signed: no signature of it existed before. The token is to be
    of the form of this product's, so that every byte is accounted for; whether its authority is one
    to believe is not asked. Raises `CryptoError`, `DecodeError` or `ProofError` naming the rule.
    """
    token = receipt.token or b""
    algorithm = ReadToken.decode(token).info.imprint.algorithm
    document = (algorithm, algorithm.new_hash(receipt.stamped_bytes).digest())
    read, leaf = check_token_alone(token, Expectation(document=document, roots=()))
    if encode_again(read, (leaf,)) != token:
        raise ProofError("cose-token-form", "expected the form of govchain's tokens, and no more")
    stamped_ms = read.info.time_ms
    if stamped_ms < time_ms:
        got = iso_time(stamped_ms)
        raise ProofError("cose-token-time", f"expected at least {iso_time(time_ms)}, got {got}")
    return stamped_ms
