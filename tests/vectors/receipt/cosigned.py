"""Checkpoints of the small chain of the receipt vectors, cosigned by whom a test likes."""

from __future__ import annotations

from collections.abc import Sequence

from node.chain.log import TILE_HEIGHT, TileId
from node.chain.membership import ValidatorSet
from node.chain.merkle import TreeHead, inclusion_path, leaf_hash, merkle_root
from node.crypto.signature import Ed25519Signer
from node.timestamp.log.checkpoint import Checkpoint, collect, cosigner_name, origin_of
from node.timestamp.log.note import Note, NoteSignature, cosign_text, sign_text
from node.timestamp.receipt import PublicCheckpoint, Receipt
from tests.vectors.receipt.chain import SUITE, Chain, seed

TIME_S = 1_760_000_100


def cosigner_of(validator_id: str) -> Ed25519Signer:
    """Return the cosignature key of a member of the small chain."""
    return Ed25519Signer.from_secret(seed(f"{validator_id} cosignature"))


def checkpoint_at(chain: Chain, size: int) -> Checkpoint:
    """Return the checkpoint of the chain's first leaves."""
    hashes = [leaf_hash(leaf, SUITE.hash) for leaf in chain.leaves[:size]]
    return Checkpoint(
        origin_of(chain.genesis.chain_id), TreeHead(size, merkle_root(hashes, SUITE.hash))
    )


def cosignature(checkpoint: Checkpoint, validator_id: str, time_s: int = TIME_S) -> NoteSignature:
    """Return the line of one validator."""
    name = cosigner_name(checkpoint.origin, validator_id)
    return cosign_text(checkpoint.text, name, cosigner_of(validator_id), time_s)


def cosigned(
    checkpoint: Checkpoint, validators: ValidatorSet, voters: Sequence[int] = (0, 1, 2)
) -> Note:
    """Return a checkpoint with one line of the log and a cosignature of each of these members."""
    ids = [validators.validators[index].validator_id for index in voters]
    log_line = sign_text(checkpoint.text, checkpoint.origin, cosigner_of(ids[0]))
    lines = [cosignature(checkpoint, each, TIME_S + at) for at, each in enumerate(ids)]
    return collect(checkpoint, log_line, lines)


def with_checkpoint(chain: Chain, receipt: Receipt, note: bytes, size: int) -> PublicCheckpoint:
    """Return what a receipt holds of a checkpoint of the chain's first leaves."""
    hashes = [leaf_hash(leaf, SUITE.hash) for leaf in chain.leaves[:size]]
    return PublicCheckpoint(note, tuple(inclusion_path(hashes, receipt.log_index, SUITE.hash)))


def tile_of(chain: Chain, tile: TileId) -> bytes:
    """Return the tile of a log of at most 256 leaves."""
    if tile != TileId(0, 0):
        return b""
    hashes = [leaf_hash(leaf, SUITE.hash) for leaf in chain.leaves[: 1 << TILE_HEIGHT]]
    return b"".join(hashes)
