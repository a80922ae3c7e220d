"""Peers as sources of what a node lacks: who may be asked, who is silent, who gave a false thing.

No rules of the chain. A peer has one request open. One that does not answer soon is not waited for
any longer, and its late answer is as good as any; one that gave something false is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from node.service.catch_up.block_sync import ANSWER_WITHIN_MS, ASK_AGAIN_AFTER_MS, DISTRUST_MS

Request = TypeVar("Request")


@dataclass(slots=True)
class Source(Generic[Request]):
    """One peer."""

    asked: Request | None = None
    """What it was asked for and has not answered."""
    asked_at_ms: int = -1
    is_silent: bool = False
    """Whether its answer is overdue."""
    distrusted_until_ms: int = 0

    def may_be_asked(self, now_ms: int) -> bool:
        """Whether it owes no answer, or none that is still hoped for, and is trusted."""
        owes = self.asked is not None and now_ms < self.asked_at_ms + ASK_AGAIN_AFTER_MS
        return not owes and now_ms >= self.distrusted_until_ms


class Sources(Generic[Request]):
    """All peers, by number."""

    def __init__(self) -> None:
        """Start knowing nobody."""
        self._sources: dict[int, Source[Request]] = {}

    def __getitem__(self, peer: int) -> Source[Request]:
        """Return what is known of a peer."""
        return self._sources.setdefault(peer, Source())

    def note_silence(self, now_ms: int) -> list[Request]:
        """Note whose answers have become overdue; return what they were asked for."""
        overdue = []
        for source in self._sources.values():
            is_late = now_ms >= source.asked_at_ms + ANSWER_WITHIN_MS
            if source.asked is not None and not source.is_silent and is_late:
                source.is_silent = True
                overdue.append(source.asked)
        return overdue

    def free(self, now_ms: int, peers: Iterable[int]) -> Iterator[int]:
        """Yield those of `peers` that may be asked, who answers first, then by how long ago."""
        found = [
            (self[peer].is_silent, self[peer].asked_at_ms, peer)
            for peer in peers
            if self[peer].may_be_asked(now_ms)
        ]
        for _, _, peer in sorted(found):
            yield peer

    def ask(self, peer: int, request: Request, now_ms: int) -> None:
        """Note that a peer was asked."""
        source = self[peer]
        source.asked, source.asked_at_ms = request, now_ms

    def answered(self, peer: int) -> None:
        """Note that a peer answered."""
        source = self[peer]
        source.asked, source.is_silent = None, False

    def distrust(self, peer: int, now_ms: int) -> None:
        """Leave a peer alone that gave something false."""
        self.answered(peer)
        self[peer].distrusted_until_ms = now_ms + DISTRUST_MS

    def due_ms(self) -> list[int]:
        """Return the monotonic times (ms) by which answers are overdue."""
        return [
            source.asked_at_ms + ANSWER_WITHIN_MS
            for source in self._sources.values()
            if source.asked is not None and not source.is_silent
        ]
