"""What a load comes to: percentiles, quiet and noisy seconds, counts, memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from node.cli.bench.figures import (
    BENCH,
    Reading,
    Sample,
    Tick,
    Window,
    compare_dead,
    latencies,
    longest_wait_ms,
    percentile,
    summarise,
)

MIB = 2**20


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


def reading(time_s: float, blocks: float) -> Reading:
    """Return what two validators tell after `blocks` blocks of 50 transactions."""
    metrics = {
        "govchain_blocks_committed_total": blocks,
        "govchain_transactions_committed_total": 50 * blocks,
        "govchain_votes_signed_total": 2 * blocks,
        "govchain_peer_messages_sent_total": 3 * blocks,
        "govchain_fsyncs_total": blocks,
        "govchain_consensus_cpu_seconds_total": blocks / 1_000,
        "govchain_storage_cpu_seconds_total": blocks / 2_000,
        "govchain_view": 0.0,
    }
    return Reading(time_s=time_s, metrics={"validator-1": metrics, "validator-2": metrics})


def ticks(others_cores: Sequence[float], *, from_s: float = 100.0) -> list[Tick]:
    """Return a tick per second and one more: ours use 0.4 cores, others as many as it says.

    `validator-1` grows by 1 MiB a second from 100 MiB, `validator-2` keeps 150 MiB.
    """
    busy_s = [0.0]
    for cores in others_cores:
        busy_s.append(busy_s[-1] + 0.4 + cores)
    return [
        Tick(
            time_s=from_s + second,
            cpu_s={
                "validator-1": 0.1 * second,
                "validator-2": 0.2 * second,
                "client-1": 0.04 * second,
                BENCH: 0.06 * second,
            },
            machine_busy_s=busy,
            memory_bytes={
                "validator-1": (100 + second) * MIB,
                "validator-2": 150 * MIB,
                "client-1": 900 * MIB,
                BENCH: 900 * MIB,
            },
        )
        for second, busy in enumerate(busy_s)
    ]


def window(samples: Sequence[Sample], others_cores: Sequence[float], blocks: int = 20) -> Window:
    """Return a window of the seconds 100 to 100 + as many as there are in `others_cores`."""
    return Window(
        samples=samples,
        ticks=ticks(others_cores),
        begin=reading(100.0, 10),
        end=reading(100.0 + len(others_cores), 10 + blocks),
        clients=frozenset({"client-1"}),
    )


def test_a_window_counts_what_became_final_in_it_and_what_that_cost() -> None:
    samples = [
        Sample(99.9, 1.0, 100, "final"),  # before the window
        Sample(100.0, 10.0, 300, "final"),
        Sample(105.0, 30.0, 700, "final"),
        Sample(109.9, 500.0, 4, "POOL_FULL"),
        Sample(110.0, 1.0, 100, "final"),  # after it
        Sample(110.2, 9_000.0, 20, "NOT_SENT"),  # was due, and counts wherever that is found
        Sample(110.2, 9_000.0, 20, "POOL_FULL"),
    ]
    figures = summarise(window(samples, [0.1] * 10))
    assert figures["transactions"] == 1_000
    assert figures["transactions_per_s"] == 100.0
    assert figures["latency"] == {"p50_ms": 30.0, "p95_ms": 30.0, "p99_ms": 30.0}
    assert figures["failures"] == {"POOL_FULL": 4, "NOT_SENT": 20}
    assert figures["cpu_us_per_transaction"] == {
        "validator-1": 1_000.0,
        "validator-2": 2_000.0,
        "client-1": 400.0,
    }
    assert (figures["blocks_per_s"], figures["transactions_per_block"]) == (2.0, 50.0)
    assert figures["signatures_per_block"] == 4.0  # of both validators together
    assert figures["signatures_per_transaction"] == 0.08
    assert figures["messages_per_block"] == 6.0
    assert figures["log_fsyncs_per_block"] == 2.0
    assert figures["consensus_cpu_ms_per_block"] == 2.0
    assert figures["vote_checks_per_block"] == 0.0
    assert figures["view_changes"] == 0
    assert (figures["cpu_cores_used"], figures["cpu_cores_used_by_others"]) == (0.4, 0.1)
    assert (figures["is_quiet"], figures["quiet_s"], figures["window_s"]) == (True, 10, 10.0)
    # 3 s of validators over 1,000 committed transactions, of which they tell 0.04 and 0.02 s.
    assert figures["stage_cpu_us_per_transaction"] == {
        "consensus": 40.0,
        "storage": 20.0,
        "untold": 2_940.0,
    }


def test_noisy_seconds_are_marked_and_count_neither_for_rates_nor_for_cpu_time() -> None:
    samples = [Sample(100.5 + second, 10.0, 100, "final") for second in range(5)]
    samples += [Sample(105.5 + second, 900.0, 2, "final") for second in range(3)]
    figures = summarise(window(samples, [0.0] * 5 + [0.17, 1.6, 0.9]))
    assert (figures["is_quiet"], figures["quiet_s"]) == (True, 5)
    assert figures["transactions_per_s"] == 100.0
    assert figures["latency"]["p99_ms"] == 10.0
    assert figures["cpu_us_per_transaction"]["validator-1"] == 1_000.0
    assert [each["is_quiet"] for each in figures["seconds"]] == [True] * 5 + [False] * 3
    assert [each["transactions_per_s"] for each in figures["seconds"]] == [100.0] * 5 + [2.0] * 3
    assert figures["seconds"][6]["cpu_cores_used_by_others"] == 1.6


def test_with_too_few_quiet_seconds_every_second_counts_and_that_is_said() -> None:
    samples = [Sample(100.5 + second, 10.0, 100, "final") for second in range(4)]
    figures = summarise(window(samples, [0.0] * 4 + [1.0] * 4))
    assert (figures["is_quiet"], figures["quiet_s"]) == (False, 4)
    assert figures["transactions_per_s"] == 50.0
    assert figures["cpu_cores_used_by_others"] == 0.5


def test_memory_is_that_of_validators_from_one_end_of_a_window_to_the_other() -> None:
    memory = summarise(window([], [0.0] * 40))["memory_mib"]
    # 41 ticks: the medians of the first and of the last four, 101.5 and 138.5 MiB.
    assert memory == {"begin": 150.0, "end": 150.0, "most": 150.0, "growth_percent": 36.45}


def test_a_process_that_ended_has_used_nothing_and_kept_nothing() -> None:
    seen = window([Sample(100.5, 1.0, 10, "final")], [0.0, 0.0])
    last = seen.ticks[-1]
    gone = Tick(
        time_s=last.time_s,
        cpu_s={**last.cpu_s, "validator-2": 0.0},
        machine_busy_s=last.machine_busy_s,
        memory_bytes={**last.memory_bytes, "validator-2": 0},
    )
    struck = Window(
        samples=seen.samples,
        ticks=[*seen.ticks[:-1], gone],
        begin=seen.begin,
        end=seen.end,
        clients=seen.clients,
    )
    figures = summarise(struck)
    assert figures["cpu_us_per_transaction"]["validator-2"] == 20_000.0
    assert figures["memory_mib"]["growth_percent"] == 2.0


def test_a_window_in_which_nothing_happened_has_no_costs() -> None:
    figures = summarise(window([], [0.0], blocks=0))
    assert figures["transactions_per_s"] == 0.0
    assert figures["transactions_per_block"] is figures["messages_per_block"] is None
    assert set(figures["cpu_us_per_transaction"].values()) == {None}
    assert set(figures["stage_cpu_us_per_transaction"].values()) == {None}


def test_the_longest_wait_is_between_any_two_of_strike_finals_and_end() -> None:
    def finals(*moments_s: float) -> list[Sample]:
        return [Sample(each, 1.0, 1, "final") for each in moments_s]

    assert longest_wait_ms(finals(9.9, 11.0, 11.5, 12.0), 10.0, 12.1) == 1_000.0
    assert longest_wait_ms(finals(10.1, 10.2, 11.9), 10.0, 12.0) == 1_700.0
    assert longest_wait_ms(finals(10.1), 10.0, 12.0) == 1_900.0
    refused = [Sample(10.5, 1.0, 1, "POOL_FULL")]
    assert longest_wait_ms([*refused, *finals(9.0)], 10.0, 12.0) == 2_000.0


def test_the_dead_are_compared_by_the_medians_of_turns() -> None:
    def windows(*rates: float) -> list[dict[str, Any]]:
        return [{"transactions_per_s": rate, "view_changes": 0, "failures": {}} for rate in rates]

    figures = compare_dead(
        ["validator-4"], windows(100.0, 900.0, 200.0), windows(150.0, 1.0, 160.0)
    )
    assert (figures["median_of_all"], figures["median"], figures["ratio"]) == (200.0, 150.0, 0.75)
    assert figures["transactions_per_s"] == [150.0, 1.0, 160.0]
    assert compare_dead(["validator-4"], windows(0.0), windows(0.0))["ratio"] is None
