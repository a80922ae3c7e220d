"""A batch that was late halves the next one; full ones that are in time let them grow again."""

from __future__ import annotations

from node.service.batching import (
    RECORDS_AT_FIRST,
    RECORDS_LEAST,
    RECORDS_LEAST_FAILED,
    WORK_SHARE,
    BatchLimit,
)

NS_PER_MS = 1_000_000


def limit() -> BatchLimit:
    return BatchLimit(records_max=4_000, delay_max_ms=125)


def test_a_late_batch_halves_the_next() -> None:
    batches = limit()
    batches.learn(800, 126)
    assert batches.records == 400


def test_a_late_batch_larger_than_the_limit_halves_the_limit() -> None:
    batches = limit()
    batches.learn(10_000, 500)  # a single transaction may exceed it
    assert batches.records == RECORDS_AT_FIRST // 2


def test_a_full_batch_in_time_lets_the_next_grow_up_to_the_most() -> None:
    batches = limit()
    batches.learn(RECORDS_AT_FIRST, 125)
    assert batches.records == RECORDS_AT_FIRST * 5 // 4
    for _ in range(20):
        batches.learn(batches.records, 10)
    assert batches.records == 4_000


def test_a_small_batch_in_time_proves_nothing() -> None:
    batches = limit()
    batches.learn(RECORDS_AT_FIRST // 2, 10)
    assert batches.records == RECORDS_AT_FIRST


def test_it_never_falls_below_what_any_machine_can_do_and_recovers_from_there() -> None:
    batches = limit()
    for _ in range(20):
        batches.learn(batches.records, 1_000)
    assert batches.records == RECORDS_LEAST
    for _ in range(20):
        batches.learn(batches.records, 1)
    assert batches.records == 4_000


def test_each_view_that_fails_halves_the_next_batch_far_below_what_a_late_one_does() -> None:
    batches = limit()
    batches.note_failed_view()
    assert batches.records == RECORDS_AT_FIRST // 2
    for _ in range(20):
        batches.note_failed_view()
    assert batches.records == RECORDS_LEAST_FAILED


def test_a_late_batch_does_not_raise_a_limit_that_failed_views_have_lowered() -> None:
    batches = limit()
    for _ in range(20):
        batches.note_failed_view()
    batches.learn(RECORDS_LEAST_FAILED, 1_000)
    assert batches.records == RECORDS_LEAST_FAILED
    for _ in range(40):
        batches.learn(batches.records, 1)
    assert batches.records == 4_000


def test_what_is_little_work_does_not_shrink_for_being_late() -> None:
    batches = limit()
    batches.note_work(100, 125 * NS_PER_MS // WORK_SHARE // 6)  # 600 of them are the share
    for _ in range(20):
        batches.learn(batches.records, 1_000)
    assert batches.records == 600
    for _ in range(20):
        batches.note_failed_view()
    assert batches.records == RECORDS_LEAST_FAILED


def test_much_work_and_work_that_nobody_measures_leave_the_least_as_it_is() -> None:
    for spent_ns in (0, 10_000 * NS_PER_MS):
        batches = limit()
        batches.note_work(1_000, spent_ns)
        for _ in range(20):
            batches.learn(batches.records, 1_000)
        assert batches.records == RECORDS_LEAST


def test_little_work_lifts_no_batch_above_the_most() -> None:
    batches = limit()
    batches.note_work(4_000, 1)
    for _ in range(20):
        batches.learn(batches.records, 1)
    assert batches.records == 4_000
    batches.learn(4_000, 1_000)
    assert batches.records == 4_000
