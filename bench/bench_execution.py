"""Executing a block of 500 single-record transactions, without and with references, and of a batch.

A reference moves the state tree; a record without one touches the log alone.
"""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.conftest import Say
from node.chain.block import ResultCode
from tests.unit.execution.small_chain import SmallChain, next_inputs, payload, tx

BLOCK_TXS = 500
BATCH_RECORDS = 10_000


@pytest.mark.parametrize("with_references", [False, True], ids=["records", "with_references"])
def test_execute_500(benchmark: BenchmarkFixture, say: Say, *, with_references: bool) -> None:
    chain = SmallChain()
    transactions = [
        tx(payload(f"document {n}", references=[f"no {n}"] if with_references else None))
        for n in range(BLOCK_TXS)
    ]
    inputs = next_inputs(chain.state)
    executed = benchmark(chain.executor.execute, chain.state, inputs, transactions)
    assert {result.code for result in executed.results} == {ResultCode.OK}
    kind = "with references" if with_references else "of plain records"
    say(
        lambda best_s: (
            f"execution, {BLOCK_TXS} transactions {kind}: "
            f"{best_s / BLOCK_TXS * 1e6:.1f} us per transaction"
        )
    )


def test_execute_a_batch_of_10000(benchmark: BenchmarkFixture, say: Say) -> None:
    chain = SmallChain()
    transaction = tx(payload(*map(str, range(BATCH_RECORDS))))
    executed = benchmark(
        chain.executor.execute, chain.state, next_inputs(chain.state), [transaction]
    )
    assert len(executed.leaves) == BATCH_RECORDS + 1
    say(
        lambda best_s: (
            f"execution, one transaction of {BATCH_RECORDS} records: "
            f"{best_s / BATCH_RECORDS * 1e6:.1f} us per record"
        )
    )
