"""What a block costs four validators together: votes, checks, signatures and syncs are counted.

Every message is taken in a turn of its own and every sync serves one turn, which is the dearest
order of events: a frame of several messages, or a group commit, can only save.
"""

from __future__ import annotations

import pytest

from node.chain.certificate import Vote
from node.consensus.messages import Proposal
from tests.unit.execution.governed_chain import GOVERNED
from tests.unit.execution.small_chain import payload, tx
from tests.unit.service.block_cost import BlockCost, most_per_block
from tests.unit.service.chatting import Chat

BLOCKS = 5
FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")


def counted(chat: Chat) -> BlockCost:
    """Return what all validators did since the start."""
    nodes = chat.nodes.values()
    votes = sum(isinstance(message, Vote | Proposal) for _, message in chat.said)
    return BlockCost(
        votes_sent=votes * (len(nodes) - 1),
        votes_signed=sum(node.engine.counters.votes_signed for node in nodes),
        votes_checked=sum(node.engine.counters.votes_checked for node in nodes),
        log_syncs=sum(node.log_syncs for node in nodes),
        ledger_syncs=sum(node.store.syncs for node in nodes),
    )


def test_the_limits_among_four() -> None:
    assert most_per_block(4) == BlockCost(
        votes_sent=24, votes_signed=8, votes_checked=16, log_syncs=8, ledger_syncs=4
    )


@pytest.mark.parametrize("transactions", [1, 100])
def test_a_block_costs_as_much_whatever_it_holds(transactions: int) -> None:
    chat = Chat(*FOUNDERS)
    before, limits = counted(chat), most_per_block(len(FOUNDERS))
    assert before.votes_sent == before.log_syncs == 0
    for block in range(BLOCKS):
        batch = [
            tx(payload(f"{block} {number}"), chain_id=GOVERNED.chain_id)
            for number in range(transactions)
        ]
        chat.submit("validator-2", *batch)
    assert chat.heights() == [BLOCKS] * 4
    assert chat.nodes["validator-1"].engine.counters.txs_committed == BLOCKS * transactions
    after = counted(chat)
    assert after.votes_sent == BLOCKS * limits.votes_sent
    assert after.votes_signed == BLOCKS * limits.votes_signed
    assert 0 < after.votes_checked <= BLOCKS * limits.votes_checked
    assert after.log_syncs == BLOCKS * limits.log_syncs
    assert after.ledger_syncs - before.ledger_syncs == BLOCKS * limits.ledger_syncs
