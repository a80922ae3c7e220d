"""The one place of a validator process that reads clocks; readings are passed down as arguments."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from node.consensus.events import Now

HELD_UP_MS: Final = 250
"""So late, a process cannot have run: it was stopped, swapped out, or its machine was."""

READ_AGAIN_MAX: Final = 16
_NEVER_MS: Final = 1 << 62
_NS_PER_MS = 1_000_000


def utc_ms() -> int:
    """Return the system's clock: milliseconds since 1970 UTC. It may step."""
    return time.time_ns() // _NS_PER_MS


def monotonic_ms() -> int:
    """Return milliseconds since some moment of the past. It never goes back."""
    return time.monotonic_ns() // _NS_PER_MS


def now() -> Now:
    """Return both readings, taken together.

    Again where this thread was held up between them: it would look as if a clock had been stepped.
    """
    for _ in range(READ_AGAIN_MAX):
        began_ns = time.monotonic_ns()
        utc_now_ms = utc_ms()
        if time.monotonic_ns() - began_ns < _NS_PER_MS:
            break
    return Now(began_ns // _NS_PER_MS, utc_now_ms)


def thread_cpu_ns() -> int:
    """Return the CPU time that the calling thread has used, nanoseconds."""
    return time.thread_time_ns()


class RunningClock:
    """Clocks of which the monotonic one stands still while this process does not run.

    What others say meanwhile is not heard, so no wait for them may run out by it: whoever wakes up
    would leave a view that all others are in, alone, and be of no use to them until the next one.
    It is known by a reading that comes long after it was due.
    """

    def __init__(self, read: Callable[[], Now]) -> None:
        """Start with nothing due."""
        self._read = read
        self._due_ms = _NEVER_MS
        self._last_ms = read().monotonic_ms
        self.held_up_ms = 0
        """How much was left out so far."""

    def now(self) -> Now:
        """Read both clocks."""
        reading = self._read()
        now_ms = reading.monotonic_ms - self.held_up_ms
        if now_ms > self._due_ms + HELD_UP_MS:
            self.held_up_ms += now_ms - self._last_ms
            now_ms = self._last_ms
        self._last_ms = now_ms
        return Now(now_ms, reading.utc_ms)

    def expect(self, due_ms: int) -> None:
        """Note that the next reading is due by then, by this clock; now, if that has passed."""
        self._due_ms = max(due_ms, self._last_ms)
