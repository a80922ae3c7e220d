"""What time it is for what is judged outside blocks: who is admitted, and what has expired."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from node.consensus import events as ev
from node.execution.apply import StateReader


class Reckoning(Struct, frozen=True, gc=False):
    """Between which times it is now, for all this node can tell: ms since 1970 UTC."""

    earliest_ms: int
    latest_ms: int


class Reckoner:
    """Tells it by the newest block, and by the clock as far as that may be believed."""

    def __init__(
        self,
        *,
        ledger: StateReader,
        is_degraded: Callable[[], bool],
        is_clock_fit: Callable[[], bool],
        tip_since_ms: Callable[[], int],
    ) -> None:
        """`is_degraded` tells whether blocks are made now whose T no clock vouches for.

        `tip_since_ms` is since when (monotonic) the newest block is known to be final here.
        """
        self._ledger, self._is_degraded = ledger, is_degraded
        self._is_clock_fit, self._tip_since_ms = is_clock_fit, tip_since_ms

    def reckon(self, now: ev.Now) -> Reckoning:
        """Return the later of the tip's T + 1 and UTC.

        While blocks are degraded it is the tip's T + 1 alone: theirs may not follow the clock. Nor
        does an unfit clock make anything expire: then it is at least as late as T of the tip and
        what has passed since by the monotonic clock, and may be as late as UTC here.
        """
        earliest_ms = latest_ms = self._ledger.header.time_ms + 1
        if not self._is_degraded():
            latest_ms = max(latest_ms, now.utc_ms)
            if self._is_clock_fit():
                earliest_ms = latest_ms
            else:
                earliest_ms += now.monotonic_ms - self._tip_since_ms()
                latest_ms = max(latest_ms, earliest_ms)
        return Reckoning(earliest_ms, latest_ms)

    def time_ms(self, now: ev.Now) -> int:
        """Return the earliest time it can be."""
        return self.reckon(now).earliest_ms
