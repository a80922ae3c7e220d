"""Consensus without IO: what a block costs, in time and in messages, for 4, 7 and 16 validators.

All validators share one thread. Signatures are keyed hashes (bench/keyed_hash.py): real ones cost
64 us more per vote or transaction checked and 25 us more per vote signed.
"""

from __future__ import annotations

from dataclasses import asdict

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.conftest import Say
from bench.cores import CoreNetwork, Counts
from bench.engines import EngineNetwork
from tests.unit.service.block_cost import most_per_block

BLOCKS = 100
BATCHES = 10
BATCH_TXS = 100


def expected_counts(validators: int) -> Counts:
    """Return what one block costs in the normal case: each vote is a message of its own."""
    most = most_per_block(validators)
    return Counts(
        blocks=1,
        messages=most.votes_sent,
        votes_sent=most.votes_sent,
        votes_signed=most.votes_signed,
        votes_checked=most.votes_checked,
    )


@pytest.mark.parametrize("validators", [4, 7, 16])
def test_core_100_blocks(benchmark: BenchmarkFixture, say: Say, validators: int) -> None:
    """The core alone: blocks without transactions."""
    network = CoreNetwork(validators)
    benchmark(network.run, BLOCKS)
    counts = network.counts.per_block()
    assert counts == expected_counts(validators)
    benchmark.extra_info["per_block"] = asdict(counts)
    say(
        lambda best_s: (
            f"core, n = {validators}, keyed-hash signatures, one thread for all: "
            f"{BLOCKS / best_s:,.0f} blocks/s, {BLOCKS * counts.messages / best_s:,.0f} messages/s;"
            f" a block is {counts.messages} messages with {counts.votes_sent} votes, "
            f"{counts.votes_signed} signatures, {counts.votes_checked} vote checks"
        )
    )


@pytest.mark.parametrize("validators", [4, 7, 16])
def test_engine_10_blocks_of_100(benchmark: BenchmarkFixture, say: Say, validators: int) -> None:
    """Everything but IO: codec, admission, pool, execution, log records, the ledger in memory."""
    network = EngineNetwork(validators)
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        network.run, setup=lambda: ((network.sign_batches(BATCHES, BATCH_TXS),), {}), rounds=3
    )
    blocks = network.blocks
    expected = expected_counts(validators)
    votes_signed, votes_checked = network.votes_signed / blocks, network.votes_checked / blocks
    assert blocks % BATCHES == 0
    assert network.votes_sent == blocks * expected.votes_sent
    assert votes_signed == expected.votes_signed
    assert votes_checked <= expected.votes_checked
    benchmark.extra_info["per_block"] = {
        name: count / blocks for name, count in network.counts().items()
    }
    say(
        lambda best_s: (
            f"engine, n = {validators}, keyed-hash signatures, no IO: "
            f"{best_s / (BATCHES * BATCH_TXS * validators) * 1e6:.1f} us per transaction and "
            f"validator in blocks of {BATCH_TXS}; a block is {network.messages / blocks:g} messages"
            f" with {network.votes_sent / blocks:g} votes, {votes_signed:g} signatures, "
            f"{votes_checked:g} vote checks"
        )
    )
