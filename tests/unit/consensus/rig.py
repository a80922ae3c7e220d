"""One core, fed by hand: what it casts is durable at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from node.chain.block import Header
from node.chain.certificate import Phase, Vote
from node.chain.epoch import Anchor
from node.chain.genesis import Parameters
from node.chain.validation import HeaderContext
from node.consensus.core import Core
from node.consensus.events import (
    Action,
    CastProposal,
    CastViewChange,
    CastVote,
    DecidedReceived,
    Event,
    NewViewReceived,
    Now,
    OwnViewChangeDurable,
    OwnVoteDurable,
    PoolChanged,
    ProposalReceived,
    Tick,
    Validate,
    Validated,
    VoteReceived,
)
from node.consensus.messages import Proposal
from node.consensus.state import Recovered
from node.execution.apply import ExecutedBlock
from tests.unit.consensus.signing import (
    certified,
    chain_of_blocks,
    new_view,
    view_change,
    vote,
    vote_on,
)
from tests.unit.execution.small_chain import GENESIS

GENESIS_BLOCK, FIRST, SECOND = chain_of_blocks(2)
BACKUP = 3
TIMEOUT_MS = GENESIS.parameters.view_timeout_ms
FIRST_DECIDED = DecidedReceived(certified(FIRST.header, Phase.COMMIT))
OTHER = replace(FIRST.header, time_ms=FIRST.header.time_ms + 1)
"""The header of another block at the first height."""
Kind = TypeVar("Kind")


class Rig:
    """One core, a clock, and what came out of the last event."""

    def __init__(self, me: int = BACKUP, parameters: Parameters = GENESIS.parameters) -> None:
        self.me = me
        self.core = Core(
            validators=GENESIS.validators,
            me=me,
            parameters=parameters,
            context=HeaderContext.of_genesis(GENESIS),
            anchor=Anchor(0, GENESIS_BLOCK.digest),
            digest_of=lambda header: header.digest(GENESIS.suite),
            recovered=Recovered(
                tip=GENESIS_BLOCK.header, tip_digest=GENESIS_BLOCK.digest, recent=()
            ),
        )
        self.out: list[Action] = []
        self.now_ms = 0
        self.clock_is_fit = True
        self.utc_at_start_ms = SECOND.header.time_ms

    def feed(self, event: Event) -> Rig:
        """Give the core an event, and make what it casts durable at once."""
        now = Now(self.now_ms, self.utc_at_start_ms + self.now_ms, self.clock_is_fit)
        self.out = self.core.step(event, now)
        for action in self.out:
            match action:
                case CastVote(subject):
                    self.core.step(OwnVoteDurable(vote_on(subject, self.me)), now)
                case CastProposal(header, view=view):
                    own = vote(Phase.PREPARE, view, header, self.me)
                    self.core.step(OwnVoteDurable(own), now)
                case CastViewChange(leaving):
                    self.core.step(OwnViewChangeDurable(leaving), now)
                case _:
                    pass
        return self

    def propose(self, block: ExecutedBlock) -> Rig:
        return self.feed(ProposalReceived(proposal(block), block.header.time_ms))

    def validate(self, block: ExecutedBlock, *, matches: bool = True) -> Rig:
        return self.feed(Validated(block.digest, matches))

    def votes(self, phase: Phase, block: ExecutedBlock, *voters: int) -> Rig:
        for voter in voters:
            self.feed(VoteReceived(vote(phase, 0, block.header, voter)))
        return self

    def prepare(self, block: ExecutedBlock) -> Rig:
        """Bring a height up to the own PREPARE; with the primary's there are two of three."""
        return self.propose(block).validate(block)

    def last(self, duration_ms: int) -> Rig:
        """Let time pass, without work."""
        self.now_ms += duration_ms
        return self.feed(Tick())

    def leave(self) -> Rig:
        """Leave view 0 with work waiting."""
        self.feed(PoolChanged(pending=True))
        self.now_ms += TIMEOUT_MS
        return self.feed(Tick())


def proposal(block: ExecutedBlock) -> Proposal:
    hashes = tuple(tx.transaction.tx_hash for tx in block.transactions)
    return Proposal(block.header, hashes, vote(Phase.PREPARE, 0, block.header, 0))


def view_1(*, prepared: Sequence[ExecutedBlock] = ()) -> NewViewReceived:
    shown = [certified(block.header, Phase.PREPARE) for block in prepared]
    return NewViewReceived(new_view(1, [view_change(v, 1, prepared=shown) for v in range(3)]))


def of_kind(actions: list[Action], kind: type[Kind]) -> list[Kind]:
    return [action for action in actions if isinstance(action, kind)]


def own_vote(phase: Phase, view: int, header: Header = FIRST.header) -> Vote:
    return vote(phase, view, header, BACKUP)


def committed_first() -> Rig:
    return Rig().feed(FIRST_DECIDED).validate(FIRST)


def asked(rig: Rig, header: Header) -> Validate:
    """Return what was asked last about a header."""
    return [each for each in of_kind(rig.out, Validate) if each.header == header][-1]
