"""What a load comes to: pure arithmetic over readings, ticks and samples.

Nothing is read here, and nothing said. A window lies between its first and its last tick, about a
second apart each; a transaction belongs to the second in which its client learned that it is final.
A second in which other programs used more than `OTHERS_CORES_MAX` is a noisy one: rates, latencies
and CPU times are told of the quiet ones alone, where there are enough of them. What is counted by
validators (blocks, messages, syncs) is told of the whole window: noise does not change it.
"""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

PERCENTILES: Final = (50, 95, 99)

OTHERS_CORES_MAX: Final = 0.16
"""Of one core's time in a quiet second: 16 %, as the peers were measured (bench/README.md)."""
QUIET_S_MIN: Final = 5
"""With fewer quiet seconds a load was not measured quietly, and every second counts."""

FINAL: Final = "final"
"""The outcome that counts; any other names what went wrong."""
NOT_SENT: Final = "NOT_SENT"
"""The outcome of what was due and had no turn before the end."""

COMMITTED: Final = "govchain_transactions_committed_total"
"""The metric that counts the transactions a validator made final."""
BLOCKS: Final = "govchain_blocks_committed_total"

COUNTED: Final = {
    "messages": "govchain_peer_messages_sent_total",
    "frames": "govchain_peer_frames_sent_total",
    "peer_bytes": "govchain_peer_bytes_sent_total",
    "signatures": "govchain_votes_signed_total",
    "vote_checks": "govchain_votes_checked_total",
    "log_fsyncs": "govchain_fsyncs_total",
    "body_requests": "govchain_bodies_asked_total",
}
"""What all validators together do, and the metric that counts it."""

_STAGE_START: Final = "govchain_"
_STAGE_END: Final = "_cpu_seconds_total"
"""Metrics between the two are the stages of which validators tell the CPU time."""
_MIB: Final = 2**20
_GROWTH_PART: Final = 10
"""Memory at the ends of a window is the median of this part of its ticks, at either end."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What became of some transactions of one batch."""

    finished_s: float
    """When its client learned it, on the monotonic clock of the machine."""
    latency_ms: float
    transactions: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Tick:
    """What the system tells of processes, at one moment."""

    time_s: float
    """On the monotonic clock of the machine."""
    cpu_s: Mapping[str, float]
    """CPU time that each process of ours has used, by its name; validators by their ids."""
    machine_busy_s: float
    """CPU time used by the whole machine, what the hypervisor took included."""
    memory_bytes: Mapping[str, int]
    """What each of them keeps in memory."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What validators tell of themselves, at one moment."""

    time_s: float
    """On the monotonic clock of the machine."""
    metrics: Mapping[str, Mapping[str, float]]
    """Of each validator by its id, its metrics by name, each summed over its labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """All that was seen of one load."""

    samples: Sequence[Sample]
    ticks: Sequence[Tick]
    """Two at least."""
    begin: Reading
    end: Reading
    clients: frozenset[str]
    """Which processes put on load; `BENCH` reads, and all others are validators."""


BENCH: Final = "bench"
"""The name of the process that measures."""


@dataclass(frozen=True, slots=True)
class _Second:
    """What lies between two ticks."""

    from_s: float
    until_s: float
    used_cores: float
    others_cores: float
    cpu_s: Mapping[str, float]
    memory_bytes: Mapping[str, int]

    @property
    def is_quiet(self) -> bool:
        return self.others_cores <= OTHERS_CORES_MAX


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


def summarise(window: Window) -> dict[str, Any]:
    """Return the figures of a window: rates, latencies, costs, memory, and each of its seconds."""
    seconds = [_between(*pair) for pair in pairwise(window.ticks)]
    quiet = [each.is_quiet for each in seconds]
    is_quiet = sum(quiet) >= QUIET_S_MIN
    counted = [each for each in seconds if each.is_quiet] if is_quiet else seconds
    counted_s = sum(each.until_s - each.from_s for each in counted)
    finished = _by_second(window.samples, seconds)
    final = [_final(finished[each.from_s]) for each in counted]
    count = sum(sample.transactions for samples in final for sample in samples)
    return {
        "transactions": count,
        "transactions_per_s": round(count / counted_s, 1),
        "latency": latencies([ms for samples in final for ms in _spread(samples)]),
        "failures": _count_failures(
            [
                *(each for each in window.samples if each.outcome == NOT_SENT),  # at the very end
                *(sample for each in seconds for sample in finished[each.from_s]),
            ]
        ),
        "cpu_us_per_transaction": {
            name: round(sum(each.cpu_s[name] for each in counted) * 1e6 / count, 1)
            if count
            else None
            for name in seconds[0].cpu_s
            if name != BENCH
        },
        **_count(window, seconds),
        "view_changes": _view(window.end) - _view(window.begin),
        "memory_mib": _memory(window.ticks, window.clients),
        "cpu_cores_used": _mean(each.used_cores for each in counted),
        "cpu_cores_used_by_others": _mean(each.others_cores for each in counted),
        "is_quiet": is_quiet,
        "quiet_s": sum(quiet),
        "window_s": round(seconds[-1].until_s - seconds[0].from_s, 2),
        "seconds": [_tell(each, finished[each.from_s]) for each in seconds],
    }


def compare_dead(
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


def longest_wait_ms(samples: Sequence[Sample], from_s: float, until_s: float) -> float:
    """Return the longest time in which nothing became final, between two moments."""
    finals = sorted(
        each.finished_s
        for each in samples
        if each.outcome == FINAL and from_s <= each.finished_s < until_s
    )
    waits = [after - before for before, after in pairwise([from_s, *finals, until_s])]
    return round(max(waits) * 1_000, 1)


def _between(before: Tick, after: Tick) -> _Second:
    cpu_s = {  # a process that has ended has used nothing any more
        name: max(used_s - before.cpu_s[name], 0.0) for name, used_s in after.cpu_s.items()
    }
    length_s = after.time_s - before.time_s
    ours_s = sum(cpu_s.values())
    others_s = max(after.machine_busy_s - before.machine_busy_s - ours_s, 0.0)
    return _Second(
        from_s=before.time_s,
        until_s=after.time_s,
        used_cores=ours_s / length_s,
        others_cores=others_s / length_s,
        cpu_s=cpu_s,
        memory_bytes=after.memory_bytes,
    )


def _by_second(samples: Sequence[Sample], seconds: Sequence[_Second]) -> dict[float, list[Sample]]:
    """Return the samples of each second, by its beginning; those of no second are left out."""
    begins = [each.from_s for each in seconds]
    finished: dict[float, list[Sample]] = {begin: [] for begin in begins}
    for sample in samples:
        inside = begins[0] <= sample.finished_s < seconds[-1].until_s
        if inside and sample.outcome != NOT_SENT:
            finished[begins[bisect_right(begins, sample.finished_s) - 1]].append(sample)
    return finished


def _final(samples: Sequence[Sample]) -> list[Sample]:
    return [each for each in samples if each.outcome == FINAL]


def _spread(samples: Sequence[Sample]) -> list[float]:
    """Return the latency of each transaction."""
    return [each.latency_ms for each in samples for _ in range(each.transactions)]


def _count(window: Window, seconds: Sequence[_Second]) -> dict[str, Any]:
    """Return what validators counted, per block and per transaction, and the stages of their CPU.

    A transaction's own signature is one more; it is not among `signatures`.
    """
    begin, end = window.begin, window.end
    length_s = end.time_s - begin.time_s
    validators = len(end.metrics)
    blocks = _sum(begin, end, BLOCKS) / validators
    committed = _sum(begin, end, COMMITTED) / validators
    figures: dict[str, Any] = {
        "blocks_per_s": round(blocks / length_s, 2),
        "transactions_per_block": _ratio(committed, blocks, 1),
    }
    for name, metric in COUNTED.items():
        counted = _sum(begin, end, metric)
        figures[f"{name}_per_block"] = _ratio(counted, blocks, 2)
        figures[f"{name}_per_transaction"] = _ratio(counted, committed, 4)
    stages_s = {
        name.removeprefix(_STAGE_START).removesuffix(_STAGE_END): _sum(begin, end, name)
        for name in sorted({each for metrics in end.metrics.values() for each in metrics})
        if name.startswith(_STAGE_START) and name.endswith(_STAGE_END)
    }
    figures["consensus_cpu_ms_per_block"] = _ratio(
        stages_s.get("consensus", 0.0) * 1_000, blocks, 2
    )
    all_s = sum(
        used_s
        for each in seconds
        for name, used_s in each.cpu_s.items()
        if name != BENCH and name not in window.clients
    )
    stages_s["untold"] = max(all_s - sum(stages_s.values()), 0.0)
    figures["stage_cpu_us_per_transaction"] = {
        name: _ratio(spent_s * 1e6, committed, 1) for name, spent_s in stages_s.items()
    }
    return figures


def _memory(ticks: Sequence[Tick], clients: frozenset[str]) -> dict[str, Any]:
    """Return what the validator that keeps most in memory keeps, and how much one grew at most."""
    part = max(len(ticks) // _GROWTH_PART, 1)
    names = [name for name in ticks[0].memory_bytes if name != BENCH and name not in clients]
    ends = {
        name: [
            statistics.median(each.memory_bytes[name] for each in some) / _MIB
            for some in (ticks[:part], ticks[-part:])
        ]
        for name in names
    }
    most = max(max(each.memory_bytes[name] for name in names) for each in ticks)
    grown = [100 * (last - first) / first for first, last in ends.values() if first and last]
    return {
        "begin": round(max(first for first, _ in ends.values()), 1),
        "end": round(max(last for _, last in ends.values()), 1),
        "most": round(most / _MIB, 1),
        "growth_percent": round(max(grown), 2) if grown else None,
    }


def _tell(second: _Second, samples: Sequence[Sample]) -> dict[str, Any]:
    final = _final(samples)
    count = sum(each.transactions for each in final)
    return {
        "length_s": round(second.until_s - second.from_s, 3),
        "transactions_per_s": round(count / (second.until_s - second.from_s), 1),
        "latency": latencies(_spread(final)),
        "cpu_cores_used": round(second.used_cores, 2),
        "cpu_cores_used_by_others": round(second.others_cores, 2),
        "is_quiet": second.is_quiet,
        "memory_mib": {
            name: round(size / _MIB, 1)
            for name, size in second.memory_bytes.items()
            if name != BENCH
        },
    }


def _sum(begin: Reading, end: Reading, counter: str) -> float:
    """Return by how much a counter grew, over all validators."""
    return sum(
        end.metrics[name].get(counter, 0) - begin.metrics[name].get(counter, 0)
        for name in end.metrics
    )


def _view(reading: Reading) -> int:
    """Return the highest view any validator is in."""
    return int(max(each.get("govchain_view", 0) for each in reading.metrics.values()))


def _ratio(amount: float, parts: float, digits: int) -> float | None:
    return round(amount / parts, digits) if parts else None


def _mean(values: Iterable[float]) -> float:
    return round(statistics.mean(values), 2)


def _count_failures(samples: Iterable[Sample]) -> dict[str, int]:
    failures: dict[str, int] = {}
    for each in samples:
        if each.outcome != FINAL:
            failures[each.outcome] = failures.get(each.outcome, 0) + each.transactions
    return failures
