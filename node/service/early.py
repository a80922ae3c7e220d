"""Messages of the next epoch that came before this node had ended its own. No rules.

Validators do not commit a barrier at one moment: the first of them begin the next epoch while the
others are about to. What they say then is kept, for what is lost comes again only after a while.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from node.chain.certificate import Vote
from node.consensus.messages import Proposal

KEPT_PER_PEER: Final = 16
"""The newest: the proposals and votes of two windows."""


class EarlyMessages:
    """Proposals and votes, unchecked, in order of arrival."""

    def __init__(self) -> None:
        """Start with none."""
        self._kept: dict[int, deque[tuple[Proposal | Vote, int]]] = {}

    def keep(self, peer: int, message: Proposal | Vote, arrival_utc_ms: int) -> None:
        """Keep a message of `peer`, if need be for an older one of the same."""
        kept = self._kept.setdefault(peer, deque(maxlen=KEPT_PER_PEER))
        kept.append((message, arrival_utc_ms))

    def take(self) -> list[tuple[int, Proposal | Vote, int]]:
        """Return and forget all: peer, message, when it came."""
        kept, self._kept = self._kept, {}
        return [(peer, message, at) for peer, said in kept.items() for message, at in said]
