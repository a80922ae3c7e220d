"""The envelope between validators: every kind round-trips, fits the CDDL, decodes strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.chain.block import CertifiedBlock
from node.chain.certificate import Phase
from node.chain.compact import Share
from node.chain.encoding import decode, encode
from node.consensus.messages import Proposal, Status
from node.errors import DecodeError
from node.service.wire import (
    Accusations,
    Blocks,
    Bodies,
    CheckpointLines,
    Message,
    MessageKind,
    PastBlocks,
    SnapshotHead,
    Snapshots,
    StatePart,
    StateParts,
    Transactions,
    WantBlocks,
    WantBodies,
    WantPast,
    WantSnapshots,
    WantState,
    decode_message,
    encode_message,
    kind_of,
)
from tests.unit.consensus.signing import (
    certified,
    chain_of_blocks,
    evidence_against,
    new_view,
    view_change,
    vote,
)
from tests.unit.timestamp.cddl import Schema

SCHEMA = Schema((Path(__file__).parents[3] / "proto" / "govchain.cddl").read_text())
SIGNATURE_BYTES = 64


def samples() -> list[Message]:
    """Return a message of every kind."""
    _, first, second = chain_of_blocks(2)
    final = certified(first.header, Phase.COMMIT)
    prepared = certified(second.header, Phase.PREPARE)
    changes = [view_change(i, 1, committed=[final], prepared=[prepared]) for i in range(3)]
    encoded = tuple(tx.transaction.encoded for tx in first.transactions)
    hashes = tuple(tx.transaction.tx_hash for tx in first.transactions)
    transactions = tuple(tx.transaction for tx in first.transactions)
    block = CertifiedBlock(first.header, transactions, final.certificate)
    return [
        new_view(1, changes),
        changes[0],
        vote(Phase.COMMIT, 0, first.header, 2),
        final,
        Proposal(first.header, hashes, vote(Phase.PREPARE, 0, first.header, 0)),
        Status(0, 3, view_active=False, height=9),
        WantBodies(1, first.digest, hashes),
        Bodies(first.digest, whole=True, transactions=encoded),
        WantBlocks(1, 256),
        Blocks(1, (block.encode(),)),
        Transactions(encoded),
        Accusations((evidence_against(2), evidence_against(1, height=2))),
        WantSnapshots(3),
        Snapshots((b"handover",), (SnapshotHead(final, (bytes(64), b"", bytes(32))),)),
        WantState(7, ("", "0", "0f")),
        StateParts(7, (StatePart(bytes(48), ()), StatePart(None, ((b"key", b"value"),)))),
        WantPast(1, 256),
        PastBlocks(1, ((b"header", b"body"),)),
        CheckpointLines(9, bytes(32), bytes(64), 2**63 - 1, bytes(64)),
        Share(1, 200, bytes(32), bytes(96)),
    ]


SAMPLES = samples()
each = pytest.mark.parametrize("message", SAMPLES, ids=[kind_of(m).name for m in SAMPLES])


def test_there_is_a_sample_of_every_kind() -> None:
    assert [kind_of(message) for message in SAMPLES] == list(MessageKind)


@each
def test_round_trip_as_the_cddl_says(message: Message) -> None:
    data = encode_message(message)
    assert SCHEMA.matches("peer-message", data)
    assert decode_message(data, SIGNATURE_BYTES) == message


@each
def test_whatever_byte_changes_nothing_is_read_that_the_cddl_refuses(message: Message) -> None:
    data = encode_message(message)
    for position in range(min(len(data), 1_500)):
        changed = bytearray(data)
        changed[position] ^= 0x01
        try:
            decode_message(bytes(changed), SIGNATURE_BYTES)
        except DecodeError:
            continue
        # Blobs inside stay opaque until somebody needs them: only the envelope is judged here.
        if not isinstance(message, Blocks | Bodies | Transactions):
            assert SCHEMA.matches("peer-message", bytes(changed)), position


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([0, []], "kind: 0 is unknown"),
        ([21, []], "kind: 21 is unknown"),
        ([20, [0, 1, bytes(32), bytes(95)]], "share signature: expected 96 bytes"),
        ([13, []], "want-snapshots epoch"),
        ([14, [[], [[]] * 5]], "snapshot heads"),
        ([15, [1, ["0F"]]], "expected hexadecimal digits"),
        ([15, [1, ["0" * 65]]], "place"),
        ([15, [1, [""] * 65]], "want-state places"),
        ([16, [1, [[bytes(2_049), []]]]], "state page"),
        ([16, [1, [[None, [[b"key"]]]]]], "state value"),
        ([16, [1, [[None, [[b"key", bytes(65_537)]]]]]], "state value"),
        ([17, [1, 257]], "want-past count"),
        ([18, [1, [[b"header"]]]], "past block"),
        ([6, [0, 1, 1, 1]], "status active: expected a bool"),
        ([8, [bytes(32), 1, []]], "bodies whole: expected a bool"),
        ([9, [1, 257]], "want-blocks count"),
        ([7, [1, bytes(32), bytes(31)]], "multiple of 32"),
        ([6], "array of 2 items"),
    ],
)
def test_refuses(value: list[object], why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        decode_message(encode(value), SIGNATURE_BYTES)


def test_more_urgent_kinds_have_lower_numbers() -> None:
    view_changes = max(MessageKind.NEW_VIEW, MessageKind.VIEW_CHANGE)
    votes = max(MessageKind.VOTE, MessageKind.DECIDED)
    sync = (MessageKind.WANT_BODIES, MessageKind.BLOCKS)
    assert view_changes < votes < MessageKind.PROPOSAL < min(sync)
    assert max(sync) < MessageKind.TRANSACTIONS
    assert decode(encode_message(SAMPLES[5]), what="status", size_max=64)[0] == MessageKind.STATUS
