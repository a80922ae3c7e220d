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
from node.chain.compact import Share
from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_blob,
    expect_bool,
    expect_bytes,
    expect_list,
    expect_text,
    expect_uint,
)
from node.chain.evidence import Evidence
from node.chain.log import TILE_BYTES
from node.chain.transaction import decode_hash_list, encode_hash_list
from node.consensus.messages import NewView, Proposal, Status, ViewChange
from node.errors import DecodeError
from node.limits import (
    BLOCK_TXS_MAX,
    CBOR_ITEMS_MAX,
    EVIDENCE_PER_MESSAGE_MAX,
    PEER_MESSAGE_BYTES_MAX,
    STATE_VALUE_BYTES_MAX,
    TX_BYTES_MAX,
)
from node.timestamp.history import HANDOVER_BYTES_MAX
from node.timestamp.log.note import TIME_S_MAX

DIGEST_BYTES = 32
COSIGNATURE_BYTES = 64
SYNC_BLOCKS_MAX = 256
STATE_PLACES_MAX = 64
SNAPSHOT_HEADS_MAX = 4
HANDOVERS_PER_MESSAGE = 16
LOG_LEVELS_MAX = 8
PAGE_BYTES_MAX = 2_048
STATE_KEY_BYTES_MAX = 1_024
_HEXADECIMAL = frozenset("0123456789abcdef")


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
    WANT_SNAPSHOTS = 13
    SNAPSHOTS = 14
    WANT_STATE = 15
    STATE = 16
    WANT_PAST = 17
    PAST = 18
    CHECKPOINT = 19
    SHARE = 20


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


@dataclass(frozen=True, slots=True)
class WantSnapshots:
    """Ask which states are held readable, and for the handovers after an epoch."""

    epoch: int


@dataclass(frozen=True, slots=True)
class SnapshotHead:
    """A block whose state is held readable, and what the log goes on from after it."""

    block: CertifiedHeader
    log_edge: tuple[bytes, ...]
    """What the growing tile of each level held, lowest first."""


@dataclass(frozen=True, slots=True)
class Snapshots:
    """States held readable; before them as many handovers, of consecutive epochs, as are sent."""

    handovers: tuple[bytes, ...]
    """Encoded."""
    heads: tuple[SnapshotHead, ...]


@dataclass(frozen=True, slots=True)
class WantState:
    """Ask for what the state after a block held at some places of its tree."""

    height: int
    places: tuple[str, ...]
    """In hexadecimal digits, as node.chain.state_page has them."""


@dataclass(frozen=True, slots=True)
class StatePart:
    """What is at a place: the stored page, or all keys below it with their values."""

    page: bytes | None
    values: tuple[tuple[bytes, bytes], ...]
    """In the order of their paths; empty where there is a page."""


@dataclass(frozen=True, slots=True)
class StateParts:
    """What was asked for, in order, as much as fits; none where that state is not held."""

    height: int
    parts: tuple[StatePart, ...]


@dataclass(frozen=True, slots=True)
class WantPast:
    """Ask for blocks from a height on with their results, as a ledger stores them."""

    from_height: int
    count: int


@dataclass(frozen=True, slots=True)
class PastBlocks:
    """Header and body values of consecutive blocks: as many as fit, none where there is none."""

    from_height: int
    blocks: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class CheckpointLines:
    """What a validator signs of the public log at a size: a line as the log, one as a cosigner."""

    size: int
    root: bytes
    log_signature: bytes
    time_s: int
    """Seconds since 1970 UTC, as the cosignature says."""
    cosignature: bytes


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
    | WantSnapshots
    | Snapshots
    | WantState
    | StateParts
    | WantPast
    | PastBlocks
    | CheckpointLines
    | Share
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
    WantSnapshots: MessageKind.WANT_SNAPSHOTS,
    Snapshots: MessageKind.SNAPSHOTS,
    WantState: MessageKind.WANT_STATE,
    StateParts: MessageKind.STATE,
    WantPast: MessageKind.WANT_PAST,
    PastBlocks: MessageKind.PAST,
    CheckpointLines: MessageKind.CHECKPOINT,
    Share: MessageKind.SHARE,
}


def kind_of(message: Message) -> MessageKind:
    """Return the kind of a message."""
    return _KINDS[type(message)]


def encode_message(message: Message) -> bytes:  # noqa: C901, PLR0912 - one case per kind
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
        case WantSnapshots():
            value = message.epoch
        case Snapshots():
            heads = [[head.block.to_value(), list(head.log_edge)] for head in message.heads]
            value = [list(message.handovers), heads]
        case WantState():
            value = [message.height, list(message.places)]
        case StateParts():
            value = [
                message.height,
                [[part.page, [list(pair) for pair in part.values]] for part in message.parts],
            ]
        case WantPast():
            value = [message.from_height, message.count]
        case PastBlocks():
            value = [message.from_height, [list(pair) for pair in message.blocks]]
        case CheckpointLines():
            lines = [message.log_signature, message.time_s, message.cosignature]
            value = [message.size, message.root, *lines]
        case _:
            value = message.to_value()
    return encode([int(kind_of(message)), value])


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
        case MessageKind.WANT_SNAPSHOTS:
            return WantSnapshots(expect_uint(value, "want-snapshots epoch"))
        case MessageKind.SNAPSHOTS:
            handovers, listed = expect_array(value, 2, "snapshots")
            heads = expect_list(listed, SNAPSHOT_HEADS_MAX, "snapshot heads")
            return Snapshots(
                _expect_blobs(handovers, HANDOVERS_PER_MESSAGE, HANDOVER_BYTES_MAX, "handovers"),
                tuple(_snapshot_head(head, signature_size) for head in heads),
            )
        case MessageKind.WANT_STATE:
            height, listed = expect_array(value, 2, "want-state")
            return WantState(
                expect_uint(height, "want-state height"),
                tuple(
                    _expect_place(place)
                    for place in expect_list(listed, STATE_PLACES_MAX, "want-state places")
                ),
            )
        case MessageKind.STATE:
            height, listed = expect_array(value, 2, "state parts")
            return StateParts(
                expect_uint(height, "state parts height"),
                tuple(map(_state_part, expect_list(listed, STATE_PLACES_MAX, "state parts"))),
            )
        case MessageKind.WANT_PAST:
            from_height, count = expect_array(value, 2, "want-past")
            return WantPast(
                expect_uint(from_height, "want-past height"),
                expect_uint(count, "want-past count", SYNC_BLOCKS_MAX),
            )
        case MessageKind.PAST:
            from_height, listed = expect_array(value, 2, "past")
            blocks = expect_list(listed, SYNC_BLOCKS_MAX, "past blocks")
            return PastBlocks(
                expect_uint(from_height, "past height"),
                tuple(
                    _expect_pair(pair, PEER_MESSAGE_BYTES_MAX, PEER_MESSAGE_BYTES_MAX, "past block")
                    for pair in blocks
                ),
            )
        case MessageKind.CHECKPOINT:
            size, root, log_signature, time_s, cosignature = expect_array(value, 5, "checkpoint")
            return CheckpointLines(
                expect_uint(size, "checkpoint size"),
                expect_bytes(root, "checkpoint root", size=DIGEST_BYTES),
                expect_bytes(log_signature, "checkpoint log line", size=COSIGNATURE_BYTES),
                expect_uint(time_s, "checkpoint time", TIME_S_MAX),
                expect_bytes(cosignature, "checkpoint cosignature", size=COSIGNATURE_BYTES),
            )
        case MessageKind.SHARE:
            return Share.from_value(value)
        case other:
            raise DecodeError(f"peer message kind: {other} is unknown")


def _snapshot_head(value: object, signature_size: int) -> SnapshotHead:
    block, log_edge = expect_array(value, 2, "snapshot head")
    return SnapshotHead(
        CertifiedHeader.from_value(block, signature_size),
        _expect_blobs(log_edge, LOG_LEVELS_MAX, TILE_BYTES, "snapshot log edge"),
    )


def _state_part(value: object) -> StatePart:
    page, listed = expect_array(value, 2, "state part")
    values = expect_list(listed, CBOR_ITEMS_MAX, "state values")
    return StatePart(
        None if page is None else expect_blob(page, "state page", size_max=PAGE_BYTES_MAX),
        tuple(
            _expect_pair(pair, STATE_KEY_BYTES_MAX, STATE_VALUE_BYTES_MAX, "state value")
            for pair in values
        ),
    )


def _expect_place(value: object) -> str:
    place = expect_text(value, "place", size_max=2 * DIGEST_BYTES, empty=True)
    if not frozenset(place) <= _HEXADECIMAL:
        raise DecodeError(f"place: expected hexadecimal digits, got {place!r}")
    return place


def _expect_pair(value: object, first_max: int, second_max: int, what: str) -> tuple[bytes, bytes]:
    first, second = expect_array(value, 2, what)
    return (
        expect_blob(first, what, size_max=first_max),
        expect_blob(second, what, size_max=second_max),
    )


def _expect_blobs(value: object, count_max: int, size_max: int, what: str) -> tuple[bytes, ...]:
    return tuple(
        expect_blob(item, what, size_max=size_max) for item in expect_list(value, count_max, what)
    )
