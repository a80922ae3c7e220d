"""What a load run comes to: percentiles, windows, counts; and the transactions it is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.chain.transaction import Transaction, verify_transaction
from node.cli.bench_client import TRANSACTION_BYTES, Stock
from node.cli.bench_machine import (
    bytes_on_disk,
    describe_machine,
    parse_metrics,
    take_reading,
)
from node.cli.bench_report import Reading, Sample, latencies, percentile, summarise
from node.cli.network import Network
from tests.unit.cli.command import run

METRICS = """\
# HELP govchain_peer_messages_sent_total Messages in them.
# TYPE govchain_peer_messages_sent_total counter
govchain_peer_messages_sent_total{peer="validator-2"} 7.0
govchain_peer_messages_sent_total{peer="validator-3"} 5.0
# TYPE govchain_view gauge
govchain_view 2.0
# TYPE govchain_submit_to_final_seconds histogram
govchain_submit_to_final_seconds_bucket{le="+Inf"} 9.0
govchain_submit_to_final_seconds_count 9.0
govchain_submit_to_final_seconds_sum 1.5
"""


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([7.0], 50, 7.0),
        ([7.0], 99, 7.0),
        ([2.0, 1.0], 50, 1.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([float(n) for n in range(100, 0, -1)], 50, 50.0),
        ([float(n) for n in range(100, 0, -1)], 95, 95.0),
        ([float(n) for n in range(100, 0, -1)], 99, 99.0),
        ([float(n) for n in range(1, 11)], 99, 10.0),
        ([float(n) for n in range(1, 11)], 0, 1.0),
    ],
)
def test_percentile_is_the_nearest_rank(values: list[float], percent: int, expected: float) -> None:
    assert percentile(values, percent) == expected


def test_without_samples_there_is_no_percentile() -> None:
    assert latencies([]) == {"p50_ms": None, "p95_ms": None, "p99_ms": None}


def test_metrics_are_summed_over_their_labels_and_histograms_left_out() -> None:
    assert parse_metrics(METRICS) == {
        "govchain_peer_messages_sent_total": 12.0,
        "govchain_view": 2.0,
    }


def reading(time_s: float, cpu_s: float, blocks: float, machine_busy_s: float) -> Reading:
    """Return what is read of two validators after `blocks` blocks of 50 transactions."""
    metrics = {
        "govchain_blocks_committed_total": blocks,
        "govchain_transactions_committed_total": 50 * blocks,
        "govchain_votes_signed_total": 2 * blocks,
        "govchain_peer_messages_sent_total": 3 * blocks,
        "govchain_fsyncs_total": blocks,
        "govchain_view": 0.0,
    }
    return Reading(
        time_s=time_s,
        cpu_s={"validator-1": cpu_s, "validator-2": 2 * cpu_s, "client-1": cpu_s / 10},
        machine_busy_s=machine_busy_s,
        metrics={"validator-1": metrics, "validator-2": metrics},
    )


def test_a_window_counts_what_became_final_in_it_and_what_that_cost() -> None:
    begin, end = reading(100.0, 1.0, 10, 50.0), reading(110.0, 2.0, 30, 60.0)
    samples = [
        Sample(99.9, 1.0, 100, "final"),  # before the window
        Sample(100.0, 10.0, 300, "final"),
        Sample(105.0, 30.0, 700, "final"),
        Sample(109.9, 500.0, 4, "POOL_FULL"),
        Sample(110.0, 1.0, 100, "final"),  # after it
    ]
    figures = summarise(samples, begin, end)
    assert figures["transactions"] == 1_000
    assert figures["transactions_per_s"] == 100.0
    assert figures["latency"] == {"p50_ms": 30.0, "p95_ms": 30.0, "p99_ms": 30.0}
    assert figures["failures"] == {"POOL_FULL": 4}
    assert figures["cpu_us_per_transaction"] == {
        "validator-1": 1_000.0,
        "validator-2": 2_000.0,
        "client-1": 100.0,
    }
    assert (figures["blocks_per_s"], figures["transactions_per_block"]) == (2.0, 50.0)
    assert figures["signatures_per_block"] == 4.0  # of both validators together
    assert figures["messages_per_block"] == 6.0
    assert figures["log_fsyncs_per_block"] == 2.0
    assert figures["vote_checks_per_block"] == 0.0
    assert figures["view_changes"] == 0
    assert (figures["cpu_cores_used"], figures["cpu_cores_used_by_others"]) == (0.31, 0.69)


def test_a_window_in_which_nothing_happened_has_no_costs() -> None:
    figures = summarise([], reading(0.0, 1.0, 5, 1.0), reading(1.0, 1.0, 5, 1.0))
    assert figures["transactions_per_s"] == 0.0
    assert figures["transactions_per_block"] is figures["messages_per_block"] is None
    assert set(figures["cpu_us_per_transaction"].values()) == {None}


def test_transactions_of_the_load_are_sound_distinct_and_of_the_size_they_claim(
    tmp_path: Path,
) -> None:
    assert run("testnet", "init", "--home", tmp_path / "net", "-n", 1).code == 0
    network = Network.open(tmp_path / "net", None, None)
    stocks = [Stock(network, 3), Stock(network, 3)]  # two processes
    stocks[0].fill(4)
    assert stocks[0].signed == 6  # whole batches
    encoded = [each for stock in stocks for _ in range(3) for each in stock.take()]
    assert stocks[0].signed == stocks[1].signed == 9  # the rest is signed when it is wanted
    assert {len(each) for each in encoded} == {TRANSACTION_BYTES}
    transactions = [Transaction.decode(each, network.suite) for each in encoded]
    for transaction in transactions:
        verify_transaction(transaction, network.signer.public_key)
        assert transaction.body.payload.count == 1
    references = [(transaction.body.payload.references or ())[0] for transaction in transactions]
    assert len(set(references)) == len({each.tx_id for each in transactions}) == 18
    assert stocks[0].signing_s > 0


def test_a_reading_is_of_processes_that_run(tmp_path: Path) -> None:
    first = take_reading({"init": 1}, {})
    assert take_reading({"init": 1}, {}).machine_busy_s >= first.machine_busy_s > 0
    assert take_reading({"none": 2**22 + 1}, {}).cpu_s == {"none": 0.0}
    described = describe_machine(tmp_path)
    assert described["cores"] >= 1
    assert described["fdatasync_ms"] > 0
    assert described["file_system"]
    assert described["packages"]["grpcio"]


def test_bytes_on_disk_are_those_the_files_occupy(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(bytes(10_000))
    (tmp_path / "empty").touch()
    assert 0 < bytes_on_disk(tmp_path) <= 10_000 + 4_096


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = run("bench", "saturate", "--home", tmp_path, "--json")
    assert ran.code == 2
    assert ran.json["error"]["code"] == "GC-2102"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
