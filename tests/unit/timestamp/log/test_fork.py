"""Forked logs: two chains of the same keys, the proof that they contradict, and who is guilty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.chain.log import TileId
from node.errors import DecodeError, NodeError, ProofError
from node.timestamp.log.fork import ForkProof, compare, cosigners
from tests.vectors.receipt.chain import Chain, record_of, seed
from tests.vectors.receipt.cosigned import checkpoint_at, cosigned, tile_of


def grown(*contents: str, blocks: int = 3) -> Chain:
    chain = Chain.found()
    for height in range(blocks):
        chain.append(*(record_of(f"{height} {content}".encode()) for content in contents))
    return chain


HONEST, FORKED = grown("a", "b"), grown("a", "other")
SIZES = range(1, len(HONEST.leaves) + 1)
COMMON = 2
"""Leaves before the two logs part."""


def tiles(chain: Chain) -> Callable[[TileId], bytes]:
    return partial(tile_of, chain)


@pytest.mark.parametrize("first", SIZES)
@pytest.mark.parametrize("second", SIZES)
def test_a_fork_is_shown_and_one_log_is_not_accused(first: int, second: int) -> None:
    mine = cosigned(checkpoint_at(HONEST, first), HONEST.validators)
    ours = cosigned(checkpoint_at(HONEST, second), HONEST.validators, (1, 2, 3))
    assert compare(mine, ours, tiles(HONEST)) is None
    theirs = cosigned(checkpoint_at(FORKED, second), HONEST.validators, (1, 2, 3))
    larger = FORKED if second >= first else HONEST
    proof = compare(mine, theirs, tiles(larger))
    if min(first, second) <= COMMON:
        assert proof is None
        return
    assert proof is not None
    assert ForkProof.decode(proof.encode()) == proof
    small, large = proof.check()
    assert (small.head.size, large.head.size) == tuple(sorted((first, second)))
    keys = cosigners(HONEST.genesis.chain_id, [HONEST.validators])
    guilty = [name.rpartition("/")[2] for name in proof.guilty(keys)]
    assert guilty == ["validator-2", "validator-3"]  # those who are in both quorums


def test_who_cosigned_one_side_alone_is_not_guilty() -> None:
    mine = cosigned(checkpoint_at(HONEST, 9), HONEST.validators, (0, 1))
    theirs = cosigned(checkpoint_at(FORKED, 9), HONEST.validators, (2, 3))
    proof = compare(mine, theirs, tiles(FORKED))
    assert proof is not None
    assert proof.guilty(cosigners(HONEST.genesis.chain_id, [HONEST.validators])) == ()


def test_tiles_of_another_log_prove_nothing() -> None:
    mine = cosigned(checkpoint_at(HONEST, 5), HONEST.validators)
    ours = cosigned(checkpoint_at(HONEST, 9), HONEST.validators)
    with pytest.raises(ProofError, match="fork-tiles"):
        compare(mine, ours, tiles(FORKED))


def test_nobody_is_framed() -> None:
    """Every way to make a proof of two checkpoints of one log, or of a signature that is none."""
    mine = cosigned(checkpoint_at(HONEST, 5), HONEST.validators)
    ours = cosigned(checkpoint_at(HONEST, 9), HONEST.validators)
    theirs = cosigned(checkpoint_at(FORKED, 9), HONEST.validators)
    proof = compare(mine, theirs, tiles(FORKED))
    assert proof is not None
    for false, rule in (
        (replace(proof, larger=ours), "fork-path"),
        (replace(proof, path=proof.path[:-1]), "proof-path-length"),
        (replace(proof, path=(seed("x"), *proof.path[1:])), "fork-path"),
        (ForkProof((), ours, ours), "fork-none"),
        (ForkProof((seed("x"),), ours, theirs), "fork-path"),
        (replace(proof, smaller=proof.larger, larger=proof.smaller), "proof-sizes"),
    ):
        with pytest.raises(ProofError, match=rule):
            false.check()
    other = Chain.found("other")
    other.append()
    elsewhere = cosigned(checkpoint_at(other, 1), other.validators)
    with pytest.raises(ProofError, match="fork-origin"):
        ForkProof((), elsewhere, ours).check()
    signed = theirs.signatures[1]
    bad = replace(theirs, signatures=(replace(signed, signature=bytes(72)),))
    keys = cosigners(HONEST.genesis.chain_id, [HONEST.validators])
    with pytest.raises(ProofError, match="note-signature"):
        replace(proof, larger=bad).guilty(keys)


def test_no_flipped_byte_of_a_proof_accuses_anybody_else() -> None:
    mine = cosigned(checkpoint_at(HONEST, 5), HONEST.validators)
    theirs = cosigned(checkpoint_at(FORKED, 9), HONEST.validators)
    proof = compare(mine, theirs, tiles(FORKED))
    assert proof is not None
    data = proof.encode()
    keys = cosigners(HONEST.genesis.chain_id, [HONEST.validators])
    whole = proof.guilty(keys)
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 0x01
        try:
            changed = ForkProof.decode(bytes(flipped))
            changed.check()
            guilty = changed.guilty(keys)
        except NodeError:
            continue
        # A line became a stranger's, or one of the log, which accuses nobody.
        assert set(guilty) <= set(whole), position


@given(st.binary(max_size=200))
def test_no_bytes_make_reading_fail_otherwise(data: bytes) -> None:
    with pytest.raises(DecodeError):
        ForkProof.decode(data)
