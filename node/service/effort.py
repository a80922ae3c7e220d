"""What parts of a validator's work cost: CPU time of the threads that do them.

Consensus is the core's steps, its messages' way to bytes and back, and the checking and signing of
what validators sign. Transactions are screened, their signatures checked, blocks executed, and what
is final written to the ledger. Nobody counts the rest: the log, the pool, transport, the event
loop. The clock is given, so that a simulated validator reads none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields


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
        """Add the stretch that began then, on this thread."""
        self.spent_ns += self.begin() - began_ns

    def add(self, spent_ns: int) -> None:
        """Add what another thread spent; to be called on the engine's alone."""
        self.spent_ns += spent_ns


@dataclass(frozen=True, slots=True)
class Efforts:
    """One for each part of the work that is told apart."""

    consensus: Effort = field(default_factory=Effort)
    screening: Effort = field(default_factory=Effort)
    """Of transactions: decoded, and judged but for their signatures."""
    signature_checks: Effort = field(default_factory=Effort)
    """Of transactions, on whatever thread."""
    execution: Effort = field(default_factory=Effort)
    ledger: Effort = field(default_factory=Effort)
    """The write of what became final, its sync included."""

    def measure_by(self, clock_ns: Callable[[], int]) -> None:
        """Begin to measure, by a clock that tells the CPU time of the calling thread."""
        for _, effort in self.named():
            effort.begin = clock_ns

    def named(self) -> Iterator[tuple[str, Effort]]:
        """Yield each with its name."""
        for each in fields(self):
            yield each.name, getattr(self, each.name)
