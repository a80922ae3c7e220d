"""How much a peer may cost this validator: pure objects, no rules of consensus.

A request of a few bytes can be answered with megabytes read from disk, in the same turn in which
votes wait. Who asks for more than anybody catching up could use is not answered for a while.

What is said of a view that has not begun here proves nothing yet, and is checked before it is kept.
It is sent again, so of what one peer says no more is checked than a correct one says at once.

A message that breaks a rule is refused, but to find out takes up to a quorum of signature checks.
Who sends more of those than restarts and races could explain is not listened to for a while.
"""

from __future__ import annotations

from typing import Final

PERIOD_MS: Final = 1_000
ANSWER_BYTES_PER_PERIOD: Final = 33_554_432
"""Per peer. It bounds what waits in memory, too: an outbox takes twice as much."""
ANSWER_BYTES_LEAST: Final = 262_144
"""What the smallest answer counts as, and no answer: looking for it is work as well."""
EARLY_CHECKS_PER_PERIOD: Final = 256
"""Per peer: votes for views that have not begun; 40 ms of work on a slow machine."""
EARLY_CHECKS_OF_VIEW_CHANGE: Final = 4
"""What a VIEW-CHANGE counts as, which shows certificates."""
REFUSALS_PERIOD_MS: Final = 10_000
REFUSALS_PER_PERIOD: Final = 128
"""Per peer. A correct one sends none, but for what a restart of either side makes stale."""


class Allowance:
    """What each peer has used of its allowance in its current period."""

    def __init__(
        self, most: int = ANSWER_BYTES_PER_PERIOD, least: int = ANSWER_BYTES_LEAST
    ) -> None:
        """Start with nothing used; whatever is used counts as `least` or more."""
        self._most, self._least = most, least
        self._used: dict[int, tuple[int, int]] = {}

    def has_room(self, peer: int, now_ms: int) -> bool:
        """Whether `peer` may cost something at `now_ms` (monotonic)."""
        began_ms, used = self._used.get(peer, (now_ms, 0))
        if now_ms >= began_ms + PERIOD_MS:
            began_ms, used = now_ms, 0
        self._used[peer] = (began_ms, used)
        return used < self._most

    def use(self, peer: int, size: int) -> None:
        """Count what `peer` cost, whom `has_room` let in."""
        began_ms, used = self._used[peer]
        self._used[peer] = (began_ms, used + max(size, self._least))


class Patience:
    """How many messages of each peer were refused in its current period."""

    def __init__(self) -> None:
        """Start with none."""
        self._refused: dict[int, tuple[int, int]] = {}

    def note_refusal(self, peer: int, now_ms: int) -> bool:
        """Count a refused message of `peer`; say whether that was one too many (monotonic ms)."""
        began_ms, count = self._refused.get(peer, (now_ms, 0))
        if now_ms >= began_ms + REFUSALS_PERIOD_MS:
            began_ms, count = now_ms, 0
        is_over = count == REFUSALS_PER_PERIOD
        self._refused[peer] = (began_ms, 0 if is_over else count + 1)
        return is_over
