"""What consensus itself costs a validator: CPU time of the thread on which its engine runs.

Counted are the core's steps, its messages' way to bytes and back, and the checking and signing of
what validators sign. Not counted: transactions and their signatures, execution, log, ledger,
transport. The clock is given, so that a simulated validator reads none.
"""

from __future__ import annotations

from collections.abc import Callable


def no_clock() -> int:
    """Stand still: nothing is measured."""
    return 0


class Effort:
    """A sum of stretches of time, each from a `begin` to its `end`; one without end counts not."""

    def __init__(self, clock_ns: Callable[[], int] = no_clock) -> None:
        """Start with nothing spent; `clock_ns` tells the CPU time of the calling thread."""
        self.begin = clock_ns
        """Begin a stretch; return what `end` is to be given."""
        self.spent_ns = 0

    def end(self, began_ns: int) -> None:
        """Add the stretch that began then."""
        self.spent_ns += self.begin() - began_ns
