"""What a validator starts from: which records of its log count, and which do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from node.chain.certificate import Phase, Vote
from node.chain.epoch import Anchor
from node.chain.genesis import Genesis
from node.chain.governance import Operation, RemoveValidator, SetParameters
from node.consensus.messages import NewView, ViewChange
from node.errors import StorageError
from node.execution.apply import ExecutedBlock, Executor
from node.service.log_records import (
    BlockRecord,
    CommittedRecord,
    LogRecord,
    NewViewRecord,
    PreparedRecord,
    ViewChangeRecord,
    VoteRecord,
    encode_log_record,
)
from node.service.recovery import Recovery, recover
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from tests.unit.consensus.signing import (
    QUORUM,
    certified,
    chain_of_blocks,
    new_view,
    view_change,
    vote,
)
from tests.unit.execution.governed_chain import (
    GOVERNED,
    GovernedChain,
    governed,
    governed_tx,
)
from tests.unit.execution.small_chain import GENESIS, certify, payload, tx

SILENT = 3
"""A validator that signed none of the certificates; `VOTER` signed all of them."""
VOTER = 0
BLOCKS = chain_of_blocks(4)
WINDOW = GENESIS.parameters.window_slots


def held(height: int) -> tuple[LedgerStore, MemoryStore]:
    """Return a ledger of so many blocks, and what it is stored in."""
    store = MemoryStore()
    ledger = LedgerStore.open(store, GENESIS.suite, Executor(GENESIS).genesis_block())
    for block in BLOCKS[1 : height + 1]:
        certificate = certified(block.header, Phase.COMMIT).certificate
        ledger.commit([(block, certificate)], sync=True)
    return ledger, store


def recovered(
    ledger: LedgerStore, *records: LogRecord, me: int = SILENT, genesis: Genesis = GENESIS
) -> Recovery:
    """Return what a log of these records gives over a ledger."""
    encoded = [encode_log_record(record) for record in records]
    name = genesis.validators.validators[me].validator_id
    return recover(genesis, Executor(genesis), ledger, encoded, validator_id=name)


def started(height: int, *records: LogRecord) -> Recovery:
    return recovered(held(height)[0], *records)


def block_of(block: ExecutedBlock) -> BlockRecord:
    return BlockRecord(block.header, tuple(tx.transaction.encoded for tx in block.transactions))


def final(height: int) -> CommittedRecord:
    return CommittedRecord(certified(BLOCKS[height].header, Phase.COMMIT))


def own(height: int, *, view: int = 0, phase: Phase = Phase.COMMIT, me: int = SILENT) -> Vote:
    return vote(phase, view, BLOCKS[height].header, me)


def prepared(height: int, *, view: int = 0) -> PreparedRecord:
    return PreparedRecord(certified(BLOCKS[height].header, Phase.PREPARE, view=view))


def leaving(view: int) -> ViewChange:
    return view_change(SILENT, view)


def entered(view: int) -> NewView:
    return new_view(view, [view_change(validator, view) for validator in QUORUM])


# ---------------------------------------------------------------------- votes that must be there


FIRST_VOTE, SECOND_VOTE = (VoteRecord(own(height, me=VOTER)) for height in (1, 2))


@pytest.mark.parametrize(
    "records",
    [
        (FIRST_VOTE, SECOND_VOTE),
        (final(1), SECOND_VOTE),
        (final(2),),
        (final(1), final(2)),
    ],
)
def test_a_log_holds_the_own_votes_above_what_it_says_became_final(
    records: Sequence[LogRecord],
) -> None:
    recovery = recovered(held(2)[0], *records, me=VOTER)
    assert (recovery.silent_up_to, recovery.own_votes) == (0, {})


def test_a_vote_that_a_rotation_left_out_for_one_of_a_later_view_was_not_lost() -> None:
    later = VoteRecord(own(2, view=1, me=VOTER))
    recovery = recovered(held(2)[0], final(1), later, me=VOTER)
    assert recovery.own_votes == {}
    for other in (
        VoteRecord(own(2, view=1, me=VOTER, phase=Phase.PREPARE)),
        VoteRecord(own(3, view=1, me=VOTER)),
    ):
        with pytest.raises(StorageError, match="older than the ledger"):
            recovered(held(2)[0], final(1), other, me=VOTER)


@pytest.mark.parametrize(
    "records",
    [
        (),
        (FIRST_VOTE,),
        (SECOND_VOTE,),
        (final(1), FIRST_VOTE),
        (FIRST_VOTE, VoteRecord(own(2))),
    ],
)
def test_a_log_that_lacks_an_own_vote_which_the_ledger_shows_is_refused(
    records: Sequence[LogRecord],
) -> None:
    with pytest.raises(StorageError, match="older than the ledger") as refused:
        recovered(held(2)[0], *records, me=VOTER)
    assert refused.value.code == "GC-3012"


# ---------------------------------------------------------------------- what is final by the log


def test_what_the_log_shows_as_final_is_final_again_on_disk_and_what_is_above_undecided() -> None:
    ledger, store = held(1)
    log = [record for n in (2, 3) for record in (block_of(BLOCKS[n]), final(n))]
    recovery = recovered(ledger, *log, block_of(BLOCKS[4]))
    assert recovery.recommitted == 2
    assert list(recovery.blocks) == [BLOCKS[4].digest]
    on_disk = LedgerStore.open(
        store.crash(keep=0), GENESIS.suite, Executor(GENESIS).genesis_block()
    )
    assert on_disk.header_at(3) == (BLOCKS[3].header, final(3).item.certificate)
    assert recovery.newest == final(3).item
    assert recovery.silent_up_to == 0


def test_a_final_block_whose_body_or_whose_parent_is_not_in_the_log_is_waited_for() -> None:
    ledger, _ = held(1)
    recovery = recovered(ledger, final(2), block_of(BLOCKS[3]), final(3))
    assert (recovery.recommitted, ledger.tip_height) == (0, 1)
    assert recovery.silent_up_to == 3


def test_a_block_that_the_log_does_not_show_as_final_is_not_made_so() -> None:
    ledger, _ = held(1)
    recovery = recovered(ledger, block_of(BLOCKS[2]))
    assert (recovery.recommitted, ledger.tip_height) == (0, 1)
    assert list(recovery.blocks) == [BLOCKS[2].digest]


def test_a_final_block_that_executes_to_something_else_here_stops_the_start() -> None:
    header = replace(BLOCKS[1].header, state_root=bytes(32))
    other = block_of(replace(BLOCKS[1], header=header))
    said = CommittedRecord(certified(header, Phase.COMMIT))
    with pytest.raises(StorageError, match="gives other roots"):
        started(0, other, said)


# ---------------------------------------------------------------------- what is undecided


def test_what_is_final_is_not_undecided() -> None:
    below_and_above = [
        record
        for height in (1, 2, 3)
        for record in (block_of(BLOCKS[height]), VoteRecord(own(height)), prepared(height))
    ]
    recovery = started(2, *below_and_above)
    assert list(recovery.blocks) == [BLOCKS[3].digest]
    assert recovery.own_votes == {(Phase.COMMIT, 3): own(3)}
    assert recovery.prepared == {3: prepared(3).item}
    (block,) = recovery.consensus.blocks
    assert block == (
        BLOCKS[3].header,
        tuple(tx.transaction.tx_hash for tx in BLOCKS[3].transactions),
    )


def test_of_the_own_votes_for_one_place_the_last_of_the_highest_view_counts() -> None:
    again = replace(own(1, view=1), time_ms=own(1).time_ms + 1)
    votes = [own(1), own(1, view=1), again, own(1)]
    recovery = started(0, *map(VoteRecord, votes))
    assert recovery.own_votes == {(Phase.COMMIT, 1): again}


def test_of_the_prepared_certificates_for_a_height_the_one_of_the_highest_view_counts() -> None:
    recovery = started(0, prepared(1), prepared(1, view=2), prepared(1, view=1))
    assert recovery.prepared == {1: prepared(1, view=2).item}


def test_the_core_is_given_votes_and_certificates_in_order() -> None:
    votes = [own(2), own(2, phase=Phase.PREPARE), own(1), own(1, phase=Phase.PREPARE)]
    recovery = started(0, *map(VoteRecord, votes), prepared(2), prepared(1))
    assert recovery.consensus.votes == (votes[3], votes[1], votes[2], votes[0])
    assert recovery.consensus.prepared == (prepared(1).item, prepared(2).item)


@pytest.mark.parametrize("height", range(5))
def test_the_core_is_given_the_newest_headers_of_a_window(height: int) -> None:
    recovery = started(height)
    assert recovery.consensus.tip == BLOCKS[height].header
    shown = [item.header.height for item in recovery.consensus.recent]
    assert shown == list(range(max(1, height - WINDOW + 1), height + 1))
    assert recovery.newest == (recovery.consensus.recent[-1] if height else None)


# ---------------------------------------------------------------------- the view


LEFT_1, LEFT_2, LEFT_3 = (ViewChangeRecord(leaving(view)) for view in (1, 2, 3))
ENTERED_1, ENTERED_2 = (NewViewRecord(entered(view)) for view in (1, 2))


@pytest.mark.parametrize(
    ("records", "view", "is_active"),
    [
        ((), 0, True),
        ((LEFT_2,), 2, False),
        ((LEFT_2, LEFT_1), 2, False),
        ((LEFT_1, LEFT_2), 2, False),
        ((ENTERED_1, ENTERED_2), 2, True),
        ((ENTERED_2, ENTERED_1), 2, True),
        ((LEFT_2, ENTERED_2), 2, True),
        ((LEFT_1, ENTERED_2), 2, True),
        ((ENTERED_2, LEFT_3), 3, False),
    ],
)
def test_the_view_is_the_last_one_left_for_or_entered(
    records: Sequence[ViewChangeRecord | NewViewRecord],
    view: int,
    *,
    is_active: bool,
) -> None:
    core = started(0, *records).consensus
    assert (core.view, core.view_active) == (view, is_active)
    assert core.view_change == (None if is_active else leaving(view))
    newest = max((r.message.view for r in records if isinstance(r, NewViewRecord)), default=None)
    assert (core.new_view.view if core.new_view else None) == newest


# ---------------------------------------------------------------------- a ledger that was lost


def test_where_the_log_knows_of_a_newer_final_block_nothing_is_used_and_all_is_kept() -> None:
    above = (VoteRecord(own(4)), LEFT_2, prepared(4))
    recovery = started(1, final(3), final(2), *above)
    assert recovery.silent_up_to == 3
    assert recovery.later == (final(3), *above)
    assert (recovery.own_votes, recovery.prepared, recovery.consensus.view) == ({}, {}, 0)


def test_where_the_ledger_is_as_new_as_the_log_nothing_is_kept_for_later() -> None:
    recovery = started(2, final(1), final(2), VoteRecord(own(3)))
    assert (recovery.silent_up_to, recovery.later) == (0, ())
    assert recovery.own_votes == {(Phase.COMMIT, 3): own(3)}


# ---------------------------------------------------------------------- epochs


def governed_ledger(change: Operation, *, blocks: int = 4) -> tuple[LedgerStore, bytes]:
    """Return a ledger in which block 2 ends the first epoch, and the digest of that block."""
    chain = GovernedChain()

    def notarized(text: str) -> ExecutedBlock:
        return chain.commit(tx(payload(text), chain_id=GOVERNED.chain_id))

    first = notarized("first")
    staying = [member.validator_id for member in GOVERNED.validators.validators[1:]]
    barrier = chain.commit(governed_tx(governed(change, evidence=chain.statements(*staying))))
    made = [first, barrier, notarized("second"), notarized("third")][:blocks]
    ledger = LedgerStore.open(MemoryStore(), GOVERNED.suite, Executor(GOVERNED).genesis_block())
    ledger.commit([(block, certify(block, GOVERNED)) for block in made], sync=True)
    return ledger, barrier.digest


SLOWER = SetParameters(replace(GOVERNED.parameters, view_timeout_ms=2_000))


def test_of_an_epoch_that_is_over_nothing_counts_and_of_one_to_come_all_is_kept() -> None:
    mine = VoteRecord(replace(own(4), epoch=1))
    to_come = (
        ViewChangeRecord(replace(leaving(5), epoch=2)),
        VoteRecord(replace(own(4), epoch=2)),
    )
    left = ViewChangeRecord(replace(leaving(3), epoch=1))
    ledger, _ = governed_ledger(SLOWER, blocks=2)
    recovery = recovered(ledger, LEFT_1, ENTERED_1, *to_come, left, mine, genesis=GOVERNED)
    assert recovery.epoch.number == 1
    assert (recovery.consensus.view, recovery.consensus.new_view) == (3, None)
    assert recovery.own_votes == {(Phase.COMMIT, 4): mine.vote}
    assert recovery.later == to_come


@pytest.mark.parametrize(("blocks", "recent"), [(2, []), (3, [3]), (4, [3, 4])])
def test_an_epoch_stands_on_its_barrier_which_is_of_the_one_before(
    blocks: int, recent: list[int]
) -> None:
    ledger, barrier = governed_ledger(SLOWER, blocks=blocks)
    recovery = recovered(ledger, genesis=GOVERNED)
    assert recovery.anchor == Anchor(2, barrier)
    assert [item.header.height for item in recovery.consensus.recent] == recent


def test_own_votes_are_known_by_the_number_in_the_set_of_their_height() -> None:
    ledger, _ = governed_ledger(RemoveValidator("validator-1"))
    with pytest.raises(StorageError, match="block 3 is certified by a vote of validator-4"):
        recovered(ledger, me=SILENT, genesis=GOVERNED)
