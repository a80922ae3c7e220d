"""The pool: what a transaction costs on its way through it, and what a full pool costs besides."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from node.chain.transaction import Transaction, TransactionBody, VerifiedTransaction
from node.service.mempool import AddOutcome, Mempool
from tests.unit.execution.small_chain import CREATED_MS, payload, tx

COUNT = 1_000
NO_LIMIT = 1 << 40


@pytest.fixture(scope="module")
def transactions() -> list[VerifiedTransaction]:
    """Return transactions that differ in their ids alone: a pool looks at nothing else."""
    first = tx(payload("document")).transaction
    return [unsigned_copy(first.body, first, number) for number in range(COUNT)]


def unsigned_copy(body: TransactionBody, like: Transaction, number: int) -> VerifiedTransaction:
    name = number.to_bytes(32, "big")
    encoded = like.encoded + name
    return VerifiedTransaction(
        Transaction(body, like.signature, encoded, name, b"\x01" + name[1:]), b""
    )


def full_pool(transactions: list[VerifiedTransaction]) -> Mempool:
    pool = Mempool()
    for transaction in transactions:
        assert pool.add(transaction) is AddOutcome.ADDED
    return pool


def test_add_1000(benchmark: BenchmarkFixture, transactions: list[VerifiedTransaction]) -> None:
    pool = benchmark(full_pool, transactions)
    assert pool.pending_count == COUNT


def test_take_500_of_1000(
    benchmark: BenchmarkFixture, transactions: list[VerifiedTransaction]
) -> None:
    pool = full_pool(transactions)
    taken = benchmark(
        pool.take, time_ms=CREATED_MS, txs_max=500, bytes_max=NO_LIMIT, records_max=NO_LIMIT
    )
    assert taken == transactions[:500]


def test_add_pin_and_commit_1000(
    benchmark: BenchmarkFixture, transactions: list[VerifiedTransaction]
) -> None:
    """The life of a transaction at a validator that is not the primary."""

    def live() -> Mempool:
        pool = full_pool(transactions)
        pool.pin(b"slot", [each.transaction.tx_hash for each in transactions])
        pool.remove_committed([each.transaction.tx_id for each in transactions], time_ms=CREATED_MS)
        pool.unpin(b"slot")
        return pool

    assert benchmark(live).pending_count == 0
