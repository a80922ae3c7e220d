"""The clock that stands still while the process does not run."""

from __future__ import annotations

from node.consensus.events import Now
from node.service.clock import HELD_UP_MS, RunningClock


class World:
    """Clocks that go on when the test says so."""

    def __init__(self) -> None:
        self.passed_ms = 0

    def read(self) -> Now:
        return Now(1_000 + self.passed_ms, 50_000 + self.passed_ms)


def test_it_goes_on_while_readings_come_when_they_are_due() -> None:
    world = World()
    clock = RunningClock(world.read)
    for _ in range(20):
        clock.expect(clock.now().monotonic_ms + 100)
        world.passed_ms += 100 + HELD_UP_MS
    assert clock.now() == world.read()
    assert clock.held_up_ms == 0


def test_a_reading_long_overdue_leaves_out_the_time_since_the_last_one() -> None:
    world = World()
    clock = RunningClock(world.read)
    clock.expect(clock.now().monotonic_ms + 100)
    world.passed_ms += 40
    assert clock.now().monotonic_ms == 1_040
    world.passed_ms += 5_000
    assert clock.now() == Now(1_040, 55_040)  # UTC goes on
    assert clock.held_up_ms == 5_000
    world.passed_ms += 60
    assert clock.now().monotonic_ms == 1_100


def test_what_was_due_long_ago_already_is_due_now() -> None:
    world = World()
    clock = RunningClock(world.read)
    clock.expect(0)
    world.passed_ms += HELD_UP_MS
    assert clock.now().monotonic_ms == 1_000 + HELD_UP_MS
    world.passed_ms += 1
    assert clock.now().monotonic_ms == 1_000 + HELD_UP_MS
