"""The cost model: its counts are those of real engines, its arithmetic is what it says.

`./check` runs this file; nothing is timed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from itertools import pairwise
from typing import Any

import pytest

from bench.engines import EngineNetwork
from bench.model import (
    LOAD,
    SIZES,
    TX_BYTES,
    Costs,
    Setting,
    beside_us_per_s,
    block_ms,
    block_us,
    compare,
    count,
    predict,
)
from node.chain.genesis import Parameters
from node.service.batching import RECORDS_LEAST

BLOCKS = 2
FREE = Costs(**dict.fromkeys((each.name for each in fields(Costs)), 0.0))
COSTS = Costs(
    check_us=64,
    transaction_check_us=32,
    sign_us=25,
    transaction_us=100,
    execution_us=40,
    message_us=60,
    block_us=2_000,
    frame_us=100,
    frame_kib_us=2,
    sync_ms=1,
)
APART = Setting(cores=8)
TOGETHER = Setting(cores=2, shared=True)
MOST = Parameters().block_txs_max


@pytest.mark.parametrize("validators", [4, 7, 10])
@pytest.mark.parametrize("transactions", [1, 30])
def test_counts_are_those_of_real_engines(validators: int, transactions: int) -> None:
    network = EngineNetwork(validators)
    batches = network.sign_batches(BLOCKS, transactions, references=True)
    before = network.counts()
    network.run(batches)
    counted = {name: each - before[name] for name, each in network.counts().items()}
    assert len(batches[0][0]) == TX_BYTES
    told = asdict(count(validators, transactions))
    assert told.pop("message_bytes") * BLOCKS == pytest.approx(counted["message_bytes"], rel=0.005)
    assert {name: each * BLOCKS for name, each in told.items()} == {
        name: counted[name] for name in told
    }
    assert counted["frames"] == counted["messages"]  # as many frames are reckoned with


def test_transactions_that_come_in_more_batches_are_more_messages() -> None:
    one, three = count(7, 300), count(7, 300, batches=3)
    assert three.messages == one.messages + 2 * 6
    assert replace(three, messages=one.messages, message_bytes=one.message_bytes) == one


@pytest.mark.parametrize(
    ("cost", "each_us"),
    [
        ("check_us", 2 * 4),  # votes up to a quorum of 5 with its own
        ("transaction_check_us", 50),
        ("sign_us", 2),
        ("transaction_us", 50),
        ("message_us", 2 * 6 + 6 / 7),  # two votes of each other, gossip by one of seven
        ("frame_us", 2 * 6 + 6 / 7),
        ("block_us", 1),
        ("execution_us", 0),  # a part of what a transaction costs
        ("sync_ms", 0),
    ],
)
def test_a_block_costs_each_thing_as_often_as_it_is_done(cost: str, each_us: float) -> None:
    only: dict[str, Any] = {cost: 10.0}
    assert block_us(replace(FREE, **only), 7, 50) == pytest.approx(10 * each_us)


def test_bytes_cost_by_the_kib() -> None:
    kib = count(4, 100).message_bytes / 1_024 / 4
    assert block_us(replace(FREE, frame_kib_us=2.0), 4, 100) == pytest.approx(2 * kib)


def test_on_one_machine_all_cores_are_used_up() -> None:
    for found in (predict(COSTS, validators, TOGETHER) for validators in (4, 16)):
        per_transaction_us = found.validators * found.cpu_us_per_transaction + COSTS.check_us / 4
        beside_us = found.validators * beside_us_per_s(COSTS, found.validators)
        used_us = found.transactions_per_s * per_transaction_us + beside_us
        assert used_us == pytest.approx(2e6, rel=0.01)
        assert found.bound == "cores"
        assert found.transactions_per_block == RECORDS_LEAST


def test_apart_the_loop_is_what_is_used_up_and_further_cores_change_nothing() -> None:
    found = predict(COSTS, 4, APART)
    assert found.bound == "loop"
    assert found.transactions_per_s > predict(COSTS, 4, TOGETHER).transactions_per_s
    many = predict(COSTS, 4, Setting(cores=32))
    assert many.transactions_per_s == found.transactions_per_s
    assert predict(COSTS, 4, Setting(cores=1)).bound == "cores"


def test_a_block_apart_is_as_large_as_can_be_executed_in_time() -> None:
    slow = predict(replace(COSTS, execution_us=100), 4, APART)
    assert slow.transactions_per_block == 1_240  # in a quarter of 500 ms, less a sync
    assert predict(replace(COSTS, execution_us=1), 4, APART).transactions_per_block == MOST
    assert predict(replace(COSTS, execution_us=5_000), 4, APART).transactions_per_block == 250


@pytest.mark.parametrize(("setting", "sizes"), [(APART, SIZES), (TOGETHER, (4, 7, 10, 16, 31))])
def test_more_validators_do_less_and_take_longer(setting: Setting, sizes: Sequence[int]) -> None:
    found = [predict(COSTS, validators, setting) for validators in sizes]
    for fewer, more in pairwise(found):
        assert fewer.transactions_per_s > more.transactions_per_s > 0
        assert fewer.cpu_us_per_transaction < more.cpu_us_per_transaction
        assert fewer.idle_ms < more.idle_ms < more.latency_ms
        assert fewer.latency_ms < more.latency_ms


def test_where_statuses_alone_use_everything_up_nothing_is_final() -> None:
    found = predict(COSTS, 100, TOGETHER)
    assert found.transactions_per_s == found.blocks_per_s == 0
    assert 100 * beside_us_per_s(COSTS, 100) > 2e6


def test_one_transaction_takes_its_steps_one_after_the_other() -> None:
    only = replace(FREE, sync_ms=3.0)
    assert block_ms(only, 4, 1, Setting(cores=8, hop_ms=0.0)) == 4 * 3 + 2  # gossip waits 2 ms
    assert block_ms(FREE, 4, 1, Setting(cores=8, hop_ms=10.0)) == 4 * 10 + 2
    work = replace(FREE, block_us=9_000)
    idle_ms = block_ms(work, 4, 1, APART)
    assert block_ms(work, 4, 1, APART, load=LOAD) == pytest.approx(idle_ms - 9 + 9 / (1 - LOAD))


def test_a_link_bounds_what_a_primary_can_send_to_many() -> None:
    slow = Setting(cores=8, link_mbit_per_s=10.0)
    found = predict(COSTS, 31, slow)
    assert found.bound == "link"
    assert found.mbit_per_s == pytest.approx(10.0, rel=0.01)
    assert predict(COSTS, 31, APART).bound == "loop"


def case(transactions: float | None, *cpu_us: float | None) -> dict[str, Any]:
    """Return what `govchain bench scale --json` says of a network."""
    return {
        "name": "4",
        "settings": {"validators": len(cpu_us)},
        "load": {
            "is_quiet": True,
            "transactions_per_block": transactions,
            "transactions_per_s": 1_000.0,
            "cpu_us_per_transaction": {
                **{f"validator-{n}": us for n, us in enumerate(cpu_us, 1)},
                "client-1": 1_000.0,
            },
        },
    }


def test_what_was_measured_is_compared_at_its_own_blocks() -> None:
    each_us = block_us(COSTS, 4, 200) / 200 + beside_us_per_s(COSTS, 4) / 1_000
    found = compare(COSTS, case(200.0, *[0.9 * each_us, 0.7 * each_us] * 2))
    assert found["cpu_us_per_transaction"]["predicted"] == pytest.approx(each_us, abs=0.1)
    assert found["cpu_us_per_transaction"]["measured"] == pytest.approx(0.8 * each_us, abs=0.1)
    assert found["cpu_ms_per_block"]["predicted"] == pytest.approx(each_us / 5, abs=0.01)
    assert found["error_percent"] == 25


def test_where_nothing_was_final_nothing_is_compared() -> None:
    assert compare(COSTS, case(None, *[None] * 4)) == {"case": "4", "is_quiet": True}
