"""Blocks that were executed and are not decided: the states after them, and what they pin.

Overlays stack over the ledger's tip as far as the window reaches. The pool keeps the bodies that a
block lists for as long as the block is pinned here, executed or still to be.
"""

from __future__ import annotations

from collections.abc import Sequence

from node.chain.transaction import VerifiedTransaction
from node.execution.apply import BlockInputs, ExecutedBlock, Executor, StateReader
from node.execution.overlay import Overlay
from node.service.effort import Effort
from node.service.mempool import Mempool


class Undecided:
    """The blocks above the tip that this validator still deals with, by header digest."""

    def __init__(
        self, ledger: StateReader, mempool: Mempool, executor: Executor, effort: Effort
    ) -> None:
        """Start with none; `effort` is told what execution costs."""
        self._ledger, self._mempool, self._executor = ledger, mempool, executor
        self._effort = effort
        self._executed: dict[bytes, ExecutedBlock] = {}
        self._overlays: dict[bytes, Overlay] = {}

    def state_after(self, digest: bytes) -> StateReader | None:
        """Return the state after a block: the tip's, or that of a speculative overlay."""
        if digest == self._ledger.header_digest:
            return self._ledger
        return self._overlays.get(digest)

    def executed(self, digest: bytes) -> ExecutedBlock | None:
        """Return a block whose execution gave its header."""
        return self._executed.get(digest)

    def execute(
        self,
        parent: StateReader,
        inputs: BlockInputs,
        transactions: Sequence[VerifiedTransaction],
    ) -> ExecutedBlock:
        """Execute a block on a state; raises `PeerError` where no block may be like that."""
        began_ns = self._effort.begin()
        executed = self._executor.execute(parent, inputs, transactions)
        self._effort.end(began_ns)
        return executed

    def add(self, executed: ExecutedBlock, parent: StateReader) -> None:
        """Keep a block that was executed on `parent`."""
        self._executed[executed.digest] = executed
        self._overlays[executed.digest] = Overlay(parent, executed)

    def pin(self, digest: bytes, tx_hashes: Sequence[bytes]) -> None:
        """Have the pool keep the bodies that a block lists, those still to come included."""
        self._mempool.pin(digest, tx_hashes)

    def became_final(self, executed: ExecutedBlock) -> int:
        """Let go of a block that the ledger has committed; those above now stand on the ledger.

        Returns when the last to come of its transactions came (monotonic ms), 0 if unknown.
        """
        for child in self._overlays.values():
            if child.header.parent == executed.digest:
                child.rebase(self._ledger)
        tx_ids = [tx.transaction.tx_id for tx in executed.transactions]
        last_came_ms = self._mempool.remove_committed(tx_ids, time_ms=executed.header.time_ms)
        self._unpin(executed.digest)
        return last_came_ms

    def retain(self, digests: Sequence[bytes]) -> list[bytes]:
        """Let go of every block but those in `digests`; return the ids of what waits again."""
        for digest in [d for d in self._executed if d not in digests]:
            del self._executed[digest], self._overlays[digest]
        returned: list[bytes] = []
        for digest in [d for d in self._mempool.slots if d not in digests]:
            returned += self._unpin(digest)
        return returned

    def _unpin(self, digest: bytes) -> list[bytes]:
        """Release a block; what only its body brought here may long be final in another block."""
        returned = self._mempool.unpin(digest)
        self._mempool.discard([i for i in returned if self._ledger.has_transaction(i)])
        return returned
