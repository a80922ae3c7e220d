"""The ledger as a turn sees it: what becomes final in the turn is there at once, and written once.

Nothing of a turn leaves before its end, so its blocks need no write of their own: `write` puts them
into the database together, in one atomic batch, synced. A validator that catches up makes many
blocks final in a turn; in the normal case it is one.

It may also be written beside the turns that follow (`begin_write`), for what nobody is told yet. It
is read from here until then, and one write is under way at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from node.chain.block import CertifiedBlock, Header
from node.chain.certificate import QuorumCertificate
from node.chain.log import LogFrontier
from node.chain.state_bucket import Bucket
from node.chain.state_tree import StateTree
from node.execution.apply import ExecutedBlock, StateReader
from node.execution.overlay import Overlay
from node.service.recovery import Ledger


class Written(Protocol):
    """A write that was begun."""

    def done(self) -> bool:
        """Whether it has ended, well or not."""

    def result(self) -> object:
        """Wait until it has ended; raises what it raised."""


Beside = Callable[[Callable[[], None]], Written]
"""Carries out a write while the caller goes on, on another thread as a rule."""


class StagedLedger:
    """The state after the newest final block, staged or written. Blocks are read once written."""

    def __init__(self, ledger: Ledger) -> None:
        """Start with nothing staged above `ledger`."""
        self._ledger = ledger
        self.on_written: Callable[[ExecutedBlock, QuorumCertificate], None] = lambda *_: None
        """Told of each block once it is durable, in order."""
        self.hold_every = 0
        """At multiples of this, the same at all nodes, the state is kept readable; 0 is never."""
        self._state: StateReader = ledger
        self._staged: list[tuple[ExecutedBlock, QuorumCertificate]] = []
        self._overlays: list[Overlay] = []
        """The states after these."""
        self._being_written: Written | None = None
        self._begun = 0
        """How many of what is staged, the first, are being written."""

    def stage(self, executed: ExecutedBlock, certificate: QuorumCertificate) -> None:
        """Make the block that follows the tip final, for who reads here."""
        self._staged.append((executed, certificate))
        self._state = Overlay(self._state, executed)
        self._overlays.append(self._state)

    @property
    def is_staged(self) -> bool:
        """Whether there is something of which no write has begun."""
        return len(self._staged) > self._begun

    @property
    def is_being_written(self) -> bool:
        """Whether a write was begun and not finished."""
        return self._being_written is not None

    @property
    def is_written(self) -> bool:
        """Whether the write that was begun, if any, has ended: `finish` waits for nothing then."""
        return self._being_written is None or self._being_written.done()

    def is_unwritten(self, tx_id: bytes) -> bool:
        """Whether a transaction is final in a block that `on_written` is still to tell of."""
        return any(tx_id in executed.tx_ids for executed, _ in self._staged)

    def write(self) -> None:
        """Write what is staged, durable on return; raises `StorageError`.

        All of it or none, but where a state in the middle is to be kept: then up to there first.
        """
        self.finish()
        part: list[tuple[ExecutedBlock, QuorumCertificate]] = []
        for executed, certificate in self._staged:
            part.append((executed, certificate))
            if self._is_to_be_held(executed):
                self._ledger.commit(part, sync=True)
                self._ledger.hold()
                part.clear()
        if part:
            self._ledger.commit(part, sync=True)
        self._let_go(len(self._staged))

    def begin_write(self, beside: Beside) -> bool:
        """Have what is staged written by `beside`, all or none; `finish` waits for it.

        What was begun before is finished first. Says whether it was: not where a state is to be
        kept, or the past is being filled in, which is for the thread of the turns alone.
        """
        if not self._ledger.is_whole or any(self._is_to_be_held(each) for each, _ in self._staged):
            return False
        self.finish()
        part = tuple(self._staged)
        self._being_written = beside(partial(self._ledger.commit, part, sync=True))
        self._begun = len(part)
        return True

    def finish(self) -> None:
        """Wait for the write that was begun, if any; raises what it raised."""
        if self._being_written is not None:
            self._being_written.result()
            self._being_written, begun = None, self._begun
            self._let_go(begun)

    def _let_go(self, count: int) -> None:
        """Read the first of what is staged, now written, from the ledger, and tell of it."""
        written = self._staged[:count]
        del self._staged[:count], self._overlays[:count]
        self._begun = 0
        if self._overlays:
            self._overlays[0].rebase(self._ledger)
        else:
            self._state = self._ledger
        for executed, certificate in written:
            self.on_written(executed, certificate)

    def _is_to_be_held(self, executed: ExecutedBlock) -> bool:
        return bool(self.hold_every) and executed.header.height % self.hold_every == 0

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
