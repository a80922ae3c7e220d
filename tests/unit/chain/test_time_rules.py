"""The agreed-time rule at its edges, 1 ms to both sides, and the growth of D up to its cap."""

from __future__ import annotations

import pytest

from node.chain.genesis import Parameters
from node.chain.time_rules import delay_for, is_timely, proposal_time

T_MS = 1_700_000_000_000
PRECISION_MS = 100
DELAY_MS = 500


@pytest.mark.parametrize(
    ("arrival_after_ms", "timely"),
    [(-101, False), (-100, True), (0, True), (600, True), (601, False)],
)
def test_timely_is_an_interval_with_both_ends(arrival_after_ms: int, timely: bool) -> None:  # noqa: FBT001 - the verdict
    assert is_timely(T_MS + arrival_after_ms, T_MS, PRECISION_MS, DELAY_MS) is timely


def test_a_primary_stamps_its_clock_after_an_idle_hour() -> None:
    assert proposal_time(T_MS, T_MS + 3_600_000) == T_MS + 3_600_000


@pytest.mark.parametrize("clock_ms", [T_MS - 3_600_000, T_MS - 1, T_MS])
def test_a_clock_not_past_the_parent_still_gives_a_later_time(clock_ms: int) -> None:
    assert proposal_time(T_MS, clock_ms) == T_MS + 1


def test_delay_grows_by_a_tenth_per_failed_view_and_stops_at_the_promise() -> None:
    parameters = Parameters()
    delays = [delay_for(failed, parameters) for failed in range(8)]
    assert delays == [500, 550, 605, 666, 733, 807, 850, 850]
    assert delays[-1] + parameters.precision_ms + parameters.clock_error_ms == 1_000


def test_a_delay_that_fills_the_promise_never_grows() -> None:
    parameters = Parameters(message_delay_ms=850)
    assert [delay_for(failed, parameters) for failed in (0, 1, 100)] == [850, 850, 850]


def test_the_smallest_delay_grows_too_and_any_count_of_views_ends() -> None:
    parameters = Parameters(message_delay_ms=1)
    assert delay_for(1, parameters) == 2
    assert delay_for(10**18, parameters) == 850
