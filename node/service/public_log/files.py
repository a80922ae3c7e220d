"""What of the log is public, read from the ledger: checkpoints, tiles, entries, policies.

May be used from any thread while the engine commits, as `queries.py`.
"""

from __future__ import annotations

from node.chain.genesis import Genesis
from node.chain.log import TileId
from node.chain.merkle import DIGEST_BYTES
from node.errors import ProofError
from node.execution.registry import epoch_in_force, find_epoch_start
from node.service.queries import Queries
from node.storage.checkpoints import CheckpointStore
from node.storage.ledger import LedgerStore
from node.storage.past import NotHeldYet
from node.timestamp.log.policy import policy_of
from node.timestamp.log.tiles import TileFile, encode_bundle


class PublicLogFiles:
    """The files of one chain's log."""

    def __init__(
        self, genesis: Genesis, ledger: LedgerStore, checkpoints: CheckpointStore, queries: Queries
    ) -> None:
        self._genesis, self._ledger = genesis, ledger
        self._checkpoints, self._queries = checkpoints, queries

    def checkpoint(self, size: int | None) -> bytes | None:
        """Return the checkpoint of a size, or the newest; None where none was cosigned."""
        kept = self._checkpoints.newest() if size is None else self._checkpoints.at(size)
        return None if kept is None else kept.note

    def tile(self, file: TileFile) -> bytes | None:
        """Return hashes or a bundle of entries; None where the log, or this node, lacks them."""
        if not file.is_within(self._ledger.header.log_size):
            return None
        if file.level is not None:
            content = self._ledger.tile(TileId(file.level, file.index))
            wanted = file.width * DIGEST_BYTES
            return content[:wanted] if len(content) >= wanted else None
        try:
            entries = list(self._ledger.leaves(range(file.first, file.first + file.width)))
        except NotHeldYet:
            return None
        return encode_bundle(entries)

    def policy(self, epoch: int | None) -> bytes | None:
        """Return the policy of an epoch, or of the one in force; None of one to come."""
        if epoch is None:
            validators = epoch_in_force(self._ledger, self._genesis.suite).validators
        elif not epoch:
            validators = self._genesis.validators
        else:
            start = find_epoch_start(self._ledger, epoch, self._genesis.suite)
            if start is None:
                return None
            validators = start.validators
        return policy_of(self._genesis.chain_id, validators).encode()

    def handover(self, epoch: int) -> bytes | None:
        """Return how an epoch ended; None where it has not."""
        found = self._queries.handovers_from(epoch, 1)
        return found[0].encode() if found else None

    def consistency(self, old_size: int, size: int) -> list[bytes] | None:
        """Return the proof that the log of one size began as that of another; None for no log."""
        if size > self._ledger.header.log_size:
            return None
        try:
            return self._ledger.consistency_path(old_size, size)
        except (NotHeldYet, ProofError):
            return None
