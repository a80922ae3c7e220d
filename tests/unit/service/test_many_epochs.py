"""A chain of more epochs than one proof holds: its proofs are read for ever, and cost no more.

The limits are lowered here, so that a real chain of a few epochs passes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from node.chain.block import ResultCode
from node.chain.governance import SetParameters
from node.chain.reference import ReferenceName
from node.crypto.suite import SHA_256
from node.execution.registry import epoch_start_key
from node.limits import RECEIPT_BYTES_MAX
from node.service.queries import EPOCHS_REMEMBERED, Queries
from node.storage.ledger import LedgerStore
from node.storage.stored_block import StoredBlock
from node.timestamp import history
from node.timestamp.consistency import verify_consistency_proof
from node.timestamp.history import (
    CARRIED_HANDOVERS_BYTES_MAX,
    CARRIED_HANDOVERS_MAX,
    HANDOVERS_MAX,
    Handover,
    carry_newest,
)
from node.timestamp.receipt import Receipt
from node.timestamp.standing import verify_standing
from node.timestamp.state_value import verify_state_value
from node.timestamp.steps import Judgement
from node.timestamp.trust import TrustAnchor, TrustFile
from node.timestamp.verify import NamedDigest, Outcome, verify_receipt
from tests.unit.execution.governed_chain import GOVERNED
from tests.unit.execution.small_chain import payload
from tests.unit.service.chatting import Chat, govern, notarize

EPOCHS = 5
READABLE = 3
"""How many handovers a proof may hold here."""
CARRIED = 2
FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")
NAME = ReferenceName("agency-1", "licence", "R")


@pytest.fixture(scope="module")
def ledger() -> LedgerStore:
    """Return a ledger of six epochs, each with a block of its own."""
    chat = Chat(*FOUNDERS)
    notarize(chat, "in epoch 0")
    for epoch in range(EPOCHS):
        change = SetParameters(replace(GOVERNED.parameters, view_timeout_ms=900 - epoch))
        assert govern(chat, change, members=FOUNDERS) is ResultCode.OK
        notarize(chat, f"in epoch {epoch + 1}")
    return chat.nodes["validator-1"].ledger


@pytest.fixture
def queries(ledger: LedgerStore, monkeypatch: pytest.MonkeyPatch) -> Queries:
    monkeypatch.setattr(history, "HANDOVERS_MAX", READABLE)
    monkeypatch.setattr(history, "CARRIED_HANDOVERS_MAX", CARRIED)
    return Queries(ledger, GOVERNED)


def anchor_after(queries: Queries, epoch: int) -> TrustAnchor:
    handovers = queries.handovers(epoch)
    return TrustFile(chain_id=GOVERNED.chain_id, genesis=GOVERNED, handovers=handovers).establish()


def digest_of(epoch: int) -> NamedDigest:
    return NamedDigest(SHA_256, payload(f"in epoch {epoch}").digests)


def receipt_of(queries: Queries, epoch: int) -> bytes:
    found = queries.receipt_of_digest(digest_of(epoch).value)
    assert found is not None
    return found.encode()


def test_what_a_node_issues_is_far_below_what_a_reader_takes() -> None:
    assert CARRIED_HANDOVERS_MAX * 8 <= HANDOVERS_MAX
    assert CARRIED_HANDOVERS_BYTES_MAX * 8 <= RECEIPT_BYTES_MAX


@pytest.mark.parametrize("epoch", range(EPOCHS + 1))
def test_receipts_are_readable_in_every_epoch_and_carry_the_newest_handovers(
    queries: Queries, epoch: int
) -> None:
    receipt = Receipt.decode(receipt_of(queries, epoch))
    epochs = [each.next_set.epoch for each in receipt.handovers]
    assert epochs == list(range(max(1, epoch + 1 - CARRIED), epoch + 1))


@pytest.mark.parametrize("epoch", range(EPOCHS + 1))
def test_a_trust_file_of_the_epochs_carried_roots_a_receipt_and_an_older_one_does_not(
    queries: Queries, epoch: int
) -> None:
    receipt = receipt_of(queries, epoch)
    for known in range(epoch + 1):
        verdict = verify_receipt(receipt, anchor_after(queries, known), digest_of(epoch))
        if epoch - known <= CARRIED:
            assert (verdict.outcome, verdict.unreached_epoch) == (Outcome.VERIFIED, None)
        else:
            assert (verdict.outcome, verdict.unreached_epoch) == (Outcome.NOT_ROOTED, epoch)
            further = anchor_after(queries, EPOCHS).up_to(epoch)
            assert verify_receipt(receipt, further, digest_of(epoch)).failure is None
    assert anchor_after(queries, 2).up_to(EPOCHS).epoch == 2


def test_every_other_proof_carries_as_much(queries: Queries) -> None:
    standing = queries.standing_proof(NAME)
    consistency = queries.consistency_proof(1, None)
    value = queries.state_value_proof(NAME.key)
    assert standing is not None
    assert consistency is not None
    assert value is not None
    proofs: list[Callable[[TrustAnchor], Judgement[Any]]] = [
        lambda anchor: verify_standing(standing.encode(), anchor, NAME),
        lambda anchor: verify_consistency_proof(consistency.encode(), anchor),
    ]
    for verify in proofs:
        assert verify(anchor_after(queries, EPOCHS - CARRIED)).outcome is Outcome.VERIFIED
        assert verify(anchor_after(queries, 0)).unreached_epoch == EPOCHS
    known = anchor_after(queries, EPOCHS - CARRIED)
    assert verify_state_value(value, NAME.key, known).value is None


def test_the_newest_handovers_that_fit_are_carried(
    queries: Queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    handovers = queries.handovers(EPOCHS)
    monkeypatch.setattr(history, "CARRIED_HANDOVERS_MAX", EPOCHS)
    for count in range(EPOCHS + 1):
        room = sum(len(each.encode()) for each in handovers[EPOCHS - count :])
        monkeypatch.setattr(history, "CARRIED_HANDOVERS_BYTES_MAX", room)
        assert carry_newest(reversed(handovers)) == handovers[EPOCHS - count :]
    monkeypatch.setattr(history, "CARRIED_HANDOVERS_BYTES_MAX", room - 1)
    assert carry_newest(reversed(handovers)) == handovers[1:]
    taken: list[Handover] = []

    def told() -> Iterator[Handover]:
        for each in reversed(handovers):
            taken.append(each)
            yield each

    monkeypatch.setattr(history, "CARRIED_HANDOVERS_MAX", 1)
    assert carry_newest(told()) == handovers[-1:]
    assert taken == [handovers[-1]]


def test_a_proof_costs_what_it_carries_and_an_epoch_is_read_once(
    queries: Queries, ledger: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    get = ledger.get

    def counted(key: bytes) -> bytes | None:
        read.append(key)
        return get(key)

    monkeypatch.setattr(ledger, "get", counted)
    for _ in range(2):
        assert len(queries.carried_handovers(EPOCHS)) == CARRIED
    assert read == [epoch_start_key(EPOCHS), epoch_start_key(EPOCHS - 1)]
    read.clear()
    assert len(queries.handovers_from(1, 2)) == 2
    assert [key for key in read if key in map(epoch_start_key, range(EPOCHS + 2))] == [
        epoch_start_key(2),
        epoch_start_key(3),
    ]


def test_few_epochs_are_remembered(queries: Queries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.service.queries.EPOCHS_REMEMBERED", 2)
    assert EPOCHS_REMEMBERED > 2
    first = queries.carried_handovers(1)
    assert queries.carried_handovers(2) is queries.carried_handovers(2)
    assert queries.carried_handovers(1) is first
    queries.carried_handovers(3)
    assert queries.carried_handovers(1) is not first
    assert queries.carried_handovers(1) == first


def test_parameters_of_any_epoch_are_found_in_the_one_block_that_set_them(
    queries: Queries, ledger: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    block = ledger.block

    def counted(height: int) -> StoredBlock | None:
        read.append(height)
        return block(height)

    monkeypatch.setattr(ledger, "block", counted)
    for epoch in (EPOCHS, 2, 0):
        header = Receipt.decode(receipt_of(queries, epoch)).block.header
        read.clear()
        wanted = GOVERNED.parameters if epoch == 0 else None
        found = queries.parameters_at(header)
        assert found.digest(GOVERNED.suite) == header.parameters_digest
        assert wanted in (None, found)
        assert len(read) == min(epoch, 1)
