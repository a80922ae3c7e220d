"""The core at the end of its epoch: nothing above a barrier, nothing after it, and who follows."""

from __future__ import annotations

from dataclasses import replace

from node.chain.block import Header
from node.chain.certificate import Phase
from node.chain.epoch import Anchor
from node.chain.membership import ValidatorSet
from node.chain.validation import HeaderContext
from node.consensus.core import NO_MEMBER, Core
from node.consensus.events import (
    Action,
    BuildProposal,
    CastViewChange,
    CastVote,
    Commit,
    DecidedReceived,
    Event,
    Now,
    PoolChanged,
    ProposalBuilt,
    ProposalReceived,
    Send,
    Tick,
    Validate,
    Validated,
    ViewChangeReceived,
    VoteReceived,
)
from node.consensus.messages import Proposal
from node.consensus.new_view import new_view
from node.consensus.state import Recovered
from tests.unit.consensus.signing import certified, chain_of_blocks, view_change, vote
from tests.unit.execution.small_chain import GENESIS

GENESIS_BLOCK, FIRST, SECOND, THIRD = chain_of_blocks(3)
NEXT_SET = ValidatorSet(1, GENESIS.validators.validators, GENESIS.suite)
BARRIER = replace(FIRST.header, next_set_digest=NEXT_SET.digest)
"""The block after genesis, had it changed the set."""
NOW = Now(monotonic_ms=0, utc_ms=FIRST.header.time_ms)


def digest_of(header: Header) -> bytes:
    return header.digest(GENESIS.suite)


def make_core(
    me: int, *, tip: Header = GENESIS_BLOCK.header, validators: ValidatorSet = GENESIS.validators
) -> Core:
    return Core(
        validators=validators,
        me=me,
        parameters=GENESIS.parameters,
        context=HeaderContext.of(GENESIS.chain_id, validators, GENESIS.parameters),
        anchor=Anchor(tip.height, digest_of(tip)),
        digest_of=digest_of,
        recovered=Recovered(tip=tip, tip_digest=digest_of(tip), recent=()),
    )


def proposal(header: Header) -> Proposal:
    tx_hashes = tuple(tx.transaction.tx_hash for tx in FIRST.transactions)
    return Proposal(header, tx_hashes, vote(Phase.PREPARE, 0, header, header.proposer))


def feed(core: Core, *events: Event) -> list[Action]:
    return [action for event in events for action in core.step(event, NOW)]


def above(parent: Header) -> Header:
    return replace(SECOND.header, parent=digest_of(parent))


def test_nothing_is_accepted_above_an_accepted_barrier() -> None:
    core = make_core(3)
    child = above(BARRIER)
    feed(core, ProposalReceived(proposal(BARRIER), NOW.utc_ms))
    assert core.window_top == 1
    later = NOW.utc_ms + 1_000
    actions = feed(
        core,
        Validated(digest_of(BARRIER), matches=True),
        ProposalReceived(proposal(child), later),
        *[VoteReceived(vote(Phase.PREPARE, 0, child, index)) for index in range(3)],
    )
    assert not any(isinstance(a, Validate) and a.header == child for a in actions)
    heights = [a.subject.height for a in actions if isinstance(a, CastVote)]
    assert heights == [1]


def test_without_a_barrier_the_window_is_open() -> None:
    core = make_core(3)
    feed(core, ProposalReceived(proposal(FIRST.header), NOW.utc_ms))
    assert core.window_top == 2


def test_a_decided_barrier_closes_the_window_before_its_bodies_are_here() -> None:
    core = make_core(3)
    feed(core, DecidedReceived(certified(BARRIER, Phase.COMMIT)))
    assert core.tip.height == 0
    assert core.window_top == 1


def test_a_primary_proposes_nothing_on_its_own_barrier() -> None:
    core = make_core(0)
    (build,) = [a for a in feed(core, PoolChanged(pending=True)) if isinstance(a, BuildProposal)]
    assert build.height == 1
    actions = feed(core, ProposalBuilt(0, 1, BARRIER, ()), PoolChanged(pending=True))
    assert not any(isinstance(action, BuildProposal) for action in actions)


def test_once_its_barrier_is_final_a_core_is_over() -> None:
    core = make_core(3)
    actions = feed(
        core,
        PoolChanged(pending=True),
        DecidedReceived(certified(BARRIER, Phase.COMMIT)),
        Validated(digest_of(BARRIER), matches=True),
    )
    assert [a.header for a in actions if isinstance(a, Commit)] == [BARRIER]
    assert core.has_ended
    leaving = [ViewChangeReceived(view_change(index, 1)) for index in range(3)]
    assert feed(core, *leaving, Tick(), ProposalReceived(proposal(above(BARRIER)), 0)) == []


def test_the_next_core_begins_in_view_0_on_the_barrier() -> None:
    header = replace(BARRIER, view=4)
    core = make_core(3, tip=header, validators=NEXT_SET)
    assert (core.view, core.window_top, core.has_ended) == (0, 3, False)
    start = new_view([view_change(0, 1)], Anchor(1, digest_of(header)), digest_of, NEXT_SET)
    assert (start.base, start.carried) == ((), ())


def test_a_node_outside_the_set_commits_what_is_decided_and_casts_nothing() -> None:
    core = make_core(NO_MEMBER)
    heard: list[Event] = [
        PoolChanged(pending=True),
        ProposalReceived(proposal(FIRST.header), NOW.utc_ms),
        Validated(FIRST.digest, matches=True),
        *[VoteReceived(vote(Phase.COMMIT, 0, FIRST.header, index)) for index in range(3)],
        *[ViewChangeReceived(view_change(index, 1)) for index in range(3)],
    ]
    assert [type(action) for action in feed(core, *heard)] == [Send]  # where it stands
    assert not core.wants_vote(vote(Phase.COMMIT, 0, FIRST.header, 0))
    assert not core.wants_proposal(proposal(FIRST.header))
    actions = feed(
        core,
        DecidedReceived(certified(FIRST.header, Phase.COMMIT)),
        Validated(FIRST.digest, matches=True),
    )
    assert [a.header for a in actions if isinstance(a, Commit)] == [FIRST.header]
    for monotonic_ms in (10**9, 2 * 10**9, 3 * 10**9):
        actions = core.step(Tick(), Now(monotonic_ms, NOW.utc_ms))
        assert not any(isinstance(a, CastVote | CastViewChange) for a in actions)


def test_a_context_tells_a_barrier_and_a_child_of_one() -> None:
    assert HeaderContext.of_genesis(GENESIS).ends_with(BARRIER)
    assert not HeaderContext.of_genesis(GENESIS).ends_with(FIRST.header)
    assert not HeaderContext.of(GENESIS.chain_id, NEXT_SET, GENESIS.parameters).ends_with(BARRIER)
