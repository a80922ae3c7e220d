"""Transactions: what a client signs, as received (`Transaction`) and as checked (`Verified...`).

`tx_id = hash(body)` names the request. `tx_hash = hash(tx_id, signature)` names this very signed
thing: blocks and proposals bind it, so a body under another signature is another thing.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_blob,
    expect_bytes,
    expect_text,
    expect_uint,
    expect_version,
    split_signed,
)
from node.chain.governance import Governance
from node.chain.record import Notarization
from node.chain.struct import Struct
from node.chain.vault import Vault
from node.crypto import domains
from node.crypto.signature import PublicKey, Signer
from node.crypto.suite import Suite
from node.errors import CryptoError, DecodeError
from node.limits import IDENTITY_ID_BYTES_MAX, TX_BYTES_MAX, TX_NONCE_BYTES

_CHAIN_ID_BYTES = 32


class TransactionKind(IntEnum):
    """Which system service a transaction addresses."""

    NOTARIZE = 1
    GOVERN = 2
    VAULT = 3


Payload = Notarization | Governance | Vault


class TransactionBody(Struct, frozen=True, gc=False, kw_only=True):
    """What the sender signs."""

    chain_id: bytes
    sender: str
    """Identity id, at most 64 bytes."""
    nonce: bytes
    """16 bytes that make two equal requests two transactions."""
    not_after_ms: int
    """The transaction is void in a block whose T is later than this."""
    kind: TransactionKind
    payload: Payload

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `tx-body`."""
        return encode(
            [
                1,
                self.chain_id,
                self.sender,
                self.nonce,
                self.not_after_ms,
                int(self.kind),
                self.payload.to_value(),
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> TransactionBody:
        """Read a body; raises `DecodeError`."""
        version, chain_id, sender, nonce, not_after_ms, kind, payload = expect_array(
            decode(data, what="transaction body", size_max=TX_BYTES_MAX), 7, "transaction body"
        )
        expect_version(version, "transaction body")
        read: Callable[[object], Payload]
        if kind == TransactionKind.NOTARIZE and type(kind) is int:
            known, read = TransactionKind.NOTARIZE, Notarization.from_value
        elif kind == TransactionKind.GOVERN and type(kind) is int:
            known, read = TransactionKind.GOVERN, Governance.from_value
        elif kind == TransactionKind.VAULT and type(kind) is int:
            known, read = TransactionKind.VAULT, Vault.from_value
        else:
            raise DecodeError(f"transaction kind: expected 1, 2 or 3, got {kind!r:.40}")
        return cls(
            chain_id=expect_bytes(chain_id, "transaction chain id", size=_CHAIN_ID_BYTES),
            sender=expect_text(sender, "transaction sender", size_max=IDENTITY_ID_BYTES_MAX),
            nonce=expect_bytes(nonce, "transaction nonce", size=TX_NONCE_BYTES),
            not_after_ms=expect_uint(not_after_ms, "transaction not-after"),
            kind=known,
            payload=read(payload),
        )


class Transaction(Struct, frozen=True, gc=False):
    """A transaction as received: well formed, its signature not yet checked."""

    body: TransactionBody
    signature: bytes
    encoded: bytes
    """The bytes it came in, canonical."""
    tx_id: bytes
    tx_hash: bytes

    @classmethod
    def decode(cls, data: bytes, suite: Suite) -> Transaction:
        """Read the CBOR array `transaction` = [body bytes, signature]; raises `DecodeError`."""
        parts = split_signed(data, suite.signature_size) or _split(data, suite)
        body_bytes, signature = parts
        tx_id = suite.tagged_hash(domains.TX_BODY, body_bytes)
        tx_hash = suite.tagged_hash(domains.TX, tx_id + signature)
        return cls(TransactionBody.decode(body_bytes), signature, data, tx_id, tx_hash)


class VerifiedTransaction(Struct, frozen=True, gc=False):
    """A transaction whose signature verified under `sender_key`.

    Made by who checked it (`verify_transaction`, admission), or by a certificate of its block.
    """

    transaction: Transaction
    sender_key: bytes
    """Encoded public key the signature was checked under: the verdict holds for this key only."""


def _split(data: bytes, suite: Suite) -> tuple[bytes, bytes]:
    """Return body and signature of an encoded transaction of any size; raises `DecodeError`."""
    body_bytes, signature = expect_array(
        decode(data, what="transaction", size_max=TX_BYTES_MAX), 2, "transaction"
    )
    return (
        expect_blob(body_bytes, "transaction body", size_max=TX_BYTES_MAX),
        expect_bytes(signature, "transaction signature", size=suite.signature_size),
    )


def signed_bytes(tx_id: bytes) -> bytes:
    """Return what a sender signs. `tx_id` commits to the body, and the body to the chain id."""
    return domains.tagged(domains.TX_SIGNATURE, tx_id)


def sign_transaction(body: TransactionBody, signer: Signer, suite: Suite) -> Transaction:
    """Return the signed transaction of `body`."""
    body_bytes = body.encode()
    tx_id = suite.tagged_hash(domains.TX_BODY, body_bytes)
    signature = signer.sign(signed_bytes(tx_id))
    tx_hash = suite.tagged_hash(domains.TX, tx_id + signature)
    return Transaction(body, signature, encode([body_bytes, signature]), tx_id, tx_hash)


def verify_transaction(transaction: Transaction, sender_key: PublicKey) -> VerifiedTransaction:
    """Check the signature. Raises `CryptoError` when it does not verify under `sender_key`."""
    if not sender_key.verify(signed_bytes(transaction.tx_id), transaction.signature):
        raise CryptoError(f"transaction {transaction.tx_id.hex()}: signature does not verify")
    return VerifiedTransaction(transaction, sender_key.encoded)


def encode_hash_list(hashes: tuple[bytes, ...]) -> bytes:
    """Return 32-byte hashes as one byte string, the form proposals carry them in."""
    return b"".join(hashes)


def decode_hash_list(value: Any, count_max: int, what: str) -> tuple[bytes, ...]:  # noqa: ANN401 - untrusted
    """Read hashes packed by `encode_hash_list`; raises `DecodeError`."""
    expect_blob(value, what, size_max=count_max * 32)
    if len(value) % 32:
        raise DecodeError(f"{what}: expected a multiple of 32 bytes, got {len(value)}")
    return tuple(value[at : at + 32] for at in range(0, len(value), 32))
