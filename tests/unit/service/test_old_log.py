"""A home restored from an old copy, log and ledger: it ends when a block shows what it lost."""

from __future__ import annotations

import pytest

from node.chain.certificate import Phase
from node.errors import StorageError
from node.execution.apply import Executor
from node.service.log_records import RecordType, VoteRecord, encode_log_record
from node.service.recovery import recover
from tests.unit.consensus.signing import QUORUM, certified, chain_of_blocks, vote
from tests.unit.execution.small_chain import GENESIS
from tests.unit.service.lone import Lone, certified_block

BLOCKS = chain_of_blocks(3)
ENCODED = [certified_block(block).encode() for block in BLOCKS[1:]]
VOTER, SILENT = QUORUM[2], 3


def restored(me: int, *views: int) -> Lone:
    """Return a validator at genesis whose log holds COMMITs of these views for block 2 alone."""
    cast = [vote(Phase.COMMIT, view, BLOCKS[2].header, me) for view in views]
    node = Lone(me, records=[encode_log_record(VoteRecord(each)) for each in cast])
    node.engine.expect_own_votes()
    return node


def without_the_voter(height: int) -> bytes:
    block = certified_block(BLOCKS[height])
    others = certified(block.header, Phase.COMMIT, voters=(0, 1, 3)).certificate
    return type(block)(block.header, block.transactions, others).encode()


def test_a_vote_in_a_block_that_the_log_lacks_ends_the_node_and_every_start_after_it() -> None:
    node = restored(VOTER)
    node.fetch([without_the_voter(1)], 0)
    assert node.engine.height == 1
    with pytest.raises(StorageError, match="block 2 is certified by a vote of validator-3") as told:
        node.fetch(ENCODED[1:], 0)
    assert told.value.code == "GC-3012"
    assert "govchain node rotate" in told.value.fix
    assert not node.logged(RecordType.VOTE)
    with pytest.raises(StorageError, match="block 2 is certified by a vote of validator-3"):
        recover(
            GENESIS,
            Executor(GENESIS),
            node.ledger,
            node.log.records,
            validator_id="validator-3",
        )


@pytest.mark.parametrize(("me", "views"), [(SILENT, ()), (VOTER, (0,)), (VOTER, (1,))])
def test_what_the_log_holds_or_others_signed_is_taken(me: int, views: tuple[int, ...]) -> None:
    node = restored(me, *views)
    node.fetch([without_the_voter(1) if me == VOTER else ENCODED[0], ENCODED[1]], 0)
    assert node.engine.height == 2
