"""Reading many transactions that are alike: what they share is compared, not decoded again.

Most transactions of a chain are notarizations of one record, by few senders, of few types. Their
bodies differ in nonce, lifetime, digest and reference alone, and what stands around these is the
same bytes each time. So the parts of what `Transaction.decode` read are remembered, and of a body
made of known parts the rest alone is looked at. All else goes to `Transaction.decode`, which alone
refuses.
"""

from __future__ import annotations

from typing import Final

from node.chain.encoding import encode_bytes, encode_sequence, split_signed
from node.chain.record import Notarization, RecordAction
from node.chain.struct import Struct
from node.chain.transaction import Transaction, TransactionBody, TransactionKind
from node.crypto import domains
from node.crypto.suite import Suite
from node.limits import RECORD_REFERENCE_BYTES_MAX, TX_NONCE_BYTES

PARTS_REMEMBERED_MAX: Final = 4_096
"""Of either kind; above it all are forgotten."""

# Where things stand in a body, and their heads (RFC 8949 section 3). It begins with the head of an
# array, the version, and the chain id behind a head of two bytes.
_SENDER_AT: Final = 36
_BODY_HEAD: Final = encode_sequence([None] * 7)[:1]
_PAYLOAD_HEAD: Final = encode_sequence([None] * 5)[:1]
_NONCE_HEAD: Final = encode_bytes(bytes(TX_NONCE_BYTES))[:1]
_TYPE_AFTER: Final = 3
"""Bytes of kind, head of the payload and digest algorithm, which stand before the type."""
_DIGEST_AFTER: Final = 3
"""Bytes of the action and of the digests' head, which follow the type."""
_TIME_BYTES: Final = 9
_TIME_HEAD: Final = 0x1B
_TIME_LEAST: Final = 1 << 32  # lesser ones have a shorter form
_TEXT: Final = 0x60
_LONG_TEXT: Final = 0x78  # its size is in the next byte
_LONG_TEXT_LEAST: Final = 24
_ONE_REFERENCE: Final = 0x81
_NO_REFERENCES: Final = b"\xf6"


class _Start(Struct, frozen=True, gc=False):
    """What a body begins with, up to its nonce."""

    chain_id: bytes
    sender: str


class _Middle(Struct, frozen=True, gc=False):
    """What stands between lifetime and digest where one record is notarized."""

    digest_algorithm: int
    type_code: str
    action: RecordAction
    digest_bytes: int


class TransactionReader:
    """Reads the transactions of one suite. For one thread."""

    def __init__(self, suite: Suite) -> None:
        """Start with nothing remembered."""
        self._suite = suite
        self._starts: dict[bytes, _Start] = {}
        self._middles: dict[bytes, _Middle] = {}

    def read(self, data: bytes) -> Transaction:
        """Return what `Transaction.decode` does; raises `DecodeError` as that."""
        suite = self._suite
        signed = split_signed(data, suite.signature_size)
        body = None if signed is None else self._read_known(signed[0])
        if signed is None or body is None:
            transaction = Transaction.decode(data, suite)
            self._remember(transaction.body)
            return transaction
        body_bytes, signature = signed
        tx_id = suite.tagged_hash(domains.TX_BODY, body_bytes)
        tx_hash = suite.tagged_hash(domains.TX, tx_id + signature)
        return Transaction(body, signature, data, tx_id, tx_hash)

    def _read_known(self, data: bytes) -> TransactionBody | None:
        """Return the body if its parts are known and what is between them is sound; else None."""
        try:
            nonce_at = _end_of_text(data, _SENDER_AT) + 1
            time_at = nonce_at + TX_NONCE_BYTES
            middle_at = time_at + _TIME_BYTES
            digest_at = _end_of_text(data, middle_at + _TYPE_AFTER) + _DIGEST_AFTER
        except IndexError:
            return None
        start = self._starts.get(data[:nonce_at])
        middle = self._middles.get(data[middle_at:digest_at])
        if start is None or middle is None or data[time_at] != _TIME_HEAD:
            return None
        not_after_ms = int.from_bytes(data[time_at + 1 : middle_at], "big")
        references_at = digest_at + middle.digest_bytes
        rest = data[references_at:]
        reference = None if rest == _NO_REFERENCES else _lone_reference(rest)
        if not_after_ms < _TIME_LEAST or (reference is None and rest != _NO_REFERENCES):
            return None
        payload = Notarization(
            digest_algorithm=middle.digest_algorithm,
            type_code=middle.type_code,
            action=middle.action,
            digests=data[digest_at:references_at],
            references=None if reference is None else (reference,),
        )
        return TransactionBody(
            chain_id=start.chain_id,
            sender=start.sender,
            nonce=data[nonce_at:time_at],
            not_after_ms=not_after_ms,
            kind=TransactionKind.NOTARIZE,
            payload=payload,
        )

    def _remember(self, body: TransactionBody) -> None:
        """Remember the parts of a body, as others of one record each may be made of them."""
        payload = body.payload
        if not isinstance(payload, Notarization) or payload.count > 1:
            return
        for parts in (self._starts, self._middles):
            if len(parts) >= PARTS_REMEMBERED_MAX:
                parts.clear()
        start = _BODY_HEAD + encode_sequence(1, body.chain_id, body.sender) + _NONCE_HEAD
        self._starts[start] = _Start(body.chain_id, body.sender)
        algorithm, digest_bytes = payload.digest_algorithm, len(payload.digests)
        middle = (
            encode_sequence(int(body.kind))
            + _PAYLOAD_HEAD
            + encode_sequence(algorithm, payload.type_code, int(payload.action), payload.digests)
        )
        self._middles[middle[:-digest_bytes]] = _Middle(
            algorithm, payload.type_code, payload.action, digest_bytes
        )


def _end_of_text(data: bytes, at: int) -> int:
    """Return where the text that begins at a place ends; `IndexError` where no short text does."""
    head = data[at]
    if _TEXT <= head < _LONG_TEXT:
        return at + 1 + head - _TEXT
    if head == _LONG_TEXT:
        return at + 2 + data[at + 1]
    raise IndexError(at)


def _lone_reference(data: bytes) -> str | None:
    """Return the text of an array of one, visible ASCII of a sound length; else None."""
    if len(data) < len(b"\x81\x61a") or data[0] != _ONE_REFERENCE:
        return None
    head, size = data[1], len(data) - 2
    text = data[2:]
    if head == _LONG_TEXT:
        size, text = size - 1, data[3:]
        if size < _LONG_TEXT_LEAST or data[2] != size:
            return None
    elif size >= _LONG_TEXT_LEAST or head != _TEXT + size:
        return None
    if size > RECORD_REFERENCE_BYTES_MAX or not text.isascii():
        return None
    reference = text.decode("ascii")
    return reference if reference.isprintable() else None
