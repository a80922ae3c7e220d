"""How often somebody may ask. No clock: what time it is comes with each question."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

_MINUTE_MS: Final = 60_000
_WATCHED_MAX: Final = 4_096


class Rates:
    """An allowance for each of many, which fills evenly up to that of `burst_s` seconds."""

    def __init__(self, burst_s: int = 10) -> None:
        self._burst_ms = burst_s * 1_000
        self._full_at_ms: OrderedDict[str, float] = OrderedDict()
        """When what was used is back; those that asked last come last."""

    def wait_ms(self, who: str, per_minute: int, now_ms: int) -> int:
        """Count one request and return 0, or, uncounted, how long to wait before the next one."""
        cost_ms = _MINUTE_MS / per_minute
        full_at_ms = max(self._full_at_ms.pop(who, 0.0), now_ms)
        excess_ms = full_at_ms + cost_ms - now_ms - max(self._burst_ms, cost_ms)
        if excess_ms <= 0:
            full_at_ms += cost_ms
        self._full_at_ms[who] = full_at_ms
        while len(self._full_at_ms) > _WATCHED_MAX:
            self._full_at_ms.popitem(last=False)
        return max(0, -int(-excess_ms // 1)) if excess_ms > 0 else 0
