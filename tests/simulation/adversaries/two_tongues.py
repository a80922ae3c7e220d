"""Liars that tell one peer this and another that: blocks, votes and views that contradict."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase, Subject, Vote
from node.chain.transaction import VerifiedTransaction
from node.consensus.messages import NewView, Proposal, ViewChange
from node.errors import PeerError
from node.execution.apply import BlockInputs, ExecutedBlock, StateReader
from node.execution.overlay import Overlay
from node.execution.registry import sender_key
from node.service.wire import Bodies, Message, WantBodies
from tests.simulation.adversaries.speaker import Speaker
from tests.simulation.adversaries.tricks import Trick

REPEATED_BLOCKS = 8
"""From how far back a transaction is repeated that is final."""


@dataclass(frozen=True, slots=True)
class Fork:
    """A block made to contradict another, on the state it stands on."""

    executed: ExecutedBlock
    parent: StateReader


class Oblivious:
    """A state as if no transaction were on the chain yet, so that a block repeats what is final."""

    def __init__(self, state: StateReader) -> None:
        self._state = state
        self.header, self.header_digest = state.header, state.header_digest
        self.log_frontier = state.log_frontier
        self.get, self.digest_at = state.get, state.digest_at
        self.tree, self.bucket = state.tree, state.bucket

    def has_transaction(self, tx_id: bytes) -> bool:
        """Return False."""
        del tx_id
        return False

    def find_held(self, tx_ids: Sequence[bytes]) -> bytes | None:
        """Return None."""
        del tx_ids
        return None


class TwoTongues:
    """Makes what contradicts the own messages, and remembers it, as it has to fit together."""

    def __init__(self, speaker: Speaker, tricks: Collection[Trick]) -> None:
        self._speaker, self._tricks = speaker, tricks
        self._forks: dict[bytes, Fork] = {}
        """By the digest of the block that each contradicts."""
        self._bodies: dict[bytes, tuple[bytes, ...]] = {}
        """By the digest of each made block, its transactions."""
        self._supplanted: dict[int, Fork] = {}
        """By the view that began with it."""
        self.leaving: dict[int, dict[int, ViewChange]] = {}
        """The VIEW-CHANGEs heard, by view and sender."""

    # ------------------------------------------------------------------ blocks

    def other_proposal(self, message: Message) -> Proposal | None:
        """Return a proposal for the same height and view that contradicts `message`."""
        if not isinstance(message, Proposal) or message.vote.validator != self._speaker.index:
            return None
        digest = message.vote.subject.header_digest
        fork = self._forks.get(digest)
        if fork is None:
            fork = self._fork(message)
            if fork is None:
                return None
            self._forks[digest] = fork
        return self._proposed(fork)

    def other_vote(self, message: Message) -> Vote | None:
        """Return a vote for what contradicts the header that `message` is a vote for."""
        if not isinstance(message, Vote) or message.validator != self._speaker.index:
            return None
        subject = message.subject
        fork = self._forks.get(subject.header_digest)
        if fork is None:
            return None
        other = Subject(subject.phase, subject.view, subject.height, fork.executed.digest)
        return self._speaker.vote(other)

    def bodies(self, message: Message) -> Bodies | None:
        """Return the bodies of a made block that a peer asks for."""
        if not isinstance(message, WantBodies) or message.header_digest not in self._bodies:
            return None
        transactions = self._bodies[message.header_digest]
        return Bodies(message.header_digest, not message.tx_hashes, transactions)

    def supplanting(self, message: Message) -> Proposal | None:
        """Return a new block for the first height that the view of `message`, its own, carries."""
        core = self._speaker.core
        if not isinstance(message, NewView) or (message.view, True) != (
            core.view,
            core.view_active,
        ):
            return None
        fork = self._supplanted.get(core.view)
        if fork is None:
            ledger = self._speaker.ledger
            slot = core.slots.get(ledger.tip_height + 1)
            if slot is None or slot.header is None or slot.header.parent != ledger.header_digest:
                return None
            fork = self._executed(
                ledger, slot.height, core.view, self._now_after(ledger), self._waiting()
            )
            if fork is None:
                return None
            self._supplanted[core.view] = fork
        return self._proposed(fork)

    def _now_after(self, parent: StateReader) -> int:
        return max(self._speaker.validator.now().utc_ms, parent.header.time_ms + 1)

    def _waiting(self) -> list[VerifiedTransaction]:
        pool = self._speaker.engine.mempool
        many = 1 << 40
        return pool.take(time_ms=0, txs_max=5, bytes_max=many, records_max=many)

    def _fork(self, proposal: Proposal) -> Fork | None:
        header, random, ledger = proposal.header, self._speaker.random, self._speaker.ledger
        below = self._forks.get(header.parent)
        parent: StateReader | None = None
        if below is not None:
            parent = Overlay(below.parent, below.executed)
        elif ledger.header_digest == header.parent:
            parent = ledger
        if parent is None:
            return None
        bodies = [self._speaker.engine.mempool.get(tx_hash) for tx_hash in proposal.tx_hashes]
        transactions = [body for body in bodies if body is not None]
        random.shuffle(transactions)
        kept = random.randrange(1, len(transactions) + 1) if transactions else 0
        time_ms = header.time_ms + (self._shift_ms() if Trick.MISDATE in self._tricks else 1)
        return self._executed(parent, header.height, header.view, time_ms, transactions[:kept])

    def _executed(
        self,
        parent: StateReader,
        height: int,
        view: int,
        time_ms: int,
        transactions: Sequence[VerifiedTransaction],
    ) -> Fork | None:
        speaker = self._speaker
        inputs = BlockInputs(
            height=height,
            view=view,
            time_ms=time_ms,
            time_degraded=False,
            proposer=speaker.index,
        )
        on: StateReader | Oblivious = parent
        if Trick.REPEAT_FINAL in self._tricks:
            repeated = self._final()
            if repeated is not None:
                on = Oblivious(parent)
                txs_max = speaker.term.epoch.parameters.block_txs_max
                transactions = [*transactions, repeated][-txs_max:]
        with suppress(PeerError):
            executed = speaker.validator.executor.execute(on, inputs, transactions)
            bodies = tuple(verified.transaction.encoded for verified in transactions)
            self._bodies[executed.digest] = bodies
            return Fork(executed, parent)
        return None

    def _final(self) -> VerifiedTransaction | None:
        """Return a transaction that is on the chain."""
        speaker = self._speaker
        tip = speaker.ledger.tip_height
        if not tip:
            return None
        height = speaker.random.randrange(max(1, tip - REPEATED_BLOCKS), tip + 1)
        block = speaker.ledger.certified_block(height)
        if block is None or not block.transactions:
            return None
        transaction = speaker.random.choice(block.transactions)
        key = sender_key(speaker.ledger, transaction.body.sender)
        return None if key is None else VerifiedTransaction(transaction, key)

    def _shift_ms(self) -> int:
        return self._speaker.random.choice((-5_000, -700, -90, 90, 160, 5_000))

    def _proposed(self, fork: Fork) -> Proposal:
        executed = fork.executed
        header = executed.header
        subject = Subject(Phase.PREPARE, header.view, header.height, executed.digest)
        hashes = tuple(tx.transaction.tx_hash for tx in executed.transactions)
        return Proposal(header, hashes, self._speaker.vote(subject))

    # ------------------------------------------------------------------ views

    def hiding(self, message: Message) -> ViewChange | None:
        """Return the same VIEW-CHANGE showing less, or what was true some blocks ago."""
        speaker, random = self._speaker, self._speaker.random
        if not isinstance(message, ViewChange) or message.validator != speaker.index:
            return None
        tip = message.committed[-1].header.height if message.committed else 0
        lowest = speaker.term.anchor.height
        older = max(lowest, tip - random.randrange(4)) if message.committed else tip
        window = speaker.term.epoch.parameters.window_slots
        committed = []
        for height in range(max(lowest + 1, older - window + 1), older + 1):
            block = speaker.ledger.certified_block(height)
            if block is not None:
                committed.append(CertifiedHeader(block.header, block.certificate))
        kept = random.randrange(len(message.prepared) + 1)
        shown = () if older < tip else tuple(islice(message.prepared, kept))
        return speaker.view_change(
            ViewChange(
                epoch=message.epoch,
                view=message.view,
                validator=message.validator,
                committed=tuple(committed),
                prepared=shown,
                clock_bit=message.clock_bit,
                clock_ms=message.clock_ms,
                reason=message.reason,
            )
        )

    def other_new_view(self, message: Message) -> NewView | None:
        """Return a NEW-VIEW for the same view from another quorum."""
        if not isinstance(message, NewView) or not message.view_changes:
            return None
        known = {view_change.validator: view_change for view_change in message.view_changes}
        known |= self.leaving.get(message.view, {})
        own = known.get(self._speaker.index)
        hidden = None if own is None else self.hiding(own)
        if hidden is not None:
            known[self._speaker.index] = hidden
        quorum = self._speaker.term.epoch.validators.quorum
        chosen = sorted(self._speaker.random.sample(sorted(known), min(quorum, len(known))))
        return self._speaker.new_view(message.view, [known[validator] for validator in chosen])
