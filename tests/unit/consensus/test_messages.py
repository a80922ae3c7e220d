"""Consensus messages survive the trip through their bytes, the deepest nested one included."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from node.chain.certificate import Phase
from node.consensus.messages import NewView, Proposal, Reason, Status, ViewChange
from node.errors import DecodeError
from node.limits import VALIDATORS_MAX
from node.service.log_records import NewViewRecord, decode_log_record, encode_log_record
from node.service.wire import Message, decode_message, encode_message
from tests.unit.consensus.signing import (
    QUORUM,
    certified,
    chain_of_blocks,
    new_view,
    view_change,
    vote,
)
from tests.unit.execution.small_chain import GENESIS

SIGNATURE_BYTES = GENESIS.suite.signature_size
HEADERS = [block.header for block in chain_of_blocks(4)]


def through_the_wire(message: Message) -> Message:
    return decode_message(encode_message(message), SIGNATURE_BYTES)


def test_a_new_view_with_full_view_changes_survives_wire_and_log() -> None:
    committed = [certified(header, Phase.COMMIT) for header in HEADERS[1:3]]
    prepared = [certified(header, Phase.PREPARE) for header in HEADERS[3:5]]
    message = new_view(
        1, [view_change(v, 1, committed=committed, prepared=prepared) for v in QUORUM]
    )
    assert through_the_wire(message) == message
    record = NewViewRecord(message)
    assert decode_log_record(*encode_log_record(record), SIGNATURE_BYTES) == record


def test_votes_proposals_certified_headers_and_statuses_survive_the_wire() -> None:
    block = chain_of_blocks(1)[1]
    tx_hashes = tuple(tx.transaction.tx_hash for tx in block.transactions)
    ballot = vote(Phase.PREPARE, 0, block.header, 0)
    messages: list[Message] = [
        ballot,
        Proposal(block.header, tx_hashes, ballot),
        certified(block.header, Phase.COMMIT),
        view_change(2, 7),
        Status(0, 3, view_active=False, height=12),
    ]
    assert [through_the_wire(message) for message in messages] == messages


VIEW_CHANGE = view_change(2, 7).to_value()
PROPOSAL = Proposal(HEADERS[1], (), vote(Phase.PREPARE, 0, HEADERS[1], 0)).to_value()
NEW_VIEW = new_view(1, [view_change(v, 1) for v in QUORUM]).to_value()
VERSION, VALIDATOR, REASON = 0, 3, 8
"""Places in a message."""


@pytest.mark.parametrize(
    ("kind", "value", "place", "item"),
    [
        (Proposal, PROPOSAL, VERSION, 2),
        (ViewChange, VIEW_CHANGE, VERSION, 2),
        (NewView, NEW_VIEW, VERSION, 2),
        (ViewChange, VIEW_CHANGE, VALIDATOR, VALIDATORS_MAX),
        (ViewChange, VIEW_CHANGE, REASON, 0),
        (ViewChange, VIEW_CHANGE, REASON, max(Reason) + 1),
    ],
)
def test_what_no_validator_writes_is_not_read(
    kind: type[Proposal | ViewChange | NewView], value: list[Any], place: int, item: int
) -> None:
    with pytest.raises(DecodeError):
        kind.from_value([*value[:place], item, *value[place + 1 :]], SIGNATURE_BYTES)


@pytest.mark.parametrize("reason", Reason)
def test_the_last_validator_leaves_for_any_reason(reason: Reason) -> None:
    last = replace(view_change(2, 7, reason=reason), validator=VALIDATORS_MAX - 1)
    assert through_the_wire(last) == last
