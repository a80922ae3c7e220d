"""Messages between validators: one envelope for consensus, gossip and sync, strict and bounded.

An envelope is canonical CBOR [kind, value]. Nothing here is trusted: consensus messages are checked
by node.consensus.verification, transactions by admission, blocks by their certificate.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from node.chain.block import CertifiedHeader
from node.chain.certificate import Vote
from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_blob,
    expect_bool,
    expect_bytes,
    expect_list,
    expect_uint,
)
from node.chain.evidence import Evidence
from node.chain.transaction import decode_hash_list, encode_hash_list
from node.consensus.messages import NewView, Proposal, Status, ViewChange
from node.errors import DecodeError
from node.limits import (
    BLOCK_TXS_MAX,
    EVIDENCE_PER_MESSAGE_MAX,
    PEER_MESSAGE_BYTES_MAX,
    TX_BYTES_MAX,
)

DIGEST_BYTES = 32
SYNC_BLOCKS_MAX = 256


class MessageKind(IntEnum):
    """Kinds in order of urgency: the transport sends lower numbers first."""

    NEW_VIEW = 1
    VIEW_CHANGE = 2
    VOTE = 3
    DECIDED = 4
    PROPOSAL = 5
    STATUS = 6
    WANT_BODIES = 7
    BODIES = 8
    WANT_BLOCKS = 9
    BLOCKS = 10
    TRANSACTIONS = 11
    EVIDENCE = 12


LAST_OF_CONSENSUS: Final = MessageKind.STATUS
"""Up to here the core takes part in it; after it come transactions, blocks and proofs."""


@dataclass(frozen=True, slots=True)
class WantBodies:
    """Ask for transactions of a block; an empty list asks for all of them, in order."""

    height: int
    header_digest: bytes
    tx_hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Bodies:
    """Encoded transactions of a block: the whole ordered list, or some that were missing."""

    header_digest: bytes
    whole: bool
    transactions: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class WantBlocks:
    """Ask for certified blocks from a height on."""

    from_height: int
    count: int


@dataclass(frozen=True, slots=True)
class Blocks:
    """Encoded certified blocks of consecutive heights: as many as fit, none where there is none."""

    from_height: int
    """The one asked for, so that a late answer is known as such."""
    blocks: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Transactions:
    """Encoded transactions a peer admitted from its clients."""

    transactions: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Accusations:
    """Evidence that validators equivocated."""

    evidence: tuple[Evidence, ...]


Message = (
    Proposal
    | Vote
    | ViewChange
    | NewView
    | CertifiedHeader
    | Status
    | WantBodies
    | Bodies
    | WantBlocks
    | Blocks
    | Transactions
    | Accusations
)

_KINDS: dict[type, MessageKind] = {
    NewView: MessageKind.NEW_VIEW,
    ViewChange: MessageKind.VIEW_CHANGE,
    Vote: MessageKind.VOTE,
    CertifiedHeader: MessageKind.DECIDED,
    Proposal: MessageKind.PROPOSAL,
    Status: MessageKind.STATUS,
    WantBodies: MessageKind.WANT_BODIES,
    Bodies: MessageKind.BODIES,
    WantBlocks: MessageKind.WANT_BLOCKS,
    Blocks: MessageKind.BLOCKS,
    Transactions: MessageKind.TRANSACTIONS,
    Accusations: MessageKind.EVIDENCE,
}


def kind_of(message: Message) -> MessageKind:
    """Return the kind of a message."""
    return _KINDS[type(message)]


def encode_message(message: Message) -> bytes:
    """Return the envelope of a message."""
    value: Any
    match message:
        case WantBodies():
            value = [message.height, message.header_digest, encode_hash_list(message.tx_hashes)]
        case Bodies():
            value = [message.header_digest, message.whole, list(message.transactions)]
        case WantBlocks():
            value = [message.from_height, message.count]
        case Blocks():
            value = [message.from_height, list(message.blocks)]
        case Transactions():
            value = list(message.transactions)
        case Accusations():
            value = [evidence.to_value() for evidence in message.evidence]
        case _:
            value = message.to_value()
    return encode([kind_of(message).value, value])


def decode_message(data: bytes, signature_size: int) -> Message:  # noqa: C901, PLR0911, PLR0912 - one case per kind
    """Read an envelope; raises `DecodeError`."""
    kind, value = expect_array(
        decode(data, what="peer message", size_max=PEER_MESSAGE_BYTES_MAX), 2, "peer message"
    )
    match expect_uint(kind, "peer message kind"):
        case MessageKind.PROPOSAL:
            return Proposal.from_value(value, signature_size)
        case MessageKind.VOTE:
            return Vote.from_value(value, signature_size)
        case MessageKind.VIEW_CHANGE:
            return ViewChange.from_value(value, signature_size)
        case MessageKind.NEW_VIEW:
            return NewView.from_value(value, signature_size)
        case MessageKind.DECIDED:
            return CertifiedHeader.from_value(value, signature_size)
        case MessageKind.STATUS:
            return Status.from_value(value)
        case MessageKind.WANT_BODIES:
            height, digest, tx_hashes = expect_array(value, 3, "want-bodies")
            return WantBodies(
                expect_uint(height, "want-bodies height"),
                expect_bytes(digest, "want-bodies digest", size=DIGEST_BYTES),
                decode_hash_list(tx_hashes, BLOCK_TXS_MAX, "want-bodies hashes"),
            )
        case MessageKind.BODIES:
            digest, whole, listed = expect_array(value, 3, "bodies")
            return Bodies(
                expect_bytes(digest, "bodies digest", size=DIGEST_BYTES),
                expect_bool(whole, "bodies whole"),
                _expect_blobs(listed, BLOCK_TXS_MAX, TX_BYTES_MAX, "bodies"),
            )
        case MessageKind.WANT_BLOCKS:
            from_height, count = expect_array(value, 2, "want-blocks")
            return WantBlocks(
                expect_uint(from_height, "want-blocks height"),
                expect_uint(count, "want-blocks count", SYNC_BLOCKS_MAX),
            )
        case MessageKind.BLOCKS:
            from_height, listed = expect_array(value, 2, "blocks")
            return Blocks(
                expect_uint(from_height, "blocks height"),
                _expect_blobs(listed, SYNC_BLOCKS_MAX, PEER_MESSAGE_BYTES_MAX, "blocks"),
            )
        case MessageKind.TRANSACTIONS:
            return Transactions(_expect_blobs(value, BLOCK_TXS_MAX, TX_BYTES_MAX, "transactions"))
        case MessageKind.EVIDENCE:
            listed = expect_list(value, EVIDENCE_PER_MESSAGE_MAX, "accusations")
            return Accusations(tuple(Evidence.from_value(item, signature_size) for item in listed))
        case other:
            raise DecodeError(f"peer message kind: {other} is unknown")


def _expect_blobs(value: object, count_max: int, size_max: int, what: str) -> tuple[bytes, ...]:
    return tuple(
        expect_blob(item, what, size_max=size_max) for item in expect_list(value, count_max, what)
    )
