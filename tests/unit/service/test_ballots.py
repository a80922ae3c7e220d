"""What is signed is logged, in order, and leaves only when durable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import pytest

from node.chain.certificate import Phase, Subject
from node.consensus.events import (
    CastProposal,
    CastVote,
    Now,
    OwnNewViewDurable,
    OwnViewChangeDurable,
    OwnVoteDurable,
)
from node.consensus.messages import Proposal
from node.errors import InvariantViolation
from node.execution.apply import Executor
from node.service.ballots import Ballots
from node.service.effort import Effort, Efforts
from node.service.log_records import RecordType, ViewChangeRecord, encode_log_record
from node.service.output import Counters
from node.service.recovery import Recovery, recover
from node.service.term import Roster, Term
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from tests.unit.consensus.signing import (
    QUORUM,
    certified,
    chain_of_blocks,
    new_view,
    validator_signer,
    view_change,
)
from tests.unit.execution.small_chain import CREATED_MS, GENESIS
from tests.unit.service.lone import ListedLog


class CountingLog(ListedLog):
    """A log that counts how often it is written to."""

    writes = 0

    def append(self, records: Sequence[tuple[int, bytes]]) -> int:
        self.writes += 1
        return super().append(records)


ME = 3
NAME = GENESIS.validators.validators[ME].validator_id
NOW = Now(monotonic_ms=0, utc_ms=CREATED_MS + 1_000)
FIRST, SECOND = chain_of_blocks(2)[1:]
PREPARE = Subject(Phase.PREPARE, 0, 1, FIRST.digest)
COMMIT = Subject(Phase.COMMIT, 0, 1, FIRST.digest)
VIEW_CHANGES = [view_change(validator, 2) for validator in QUORUM]


def recovered(log: ListedLog) -> Recovery:
    executor = Executor(GENESIS)
    ledger = LedgerStore.open(MemoryStore(), GENESIS.suite, executor.genesis_block())
    return recover(GENESIS, executor, ledger, log.records, validator_id=NAME)


def new_ballots(log: ListedLog, counters: Counters | None = None) -> Ballots:
    recovery = recovered(log)
    return Ballots(
        term=Term.of(recovery.epoch, recovery.anchor, NAME, Roster(GENESIS.validators)),
        signer=validator_signer(ME),
        log=log,
        recovery=recovery,
        counters=counters or Counters(),
    )


def voted(log: ListedLog) -> Ballots:
    """Return the ballots of a validator that sent PREPARE and COMMIT for the first block."""
    ballots = new_ballots(log)
    ballots.cast_vote(CastVote(PREPARE, None), FIRST, NOW)
    ballots.cast_vote(CastVote(COMMIT, certified(FIRST.header, Phase.PREPARE)), FIRST, NOW)
    ballots.write()
    return ballots


def test_a_vote_leaves_and_counts_when_its_records_are_durable_and_not_before() -> None:
    log = ListedLog()
    ballots = new_ballots(log)
    ballots.cast_vote(CastVote(PREPARE, None), FIRST, NOW)
    assert not log.records
    ballots.write()
    assert ballots.is_waiting
    assert ballots.durable(len(log.records) - 1) == []
    ((event, vote),) = ballots.durable(len(log.records))
    assert event == OwnVoteDurable(vote)  # type: ignore[arg-type]  # equal only if it is a vote
    assert not ballots.is_waiting


def test_what_a_vote_rests_on_stands_before_it_and_a_block_stands_once() -> None:
    log = ListedLog()
    ballots = voted(log)
    ballots.cast_vote(CastVote(replace(PREPARE, view=1), None), FIRST, NOW)
    ballots.write()
    assert [kind for kind, _ in log.records] == [
        RecordType.BLOCK,
        RecordType.VOTE,
        RecordType.PREPARED,
        RecordType.VOTE,
        RecordType.VOTE,
    ]


def test_a_proposal_carries_the_prepare_that_is_logged_for_it() -> None:
    log = ListedLog()
    ballots = new_ballots(log)
    tx_hashes = tuple(tx.transaction.tx_hash for tx in FIRST.transactions)
    ballots.cast_proposal(CastProposal(FIRST.header, FIRST.digest, tx_hashes, 0), FIRST, NOW)
    ballots.write()
    ((event, proposal),) = ballots.durable(len(log.records))
    assert isinstance(proposal, Proposal)
    assert event == OwnVoteDurable(proposal.vote)
    assert proposal.vote.verify(GENESIS.chain_id, GENESIS.validators)
    assert recovered(log).own_votes == {(Phase.PREPARE, 1): proposal.vote}


def test_a_view_change_and_a_new_view_are_signed_logged_and_then_sent() -> None:
    log = ListedLog()
    ballots = new_ballots(log)
    ballots.cast_view_change(view_change(ME, 2))
    ballots.announce(new_view(2, VIEW_CHANGES))
    ballots.write()
    assert [kind for kind, _ in log.records] == [RecordType.VIEW_CHANGE, RecordType.NEW_VIEW]
    released = ballots.durable(len(log.records))
    assert [type(event) for event, _ in released] == [OwnViewChangeDurable, OwnNewViewDurable]


def test_signing_is_counted_as_what_consensus_costs() -> None:
    readings = count()
    counters = Counters(efforts=Efforts(Effort(lambda: next(readings))))
    ballots = new_ballots(ListedLog(), counters)
    ballots.cast_vote(CastVote(PREPARE, None), FIRST, NOW)
    assert (counters.votes_signed, counters.efforts.consensus.spent_ns) == (1, 1)
    ballots.cast_view_change(view_change(ME, 2))
    ballots.announce(new_view(2, VIEW_CHANGES))
    assert (counters.votes_signed, counters.efforts.consensus.spent_ns) == (1, 3)


def test_each_thing_is_written_and_released_once() -> None:
    log = CountingLog()
    ballots = new_ballots(log)
    for view in (1, 2):
        ballots.cast_view_change(view_change(ME, view))
        ballots.write()
        ballots.write()  # a turn in which nothing is signed
    assert (log.writes, len(log.records)) == (2, 2)
    released = [[event for event, _ in ballots.durable(lsn)] for lsn in (0, 1, 1, 2, 9)]
    views = [
        [event.view_change.view for event in events if isinstance(event, OwnViewChangeDurable)]
        for events in released
    ]
    assert views == [[], [1], [], [2], []]


@pytest.mark.parametrize("subject", [PREPARE, COMMIT])
def test_a_vote_for_a_block_that_is_not_held_is_refused(subject: Subject) -> None:
    with pytest.raises(InvariantViolation, match="without its bodies"):
        new_ballots(ListedLog()).cast_vote(CastVote(subject, None), None, NOW)


def test_a_snapshot_restates_what_the_whole_log_says() -> None:
    whole = ListedLog()
    ballots = voted(whole)
    ballots.cast_view_change(view_change(ME, 2))
    ballots.adopt(new_view(2, VIEW_CHANGES))
    ballots.cast_view_change(view_change(ME, 3))
    ballots.write()
    restated = ListedLog()
    restated.append(ballots.snapshot())
    assert recovered(restated) == recovered(whole)
    assert len(restated.records) < len(whole.records)
    assert new_ballots(restated).snapshot() == restated.records


def test_of_the_view_a_snapshot_restates_what_holds_now() -> None:
    left, entered = RecordType.VIEW_CHANGE, RecordType.NEW_VIEW
    ballots = new_ballots(ListedLog())
    ballots.cast_view_change(view_change(ME, 2))
    assert [kind for kind, _ in ballots.snapshot()] == [left]
    ballots.adopt(new_view(2, VIEW_CHANGES))
    assert [kind for kind, _ in ballots.snapshot()] == [entered]
    ballots.cast_view_change(view_change(ME, 3))
    assert [kind for kind, _ in ballots.snapshot()] == [entered, left]


def test_a_snapshot_restates_what_the_log_holds_of_epochs_to_come() -> None:
    log = ListedLog()
    to_come = [encode_log_record(ViewChangeRecord(replace(view_change(ME, 5), epoch=1)))]
    log.append(to_come)
    assert new_ballots(log).snapshot() == to_come


def test_a_final_block_is_logged_and_restated_no_more() -> None:
    log = ListedLog()
    ballots = voted(log)
    ballots.cast_vote(CastVote(Subject(Phase.PREPARE, 0, 2, SECOND.digest), None), SECOND, NOW)
    ballots.note_committed(certified(FIRST.header, Phase.COMMIT))
    ballots.write()
    assert log.records[-1][0] == RecordType.COMMITTED
    assert ballots.block(FIRST.digest) is None
    final, *rest = ballots.snapshot()
    assert final == log.records[-1]
    assert [kind for kind, _ in rest] == [RecordType.BLOCK, RecordType.VOTE]
    (transaction,) = SECOND.transactions
    assert list(ballots.undecided_transactions()) == [transaction.transaction.encoded]
