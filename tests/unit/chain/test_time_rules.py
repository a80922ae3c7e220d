"""The agreed-time rule at its edges, 1 ms to both sides, and the growth of D up to its cap."""

from __future__ import annotations

import pytest

from node.chain.genesis import Parameters
from node.chain.time_rules import (
    degraded_time,
    delay_for,
    is_degraded_time,
    is_timely,
    longest_delay,
    proposal_time,
    time_reached,
)

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


def test_the_longest_delay_is_where_growth_ends() -> None:
    parameters = Parameters()
    assert longest_delay(parameters) == delay_for(100, parameters) == 850


@pytest.mark.parametrize(
    ("clocks_ms", "reached_ms"),
    [([5, 5, 5], 5), ([1, 2, 3], 1), ([9, 1, 2, 3], 2), ([3, 2, 1, 0], 1)],
)
def test_what_a_quorum_of_three_clocks_reached(clocks_ms: list[int], reached_ms: int) -> None:
    assert time_reached(clocks_ms, 3) == reached_ms


@pytest.mark.parametrize(
    ("reached_ms", "clock_ms", "time_ms"),
    [(50, 60, 50), (60, 50, 50), (0, 60, 11), (60, 0, 11), (10, 10, 11), (11, 11, 11)],
)
def test_degraded_time_follows_clocks_or_takes_the_least_step(
    reached_ms: int, clock_ms: int, time_ms: int
) -> None:
    assert degraded_time(10, reached_ms, clock_ms) == time_ms
    assert is_degraded_time(time_ms, 10, reached_ms, clock_ms, PRECISION_MS)


@pytest.mark.parametrize(
    ("time_ms", "allowed"),
    [(T_MS + 1, True), (T_MS + 2, True), (T_MS + 1_000, True), (T_MS + 1_001, False)],
)
def test_degraded_time_is_bounded_by_what_was_reached(time_ms: int, *, allowed: bool) -> None:
    assert is_degraded_time(time_ms, T_MS, T_MS + 1_000, T_MS + 5_000, PRECISION_MS) == allowed


@pytest.mark.parametrize(("behind_ms", "allowed"), [(100, True), (101, False)])
def test_degraded_time_is_not_ahead_of_the_own_clock(behind_ms: int, *, allowed: bool) -> None:
    time_ms = T_MS + 500
    assert is_degraded_time(time_ms, T_MS, time_ms, time_ms - behind_ms, PRECISION_MS) == allowed
    assert is_degraded_time(T_MS + 1, T_MS, 0, 0, PRECISION_MS), "the least step is always allowed"


@pytest.mark.parametrize("year_ms", [2_147_483_648_000, 4_294_967_296_000, 253_402_300_799_000])
def test_no_year_is_the_last(year_ms: int) -> None:
    """2038, 2106 and 9999."""
    assert proposal_time(year_ms - 1, year_ms) == year_ms
    assert is_timely(year_ms + 600, year_ms, PRECISION_MS, DELAY_MS)
    assert not is_timely(year_ms + 601, year_ms, PRECISION_MS, DELAY_MS)
