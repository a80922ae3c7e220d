"""How much a peer may cost this validator: pure objects, no rules of consensus.

A request of a few bytes can be answered with megabytes read from disk, in the same turn in which
votes wait. Who asks for more than anybody catching up could use is not answered for a while.

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
REFUSALS_PERIOD_MS: Final = 10_000
REFUSALS_PER_PERIOD: Final = 128
"""Per peer. A correct one sends none, but for what a restart of either side makes stale."""


class Allowance:
    """What each peer has used of its allowance in its current period."""

    def __init__(self) -> None:
        """Start with nothing used."""
        self._used: dict[int, tuple[int, int]] = {}

    def has_room(self, peer: int, now_ms: int) -> bool:
        """Whether `peer` may be answered at `now_ms` (monotonic)."""
        began_ms, used_bytes = self._used.get(peer, (now_ms, 0))
        if now_ms >= began_ms + PERIOD_MS:
            began_ms, used_bytes = now_ms, 0
        self._used[peer] = (began_ms, used_bytes)
        return used_bytes < ANSWER_BYTES_PER_PERIOD

    def use(self, peer: int, size_bytes: int) -> None:
        """Count an answer to `peer`, whom `has_room` let in."""
        began_ms, used_bytes = self._used[peer]
        self._used[peer] = (began_ms, used_bytes + max(size_bytes, ANSWER_BYTES_LEAST))


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
