"""States that stack above the tip, and what undecided blocks pin."""

from __future__ import annotations

import gc
from itertools import count

from node.chain.certificate import Phase
from node.execution.apply import ExecutedBlock, Executor, StateReader
from node.service.effort import Effort
from node.service.mempool import AddOutcome, Mempool
from node.service.undecided import Undecided
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from tests.unit.consensus.signing import certified, chain_of_blocks
from tests.unit.execution.small_chain import GENESIS, next_inputs, payload, tx

GENESIS_BLOCK, FIRST, SECOND = chain_of_blocks(2)


class Stack:
    """A ledger at genesis with two blocks above it."""

    def __init__(self) -> None:
        executor, self.effort = Executor(GENESIS), Effort(count(0, 7).__next__)
        self.ledger = LedgerStore.open(MemoryStore(), GENESIS.suite, executor.genesis_block())
        self.mempool = Mempool()
        self.undecided = Undecided(self.ledger, self.mempool, executor, self.effort)
        for block in (FIRST, SECOND):
            parent = self.undecided.state_after(block.header.parent)
            assert parent is not None
            self.undecided.pin(block.digest, tx_hashes(block))
            for transaction in block.transactions:
                self.mempool.hold_body(transaction)
            self.undecided.add(block, parent)

    def commit(self, block: ExecutedBlock) -> None:
        certificate = certified(block.header, Phase.COMMIT).certificate
        self.ledger.commit([(block, certificate)], sync=True)
        self.undecided.became_final(block)


def tx_hashes(block: ExecutedBlock) -> tuple[bytes, ...]:
    return tuple(tx.transaction.tx_hash for tx in block.transactions)


def knows(stack: Stack, digest: bytes, of: ExecutedBlock) -> bool:
    state = stack.undecided.state_after(digest)
    assert state is not None
    return all(state.has_transaction(tx_id) for tx_id in of.tx_ids)


def held_state(stack: Stack, block: ExecutedBlock) -> StateReader:
    state = stack.undecided.state_after(block.digest)
    assert state is not None
    return state


def test_a_state_knows_its_own_block_and_those_below_it_alone() -> None:
    stack = Stack()
    assert stack.undecided.state_after(GENESIS_BLOCK.digest) is stack.ledger
    assert knows(stack, FIRST.digest, FIRST)
    assert not knows(stack, FIRST.digest, SECOND)
    assert knows(stack, SECOND.digest, FIRST)
    assert stack.undecided.state_after(bytes(32)) is None


def test_when_a_block_is_final_those_above_it_stand_on_the_ledger() -> None:
    stack = Stack()
    stack.commit(FIRST)
    stack.undecided.retain([SECOND.digest])
    assert stack.undecided.state_after(FIRST.digest) is stack.ledger
    assert stack.undecided.executed(FIRST.digest) is None
    assert knows(stack, SECOND.digest, FIRST)
    stack.commit(SECOND)
    assert not stack.mempool.pending_count


def test_what_stands_on_a_final_block_keeps_nothing_of_it_and_what_is_higher_all_below() -> None:
    stack = Stack()
    above = held_state(stack, SECOND)
    third = Executor(GENESIS).execute(above, next_inputs(above), [tx(payload("third"))])
    stack.undecided.add(third, above)
    stack.commit(FIRST)
    assert stack.ledger in gc.get_referents(held_state(stack, SECOND))
    for block in (FIRST, SECOND):
        assert knows(stack, third.digest, block)


def test_what_a_final_block_listed_is_held_for_it_no_longer() -> None:
    stack = Stack()
    stack.commit(FIRST)
    assert list(stack.mempool.slots) == [SECOND.digest]
    assert not stack.mempool.hold_body(FIRST.transactions[0])


def test_a_dropped_block_gives_its_transactions_back_unless_the_chain_holds_them() -> None:
    stack = Stack()
    rival = bytes(32)  # lists what both blocks do, as one proposed in another view may
    stack.undecided.pin(rival, tx_hashes(FIRST) + tx_hashes(SECOND))
    stack.commit(FIRST)
    for transaction in FIRST.transactions:
        stack.mempool.hold_body(transaction)  # came again, for the rival
    stack.undecided.retain([])
    assert stack.undecided.executed(SECOND.digest) is None
    (waiting,) = SECOND.transactions
    assert stack.mempool.pending_count == 1
    assert stack.mempool.add(waiting) is AddOutcome.DUPLICATE
    assert stack.mempool.is_waiting


def test_what_execution_costs_is_told() -> None:
    stack = Stack()
    above = held_state(stack, SECOND)
    transaction = tx(payload("third"))
    executed = stack.undecided.execute(above, next_inputs(above), [transaction])
    assert executed.transactions == (transaction,)
    assert stack.effort.spent_ns == 7
