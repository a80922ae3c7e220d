"""How much each client may ask for: so many requests a minute, all of them at once if it likes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

CLIENTS_REMEMBERED: Final = 10_000
"""The one not heard for longest is forgotten first, and starts anew if it comes back."""

_MINUTE_MS: Final = 60_000


class Quota:
    """One allowance for each client, refilled steadily. Its memory is bounded."""

    def __init__(self, per_minute: int, *, clients_max: int = CLIENTS_REMEMBERED) -> None:
        """Allow each client `per_minute` requests, at least 1."""
        self.per_minute = per_minute
        self._clients_max = clients_max
        self._known: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """By client: what is left, in requests times the milliseconds of a minute, and as of when.

        Whole numbers, so that no request is lost or won by rounding.
        """

    def take(self, client: str, now_ms: int) -> int:
        """Take one request of a client's at monotonic `now_ms`; return 0 where it is allowed.

        Otherwise nothing is taken: the answer says in how many milliseconds one would be allowed.
        """
        full = self.per_minute * _MINUTE_MS
        left, since_ms = self._known.pop(client, (full, now_ms))
        left = min(full, left + (now_ms - since_ms) * self.per_minute)
        wait_ms = -((left - _MINUTE_MS) // self.per_minute) if left < _MINUTE_MS else 0
        self._known[client] = (left if wait_ms else left - _MINUTE_MS, now_ms)
        if len(self._known) > self._clients_max:
            self._known.popitem(last=False)
        return wait_ms

    def __len__(self) -> int:
        return len(self._known)
