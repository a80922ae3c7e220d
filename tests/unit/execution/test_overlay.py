"""Speculative states: stacked, dropped, and set on the ledger once their parent is committed."""

from __future__ import annotations

import pytest

from node.chain.block import ResultCode
from node.chain.record import RecordAction
from node.chain.reference import reference_key
from node.chain.state_tree import prove, verify_proof
from node.errors import PeerError
from node.execution.overlay import Overlay
from tests.unit.execution.small_chain import GENESIS, SmallChain, next_inputs, payload, tx

KEY = reference_key("agency-1", "licence", "A-1")


def test_blocks_on_overlays_equal_blocks_on_the_committed_chain() -> None:
    chain = SmallChain()
    batches = [
        [tx(payload(f"{n}", references=["A-1"], action=action)), tx(payload(f"{n}"))]
        for n, action in enumerate(
            [RecordAction.RECORD, RecordAction.SUPERSEDE, RecordAction.WITHDRAW]
        )
    ]
    stacked, state = [], Overlay(chain.state, chain.execute())
    for batch in batches:
        executed = chain.executor.execute(state, next_inputs(state), batch)
        stacked.append(executed)
        state = Overlay(state, executed)
    chain.commit()
    assert [chain.commit(*batch) for batch in batches] == stacked
    assert state.header == chain.state.header
    assert state.header_digest == chain.state.header_digest
    assert state.log_frontier == chain.state.log_frontier
    assert state.get(KEY) == chain.state.get(KEY) is not None


def test_an_overlay_changes_nothing_below_and_forks_do_not_meet() -> None:
    chain = SmallChain()
    before = dict(chain.state.values)
    left = Overlay(chain.state, chain.execute(tx(payload("a", references=["A-1"]))))
    right = Overlay(chain.state, chain.execute(tx(payload("b", references=["A-1"]))))
    assert chain.state.values == before
    assert left.get(KEY) != right.get(KEY)
    assert chain.state.get(KEY) is None


def test_transactions_below_an_overlay_are_known_to_it() -> None:
    chain = SmallChain()
    committed, speculative, unknown = (tx(payload("a")) for _ in range(3))
    chain.commit(committed)
    overlay = Overlay(chain.state, chain.execute(speculative))
    assert overlay.has_transaction(committed.transaction.tx_id)
    assert overlay.has_transaction(speculative.transaction.tx_id)
    assert not overlay.has_transaction(unknown.transaction.tx_id)
    below, own, none = (each.transaction.tx_id for each in (committed, speculative, unknown))
    assert overlay.find_held([none, below]) == below
    assert overlay.find_held([none, own]) == own
    assert overlay.find_held([none]) is None
    assert overlay.find_held([]) is None
    with pytest.raises(PeerError, match="tx-repeated"):
        chain.executor.execute(overlay, next_inputs(overlay), [speculative])


def test_a_state_can_be_proved_before_it_is_committed() -> None:
    chain = SmallChain()
    overlay = Overlay(chain.state, chain.execute(tx(payload("a", references=["A-1"]))))
    for key in (KEY, reference_key("agency-1", "licence", "absent")):
        proof = prove(overlay.tree, key, overlay.bucket, GENESIS.suite)
        verify_proof(overlay.header.state_root, key, overlay.get(key), proof, GENESIS.suite)


def test_an_overlay_moves_onto_the_ledger_when_its_parent_is_committed() -> None:
    chain = SmallChain()
    parent = chain.execute(tx(payload("a", references=["A-1"])))
    on_parent = Overlay(chain.state, parent)
    child = Overlay(
        on_parent, chain.executor.execute(on_parent, next_inputs(on_parent), [tx(payload("b"))])
    )
    chain.state.commit(parent)
    child.rebase(chain.state)
    again = tx(payload("c", references=["A-1"]))
    executed = chain.executor.execute(child, next_inputs(child), [again])
    assert executed.results[0].code is ResultCode.REFERENCE_IN_FORCE
    assert child.get(KEY) == chain.state.get(KEY)
