"""The one place of a validator process that reads clocks; readings are passed down as arguments."""

from __future__ import annotations

import time

from node.consensus.events import Now

_NS_PER_MS = 1_000_000


def utc_ms() -> int:
    """Return the system's clock: milliseconds since 1970 UTC. It may step."""
    return time.time_ns() // _NS_PER_MS


def monotonic_ms() -> int:
    """Return milliseconds since some moment of the past. It never goes back."""
    return time.monotonic_ns() // _NS_PER_MS


def now() -> Now:
    """Return both readings, taken together."""
    return Now(monotonic_ms(), utc_ms())


def thread_cpu_ns() -> int:
    """Return the CPU time that the calling thread has used, nanoseconds."""
    return time.thread_time_ns()
