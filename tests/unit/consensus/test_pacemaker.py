"""The timers: when a view has failed, and when repeating is worth the traffic."""

from __future__ import annotations

from node.chain.genesis import Parameters
from node.chain.time_rules import DEGRADED_ROTATION_MS
from node.consensus.events import Now
from node.consensus.pacemaker import Pacemaker

PARAMETERS = Parameters(view_timeout_ms=1_000, view_timeout_max_ms=4_000)


def at(monotonic_ms: int) -> Now:
    return Now(monotonic_ms=monotonic_ms, utc_ms=0)


def test_a_view_fails_after_its_timeout_of_waiting_and_not_while_idle() -> None:
    clock = Pacemaker(PARAMETERS)
    assert not clock.run(at(5_000), waiting=False, failed_views=0, busy=False).view
    assert not clock.run(at(6_000), waiting=True, failed_views=0, busy=True).view
    assert not clock.run(at(6_999), waiting=True, failed_views=0, busy=True).view
    assert clock.run(at(7_000), waiting=True, failed_views=0, busy=True).view


def test_timeouts_double_with_failed_views_up_to_the_cap() -> None:
    clock = Pacemaker(PARAMETERS)
    assert [clock.timeout_ms(failed) for failed in (0, 1, 2, 3, 1_000)] == [
        1_000,
        2_000,
        4_000,
        4_000,
        4_000,
    ]


def test_work_that_came_a_moment_ago_has_not_stalled_however_long_the_chain_was_idle() -> None:
    clock = Pacemaker(PARAMETERS)
    clock.run(at(60_000), waiting=False, failed_views=0, busy=False)
    assert not clock.run(at(60_001), waiting=True, failed_views=0, busy=True).stalled
    assert clock.run(at(60_501), waiting=True, failed_views=0, busy=True).stalled
    clock.progressed(at(60_600))
    assert not clock.run(at(60_700), waiting=True, failed_views=0, busy=True).stalled


def test_a_view_ends_on_schedule_first_for_its_primary_and_is_asked_again_later() -> None:
    for is_primary, due_ms in ((True, 600_100), (False, 601_100)):
        clock = Pacemaker(PARAMETERS)
        assert not clock.rotates(at(100), is_primary=is_primary)
        clock.run(at(100), waiting=False, failed_views=0, busy=False)
        assert not clock.is_rotation_near(at(300_099))
        assert clock.is_rotation_near(at(300_100))
        assert not clock.rotates(at(due_ms - 1), is_primary=is_primary)
        clock.run(at(due_ms - 1), waiting=False, failed_views=0, busy=False)
        assert clock.deadline_ms() == due_ms
        assert clock.rotates(at(due_ms), is_primary=is_primary)
        assert not clock.rotates(at(due_ms + 999), is_primary=is_primary)
        assert clock.rotates(at(due_ms + 1_000), is_primary=is_primary)
        clock.left_view(at(due_ms + 1_000))
        assert not clock.is_rotation_near(at(due_ms + 1_000))
        clock.entered_view(is_degraded=False)
        assert not clock.rotates(at(due_ms + 2_000), is_primary=is_primary)


def test_only_a_view_of_degraded_blocks_ends_sooner() -> None:
    clock = Pacemaker(PARAMETERS)
    for is_degraded, lasts_ms in ((True, DEGRADED_ROTATION_MS), (False, PARAMETERS.rotation_ms)):
        clock.entered_view(is_degraded=is_degraded)
        assert not clock.rotates(at(0), is_primary=True)
        assert not clock.rotates(at(lasts_ms - 1), is_primary=True)
        assert clock.rotates(at(lasts_ms), is_primary=True)


def test_a_view_that_failed_fails_once_and_on_time_though_nothing_is_to_be_repeated() -> None:
    clock = Pacemaker(PARAMETERS)
    for now_ms in (0, 500, 1_000):  # what is repeated every second of idleness is done now
        clock.run(at(now_ms), waiting=now_ms >= 500, failed_views=0, busy=False)
    expired = clock.run(at(1_500), waiting=True, failed_views=0, busy=False)
    assert (expired.view, expired.repeat, expired.stalled) == (True, False, False)
    assert clock.view_due_ms is None
    assert not clock.run(at(1_501), waiting=True, failed_views=0, busy=False).view
    assert clock.view_due_ms == 2_501


def test_idleness_ends_a_stall() -> None:
    clock = Pacemaker(PARAMETERS)
    clock.run(at(0), waiting=True, failed_views=0, busy=True)
    clock.run(at(100), waiting=False, failed_views=0, busy=False)
    assert clock.waited_ms(at(200)) is None
    assert not clock.run(at(10_000), waiting=True, failed_views=0, busy=True).stalled
