"""What a usual block costs the database, in operations and bytes. Never in time.

The block: 140 transactions of one record with a reference each, on a state of 30,000 keys.
"""

from __future__ import annotations

from collections import Counter

import pytest

from node.chain.state_tree import root_of
from node.chain.transaction import VerifiedTransaction
from node.execution.apply import ExecutedBlock
from node.storage import keys
from node.storage.kv import WriteBatch
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from tests.unit.execution.small_chain import (
    GENESIS,
    SmallChain,
    certify,
    next_inputs,
    payload,
    tx,
)

BLOCK_TXS = 140
BATCHES, BATCH_RECORDS = 3, 10_000


class CountingStore(MemoryStore):
    """A store that counts what it is asked to do, by family of keys."""

    def __init__(self) -> None:
        super().__init__()
        self.gets: Counter[bytes] = Counter()
        self.puts: Counter[bytes] = Counter()
        self.deletes = self.bytes_written = 0

    def forget(self) -> None:
        self.gets.clear()
        self.puts.clear()
        self.deletes = self.bytes_written = 0

    def get(self, key: bytes) -> bytes | None:
        self.gets[key[:1]] += 1
        return super().get(key)

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        for key, value in batch.changes():
            self.bytes_written += len(key) + len(value or b"")
            if value is None:
                self.deletes += 1
            else:
                self.puts[key[:1]] += 1
        super().write(batch, sync=sync)


@pytest.fixture(scope="module")
def large() -> tuple[CountingStore, LedgerStore, SmallChain]:
    """Return a ledger of 30,000 references, with its store."""
    chain, store = SmallChain(), CountingStore()
    opened = LedgerStore.open(store, GENESIS.suite, chain.executor.genesis_block())
    for batch in range(BATCHES):
        names = [f"old {batch} {record}" for record in range(BATCH_RECORDS)]
        commit(opened, execute(chain, opened, [tx(payload(*names, references=names))]))
    return store, opened, chain


def execute(
    chain: SmallChain, opened: LedgerStore, transactions: list[VerifiedTransaction]
) -> ExecutedBlock:
    return chain.executor.execute(opened, next_inputs(opened), transactions)


def commit(opened: LedgerStore, executed: ExecutedBlock) -> None:
    opened.commit([(executed, certify(executed))], sync=True)


def usual_block(name: str) -> list[VerifiedTransaction]:
    names = [f"{name} {number}" for number in range(BLOCK_TXS)]
    return [tx(payload(each, references=[each])) for each in names]


def test_what_a_usual_block_writes(large: tuple[CountingStore, LedgerStore, SmallChain]) -> None:
    store, opened, chain = large
    executed = execute(chain, opened, usual_block("written"))
    store.forget()
    commit(opened, executed)
    each = (keys.TRANSACTION, keys.RECORD_BY_DIGEST, keys.RECORD_BY_REFERENCE)
    assert [store.puts.pop(family) for family in each] == [BLOCK_TXS] * len(each)
    assert store.puts.pop(keys.STATE) <= 1.2 * BLOCK_TXS
    assert store.deletes <= 0.2 * BLOCK_TXS
    once = (keys.HEADER, keys.BODY, keys.TIP, keys.BLOCK_AT_LOG_INDEX, keys.LOG_INDEX_AT_TIME)
    assert [store.puts.pop(family) for family in once] == [1] * len(once)
    assert store.puts.pop(keys.RECORD_BY_TYPE) == 1
    assert store.puts.pop(keys.LOG_TILE) <= 4
    assert not store.puts
    assert store.bytes_written <= 1_500 * BLOCK_TXS


def test_what_executing_a_usual_block_reads(
    large: tuple[CountingStore, LedgerStore, SmallChain],
) -> None:
    """Of what a pool asked for before, only the state is read, each bucket of it once."""
    store, _, chain = large
    opened = LedgerStore.open(store, GENESIS.suite, chain.executor.genesis_block())
    block = usual_block("read")
    for verified in block:
        assert not opened.has_transaction(verified.transaction.tx_id)
    assert store.gets[keys.TRANSACTION] >= BLOCK_TXS
    assert root_of(opened.tree) == opened.header.state_root
    store.forget()
    execute(chain, opened, block)
    senders = 1
    rights = 2 * senders + 2  # of each and its organisation; the rules of the type, and of all
    rules = 2  # the validator set in force, and the parameters
    assert BLOCK_TXS / 2 < store.gets.pop(keys.STATE) <= BLOCK_TXS + senders + rights + rules
    assert not store.gets


def test_buckets_last_written_are_not_read_again(
    large: tuple[CountingStore, LedgerStore, SmallChain], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And those that were forgotten are, and lead to the same block."""
    store, opened, chain = large
    block = usual_block("remembered")
    for verified in block:
        assert not opened.has_transaction(verified.transaction.tx_id)
    store.forget()
    executed = execute(chain, opened, block)
    assert not store.gets
    monkeypatch.setattr("node.storage.ledger.BUCKETS_REMEMBERED", 0)
    for name in ("first", "second"):  # each pushes out what the one before it left
        commit(opened, execute(chain, opened, usual_block(name)))
    store.forget()
    again = execute(chain, opened, usual_block("third"))
    assert store.gets.pop(keys.STATE) > BLOCK_TXS / 2
    cold = LedgerStore.open(store, GENESIS.suite, chain.executor.genesis_block())
    transactions = list(again.transactions)
    assert execute(chain, cold, transactions).header.state_root == again.header.state_root
    assert executed.header.state_root != again.header.state_root
