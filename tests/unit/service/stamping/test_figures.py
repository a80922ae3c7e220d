"""Figures of the stamp desk: every failure has a reason, every latency a range."""

from __future__ import annotations

from node.service.stamping.figures import LATENCY_S, OVER_QUOTA, StampFigures, reason_of
from node.timestamp.tokens.request import Failure


def test_every_reason_is_there_from_the_start() -> None:
    figures = StampFigures()
    assert figures.refused == dict.fromkeys([OVER_QUOTA, *map(reason_of, Failure)], 0)
    assert len(figures.refused) == 1 + len(Failure)
    figures.refuse(reason_of(Failure.TIME_NOT_AVAILABLE))
    assert figures.refused["time-not-available"] == 1
    assert StampFigures().refused["time-not-available"] == 0


def test_a_latency_counts_in_the_range_that_ends_with_it() -> None:
    figures = StampFigures()
    for latency_ms in (0, 5, 6, 30_000, 30_001):
        figures.grant(latency_ms)
    assert figures.latency_counts[0] == 2
    assert figures.latency_counts[1] == 1
    assert figures.latency_counts[len(LATENCY_S) - 1] == 1
    assert figures.latency_counts[len(LATENCY_S)] == 1
    assert (figures.granted, figures.latency_ms) == (5, 60_012)
