"""The core alone: events in, actions out, one rule per test."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.certificate import Phase
from node.chain.validation import HeaderContext
from node.consensus.core import Core
from node.consensus.events import (
    BuildProposal,
    Commit,
    DecidedReceived,
    Now,
    PoolChanged,
    ProposalReceived,
    Trace,
    Validate,
    Validated,
    VoteReceived,
)
from node.consensus.messages import Proposal
from node.consensus.state import Recovered
from tests.unit.consensus.signing import certified, chain_of_blocks, vote
from tests.unit.execution.small_chain import GENESIS

BLOCKS = chain_of_blocks(3)
FIRST = BLOCKS[1]
PROPOSAL = Proposal(
    FIRST.header,
    tuple(tx.transaction.tx_hash for tx in FIRST.transactions),
    vote(Phase.PREPARE, 0, FIRST.header, 0),
)
NOW = Now(monotonic_ms=0, utc_ms=FIRST.header.time_ms)


def fresh_core(me: int) -> Core:
    return Core(
        validators=GENESIS.validators,
        me=me,
        parameters=GENESIS.parameters,
        context=HeaderContext.of_genesis(GENESIS),
        genesis_digest=BLOCKS[0].digest,
        digest_of=lambda header: header.digest(GENESIS.suite),
        recovered=Recovered(tip=BLOCKS[0].header, tip_digest=BLOCKS[0].digest, recent=()),
    )


def test_a_vote_is_wanted_only_while_the_quorum_needs_it_besides_those_sure_to_come() -> None:
    core = fresh_core(3)
    prepares = [vote(Phase.PREPARE, 0, FIRST.header, validator) for validator in range(3)]
    commits = [vote(Phase.COMMIT, 0, FIRST.header, validator) for validator in range(3)]
    # Without the proposal: the primary's PREPARE comes with it, the own one after it.
    assert core.wants_vote(prepares[1])
    core.step(VoteReceived(prepares[1]), NOW)
    assert not core.wants_vote(prepares[1])
    assert not core.wants_vote(prepares[2])
    core.step(ProposalReceived(PROPOSAL, NOW.utc_ms), NOW)
    assert not core.wants_vote(prepares[2])
    for commit in commits[:2]:
        assert core.wants_vote(commit)
        core.step(VoteReceived(commit), NOW)
    assert not core.wants_vote(commits[2])


def test_a_second_vote_for_another_header_is_always_wanted_as_evidence() -> None:
    core = fresh_core(3)
    core.step(VoteReceived(vote(Phase.COMMIT, 0, FIRST.header, 1)), NOW)
    other_header = replace(FIRST.header, time_ms=FIRST.header.time_ms + 1)
    assert core.wants_vote(vote(Phase.COMMIT, 0, other_header, 1))


def test_a_primary_that_knows_of_a_later_view_proposes_nothing_in_its_own() -> None:
    primary = fresh_core(0)
    later = chain_of_blocks(1, view=3)[1]
    primary.step(DecidedReceived(certified(later.header, Phase.COMMIT, view=3)), NOW)
    actions = primary.step(Validated(later.digest, matches=True), NOW)
    assert any(isinstance(action, Commit) for action in actions)
    actions = primary.step(PoolChanged(pending=True), NOW)
    assert not any(isinstance(action, BuildProposal) for action in actions)


@pytest.mark.parametrize(
    ("early_by_ms", "late_by_ms", "timely"),
    [(100, 0, True), (101, 0, False), (0, 600, True), (0, 601, False)],
)
def test_a_proposal_is_taken_up_only_if_its_time_fits_the_clock(
    early_by_ms: int, late_by_ms: int, *, timely: bool
) -> None:
    assert (GENESIS.parameters.precision_ms, GENESIS.parameters.message_delay_ms) == (100, 500)
    arrival_ms = FIRST.header.time_ms - early_by_ms + late_by_ms
    actions = fresh_core(3).step(ProposalReceived(PROPOSAL, arrival_ms), NOW)
    assert any(isinstance(action, Validate) for action in actions) == timely
    refusals = [action.rule for action in actions if isinstance(action, Trace)]
    assert refusals == ([] if timely else ["header-timely"])


def test_a_degraded_header_is_refused_where_no_view_change_allows_it() -> None:
    header = replace(FIRST.header, time_degraded=True)
    proposal = Proposal(header, PROPOSAL.tx_hashes, vote(Phase.PREPARE, 0, header, 0))
    actions = fresh_core(3).step(ProposalReceived(proposal, NOW.utc_ms), NOW)
    assert [action.rule for action in actions if isinstance(action, Trace)] == ["header-degraded"]
    assert not any(isinstance(action, Validate) for action in actions)
