"""n consensus cores in one thread: what a core asks of its driver is done at once, messages follow.

The driver's part is reduced to the least that keeps the protocol whole: headers carry no
transactions, execution always agrees, every write is durable when made, and signatures are keyed
hashes. What is counted crosses the edges of the cores, so the counts are those of a real network
without loss.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from bench.keyed_hash import KEYED_HASH, signer
from node.chain.block import Header
from node.chain.certificate import Phase, Subject, Vote
from node.chain.epoch import Anchor
from node.chain.genesis import Genesis, Identity, Organisation, Parameters, Role
from node.chain.membership import Validator, ValidatorSet
from node.chain.validation import HeaderContext
from node.consensus import events as ev
from node.consensus.core import Core
from node.consensus.messages import Proposal, Status
from node.consensus.state import Recovered
from node.crypto.suite import Suite
from node.errors import InvariantViolation
from node.execution.apply import Executor

CREATED_MS = 1_760_000_000_000
YEAR_MS = 31_536_000_000
AGENCY = "agency-1"


@dataclass(slots=True)
class Counts:
    """What a network of cores did. A message to n - 1 validators counts n - 1 times."""

    blocks: int = 0
    messages: int = 0
    votes_sent: int = 0
    """Votes on the wire; a proposal carries its primary's PREPARE."""
    votes_signed: int = 0
    votes_checked: int = 0

    def per_block(self) -> Counts:
        """Return everything divided by the blocks, which must divide it."""
        divided = {}
        for name in ("messages", "votes_sent", "votes_signed", "votes_checked"):
            divided[name], rest = divmod(getattr(self, name), self.blocks)
            if rest:
                raise InvariantViolation(f"{name}: {getattr(self, name)} in {self.blocks} blocks")
        return Counts(blocks=1, **divided)


def genesis_of(validator_count: int, suite: Suite = KEYED_HASH) -> Genesis:
    """Return the genesis of `validator_count` validators and one agency with fixed keys."""
    numbers = range(1, validator_count + 1)
    return Genesis(
        suite=suite,
        name="bench",
        created_ms=CREATED_MS,
        testnet=True,
        parameters=Parameters(),
        organisations=tuple(
            Organisation(organisation_id=f"org-{n}", name=f"Org {n}", ca_certificate=b"\x30\x00")
            for n in numbers
        ),
        validators=ValidatorSet(
            0,
            tuple(
                Validator(
                    validator_id=f"validator-{n}",
                    organisation=f"org-{n}",
                    vote_key=signer(f"validator-{n}", suite).public_key.encoded,
                    cosignature_key=n.to_bytes(32, "big"),
                )
                for n in numbers
            ),
            suite,
        ),
        identities=(
            Identity(
                identity_id=AGENCY,
                organisation="org-1",
                role=Role.AGENCY,
                public_key=signer(AGENCY, suite).public_key.encoded,
                not_before_ms=CREATED_MS,
                not_after_ms=CREATED_MS + YEAR_MS,
            ),
        ),
    )


class CoreNetwork:
    """A network of cores at rest after genesis; `run` makes it decide blocks."""

    def __init__(self, validator_count: int) -> None:
        genesis = genesis_of(validator_count)
        self._genesis = genesis
        self._signers = [signer(v.validator_id) for v in genesis.validators.validators]
        first = Executor(genesis).genesis_block()
        self._headers = {first.digest: first.header}
        self._cores = [
            Core(
                validators=genesis.validators,
                me=me,
                parameters=genesis.parameters,
                context=HeaderContext.of_genesis(genesis),
                anchor=Anchor(0, first.digest),
                digest_of=lambda header: header.digest(KEYED_HASH),
                recovered=Recovered(tip=first.header, tip_digest=first.digest, recent=()),
            )
            for me in range(validator_count)
        ]
        self._queue: deque[tuple[int, ev.Event]] = deque()
        self._last_height = 0
        self.counts = Counts()
        for me in range(validator_count):
            self._queue.append((me, ev.Tick()))
        self._run_until_at_rest()  # each says once where it stands
        self.counts = Counts()

    def run(self, blocks: int) -> None:
        """Decide `blocks` more blocks everywhere."""
        self._last_height += blocks
        for me in range(len(self._cores)):
            self._queue.append((me, ev.PoolChanged(pending=True)))
        self._run_until_at_rest()
        heights = {core.tip.height for core in self._cores}
        if heights != {self._last_height}:
            raise InvariantViolation(f"expected height {self._last_height}, got {heights}")
        self.counts.blocks += blocks

    def _run_until_at_rest(self) -> None:
        while self._queue:
            me, event = self._queue.popleft()
            core = self._cores[me]
            match event:
                case ev.VoteReceived():
                    if not core.wants_vote(event.vote):
                        continue
                    self._check(event.vote)
                case ev.ProposalReceived():
                    if not core.wants_proposal(event.proposal):
                        continue
                    self._check(event.proposal.vote)
            for action in core.step(event, self._now):
                self._obey(me, action)

    @property
    def _now(self) -> ev.Now:
        """Delivery takes no time, but a block's T follows its parent's."""
        return ev.Now(0, CREATED_MS + self._last_height)

    def _check(self, vote: Vote) -> None:
        self.counts.votes_checked += 1
        if not vote.verify(self._genesis.chain_id, self._genesis.validators):
            raise InvariantViolation(f"the vote of {vote.validator} does not verify")

    def _obey(self, me: int, action: ev.Action) -> None:
        match action:
            case ev.BuildProposal():
                self._answer(me, self._build(me, action))
            case ev.Validate():
                self._answer(me, ev.Validated(action.header_digest, matches=True))
            case ev.CastProposal():
                height, digest = action.header.height, action.header_digest
                vote = self._sign(me, Subject(Phase.PREPARE, action.view, height, digest))
                proposal = Proposal(action.header, action.tx_hashes, vote)
                self._broadcast(me, ev.ProposalReceived(proposal, self._now.utc_ms))
                self.counts.votes_sent += len(self._cores) - 1
            case ev.CastVote():
                self._broadcast(me, ev.VoteReceived(self._sign(me, action.subject)))
                self.counts.votes_sent += len(self._cores) - 1
            case ev.Send(to=None, message=Status() as status):
                self._broadcast(me, ev.StatusReceived(me, status))
            case ev.Commit() | ev.Retain() | ev.Trace():
                pass
            case _:
                raise InvariantViolation(f"a network without faults never does this: {action}")

    def _build(self, me: int, action: ev.BuildProposal) -> ev.ProposalBuilt:
        if action.height > self._last_height:
            return ev.ProposalBuilt(action.view, action.height, None, ())
        parent = self._headers.pop(action.parent_digest)
        header = _next_header(parent, action, me)
        self._headers[header.digest(KEYED_HASH)] = header
        return ev.ProposalBuilt(action.view, action.height, header, ())

    def _sign(self, me: int, subject: Subject) -> Vote:
        """Sign a vote and count it at once: what is written here is durable."""
        self.counts.votes_signed += 1
        time_ms = self._now.utc_ms
        message = subject.sign_bytes(self._genesis.chain_id, self._genesis.validators, time_ms)
        vote = Vote(subject, me, time_ms, self._signers[me].sign(message), 0)
        self._answer(me, ev.OwnVoteDurable(vote))
        return vote

    def _answer(self, me: int, event: ev.Event) -> None:
        """Have a core take its driver's answer before anything that is still under way."""
        self._queue.appendleft((me, event))

    def _broadcast(self, me: int, event: ev.Event) -> None:
        others = [other for other in range(len(self._cores)) if other != me]
        self.counts.messages += len(others)
        self._queue.extend((other, event) for other in others)


def _next_header(parent: Header, action: ev.BuildProposal, proposer: int) -> Header:
    return replace(
        parent,
        height=action.height,
        view=action.view,
        time_ms=parent.time_ms + 1,
        parent=action.parent_digest,
        proposer=proposer,
        log_size=parent.log_size + 1,
    )
