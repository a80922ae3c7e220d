"""Virtual time: one heap of events, one source of randomness, one digest of all that happened.

Integers only. Nothing here or in any other module of the simulation reads a clock, starts a thread
or iterates over a set, so that a seed alone fixes a run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from random import Random

from tests.simulation.transcript import Transcript

MS = 1_000
"""Microseconds per millisecond: the world counts microseconds, validators milliseconds."""
SECOND = 1_000 * MS
UTC_AT_START_MS = 1_760_000_000_000


class World:
    """The clock every part of a simulation shares."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self._bits = random.getrandbits
        self.now_us = 0
        self.steps = 0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._scheduled = 0
        self.transcript: Transcript | None = None
        """Where to tell what happens; not needed for a verdict."""
        self._trace = hashlib.blake2b(digest_size=16)

    @property
    def utc_ms(self) -> int:
        """True time; the clocks of validators and clients are off it."""
        return UTC_AT_START_MS + self.now_us // MS

    @property
    def trace_digest(self) -> str:
        """Equal for two runs exactly when the same things happened in the same order."""
        return self._trace.hexdigest()

    def note(self, *facts: object) -> None:
        """Make `facts` part of the trace: integers, strings and bytes only."""
        self._trace.update(repr((self.now_us, facts)).encode())

    def note_bytes(self, place: int, pieces: Sequence[bytes]) -> None:
        """Make bytes that came to a place part of the trace."""
        self._trace.update(b"%d %d %d" % (self.now_us, place, len(pieces)))
        self._trace.update(b"".join(pieces))

    def after(self, delay_us: int, action: Callable[[], None]) -> None:
        """Have `action` happen `delay_us` from now, after what is due then already."""
        self._scheduled += 1
        heappush(self._heap, (self.now_us + delay_us, self._scheduled, action))

    def step(self) -> None:
        """Let the next event happen."""
        self.now_us, _, action = heappop(self._heap)
        self.steps += 1
        action()

    def run_until(self, end_us: int, is_done: Callable[[], bool] | None = None) -> bool:
        """Step until `end_us`, or until `is_done`; say whether it was."""
        while self._heap and self._heap[0][0] <= end_us:
            self.step()
            if is_done is not None and is_done():
                return True
        self.now_us = max(self.now_us, end_us)
        return False

    def chance(self, permille: int) -> bool:
        """Draw an event of this probability."""
        return permille > 0 and self.draw(1_000) < permille

    def draw(self, count: int) -> int:
        """Draw one of 0..count - 1, where `count` is far below 2**32: as `randrange`, quickly."""
        return self._bits(32) * count >> 32
