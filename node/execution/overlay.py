"""A state that is not stored: a block executed on top of a state that may itself be an overlay."""

from __future__ import annotations

from collections.abc import Sequence

from node.chain.block import Header
from node.chain.log import LogFrontier
from node.chain.state_bucket import Bucket
from node.chain.state_tree import StateTree
from node.execution.state import ExecutedBlock, StateReader


class Overlay:
    """The `StateReader` after `executed`, which was executed on `parent`.

    Overlays stack over the consensus window. Dropping one costs nothing: it changes nothing below.
    """

    __slots__ = ("_executed", "_parent")

    def __init__(self, parent: StateReader, executed: ExecutedBlock) -> None:
        self._parent = parent
        self._executed = executed

    @property
    def header(self) -> Header:
        """The header of the executed block."""
        return self._executed.header

    @property
    def header_digest(self) -> bytes:
        """Its digest."""
        return self._executed.digest

    @property
    def log_frontier(self) -> LogFrontier:
        """The log after it."""
        return self._executed.frontier

    def get(self, key: bytes) -> bytes | None:
        """Return the value the block wrote under a state key, or what was there before."""
        writes = self._executed.state_writes
        return writes[key] if key in writes else self._parent.get(key)

    @property
    def tree(self) -> StateTree:
        """The state tree as the block left it."""
        return self._executed.tree.tree

    def bucket(self, place: bytes) -> Bucket | None:
        """Return a bucket of the state, as the block left it or as it was before."""
        buckets = self._executed.tree.buckets
        return buckets[place] if place in buckets else self._parent.bucket(place)

    def has_transaction(self, tx_id: bytes) -> bool:
        """Say whether this block or one below it holds the transaction."""
        return tx_id in self._executed.tx_ids or self._parent.has_transaction(tx_id)

    def find_held(self, tx_ids: Sequence[bytes]) -> bytes | None:
        """Return one of these transactions that this block or one below it holds, or None."""
        own = self._executed.tx_ids
        if own.isdisjoint(tx_ids):
            return self._parent.find_held(tx_ids)
        return next(tx_id for tx_id in tx_ids if tx_id in own)

    def digest_at(self, height: int) -> bytes | None:
        """Return the digest of the header at a height, if it is that of the block or below."""
        if height == self._executed.header.height:
            return self._executed.digest
        return self._parent.digest_at(height)

    def rebase(self, parent: StateReader) -> None:
        """Read what lies below from `parent`: the ledger, once the parent block is committed."""
        self._parent = parent
