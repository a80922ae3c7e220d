"""Whether a primary serves in turn: what it passes over, while it serves who came much later.

Overload alone is no fault of a primary, so no age is held against it. But once a transaction is
first in turn (mempool.py), nothing that comes later goes before it. Three things show that one was
preferred that came a whole deadline later:

- it is of the same sender;
- it is of a colleague, and nothing of this sender was served meanwhile; or
- it is of another organisation, and nothing of this one's was: of this sender alone, where its
  organisation asks for no more than its share.

The deadline is for what differs between validators: when each heard of a transaction, and in which
order. Where a sender asks for more than its share, what differs by a moment on arrival differs by
much more when it is served, in relation to others: hence what may not have been served. An
organisation that asks for too much moves on together, so among colleagues it is as among senders.

A transaction may be unknown to the primary: one that waits for half the deadline is told to all
once more, and the deadline starts over with that. It starts over in each view too, so that a
primary answers for its own blocks alone: what came after its view began is in no earlier one.
"""

from __future__ import annotations

from node.consensus import events as ev
from node.service.gossip import Gossip
from node.service.mempool import Mempool


class Fairness:
    """Judges each block as it becomes final, against what still waits; O(1)."""

    def __init__(self, mempool: Mempool, gossip: Gossip, *, deadline_ms: int) -> None:
        """Start in no view."""
        self._mempool, self._gossip, self._deadline_ms = mempool, gossip, deadline_ms
        self._view, self._since_ms = -1, 0
        self._repeat_at_ms = 0

    def judge(
        self, last_came_ms: int, now: ev.Now, *, view: int, time_ms: int
    ) -> ev.PassedOver | None:
        """Return what the core must hear of a block that just became final, after the pool did.

        `last_came_ms`: when the last to come of its transactions came here (monotonic), 0 if that
        is unknown; `view`: where this validator is; `time_ms` is what admission reckons with.
        """
        if view != self._view:
            self._view, self._since_ms = view, now.monotonic_ms
        first = self._mempool.first_in_turn
        if first is None:
            return None
        since_ms = max(first.since_ms, self._since_ms)
        for came_ms, than_ms in (
            (first.sender_came_ms, since_ms),
            (first.organisation_came_ms, max(since_ms, first.sender_served_ms)),
            (last_came_ms, max(since_ms, first.organisation_served_ms)),
        ):
            if came_ms > than_ms + self._deadline_ms:
                return ev.PassedOver(view, first.tx_id, came_ms - first.since_ms)
        waits_ms = now.monotonic_ms - first.since_ms
        if waits_ms > self._deadline_ms // 2 and now.monotonic_ms >= self._repeat_at_ms:
            self._repeat_at_ms = now.monotonic_ms + self._deadline_ms // 2
            self._gossip.repeat_first(time_ms)
        return None
