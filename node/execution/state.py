"""What execution reads and what it yields: the port onto a state, and the outcome of a block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from node.chain.block import Header, TransactionResult
from node.chain.log import LogFrontier, TileGrowth
from node.chain.state_bucket import Bucket
from node.chain.state_tree import StateTree, TreeUpdate
from node.chain.transaction import VerifiedTransaction


class StateReader(Protocol):
    """The state after one block: the tip of a ledger, or a block executed on top of it."""

    @property
    def header(self) -> Header:
        """The header of that block."""

    @property
    def header_digest(self) -> bytes:
        """Its digest."""

    @property
    def log_frontier(self) -> LogFrontier:
        """The log after that block."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value under a state key (see registry.py), or None."""

    @property
    def tree(self) -> StateTree:
        """The state tree."""

    def bucket(self, place: bytes) -> Bucket | None:
        """Return a bucket of the state, or None; raises `StorageError` if it is malformed."""

    def has_transaction(self, tx_id: bytes) -> bool:
        """Say whether that block or one below it holds this transaction, failed or not."""

    def find_held(self, tx_ids: Sequence[bytes]) -> bytes | None:
        """Return one of these transactions that `has_transaction` is true of; None for none."""

    def digest_at(self, height: int) -> bytes | None:
        """Return the digest of the header at a height of this chain; None above that block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockInputs:
    """What the proposer of a block decides, besides its transactions."""

    height: int
    view: int
    time_ms: int
    """T."""
    time_degraded: bool
    proposer: int
    """Index in the validator set."""

    @classmethod
    def of(cls, header: Header) -> Self:
        """Return what was decided for the block of this header."""
        return cls(
            height=header.height,
            view=header.view,
            time_ms=header.time_ms,
            time_degraded=header.time_degraded,
            proposer=header.proposer,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutedBlock:
    """A block with all it does: to commit it is to store these fields, with nothing to compute."""

    header: Header
    digest: bytes
    transactions: tuple[VerifiedTransaction, ...]
    tx_ids: frozenset[bytes]
    results: tuple[TransactionResult, ...]
    """One per transaction, in order."""
    leaves: tuple[bytes, ...]
    """The leaves appended to the log: the parent's header leaf, then the committed records'."""
    frontier: LogFrontier
    log_growth: TileGrowth
    """What the log's tiles gain; its lowest row holds the hashes of `leaves`."""
    state_writes: Mapping[bytes, bytes | None]
    """State key to new value, None for a deletion."""
    tree: TreeUpdate
