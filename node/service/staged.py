"""The ledger as a turn sees it: what becomes final in the turn is there at once, and written once.

Nothing of a turn leaves before its end, so its blocks need no write of their own: `write` puts them
into the database together, in one atomic batch, synced. A validator that catches up makes many
blocks final in a turn; in the normal case it is one.
"""

from __future__ import annotations

from collections.abc import Sequence

from node.chain.block import CertifiedBlock, Header
from node.chain.certificate import QuorumCertificate
from node.chain.log import LogFrontier
from node.chain.state_bucket import Bucket
from node.chain.state_tree import StateTree
from node.execution.apply import ExecutedBlock, StateReader
from node.execution.overlay import Overlay
from node.service.recovery import Ledger


class StagedLedger:
    """The state after the newest final block, staged or written. Blocks are read once written."""

    def __init__(self, ledger: Ledger) -> None:
        """Start with nothing staged above `ledger`."""
        self._ledger = ledger
        self.hold_every = 0
        """At multiples of this, the same at all nodes, the state is kept readable; 0 is never."""
        self._state: StateReader = ledger
        self._staged: list[tuple[ExecutedBlock, QuorumCertificate]] = []

    def stage(self, executed: ExecutedBlock, certificate: QuorumCertificate) -> None:
        """Make the block that follows the tip final, for who reads here."""
        self._staged.append((executed, certificate))
        self._state = Overlay(self._state, executed)

    @property
    def is_staged(self) -> bool:
        """Whether `write` has something to do."""
        return bool(self._staged)

    def write(self) -> None:
        """Write what is staged, durable on return; raises `StorageError`.

        All of it or none, but where a state in the middle is to be kept: then up to there first.
        """
        part: list[tuple[ExecutedBlock, QuorumCertificate]] = []
        for executed, certificate in self._staged:
            part.append((executed, certificate))
            if self.hold_every and executed.header.height % self.hold_every == 0:
                self._ledger.commit(part, sync=True)
                self._ledger.hold()
                part.clear()
        if part:
            self._ledger.commit(part, sync=True)
        if self._staged:
            self._staged.clear()
            self._state = self._ledger

    # ------------------------------------------------------------------ the state at the tip

    @property
    def tip_height(self) -> int:
        """Height of the newest final block."""
        return self._state.header.height

    @property
    def header(self) -> Header:
        """Its header."""
        return self._state.header

    @property
    def header_digest(self) -> bytes:
        """Its digest."""
        return self._state.header_digest

    @property
    def log_frontier(self) -> LogFrontier:
        """The log after it."""
        return self._state.log_frontier

    def get(self, key: bytes) -> bytes | None:
        """Return the current value under a state key, or None."""
        return self._state.get(key)

    @property
    def tree(self) -> StateTree:
        """The current state tree."""
        return self._state.tree

    def bucket(self, place: bytes) -> Bucket | None:
        """Return a bucket of the current state, or None where there is none."""
        return self._state.bucket(place)

    def has_transaction(self, tx_id: bytes) -> bool:
        """Say whether the chain holds this transaction, failed or not."""
        return self._state.has_transaction(tx_id)

    def find_held(self, tx_ids: Sequence[bytes]) -> bytes | None:
        """Return one of these transactions that the chain holds, or None."""
        return self._state.find_held(tx_ids)

    def digest_at(self, height: int) -> bytes | None:
        """Return the digest of the header at a height; None above the tip."""
        return self._state.digest_at(height)

    # ------------------------------------------------------------------ blocks, once written

    def header_at(self, height: int) -> tuple[Header, QuorumCertificate | None] | None:
        """Return a written header and its certificate, which genesis has none of."""
        return self._ledger.header_at(height)

    def certified_block(self, height: int) -> CertifiedBlock | None:
        """Return a written block above genesis."""
        return self._ledger.certified_block(height)

    def encoded_block(self, height: int) -> bytes | None:
        """Return the same as its canonical bytes, ready to be sent."""
        return self._ledger.encoded_block(height)
