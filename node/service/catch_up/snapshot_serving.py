"""What a peer that is far behind is given: states held readable, and the past as it is stored.

Every request is answered at once from what is held, so that no peer keeps anything open here; how
much it may ask for is its allowance's to say, of which each answer costs what was read for it.
"""

from __future__ import annotations

from typing import Final

from node.chain.block import CertifiedHeader
from node.crypto.suite import Suite
from node.execution.registry import find_epoch_start
from node.service.catch_up.block_serving import SYNC_BYTES_AIM
from node.service.output import Outlet
from node.service.recovery import Ledger
from node.service.wire import (
    HANDOVERS_PER_MESSAGE,
    PastBlocks,
    SnapshotHead,
    Snapshots,
    StatePart,
    StateParts,
    WantPast,
    WantSnapshots,
    WantState,
)
from node.storage.held_state import HeldState
from node.timestamp.history import Handover

SUBTREE_BYTES_MAX: Final = 131_072
"""A larger subtree is given as its page, and whoever asked asks for what that is made of."""


class SnapshotDesk:
    """Answers from what the ledger holds."""

    def __init__(self, *, suite: Suite, ledger: Ledger, outlet: Outlet) -> None:
        """Answer through `outlet`."""
        self._suite, self._ledger, self._outlet = suite, ledger, outlet

    def give_snapshots(self, peer: int, want: WantSnapshots) -> None:
        """Tell which states are held; the tip's, if there was none."""
        if not self._ledger.held:
            self._ledger.hold()
        handovers: list[bytes] = []
        for epoch in range(want.epoch + 1, want.epoch + 1 + HANDOVERS_PER_MESSAGE):
            start = find_epoch_start(self._ledger, epoch, self._suite)
            if start is None:
                break
            header, certificate = self._ledger.header_at(start.first_height - 1) or (None, None)
            if header is None or certificate is None:
                break
            barrier = CertifiedHeader(header, certificate)
            handovers.append(Handover(barrier, start.validators).encode())
        heads = tuple(
            SnapshotHead(held.block, held.log_edge) for held in self._ledger.held.values()
        )
        self._outlet.send(peer, Snapshots(tuple(handovers), heads))

    def give_state(self, peer: int, want: WantState) -> int:
        """Answer with what is at the places asked for; return how many bytes were read for it."""
        held = self._ledger.held.get(want.height)
        parts: list[StatePart] = []
        read_bytes = 0
        for place in want.places if held is not None else ():
            if read_bytes >= SYNC_BYTES_AIM or held is None:
                break
            part, size = self._part(held, place)
            read_bytes += size
            parts.append(part)
        self._outlet.send(peer, StateParts(want.height, tuple(parts)))
        return read_bytes

    @staticmethod
    def _part(held: HeldState, place: str) -> tuple[StatePart, int]:
        values, size = held.values_below(place, SUBTREE_BYTES_MAX)
        if values is None:
            return StatePart(held.page(place), ()), size
        return StatePart(None, tuple(values.items())), size

    def give_past(self, peer: int, want: WantPast) -> None:
        """Answer with consecutive blocks as they are stored, as many as fit."""
        blocks: list[tuple[bytes, bytes]] = []
        size = 0
        last = min(self._ledger.tip_height, want.from_height + want.count - 1)
        for height in range(max(want.from_height, 1), last + 1):
            values = None if height in self._ledger.missing else self._ledger.block_values(height)
            if values is None:
                break
            size += len(values[0]) + len(values[1])
            if blocks and size > SYNC_BYTES_AIM:
                break
            blocks.append(values)
        self._outlet.send(peer, PastBlocks(want.from_height, tuple(blocks)))
