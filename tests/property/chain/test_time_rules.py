"""What the agreed-time rule promises whatever the numbers: T in bounds, D monotone and capped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.chain.genesis import Parameters
from node.chain.time_rules import delay_for, is_timely, proposal_time
from node.limits import DURATION_MS_MAX

times_ms = st.integers(0, 2**63)
failures = st.integers(0, 2**63)


@st.composite
def sound_parameters(draw: st.DrawFn) -> Parameters:
    accuracy_ms = draw(st.integers(2, DURATION_MS_MAX))
    precision_ms = draw(st.integers(1, accuracy_ms - 1))
    clock_error_ms = draw(st.integers(0, accuracy_ms - precision_ms - 1))
    longest_ms = accuracy_ms - precision_ms - clock_error_ms
    return Parameters(
        precision_ms=precision_ms,
        clock_error_ms=clock_error_ms,
        accuracy_ms=accuracy_ms,
        message_delay_ms=draw(st.integers(1, longest_ms)),
    )


@given(sound_parameters(), failures)
def test_delay_keeps_the_promise_and_starts_at_the_message_delay(
    parameters: Parameters, failed_views: int
) -> None:
    delay_ms = delay_for(failed_views, parameters)
    assert delay_for(0, parameters) == parameters.message_delay_ms <= delay_ms
    assert delay_ms + parameters.precision_ms + parameters.clock_error_ms <= parameters.accuracy_ms


@given(sound_parameters(), st.integers(0, 300))
def test_delay_grows_at_every_failure_until_it_is_capped(
    parameters: Parameters, failed_views: int
) -> None:
    now_ms, next_ms = (delay_for(failed_views + more, parameters) for more in (0, 1))
    capped_ms = parameters.accuracy_ms - parameters.precision_ms - parameters.clock_error_ms
    assert next_ms > now_ms or now_ms == next_ms == capped_ms


@given(times_ms, times_ms, sound_parameters(), failures)
def test_what_a_correct_primary_stamps_is_timely_at_once_where_its_clock_is_past_the_parent(
    parent_time_ms: int, elapsed_ms: int, parameters: Parameters, failed_views: int
) -> None:
    clock_ms = parent_time_ms + 1 + elapsed_ms
    time_ms = proposal_time(parent_time_ms, clock_ms)
    delay_ms = delay_for(failed_views, parameters)
    assert is_timely(clock_ms, time_ms, parameters.precision_ms, delay_ms)
    assert not is_timely(
        clock_ms + parameters.accuracy_ms + 1, time_ms, parameters.precision_ms, delay_ms
    )
    assert not is_timely(
        clock_ms - parameters.precision_ms - 1, time_ms, parameters.precision_ms, delay_ms
    )
