"""The past of a ledger that began with a snapshot: fetched from genesis upwards, beside the work.

Each block is checked by itself: its certificate by the set of its epoch, its contents by the
header's roots, its place by the header before. Only the next blocks are asked for, of one peer at a
time, and a turn takes few of them, so that this node votes meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from node.chain.block import CertifiedHeader
from node.consensus import events as ev
from node.crypto.suite import Suite
from node.errors import DecodeError, PeerError, ProofError
from node.service.catch_up.lineage import Lineage, peer_to_blame
from node.service.catch_up.sources import Sources
from node.service.output import Outlet
from node.service.recovery import Ledger
from node.service.wire import PastBlocks, WantPast
from node.storage.stored_block import StoredBlock

RANGE_BLOCKS: Final = 64
STEP_BYTES_AIM: Final = 16_384
"""A turn takes no further block above this: some 5 ms of work."""
BLOCK_BYTES_LEAST: Final = 2_048
"""What the smallest block counts as."""
STEP_EVERY_MS: Final = 10
"""Between two turns, which leaves half of the time to everything else."""
ASK_AGAIN_AFTER_MS: Final = 4_000
"""How long a peer that has not what was asked for is not asked."""

_Values = tuple[int, bytes, bytes]  # who sent it, header value, body value


class Backfill:
    """What is under way of the past."""

    def __init__(self, *, suite: Suite, ledger: Ledger, lineage: Lineage, outlet: Outlet) -> None:
        """Start with nothing asked for."""
        self._suite, self._ledger, self._lineage = suite, ledger, lineage
        self._outlet = outlet
        self._sources: Sources[range] = Sources()
        self._waiting: deque[_Values] = deque()
        """What came, from the next missing height on."""
        self._not_before_ms: dict[int, int] = {}
        """Until when a peer is not asked that had nothing."""
        self._next_step_ms = 0

    def chase(self, now: ev.Now, heights: Mapping[int, int]) -> None:
        """Take the next step, and ask for more; `heights` tells where the peers stand."""
        if self._ledger.is_whole:
            return
        now_ms = now.monotonic_ms
        if now_ms >= self._next_step_ms:
            self._step(now)
            self._next_step_ms = now_ms + STEP_EVERY_MS
        self._sources.note_silence(now_ms)
        missing = self._ledger.missing
        if not missing or self._waiting or self._is_awaiting:
            return
        able = [
            peer
            for peer, height in heights.items()
            if height >= missing.stop and now_ms >= self._not_before_ms.get(peer, 0)
        ]
        peer = next(self._sources.free(now_ms, able), None)
        if peer is not None:
            wanted = range(missing.start, min(missing.start + RANGE_BLOCKS, missing.stop))
            self._sources.ask(peer, wanted, now_ms)
            self._outlet.send(peer, WantPast(wanted.start, len(wanted)))

    @property
    def _is_awaiting(self) -> bool:
        return bool(self._sources.due_ms())

    def due_ms(self) -> list[int]:
        """Return the monotonic times (ms) by which `chase` is due."""
        if self._ledger.is_whole:
            return []
        is_ready = bool(self._waiting) or not self._ledger.missing
        return [*self._sources.due_ms(), *([self._next_step_ms] if is_ready else [])]

    def wants(self, peer: int, message: PastBlocks) -> bool:
        """Whether this answers what this part asked for."""
        asked = self._sources[peer].asked
        return asked is not None and asked.start == message.from_height

    def take(self, peer: int, message: PastBlocks, now: ev.Now) -> None:
        """Keep blocks that `wants` has found to be asked for, until their turn comes."""
        asked = self._sources[peer].asked or range(0)
        self._sources.answered(peer)
        if not message.blocks:
            self._not_before_ms[peer] = now.monotonic_ms + ASK_AGAIN_AFTER_MS
        if asked.start == self._ledger.missing.start and not self._waiting:
            blocks = message.blocks[: len(asked)]
            self._waiting.extend((peer, header, body) for header, body in blocks)

    def _step(self, now: ev.Now) -> None:
        if not self._ledger.missing:
            self._ledger.fill(())
            if self._ledger.is_whole:
                self._outlet.trace("past-whole", self._ledger.tip_height, "all blocks are here")
            return
        blocks: list[StoredBlock] = []
        spent_bytes = 0
        while self._waiting and spent_bytes < STEP_BYTES_AIM:
            peer, header_value, body_value = self._waiting.popleft()
            spent_bytes += max(len(header_value) + len(body_value), BLOCK_BYTES_LEAST)
            try:
                blocks.append(self._checked(header_value, body_value, blocks))
            except (DecodeError, PeerError) as error:
                self._blame(peer, error, now)
        if not blocks:
            return
        try:
            self._ledger.fill(blocks)
        except ProofError as error:
            self._blame(peer, error, now)
        else:
            self._outlet.counters.past_blocks += len(blocks)

    def _blame(self, peer: int, error: Exception, now: ev.Now) -> None:
        self._waiting.clear()
        self._sources.distrust(peer, now.monotonic_ms)
        self._outlet.counters.messages_refused += 1
        self._outlet.trace("past-false", self._ledger.missing.start, f"from {peer}: {error}")

    def _checked(
        self, header_value: bytes, body_value: bytes, before: list[StoredBlock]
    ) -> StoredBlock:
        """Return the next block, checked; raises `DecodeError` or `PeerError`."""
        height = self._ledger.missing.start + len(before)
        block = read_past_block(header_value, body_value, height, self._lineage, self._suite)
        if before:
            parent = before[-1].header.digest(self._suite)
        else:
            parent = self._ledger.digest_at(height - 1) or b""
        above = self._ledger.header_at(height + 1)
        if block.header.parent != parent:
            raise PeerError("past-parent", f"block {height} does not follow the one before")
        if above is not None and above[0].parent != block.header.digest(self._suite):
            raise PeerError("past-child", f"block {height} is not what the one above follows")
        return block


def read_past_block(
    header_value: bytes, body_value: bytes, height: int, lineage: Lineage, suite: Suite
) -> StoredBlock:
    """Return the block of a height, checked by itself; raises `DecodeError` or `PeerError`."""
    block = StoredBlock(header_value, body_value, suite)
    if block.header.height != height:
        raise PeerError("past-height", f"expected {height}, got {block.header.height}")
    if block.certificate is None:
        raise PeerError("past-certificate", f"block {height} has none")
    lineage.check(CertifiedHeader(block.header, block.certificate))
    with peer_to_blame():
        block.require_sound()
    return block
