"""Blocks of the past, for a validator that is behind: whom to ask for which, and what came.

Disjoint ranges are asked of several peers at once, the lowest first. What comes is kept as it came,
within bounds, and checked when its turn comes: then all below it is final here, so the set that
vouches for its height is known. A peer is told apart by what it does: one that is silent costs a
short wait, once; one whose block is wrong loses all that it sent, and is not asked for a while.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from node.chain.block import CertifiedBlock, CertifiedHeader
from node.chain.block_reader import BlockReader
from node.consensus import events as ev
from node.crypto.suite import Suite
from node.errors import DecodeError, PeerError
from node.execution.apply import StateReader
from node.service.catch_up.block_serving import SYNC_BYTES_AIM
from node.service.output import Outlet
from node.service.term import Term
from node.service.wire import Blocks, WantBlocks

SYNC_AFTER_MS = 1_000
"""How long a member lets peers be ahead before it asks for blocks instead of waiting for them."""
ANSWER_WITHIN_MS = 1_000
"""How long others are not asked for what a peer was asked for."""
ASK_AGAIN_AFTER_MS = 4_000
"""How long a peer that does not answer is not asked again. A late answer is as good as any."""
DISTRUST_MS = 10_000
"""How long a peer that sent a wrong block is not asked."""
RANGE_BLOCKS = 64
AHEAD_BLOCKS_MAX = 1_024
"""How far above the tip blocks are asked for."""
AHEAD_BYTES_MAX = 16_777_216
"""How much may be held and under way before only the next blocks are asked for. What is under way
is counted by what it should be: of each peer asked, up to a whole message may come above that."""


@dataclass(slots=True)
class _Peer:
    """What is known of a peer."""

    height: int = 0
    """Where it says it stands, or less if it did not have what was asked for."""
    has_told: bool = False
    """Whether it ever said so."""
    asked: range = range(0)
    """The heights it was asked for and has not answered."""
    asked_at_ms: int = -1
    is_silent: bool = False
    """Whether its answer is overdue; it is still taken when it comes."""
    distrusted_until_ms: int = 0

    def is_free(self, now_ms: int) -> bool:
        """Whether it may be asked."""
        awaited = bool(self.asked) and now_ms < self.asked_at_ms + ASK_AGAIN_AFTER_MS
        return not awaited and now_ms >= self.distrusted_until_ms


@dataclass(frozen=True, slots=True)
class _Held:
    """A block as it came."""

    sender: int
    encoded: bytes


class BlockSync:
    """What peers say of their heights, and the blocks they sent above the tip."""

    def __init__(
        self,
        *,
        term: Term,
        suite: Suite,
        ledger: StateReader,
        outlet: Outlet,
    ) -> None:
        """Start knowing nothing of anybody."""
        self._reader, self._ledger, self._outlet = BlockReader(suite), ledger, outlet
        self.begin(term)
        self._peers: dict[int, _Peer] = {}
        self._held: dict[int, _Held] = {}
        """By the height it was asked for."""
        self._held_bytes = 0
        self._offered: CertifiedBlock | None = None
        """The block that the core was given and that is not final yet."""

    def begin(self, term: Term) -> None:
        """Begin an epoch: its set, and nobody else, vouches for the blocks to come."""
        self._term, self._verifier = term, term.verifier

    # ------------------------------------------------------------------ who is ahead

    def note_height(self, index: int, height: int) -> None:
        """Note where a peer says it stands."""
        peer = self._peer(index)
        peer.height, peer.has_told = height, True

    @property
    def informants(self) -> int:
        """How many members of the set in force have said where they stand since the start."""
        return sum(
            1 for n, peer in self._peers.items() if n in self._term.indices and peer.has_told
        )

    @property
    def is_behind(self) -> bool:
        """Whether a quorum of peers, by their word, is further than consensus alone can heal."""
        epoch, members = self._term.epoch, self._term.indices
        reach = self._tip_height + 2 * epoch.parameters.window_slots
        ahead = sum(1 for n, peer in self._peers.items() if n in members and peer.height > reach)
        return ahead > epoch.validators.faults

    @property
    def is_abreast(self) -> bool:
        """Whether this node has all that is final, by the word of a quorum less itself."""
        return self.informants >= self._term.epoch.validators.quorum - 1 and (
            self._tip_height >= self.reach
        )

    @property
    def heights(self) -> dict[int, int]:
        """Where each peer says it stands, by number."""
        return {index: peer.height for index, peer in self._peers.items()}

    @property
    def reach(self) -> int:
        """A height that a correct member of the set has reached: more than may be faulty say so."""
        heights = [peer.height for n, peer in self._peers.items() if n in self._term.indices]
        faults = self._term.epoch.validators.faults
        return sorted(heights, reverse=True)[faults] if len(heights) > faults else 0

    # ------------------------------------------------------------------ asking

    def chase(self, now: ev.Now, *, committed_at_ms: int) -> None:
        """Ask peers that are ahead for what is missing, if waiting for them was no help."""
        now_ms = now.monotonic_ms
        for peer in self._peers.values():
            overdue = now_ms >= peer.asked_at_ms + ANSWER_WITHIN_MS
            peer.is_silent = peer.is_silent or (bool(peer.asked) and overdue)
        # Who decides is told what is final; who follows is not, and may have to decide any moment.
        waits = self._term.is_member and not self.is_behind
        if waits and now_ms < committed_at_ms + SYNC_AFTER_MS:
            return
        free = [(index, peer) for index, peer in self._peers.items() if peer.is_free(now_ms)]
        # Those that answer first, and among them who was asked longest ago: one that gives a block
        # at a time does not keep others from the rest of its range.
        free.sort(key=lambda each: (each[1].is_silent, each[1].asked_at_ms, each[0]))
        for index, peer in free:
            wanted = self._wanted(peer)
            if wanted:
                peer.asked, peer.asked_at_ms = wanted, now_ms
                self._outlet.send(index, WantBlocks(wanted.start, len(wanted)))

    def due_ms(self) -> list[int]:
        """Return the monotonic times (ms) by which an answer is overdue."""
        return [
            peer.asked_at_ms + ANSWER_WITHIN_MS
            for peer in self._peers.values()
            if peer.asked and not peer.is_silent
        ]

    def _wanted(self, peer: _Peer) -> range:
        """Return the lowest heights that a peer has and that are neither held nor under way."""
        awaited = [p.asked for p in self._peers.values() if p.asked and not p.is_silent]
        following = self._tip_height + 1
        end = min(peer.height, self._tip_height + AHEAD_BLOCKS_MAX) + 1
        first = following
        while asked := self._covering(first, awaited):
            first = asked.stop
        held_bytes = self._held_bytes + len(awaited) * SYNC_BYTES_AIM
        if first > following and held_bytes >= AHEAD_BYTES_MAX:
            return range(0)
        last = first
        while last < min(end, first + RANGE_BLOCKS) and not self._covering(last, awaited):
            last += 1
        return range(first, last)

    def _covering(self, height: int, awaited: Iterable[range]) -> range:
        """Return heights from here on that need not be asked for; none if this one does."""
        if height in self._held:
            return range(height, height + 1)
        return next((asked for asked in awaited if height in asked), range(0))

    def _peer(self, index: int) -> _Peer:
        return self._peers.setdefault(index, _Peer())

    # ------------------------------------------------------------------ what came

    def take(self, index: int, message: Blocks) -> None:
        """Keep the blocks of an answer; raises `PeerError` if it is to nothing that was asked."""
        peer, blocks = self._peer(index), message.blocks
        if not peer.asked or message.from_height != peer.asked.start:
            raise PeerError("blocks-unasked", f"{len(blocks)} blocks from {message.from_height}")
        if not blocks:
            peer.height = min(peer.height, peer.asked.start - 1)
        for height, encoded in zip(peer.asked, blocks, strict=False):
            if height > self._tip_height and height not in self._held:
                self._held[height] = _Held(index, encoded)
                self._held_bytes += len(encoded)
        peer.asked, peer.is_silent = range(0), False

    @property
    def next_sender(self) -> int | None:
        """Who sent the next block, if it is here and was not offered to the core yet."""
        if not self._held or self._offered is not None:
            return None
        held = self._held.get(self._tip_height + 1)
        return None if held is None else held.sender

    def offer_next(self, now: ev.Now) -> tuple[CertifiedBlock, int]:
        """Return the block that `next_sender` sent, checked, and its size in bytes.

        Raises `PeerError` or `DecodeError` for one that is wrong, with which all goes that its
        sender sent; it is asked for nothing for a while.
        """
        height = self._tip_height + 1
        held = self._held[height]
        try:
            block = self._decoded(held.encoded, height)
            # The set in force above the tip is that of this height: only here a set is asked for.
            self._verifier.check_decided(CertifiedHeader(block.header, block.certificate))
            tx_hashes = tuple(transaction.tx_hash for transaction in block.transactions)
            self._verifier.check_tx_root(block.header, tx_hashes)
        except (DecodeError, PeerError):
            self._distrust(held.sender, now)
            raise
        self._offered = block
        self._outlet.counters.blocks_synced += 1
        return block, len(held.encoded)

    def _decoded(self, encoded: bytes, height: int) -> CertifiedBlock:
        block = self._reader.read(encoded)
        if block.header.height != height:
            raise PeerError("blocks-height", f"expected {height}, got {block.header.height}")
        return block

    def _distrust(self, index: int, now: ev.Now) -> None:
        """Let go of all that a peer sent, and ask it for nothing for a while."""
        peer = self._peer(index)
        peer.asked, peer.is_silent = range(0), False
        peer.distrusted_until_ms = now.monotonic_ms + DISTRUST_MS
        for height in [height for height, held in self._held.items() if held.sender == index]:
            self._drop(height)

    def block(self, height: int) -> CertifiedBlock | None:
        """Return the block that was offered last, if it is of this height."""
        offered = self._offered
        return offered if offered is not None and offered.header.height == height else None

    def forget(self, height: int) -> None:
        """Let go of a block that became final."""
        self._drop(height)
        if self.block(height) is not None:
            self._offered = None

    def _drop(self, height: int) -> None:
        held = self._held.pop(height, None)
        if held is not None:
            self._held_bytes -= len(held.encoded)

    @property
    def _tip_height(self) -> int:
        return self._ledger.header.height
