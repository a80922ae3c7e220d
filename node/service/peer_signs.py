"""The last sign of life of each peer: when it was heard, and where it said it stands. No rules."""

from __future__ import annotations

from node.consensus.events import Now
from node.consensus.messages import Status


class PeerSigns:
    """What was last heard of each peer, by number."""

    def __init__(self) -> None:
        """Start having heard nobody."""
        self._heard_at_ms: dict[int, int] = {}
        self._said: dict[int, Status] = {}

    def note_heard(self, peer: int, now: Now) -> None:
        """Note that something came from a peer."""
        self._heard_at_ms[peer] = now.monotonic_ms

    def note_status(self, peer: int, status: Status) -> None:
        """Note where a peer says it stands."""
        self._said[peer] = status

    def heard_ms_ago(self, peer: int, now: Now) -> int | None:
        """Return how long ago (ms) something last came from a peer; None: never since the start."""
        heard_at_ms = self._heard_at_ms.get(peer)
        return None if heard_at_ms is None else now.monotonic_ms - heard_at_ms

    def status(self, peer: int) -> Status | None:
        """Return where a peer last said it stands, None if it never did. It is its word alone."""
        return self._said.get(peer)
