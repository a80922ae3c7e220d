"""What a load run comes to: percentiles, windows, counts."""

from __future__ import annotations

import pytest

from node.cli.bench.report import Reading, Sample, compare, latencies, percentile, summarise


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


def reading(time_s: float, cpu_s: float, blocks: float, machine_busy_s: float) -> Reading:
    """Return what is read of two validators after `blocks` blocks of 50 transactions."""
    metrics = {
        "govchain_blocks_committed_total": blocks,
        "govchain_transactions_committed_total": 50 * blocks,
        "govchain_votes_signed_total": 2 * blocks,
        "govchain_peer_messages_sent_total": 3 * blocks,
        "govchain_fsyncs_total": blocks,
        "govchain_consensus_cpu_seconds_total": blocks / 1_000,
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
    assert figures["consensus_cpu_ms_per_block"] == 2.0
    assert figures["vote_checks_per_block"] == 0.0
    assert figures["view_changes"] == 0
    assert (figures["cpu_cores_used"], figures["cpu_cores_used_by_others"]) == (0.31, 0.69)


def test_a_window_in_which_nothing_happened_has_no_costs() -> None:
    figures = summarise([], reading(0.0, 1.0, 5, 1.0), reading(1.0, 1.0, 5, 1.0))
    assert figures["transactions_per_s"] == 0.0
    assert figures["transactions_per_block"] is figures["messages_per_block"] is None
    assert set(figures["cpu_us_per_transaction"].values()) == {None}


def test_the_dead_are_compared_by_the_medians_of_turns() -> None:
    def windows(*rates: float) -> list[dict[str, object]]:
        return [{"transactions_per_s": rate, "view_changes": 0, "failures": {}} for rate in rates]

    figures = compare(["validator-4"], windows(100.0, 900.0, 200.0), windows(150.0, 1.0, 160.0))
    assert (figures["median_of_all"], figures["median"], figures["ratio"]) == (200.0, 150.0, 0.75)
    assert figures["transactions_per_s"] == [150.0, 1.0, 160.0]
    assert compare(["validator-4"], windows(0.0), windows(0.0))["ratio"] is None
