"""What a load run comes to: pure arithmetic over readings and samples, and the shape of its report.

Nothing is read here, and nothing said. A window is what lies between two readings; a transaction
belongs to the window in which its client learned that it is final.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

PERCENTILES: Final = (50, 95, 99)

FINAL: Final = "final"
"""The outcome that counts; any other names what went wrong."""

COMMITTED: Final = "govchain_transactions_committed_total"
"""The metric that counts the transactions a validator made final."""

_BLOCKS: Final = "govchain_blocks_committed_total"
_PER_BLOCK: Final = {
    "messages_per_block": "govchain_peer_messages_sent_total",
    "frames_per_block": "govchain_peer_frames_sent_total",
    "peer_bytes_per_block": "govchain_peer_bytes_sent_total",
    "signatures_per_block": "govchain_votes_signed_total",
    "vote_checks_per_block": "govchain_votes_checked_total",
    "log_fsyncs_per_block": "govchain_fsyncs_total",
    "body_requests_per_block": "govchain_bodies_asked_total",
}
"""What all validators together do for one block, and the metric that says so."""

_CONSENSUS_CPU: Final = "govchain_consensus_cpu_seconds_total"


@dataclass(frozen=True, slots=True)
class Sample:
    """What became of some transactions of one batch."""

    finished_s: float
    """When its client learned it, on the monotonic clock of the machine."""
    latency_ms: float
    transactions: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything measured from outside, at one moment."""

    time_s: float
    """On the monotonic clock of the machine."""
    cpu_s: Mapping[str, float]
    """CPU time that each process has used, by its name; validators by their ids."""
    machine_busy_s: float
    """CPU time used by the whole machine, what the hypervisor took included."""
    metrics: Mapping[str, Mapping[str, float]]
    """Of each validator by its id, its metrics by name, each summed over its labels."""


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the smallest value that at least `percent` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(-(-len(ordered) * percent // 100), 1) - 1]


def latencies(latency_ms: Sequence[float]) -> dict[str, Any]:
    """Return p50, p95 and p99 of latencies; null where there are none."""
    return {
        f"p{percent}_ms": round(percentile(latency_ms, percent), 1) if latency_ms else None
        for percent in PERCENTILES
    }


def summarise(samples: Sequence[Sample], begin: Reading, end: Reading) -> dict[str, Any]:
    """Return the figures of the window: rates, latencies, and costs per transaction and block."""
    window_s = end.time_s - begin.time_s
    finished = [each for each in samples if begin.time_s <= each.finished_s < end.time_s]
    final = [each for each in finished if each.outcome == FINAL]
    count = sum(each.transactions for each in final)
    by_transaction = [each.latency_ms for each in final for _ in range(each.transactions)]
    machine_s = end.machine_busy_s - begin.machine_busy_s
    ours_s = sum(_differences(begin.cpu_s, end.cpu_s).values())
    return {
        "transactions": count,
        "transactions_per_s": round(count / window_s, 1),
        "latency": latencies(by_transaction),
        "failures": _count_failures(finished),
        "cpu_us_per_transaction": {
            name: round(used_s * 1e6 / count, 1) if count else None
            for name, used_s in _differences(begin.cpu_s, end.cpu_s).items()
        },
        **_per_block(begin, end, window_s),
        "view_changes": _view(end) - _view(begin),
        "cpu_cores_used": round(ours_s / window_s, 2),
        "cpu_cores_used_by_others": round((machine_s - ours_s) / window_s, 2),
        "window_s": round(window_s, 2),
    }


def compare(
    dead: Sequence[str], whole: Sequence[Mapping[str, Any]], reduced: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what throughput is while some validators are dead, against that of the whole network.

    `whole` and `reduced` are the summaries of windows in turns.
    """
    rates = {
        name: [each["transactions_per_s"] for each in windows]
        for name, windows in (("all", whole), ("reduced", reduced))
    }
    of_all, of_reduced = (statistics.median(each) for each in rates.values())
    return {
        "validators": list(dead),
        "transactions_per_s_of_all": rates["all"],
        "transactions_per_s": rates["reduced"],
        "median_of_all": round(of_all, 1),
        "median": round(of_reduced, 1),
        "ratio": round(of_reduced / of_all, 2) if of_all else None,
        "view_changes": [each["view_changes"] for each in reduced],
        "failures": [each["failures"] for each in reduced],
    }


def _per_block(begin: Reading, end: Reading, window_s: float) -> dict[str, Any]:
    validators = len(end.metrics)
    blocks = _sum(begin, end, _BLOCKS) / validators
    committed = _sum(begin, end, COMMITTED) / validators
    figures: dict[str, Any] = {"blocks_per_s": round(blocks / window_s, 2)}
    figures["transactions_per_block"] = round(committed / blocks, 1) if blocks else None
    for name, counter in _PER_BLOCK.items():
        figures[name] = round(_sum(begin, end, counter) / blocks, 2) if blocks else None
    spent_ms = _sum(begin, end, _CONSENSUS_CPU) * 1_000
    figures["consensus_cpu_ms_per_block"] = round(spent_ms / blocks, 2) if blocks else None
    return figures


def _sum(begin: Reading, end: Reading, counter: str) -> float:
    """Return by how much a counter grew, over all validators."""
    return sum(
        end.metrics[name].get(counter, 0) - begin.metrics[name].get(counter, 0)
        for name in end.metrics
    )


def _view(reading: Reading) -> int:
    """Return the highest view any validator is in."""
    return int(max(each.get("govchain_view", 0) for each in reading.metrics.values()))


def _differences(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: value - before[name] for name, value in after.items()}


def _count_failures(samples: Sequence[Sample]) -> dict[str, int]:
    failures: dict[str, int] = {}
    for each in samples:
        if each.outcome != FINAL:
            failures[each.outcome] = failures.get(each.outcome, 0) + each.transactions
    return failures
