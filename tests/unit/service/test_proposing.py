"""When a primary proposes, and what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.membership import ValidatorSet
from node.chain.transaction import VerifiedTransaction
from node.consensus.events import Now
from node.limits import TX_LIFETIME_MS_MAX
from node.service import proposing
from node.service.log_records import BlockRecord, decode_log_record
from node.service.proposing import RESERVE_FACTOR
from tests.unit.execution.small_chain import CREATED_MS, GENESIS, payload, tx
from tests.unit.service.lone import Lone

ONE_VALIDATOR = replace(
    GENESIS, validators=ValidatorSet(0, GENESIS.validators.validators[:1], GENESIS.suite)
)


def own_tx(document: str) -> VerifiedTransaction:
    return tx(payload(document), chain_id=ONE_VALIDATOR.chain_id)


def proposed(node: Lone) -> list[int]:
    """Return how many transactions each block holds that was logged."""
    records = [
        decode_log_record(kind, data, GENESIS.suite.signature_size)
        for kind, data in node.log.records
    ]
    return [len(each.transactions) for each in records if isinstance(each, BlockRecord)]


def test_a_primary_with_nothing_includable_waits_instead_of_asking_itself_for_ever() -> None:
    primary = Lone(0)
    too_early_for_any_block = CREATED_MS + 1_000 + TX_LIFETIME_MS_MAX + 20
    primary.admit(tx(payload("early"), not_after_ms=too_early_for_any_block), 0)
    assert not primary.log.records
    assert primary.engine.deadline() <= 100  # it looks again before long
    primary.engine.tick(primary.at(100))
    assert primary.log.records  # by now the transaction can be included


def test_a_primary_whose_clock_is_behind_the_chain_waits_and_does_not_spin() -> None:
    primary = Lone(0)
    behind_ms = CREATED_MS - GENESIS.parameters.precision_ms  # T has to be after that of genesis
    asked = [Now(10, behind_ms)]
    primary.engine.admit([tx(payload("early"))], asked[0], from_client=True)
    while not primary.log.records and len(asked) < 100:
        due_ms = max(primary.engine.deadline(), asked[-1].monotonic_ms + 1)
        asked.append(Now(due_ms, behind_ms + due_ms - 10))
        primary.engine.tick(asked[-1])
    assert proposed(primary) == [1]
    assert len(asked) <= 3
    assert asked[-1].utc_ms > behind_ms


def test_a_primary_whose_pool_ran_empty_proposes_at_once_what_is_worth_a_block() -> None:
    primary = Lone(0)
    for elapsed_ms, document in enumerate(("first", "second", "third")):
        primary.admit(tx(payload(document)), elapsed_ms)
    assert proposed(primary) == [1, 2]


def test_while_a_block_is_under_way_the_next_waits_for_twice_as_much() -> None:
    primary = Lone(0)
    primary.engine.admit([tx(payload(f"{n}")) for n in range(3)], primary.at(0), from_client=True)
    for number in range(5):
        primary.admit(tx(payload(f"more {number}")), 1)
        assert proposed(primary) == [3]
    primary.admit(tx(payload("enough")), 1)
    assert proposed(primary) == [3, 6]


def test_while_a_block_is_under_way_a_full_batch_does_not_wait() -> None:
    one_each = replace(GENESIS, parameters=replace(GENESIS.parameters, block_txs_max=1))
    primary = Lone(0, one_each)
    for document in ("under way", "fills a block"):
        primary.admit(tx(payload(document), chain_id=one_each.chain_id), 0)
    assert proposed(primary) == [1, 1]


def test_a_block_under_way_that_is_overdue_is_waited_for_no_longer() -> None:
    primary = Lone(0)
    for document in ("under way", "waits"):
        primary.admit(tx(payload(document)), 10)
    overdue_ms = 10 + GENESIS.parameters.message_delay_ms
    primary.engine.tick(primary.at(overdue_ms - 1))
    assert primary.engine.deadline() == overdue_ms
    assert proposed(primary) == [1]
    primary.engine.tick(primary.at(overdue_ms))
    assert proposed(primary) == [1, 1]


def test_when_the_block_under_way_is_final_the_next_is_proposed_at_once() -> None:
    alone = Lone(0, ONE_VALIDATOR)
    for document in ("under way", "waits"):
        alone.admit(own_tx(document), 0)
    alone.make_durable(1)  # its PREPARE
    assert proposed(alone) == [1]
    alone.make_durable(2)  # its COMMIT
    assert alone.engine.height == 1
    assert proposed(alone) == [1, 1]


@pytest.mark.parametrize(("factor", "blocks"), [(0, 35), (RESERVE_FACTOR, 21)])
def test_how_many_blocks_a_standing_pool_makes(
    factor: int, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client keeps 60 transactions outstanding, ten more each ms; a block takes some 10 ms."""
    monkeypatch.setattr(proposing, "RESERVE_FACTOR", factor)
    alone = Lone(0, ONE_VALIDATOR)
    batches = [[own_tx(f"{batch}/{n}") for n in range(10)] for batch in range(60)]
    elapsed_ms = 0
    while alone.engine.counters.txs_committed < 600:
        elapsed_ms += 1
        if batches and alone.engine.mempool.pending_count <= 50:
            alone.engine.admit(batches.pop(), alone.at(elapsed_ms), from_client=True)
        if elapsed_ms % 5 == 0:  # each block takes two syncs
            alone.make_durable(elapsed_ms)
    assert alone.engine.height == blocks
