"""When a primary proposes, and what."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase
from node.chain.membership import ValidatorSet
from node.chain.transaction import VerifiedTransaction
from node.consensus.events import BuildProposal, Now, PoolChanged, ProposalBuilt
from node.consensus.messages import Proposal, Reason, ViewChange
from node.execution.apply import Executor
from node.limits import TX_LIFETIME_MS_MAX
from node.service import proposing as proposing_module
from node.service.log_records import BlockRecord, decode_log_record
from node.service.mempool import Mempool
from node.service.output import Counters
from node.service.proposing import RESERVE_FACTOR, Proposer
from node.service.recovery import recover
from node.service.term import Roster, Term
from node.service.undecided import Undecided
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from tests.unit.consensus.signing import new_view, view_change, vote
from tests.unit.execution.small_chain import (
    CREATED_MS,
    GENESIS,
    DictState,
    certify,
    next_inputs,
    payload,
    tx,
)
from tests.unit.service.lone import Lone

ONE_VALIDATOR = replace(
    GENESIS, validators=ValidatorSet(0, GENESIS.validators.validators[:1], GENESIS.suite)
)


def own_tx(document: str) -> VerifiedTransaction:
    return tx(payload(document), chain_id=ONE_VALIDATOR.chain_id)


def proposed(node: Lone) -> list[int]:
    """Return how many transactions each block holds that was logged."""
    records = [
        decode_log_record(kind, data, GENESIS.suite.signature_size)
        for kind, data in node.log.records
    ]
    return [len(each.transactions) for each in records if isinstance(each, BlockRecord)]


def test_a_primary_with_nothing_includable_waits_instead_of_asking_itself_for_ever() -> None:
    primary = Lone(0)
    too_early_for_any_block = CREATED_MS + 1_000 + TX_LIFETIME_MS_MAX + 20
    primary.admit(tx(payload("early"), not_after_ms=too_early_for_any_block), 0)
    assert not primary.log.records
    assert primary.engine.deadline() <= 100  # it looks again before long
    primary.engine.tick(primary.at(100))
    assert primary.log.records  # by now the transaction can be included


def test_a_primary_whose_clock_is_behind_the_chain_waits_and_does_not_spin() -> None:
    primary = Lone(0)
    behind_ms = CREATED_MS - GENESIS.parameters.precision_ms  # T has to be after that of genesis
    asked = [Now(10, behind_ms)]
    primary.engine.admit([tx(payload("early"))], asked[0], from_client=True)
    while not primary.log.records and len(asked) < 100:
        due_ms = max(primary.engine.deadline(), asked[-1].monotonic_ms + 1)
        asked.append(Now(due_ms, behind_ms + due_ms - 10))
        primary.engine.tick(asked[-1])
    assert proposed(primary) == [1]
    assert len(asked) <= 3
    assert asked[-1].utc_ms > behind_ms


def test_a_primary_whose_pool_ran_empty_proposes_at_once_what_is_worth_a_block() -> None:
    primary = Lone(0)
    for elapsed_ms, document in enumerate(("first", "second", "third")):
        primary.admit(tx(payload(document)), elapsed_ms)
    assert proposed(primary) == [1, 2]


def test_while_a_block_is_under_way_the_next_waits_for_twice_as_much() -> None:
    primary = Lone(0)
    primary.engine.admit([tx(payload(f"{n}")) for n in range(3)], primary.at(0), from_client=True)
    for number in range(5):
        primary.admit(tx(payload(f"more {number}")), 1)
        assert proposed(primary) == [3]
    primary.admit(tx(payload("enough")), 1)
    assert proposed(primary) == [3, 6]


def test_while_a_block_is_under_way_a_full_batch_does_not_wait() -> None:
    one_each = replace(GENESIS, parameters=replace(GENESIS.parameters, block_txs_max=1))
    primary = Lone(0, one_each)
    for document in ("under way", "fills a block"):
        primary.admit(tx(payload(document), chain_id=one_each.chain_id), 0)
    assert proposed(primary) == [1, 1]


def test_a_block_under_way_that_is_overdue_is_waited_for_no_longer() -> None:
    primary = Lone(0)
    for document in ("under way", "waits"):
        primary.admit(tx(payload(document)), 10)
    overdue_ms = 10 + GENESIS.parameters.message_delay_ms
    primary.engine.tick(primary.at(overdue_ms - 1))
    assert primary.engine.deadline() == overdue_ms
    assert proposed(primary) == [1]
    primary.engine.tick(primary.at(overdue_ms))
    assert proposed(primary) == [1, 1]


def test_when_the_block_under_way_is_final_the_next_is_proposed_at_once() -> None:
    alone = Lone(0, ONE_VALIDATOR)
    for document in ("under way", "waits"):
        alone.admit(own_tx(document), 0)
    alone.make_durable(1)  # its PREPARE
    assert proposed(alone) == [1]
    alone.make_durable(2)  # its COMMIT
    assert alone.engine.height == 1
    assert proposed(alone) == [1, 1]


@pytest.mark.parametrize(("factor", "blocks"), [(0, 35), (RESERVE_FACTOR, 21)])
def test_how_many_blocks_a_standing_pool_makes(
    factor: int, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client keeps 60 transactions outstanding, ten more each ms; a block takes some 10 ms."""
    monkeypatch.setattr(proposing_module, "RESERVE_FACTOR", factor)
    alone = Lone(0, ONE_VALIDATOR)
    batches = [[own_tx(f"{batch}/{n}") for n in range(10)] for batch in range(60)]
    elapsed_ms = 0
    while alone.engine.counters.txs_committed < 600:
        elapsed_ms += 1
        if batches and alone.engine.mempool.pending_count <= 50:
            alone.engine.admit(batches.pop(), alone.at(elapsed_ms), from_client=True)
        if elapsed_ms % 5 == 0:  # each block takes two syncs
            alone.make_durable(elapsed_ms)
    assert alone.engine.height == blocks


def test_who_built_nothing_as_its_view_ended_hears_when_nothing_waits_any_more() -> None:
    node, due_ms = Lone(0), GENESIS.parameters.rotation_ms
    utc_ms = node.at(due_ms).utc_ms
    early = tx(payload("early"), not_after_ms=utc_ms + TX_LIFETIME_MS_MAX + 5)  # in no block yet
    node.admit(early, due_ms)
    node.make_durable(due_ms + 1)
    assert [each.view for each in node.said() if isinstance(each, ViewChange)] == [1]
    node.hear(1, new_view(1, [view_change(voter, 1) for voter in (1, 2, 3)]), due_ms + 2)
    executor = Executor(GENESIS)
    state = DictState(executor.genesis_block())
    inputs = replace(next_inputs(state, view=1), time_ms=utc_ms + 10)
    block = executor.execute(state, inputs, [early])
    prepared = vote(Phase.PREPARE, 1, block.header, 1)
    node.hear(1, Proposal(block.header, (early.transaction.tx_hash,), prepared), due_ms + 10)
    node.hear(2, CertifiedHeader(block.header, certify(block)), due_ms + 11)
    assert (node.engine.height, node.engine.mempool.pending_count) == (1, 0)
    for elapsed_ms in range(due_ms + 20, due_ms + 5 * GENESIS.parameters.view_timeout_ms, 50):
        node.engine.tick(node.at(elapsed_ms))
        node.make_durable(elapsed_ms)
    assert not any(isinstance(each, ViewChange) for each in node.said())


# ---------------------------------------------------------------------- without an engine around


class Proposing:
    """The proposer of the first primary at genesis, asked directly."""

    def __init__(self) -> None:
        executor = Executor(GENESIS)
        ledger = LedgerStore.open(MemoryStore(), GENESIS.suite, executor.genesis_block())
        name = GENESIS.validators.validators[0].validator_id
        recovery = recover(GENESIS, executor, ledger, (), validator_id=name)
        self.term = Term.of(recovery.epoch, recovery.anchor, name, Roster(GENESIS.validators))
        self.mempool, self.counters = Mempool(), Counters()
        effort = self.counters.efforts.execution
        self.undecided = Undecided(ledger, self.mempool, executor, effort)
        self.tip_digest, self.tip_ms = ledger.header_digest, ledger.header.time_ms
        self.proposer = Proposer(
            term=self.term,
            mempool=self.mempool,
            undecided=self.undecided,
            counters=self.counters,
        )

    def wait(self, *records: int) -> Proposing:
        """Have a transaction of so many records wait, for each number."""
        for count in records:
            documents = (f"{count} {n}" for n in range(count))
            self.mempool.add(tx(payload(*documents), not_after_ms=self.tip_ms + 600_000))
        return self

    def build(
        self, parent_digest: bytes, height: int, now: Now, degraded_to_ms: int | None = None
    ) -> ProposalBuilt:
        return self.proposer.build(BuildProposal(0, height, parent_digest, degraded_to_ms), now)

    def learn(self, built: ProposalBuilt, delay_ms: int) -> None:
        """Tell that a proposal leaves so long after it was stamped."""
        assert built.header is not None
        proposal = Proposal(built.header, built.tx_hashes, vote(Phase.PREPARE, 0, built.header, 0))
        self.proposer.learn_pace(proposal, Now(0, built.header.time_ms + delay_ms))

    def after(self, built: ProposalBuilt) -> ProposalBuilt:
        """Build on what was built, of the two that are worth it."""
        assert built.header is not None
        now = Now(monotonic_ms=0, utc_ms=built.header.time_ms + 1)
        return self.build(built.header.digest(GENESIS.suite), 2, now)


AT_0 = Now(monotonic_ms=0, utc_ms=CREATED_MS + 1_000)
LATE_MS = GENESIS.parameters.message_delay_ms // 4 + 1


def test_each_epochs_core_is_told_anew_that_work_waits() -> None:
    proposing = Proposing().wait(1)
    for _ in range(2):
        assert proposing.proposer.pool_change(AT_0) == PoolChanged(pending=True)
        assert proposing.proposer.pool_change(AT_0) is None
        proposing.proposer.begin(proposing.term)


def test_the_pool_is_looked_at_again_only_while_it_waits_untold() -> None:
    proposing = Proposing()
    assert proposing.proposer.due_ms() == []
    proposing.wait(1)
    assert proposing.proposer.due_ms() == [0]
    proposing.proposer.pool_change(AT_0)
    assert proposing.proposer.due_ms() == []


def test_what_is_built_is_counted_and_on_nothing_unknown() -> None:
    proposing = Proposing().wait(1)
    assert proposing.build(bytes(32), 1, AT_0).header is None
    assert proposing.counters.proposals_built == 0
    built = proposing.build(proposing.tip_digest, 1, AT_0)
    assert built.header is not None
    assert (len(built.tx_hashes), proposing.counters.proposals_built) == (1, 1)


def test_a_slot_above_a_block_under_way_is_kept_back_from_when_it_is_asked_for() -> None:
    proposing = Proposing().wait(1)
    first = proposing.build(proposing.tip_digest, 1, AT_0)
    assert first.header is not None
    proposing.wait(1)
    parent_digest = first.header.digest(GENESIS.suite)
    overdue_ms = GENESIS.parameters.message_delay_ms
    for elapsed_ms, is_built in ((0, False), (overdue_ms - 1, False), (overdue_ms, True)):
        now = Now(elapsed_ms, first.header.time_ms + 1)
        assert (proposing.build(parent_digest, 2, now).header is not None) is is_built


@pytest.mark.parametrize(
    ("behind_ms", "degraded", "is_built"),
    [
        (GENESIS.parameters.precision_ms - 1, False, True),
        (GENESIS.parameters.precision_ms, False, False),
        (GENESIS.parameters.precision_ms, True, True),
    ],
)
def test_who_is_behind_the_chain_by_more_than_clocks_may_be_stamps_degraded_blocks_alone(
    behind_ms: int, *, degraded: bool, is_built: bool
) -> None:
    proposing = Proposing().wait(1)
    now = Now(monotonic_ms=0, utc_ms=proposing.tip_ms - behind_ms)
    degraded_to_ms = proposing.tip_ms if degraded else None
    built = proposing.build(proposing.tip_digest, 1, now, degraded_to_ms)
    assert (built.header is not None) is is_built
    if built.header is not None:
        assert (built.header.time_ms, built.header.time_degraded) == (
            proposing.tip_ms + 1,
            degraded,
        )


@pytest.mark.parametrize(
    ("delay_ms", "degraded", "fits"),
    [(LATE_MS, False, False), (LATE_MS - 1, False, True), (LATE_MS, True, True)],
)
def test_a_proposal_that_left_late_halves_the_next_unless_its_t_was_not_the_clocks(
    delay_ms: int, *, degraded: bool, fits: bool
) -> None:
    proposing = Proposing().wait(601)
    degraded_to_ms = proposing.tip_ms + 1_000 if degraded else None
    first = proposing.build(proposing.tip_digest, 1, AT_0, degraded_to_ms)
    proposing.learn(first, delay_ms)
    proposing.wait(200, 101)
    assert len(proposing.after(first).tx_hashes) == (2 if fits else 1)


@pytest.mark.parametrize(("work_ms", "fits"), [(5, True), (500, False)])
def test_a_late_proposal_that_was_little_work_does_not_halve_the_next(
    work_ms: int, *, fits: bool
) -> None:
    proposing = Proposing().wait(601)
    readings_ns = itertools.count(step=work_ms * 1_000_000)
    proposing.counters.efforts.measure_by(lambda: next(readings_ns))
    first = proposing.build(proposing.tip_digest, 1, AT_0)
    proposing.learn(first, LATE_MS)
    proposing.wait(200, 101)
    assert len(proposing.after(first).tx_hashes) == (2 if fits else 1)


@pytest.mark.parametrize(
    ("reason", "is_halved"),
    [
        (Reason.TIMEOUT, True),
        (Reason.OTHERS, True),
        (Reason.ROTATION, False),
        (Reason.FAIRNESS, False),
        (Reason.CLOCK, False),
    ],
)
def test_after_a_view_that_failed_the_next_block_is_half_as_large(
    reason: Reason, *, is_halved: bool
) -> None:
    proposing = Proposing().wait(500, 500)
    proposing.proposer.note_left(reason)
    built = proposing.build(proposing.tip_digest, 1, AT_0)
    assert len(built.tx_hashes) == (1 if is_halved else 2)


def test_nothing_is_learnt_from_a_proposal_that_was_given_up() -> None:
    proposing = Proposing().wait(601)
    first = proposing.build(proposing.tip_digest, 1, AT_0)
    proposing.undecided.retain([])
    proposing.learn(first, LATE_MS)
    assert len(proposing.build(proposing.tip_digest, 1, AT_0).tx_hashes) == 1
