"""A small chain's log, to be served over HTTP as a node serves it, by whoever holds its keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from node.chain.log import LogFrontier, TileId, tiles_changed
from node.chain.merkle import DIGEST_BYTES, consistency_path, leaf_hash
from node.timestamp.log.policy import policy_of
from node.timestamp.log.tiles import TileFile, encode_bundle
from tests.vectors.receipt.chain import SUITE, Chain
from tests.vectors.receipt.cosigned import checkpoint_at, cosigned


@dataclass
class ServedLog:
    """The port `node.web.log_files.PublicLog` over a chain in memory."""

    chain: Chain
    voters: Sequence[int] = (0, 1, 2)
    size: int | None = None
    """Of the checkpoint served; None: the whole log."""
    hidden: set[str] = field(default_factory=set)
    """Names of the files that are not served."""

    async def checkpoint(self, size: int | None) -> bytes | None:
        wanted = size or self.size or len(self.chain.leaves)
        if wanted > len(self.chain.leaves):
            return None
        checkpoint = checkpoint_at(self.chain, wanted)
        return cosigned(checkpoint, self.chain.validators, self.voters).encode()

    async def tile(self, file: TileFile) -> bytes | None:
        leaves = self.chain.leaves
        if "tile" in self.hidden or not file.is_within(len(leaves)):
            return None
        if file.level is None:
            return encode_bundle(leaves[file.first : file.first + file.width])
        hashes = [leaf_hash(leaf, SUITE.hash) for leaf in leaves]
        growth = LogFrontier(0, ()).append(hashes, SUITE.hash)[1]
        tiles = tiles_changed(growth, lambda _tile: b"")
        return tiles[TileId(file.level, file.index)][: file.width * DIGEST_BYTES]

    async def policy(self, epoch: int | None) -> bytes | None:
        known = epoch in {None, self.chain.validators.epoch}
        text = policy_of(self.chain.genesis.chain_id, self.chain.validators)
        return text.encode() if known else None

    async def handover(self, epoch: int) -> bytes | None:
        found = self.chain.handovers[epoch : epoch + 1]
        return found[0].encode() if found else None

    async def consistency(self, old_size: int, size: int) -> list[bytes] | None:
        hashes = [leaf_hash(leaf, SUITE.hash) for leaf in self.chain.leaves[:size]]
        return consistency_path(hashes, old_size, SUITE.hash)
