"""Quotas: exact, refilled steadily, and bounded in memory."""

from __future__ import annotations

from node.service.stamping.quota import Quota


def test_a_minute_s_worth_may_come_at_once_and_no_more() -> None:
    quota = Quota(3)
    assert [quota.take("a", 1_000) for _ in range(5)] == [0, 0, 0, 20_000, 20_000]
    assert quota.take("b", 1_000) == 0


def test_it_is_refilled_steadily() -> None:
    quota = Quota(3)
    for _ in range(3):
        quota.take("a", 0)
    assert quota.take("a", 19_999) == 1
    assert quota.take("a", 20_000) == 0
    assert quota.take("a", 20_000) == 20_000
    assert [quota.take("a", 3_600_000) for _ in range(4)] == [0, 0, 0, 20_000]


def test_the_wait_that_is_told_is_enough_and_not_too_long() -> None:
    for per_minute in (1, 7, 60, 59_999, 60_001, 1_000_000):
        quota = Quota(per_minute)
        while not (wait_ms := quota.take("a", 5)):
            pass
        assert wait_ms == 1 or quota.take("a", 5 + wait_ms - 1) == 1
        assert quota.take("a", 5 + wait_ms) == 0


def test_who_was_not_heard_for_longest_is_forgotten_first() -> None:
    quota = Quota(1, clients_max=2)
    assert [quota.take(client, 0) for client in "abab"] == [0, 0, 60_000, 60_000]
    assert quota.take("c", 0) == 0
    assert len(quota) == 2
    assert quota.take("b", 0) == 60_000
    assert quota.take("a", 0) == 0  # forgotten, hence new
