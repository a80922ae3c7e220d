"""Blocks of the past, for a validator that is behind: whom to ask, and what came.

A block from a peer is checked by its certificate, then waits here until the core, one block per
turn, has made it final.
"""

from __future__ import annotations

from node.chain.block import CertifiedBlock, CertifiedHeader
from node.chain.membership import ValidatorSet
from node.consensus import events as ev
from node.consensus.verification import Verifier
from node.crypto.suite import Suite
from node.errors import PeerError
from node.service.output import Outlet
from node.service.recovery import Ledger
from node.service.wire import Blocks, WantBlocks

SYNC_AFTER_MS = 1_000
"""How long a peer may be ahead before blocks are asked for instead of waited for."""
SYNC_RETRY_MS = 2_000
SYNC_BLOCKS_ASKED = 64


class BlockSync:
    """What peers say of their heights, and the blocks they sent above the tip."""

    def __init__(
        self,
        *,
        validators: ValidatorSet,
        window_slots: int,
        suite: Suite,
        ledger: Ledger,
        verifier: Verifier,
        outlet: Outlet,
    ) -> None:
        """Start knowing nothing of anybody."""
        self._faults, self._reach = validators.faults, 2 * window_slots
        self._suite, self._ledger = suite, ledger
        self._verifier, self._outlet = verifier, outlet
        self._peer_heights: dict[int, int] = {}
        self._blocks: dict[int, CertifiedBlock] = {}
        """Checked and not final yet: consecutive heights from the next one on."""
        self._offered_height = 0
        self._asked_at_ms: dict[int, int] = {}
        """When each peer was asked that has not answered."""

    def note_height(self, peer: int, height: int) -> None:
        """Note where a peer says it stands."""
        self._peer_heights[peer] = height

    @property
    def is_behind(self) -> bool:
        """Whether a quorum of peers, by their word, is further than consensus alone can heal."""
        reach = self._ledger.tip_height + self._reach
        ahead = sum(1 for height in self._peer_heights.values() if height > reach)
        return ahead > self._faults

    def chase(self, now: ev.Now, *, committed_at_ms: int) -> None:
        """Ask a peer that is ahead for the next blocks, if waiting for them was no help."""
        tip = self._ledger.tip_height
        ahead = sorted(peer for peer, height in self._peer_heights.items() if height > tip)
        if not ahead or self._blocks:
            return
        patience_ms = 0 if self.is_behind else SYNC_AFTER_MS
        if now.monotonic_ms < committed_at_ms + patience_ms:
            return
        if any(now.monotonic_ms < asked + SYNC_RETRY_MS for asked in self._asked_at_ms.values()):
            return
        peer = ahead[(now.monotonic_ms // SYNC_RETRY_MS) % len(ahead)]
        self._asked_at_ms[peer] = now.monotonic_ms
        self._outlet.send(peer, WantBlocks(tip + 1, SYNC_BLOCKS_ASKED))

    def take(self, peer: int, message: Blocks) -> None:
        """Keep the consecutive blocks of an answer, up to the first that is wrong.

        Raises `PeerError` or `DecodeError` for that one, and where `peer` was not asked.
        """
        if self._asked_at_ms.pop(peer, None) is None:
            raise PeerError("blocks-unasked", f"{len(message.blocks)} blocks, asked for none")
        for encoded in message.blocks:
            block = CertifiedBlock.decode(encoded, self._suite)
            height = block.header.height
            if height != self._ledger.tip_height + len(self._blocks) + 1:
                continue
            if len(self._blocks) == SYNC_BLOCKS_ASKED:
                break  # more than was asked for
            self._verifier.check_decided(CertifiedHeader(block.header, block.certificate))
            tx_hashes = tuple(transaction.tx_hash for transaction in block.transactions)
            self._verifier.check_tx_root(block.header, tx_hashes)
            self._blocks[height] = block

    @property
    def has_next(self) -> bool:
        """Whether the next block is here and was not offered to the core yet."""
        next_height = self._ledger.tip_height + 1
        return next_height in self._blocks and self._offered_height < next_height

    def offer_next(self) -> CertifiedBlock | None:
        """Return the next block, once, if it is here."""
        if not self.has_next:
            return None
        self._offered_height = self._ledger.tip_height + 1
        self._outlet.counters.blocks_synced += 1
        return self._blocks[self._offered_height]

    def block(self, height: int) -> CertifiedBlock | None:
        """Return a block that is here and not final."""
        return self._blocks.get(height)

    def forget(self, height: int) -> bool:
        """Forget a block that became final; say whether it was here."""
        return self._blocks.pop(height, None) is not None
