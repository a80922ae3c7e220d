"""Telling oracles, step by step, what a run would tell them, and so of mistakes no run makes.

A tale says what validators sign, log, send, hear and commit. Nothing of them runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from random import Random
from typing import Protocol

from node.chain.block import CertifiedHeader, Header
from node.chain.certificate import Phase, QuorumCertificate, Subject, Vote, build_certificate
from node.chain.genesis import Parameters
from node.chain.governance import Governance
from node.chain.record import Notarization, RecordAction
from node.chain.transaction import (
    TransactionBody,
    TransactionKind,
    VerifiedTransaction,
    sign_transaction,
)
from node.consensus.messages import NewView, Proposal, Reason, ViewChange
from node.execution.overlay import Overlay
from node.execution.state import BlockInputs, ExecutedBlock, StateReader
from node.service.engine import CommittedBlock, Output
from node.service.log_records import (
    BlockRecord,
    LogRecord,
    NewViewRecord,
    ViewChangeRecord,
    VoteRecord,
    encode_log_record,
)
from node.service.wire import Message, encode_message
from tests.simulation.adversaries.tricks import Trick
from tests.simulation.cluster import AGENCIES
from tests.simulation.governed import GovernedCluster
from tests.simulation.network import CALM
from tests.simulation.node import Machine
from tests.simulation.plan import Plan
from tests.simulation.test_rules import Case
from tests.simulation.workload import WorkloadProfile
from tests.simulation.world import MS, SECOND

PREPARE, COMMIT = Phase.PREPARE, Phase.COMMIT
VOTERS = (0, 1, 2)
"""A quorum of four."""
SPARE = 4
"""A node that is no validator yet."""


class Tale:
    """Founders of whom the oracles are told what they do, and spares; none of them runs."""

    def __init__(self, *liars: int, size: int = 4) -> None:
        self.size = size
        plan = Plan(
            size=size,
            parameters=Parameters(),
            machines=(Machine(),) * size,
            links=CALM,
            cut_links_hold=False,
            workload=WorkloadProfile(),
            byzantine=dict.fromkeys(liars, (Trick.LIE,)),
        )
        self.cluster = GovernedCluster(plan, Random(1))
        self.oracles, self.history = self.cluster.oracles, self.cluster.history
        self.places = self.cluster.places
        self.world, self.genesis = self.cluster.world, self.cluster.genesis
        self.suite, self.set = self.genesis.suite, self.genesis.validators
        self.correct = [number for number in range(size) if number not in liars]
        self._states: dict[bytes, StateReader] = {}
        """After each block, by its digest."""
        self._requests = 0
        self.world.run_until(SECOND)  # as time has to rise
        for conduct in self.oracles.conduct.values():
            conduct.final_height = partial(attrgetter("tip"), conduct)

    # ------------------------------------------------------------------ blocks

    def request(self, payload: Governance | None = None) -> VerifiedTransaction:
        """Return a new request, signed by a client now, to notarize unless something else."""
        self._requests += 1
        notarization = Notarization(
            digest_algorithm=1,
            type_code="licence",
            action=RecordAction.RECORD,
            digests=bytes(32),
        )
        body = TransactionBody(
            chain_id=self.genesis.chain_id,
            sender=AGENCIES[0],
            nonce=self._requests.to_bytes(16, "big"),
            not_after_ms=self.world.utc_ms + 590_000,
            kind=TransactionKind.GOVERN if payload else TransactionKind.NOTARIZE,
            payload=payload or notarization,
        )
        signer = self.cluster.ring.signer(AGENCIES[0])
        transaction = sign_transaction(body, signer, self.suite)
        self.history.note_signed(transaction, signer.public_key.encoded)
        return VerifiedTransaction(transaction, signer.public_key.encoded)

    def block(
        self,
        *transactions: VerifiedTransaction,
        on: ExecutedBlock | None = None,
        view: int = 0,
        time_ms: int | None = None,
        degraded: bool = False,
    ) -> ExecutedBlock:
        """Return a block, of a new request if none is given, executed on genesis or on another."""
        parent = self.places[0].ledger if on is None else self._states[on.digest]
        inputs = BlockInputs(
            height=parent.header.height + 1,
            view=view,
            time_ms=max(self.world.utc_ms, parent.header.time_ms + 1)
            if time_ms is None
            else time_ms,
            time_degraded=degraded,
            proposer=view % self.size,
        )
        executed = self.cluster.executor.execute(parent, inputs, transactions or [self.request()])
        self._states[executed.digest] = Overlay(parent, executed)
        return executed

    def altered(self, block: ExecutedBlock, header: Header) -> ExecutedBlock:
        """Return a block with another header."""
        return replace(block, header=header, digest=header.digest(self.suite))

    # ------------------------------------------------------------------ what is said

    def write(self, number: int, *records: LogRecord) -> None:
        """Have a validator append to its log."""
        self.places[number].log.append([encode_log_record(record) for record in records])

    def sync(self, *numbers: int) -> None:
        """Tell that what validators wrote is durable."""
        for number in numbers:
            log = self.places[number].log
            self.oracles.synced(self.places[number], log.synced(log.last_lsn))

    def vote(
        self,
        number: int,
        phase: Phase,
        block: ExecutedBlock,
        view: int = 0,
        time_ms: int | None = None,
        *,
        logs_block: bool = True,
    ) -> Vote:
        """Have a validator sign a vote, and log it, after its block if so told."""
        signed_ms = self.world.utc_ms if time_ms is None else time_ms
        subject = Subject(phase, view, block.header.height, block.digest)
        message = subject.sign_bytes(self.genesis.chain_id, self.set, signed_ms)
        signature = self.places[number].signer.sign(message)
        vote = Vote(subject, number, signed_ms, signature, self.set.epoch)
        bodies = tuple(each.transaction.encoded for each in block.transactions)
        blocks = [BlockRecord(block.header, bodies)] if logs_block else []
        self.write(number, *blocks, VoteRecord(vote))
        return vote

    def leave(
        self,
        number: int,
        view: int,
        *,
        committed: Sequence[CertifiedHeader] = (),
        prepared: Sequence[CertifiedHeader] = (),
        clock_bit: bool = False,
        clock_ms: int | None = None,
        reason: Reason = Reason.TIMEOUT,
    ) -> ViewChange:
        """Have a validator sign and log a VIEW-CHANGE."""
        unsigned = ViewChange(
            epoch=self.set.epoch,
            view=view,
            validator=number,
            committed=tuple(committed),
            prepared=tuple(prepared),
            clock_bit=clock_bit,
            clock_ms=self.world.utc_ms if clock_ms is None else clock_ms,
            reason=reason,
        )
        signature = self.places[number].signer.sign(unsigned.sign_bytes(self.genesis.chain_id))
        view_change = replace(unsigned, signature=signature)
        self.write(number, ViewChangeRecord(view_change))
        return view_change

    def begin(
        self, view: int, view_changes: Sequence[ViewChange], by: int | None = None
    ) -> NewView:
        """Have the primary of a view, or another, sign and log its NEW-VIEW, and tell it."""
        number = view % self.size if by is None else by
        unsigned = NewView(epoch=self.set.epoch, view=view, view_changes=tuple(view_changes))
        signature = self.places[number].signer.sign(unsigned.sign_bytes(self.genesis.chain_id))
        new_view = replace(unsigned, signature=signature)
        self.write(number, NewViewRecord(new_view))
        self.tell(new_view, but=number)
        return new_view

    def hear(self, number: int, *messages: Message, peer: int | None = None) -> None:
        """Tell that a frame is delivered to a correct validator, of the next one or another."""
        frame = [encode_message(message) for message in messages]
        sender = (number + 1) % self.size if peer is None else peer
        self.oracles.hearing(self.places[number], sender, frame)

    def tell(self, *messages: Message, but: int | None = None) -> None:
        """Have all that are correct hear messages, but who says them."""
        for message in messages:
            sender = getattr(message, "validator", but)
            for number in self.correct:
                if number != sender:
                    self.hear(number, message)

    def send(self, number: int, message: Message) -> None:
        """Tell that a correct validator sends a message."""
        self.oracles.sending(
            self.places[number], (number + 1) % self.size, [encode_message(message)]
        )

    # ------------------------------------------------------------------ whole steps

    def propose(self, block: ExecutedBlock, view: int = 0) -> Vote:
        """Have the primary of a view propose a block; all that are correct hear it."""
        vote = self.vote(view % self.size, PREPARE, block, view)
        self.pass_on(block, vote)
        return vote

    def pass_on(self, block: ExecutedBlock, vote: Vote) -> None:
        """Have all that are correct hear a block proposed with a vote of its primary, or again."""
        hashes = tuple(each.transaction.tx_hash for each in block.transactions)
        self.tell(Proposal(block.header, hashes, vote), but=vote.validator)

    def prepare(
        self, block: ExecutedBlock, view: int = 0, voters: Sequence[int] = VOTERS
    ) -> QuorumCertificate:
        """Have a block proposed and prepared by voters, the primary among them."""
        votes = [self.propose(block, view)]
        votes += [
            self.vote(number, PREPARE, block, view)
            for number in voters
            if number != view % self.size
        ]
        self.tell(*votes)
        return build_certificate(votes, self.set)

    def commit(
        self,
        block: ExecutedBlock,
        view: int = 0,
        voters: Sequence[int] = VOTERS,
        time_ms: int | None = None,
    ) -> QuorumCertificate:
        """Have voters sign COMMIT."""
        votes = [self.vote(number, COMMIT, block, view, time_ms) for number in voters]
        return build_certificate(votes, self.set)

    def vote_late(self, number: int, delay_ms: int, view: int = 0) -> None:
        """Have a proposal come so long after its T, or before it, and be voted for in a turn."""
        block = self.block(view=view, time_ms=self.world.utc_ms - min(delay_ms, 0))
        self.world.run_until(self.world.now_us + max(delay_ms, 0) * MS)
        self.propose(block, view)
        self.vote(number, PREPARE, block, view)
        self.turn(number)

    def decide(
        self, block: ExecutedBlock, view: int = 0, voters: Sequence[int] = VOTERS
    ) -> QuorumCertificate:
        """Have a block prepared and committed, durably."""
        self.prepare(block, view, voters)
        certificate = self.commit(block, view, voters)
        self.sync(*(number for number in self.correct if number in voters))
        return certificate

    def turn(self, number: int, *blocks: tuple[ExecutedBlock, QuorumCertificate]) -> None:
        """Tell that a correct validator took a turn, in which blocks became final at it."""
        committed = [CommittedBlock(*block) for block in blocks]
        self.oracles.turned(self.places[number], Output(committed=committed))

    def restart(self, *numbers: int, spared: bool = False) -> None:
        """Tell that correct validators started again, what was not synced lost, or spared."""
        for number in numbers:
            self.places[number].log.crash(_NothingKept(), power_loss=not spared)
            self.oracles.crashed(self.places[number])
            self.places[number].life += 1
            self.oracles.started(self.places[number])


class _NothingKept(Random):
    """What draws that the disk has kept nothing of what was not synced."""

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        del start, stop, step
        return 0


def forged(view_change: ViewChange) -> ViewChange:
    """Return a VIEW-CHANGE whose signature is over another one."""
    return replace(view_change, clock_ms=view_change.clock_ms + 1)


class Telling(Protocol):
    """A tale, with its mistake or without."""

    __name__: str

    def __call__(self, *, wrong: bool) -> object:
        """Tell it; raises `Violation`."""


def told(says: str, cases: list[Case]) -> Callable[[Telling], Telling]:
    """Have a tale, told with or without its mistake, be a case of a rule."""

    def keep(tell: Telling) -> Telling:
        cases.append(Case(says, tell.__name__, lambda _, wrong: tell(wrong=wrong)))
        return tell

    return keep


def test_oracles_are_content_with_a_tale_of_blocks_views_and_crashes() -> None:
    tale = Tale(3)
    first = tale.block()
    certificate = tale.decide(first)
    for number in VOTERS:
        tale.turn(number, (first, certificate))
    second = tale.block(on=first)
    final = CertifiedHeader(first.header, certificate)
    prepared = CertifiedHeader(second.header, tale.prepare(second))
    left = [tale.leave(number, 1, committed=[final], prepared=[prepared]) for number in VOTERS]
    tale.tell(*left)
    tale.sync(*VOTERS)
    tale.begin(1, left)
    certificate = tale.decide(second, view=1, voters=(1, 0, 2))
    for number in VOTERS:
        tale.turn(number, (second, certificate))
    third = tale.block(on=second, view=1)
    tale.prepare(third, view=1, voters=(1, 0, 2))
    assert [header.height for header in tale.history.headers] == [0, 1, 2]
