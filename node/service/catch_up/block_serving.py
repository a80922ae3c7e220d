"""What a peer is given on request: bodies of a block, and blocks of the past."""

from __future__ import annotations

from collections.abc import Sequence

from node.chain.block import CertifiedHeader
from node.chain.transaction import Transaction
from node.crypto.suite import Suite
from node.execution.registry import find_epoch_start
from node.service.ballots import Ballots
from node.service.output import Outlet
from node.service.recovery import FinalChain
from node.service.undecided import Undecided
from node.service.wire import Blocks, Bodies, WantBlocks, WantBodies

SYNC_BYTES_AIM = 524_288
"""An answer ends before the block that would exceed this: it is decoded and checked in one turn."""


class BlockDesk:
    """Answers from what this validator holds, final or not."""

    def __init__(
        self,
        *,
        suite: Suite,
        ledger: FinalChain,
        undecided: Undecided,
        ballots: Ballots,
        outlet: Outlet,
    ) -> None:
        """Answer through `outlet`."""
        self._suite, self._ledger = suite, ledger
        self._undecided, self._ballots, self._outlet = undecided, ballots, outlet

    def give_bodies(self, peer: int, want: WantBodies) -> None:
        """Answer with the bodies of an undecided or a final block, if it is held."""
        held = self._bodies_of(want)
        if held is None:
            return
        if want.tx_hashes:
            wanted = frozenset(want.tx_hashes)
            held = [transaction for transaction in held if transaction.tx_hash in wanted]
        encoded = tuple(transaction.encoded for transaction in held)
        self._outlet.send(peer, Bodies(want.header_digest, not want.tx_hashes, encoded))

    def give_handover(self, peer: int, status_epoch: int) -> None:
        """Answer a node of an earlier epoch with the barrier that ended it, certified."""
        start = find_epoch_start(self._ledger, status_epoch + 1, self._suite)
        found = None if start is None else self._ledger.header_at(start.first_height - 1)
        if found is not None and found[1] is not None:
            self._outlet.send(peer, CertifiedHeader(found[0], found[1]))

    def give_blocks(self, peer: int, want: WantBlocks) -> None:
        """Answer with consecutive final blocks, as many as fit; with none if there are none."""
        blocks: list[bytes] = []
        size = 0
        last = min(self._ledger.tip_height, want.from_height + want.count - 1)
        for height in range(want.from_height, last + 1):
            encoded = self._ledger.encoded_block(height)
            if encoded is None:
                break
            size += len(encoded)
            if blocks and size > SYNC_BYTES_AIM:
                break
            blocks.append(encoded)
        self._outlet.send(peer, Blocks(want.from_height, tuple(blocks)))

    def _bodies_of(self, want: WantBodies) -> Sequence[Transaction] | None:
        executed = self._undecided.executed(want.header_digest)
        if executed is not None:
            return [verified.transaction for verified in executed.transactions]
        record = self._ballots.block(want.header_digest)
        if record is not None:
            return [Transaction.decode(data, self._suite) for data in record.transactions]
        is_final = want.height <= self._ledger.tip_height
        block = self._ledger.certified_block(want.height) if is_final else None
        if block is None or block.header.digest(self._suite) != want.header_digest:
            return None
        return block.transactions
