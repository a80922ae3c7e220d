"""Byzantine validators: the real engine, with what it sends twisted by tricks, under its own key.

They may do anything but sign for others. What they say before the network sees it goes through
`_twisted`; what they hear, through `receive`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from itertools import islice

from node.chain.block import CertifiedBlock, CertifiedHeader
from node.chain.certificate import Phase, Subject, Vote
from node.chain.transaction import VerifiedTransaction
from node.consensus.messages import NewView, Proposal, Reason, Status, ViewChange
from node.errors import NodeError, PeerError
from node.execution.apply import BlockInputs, ExecutedBlock, StateReader
from node.execution.overlay import Overlay
from node.limits import BLOCK_TXS_MAX
from node.service.engine import Engine, Output
from node.service.mempool import Mempool
from node.service.wire import (
    SYNC_BLOCKS_MAX,
    Blocks,
    Bodies,
    Message,
    MessageKind,
    Transactions,
    WantBlocks,
    WantBodies,
    decode_message,
    encode_message,
)
from tests.simulation.network import Frame
from tests.simulation.node import LogRecords, SimulatedValidator
from tests.simulation.world import MS

HEARD_MAX = 200
FLOOD_AT_ONCE = 20
FLOOD_MAX = 2_000
"""To each peer."""


class Trick(Enum):
    """One thing a Byzantine validator does besides following the protocol."""

    TWINS = "runs twice under one key, and peers see one of the two or both"
    EQUIVOCATE = "proposes two blocks for one height, and votes for either where it was proposed"
    MISDATE = "stamps its proposals with a false time"
    VOTE_FOR_ALL = "votes in both phases for every header it hears of"
    HIDE = "leaves certificates out of its VIEW-CHANGEs, differently for each peer"
    TWO_NEW_VIEWS = "starts a view from different quorums for different peers"
    LIE = "reports false heights and views"
    FORGE = "speaks for others, and starts views without a quorum"
    CLOCK = "has a clock that is far off"
    SLOW = "takes long to send anything, though never quite too long"
    FLOOD = "sends peers far more than anybody asked for"
    SILENT = "sends some kinds of message to nobody"
    SELECTIVE = "sends nothing to one peer after another"
    WITHHOLD = "never passes on a transaction, a body or a block"
    FALSE_BODIES = "answers with altered bodies and blocks"
    ABDICATE = "leaves the views it is primary of when it likes, and says that it was time"
    CENSOR = "proposes nothing of one client"
    GARBLE = "sends damaged messages"
    REPLAY = "sends old messages of others again"


class Unobserved:
    """The observer of validators that are not judged."""

    def started(self, validator: SimulatedValidator) -> None:
        """Ignore it."""

    def crashed(self, validator: SimulatedValidator) -> None:
        """Ignore it."""

    def turned(self, validator: SimulatedValidator, output: Output) -> None:
        """Ignore it."""

    def hearing(self, validator: SimulatedValidator, frame: Sequence[bytes]) -> None:
        """Ignore it."""

    def sending(self, validator: SimulatedValidator, peer: int, frame: Sequence[bytes]) -> None:
        """Ignore it."""

    def synced(self, validator: SimulatedValidator, records: LogRecords) -> None:
        """Ignore it."""

    def rotated(self, validator: SimulatedValidator, records: LogRecords) -> None:
        """Ignore it."""

    def overlooked(self, validator: SimulatedValidator) -> None:
        """Ignore it."""

    def halted(self, validator: SimulatedValidator, reason: str) -> None:
        """Ignore it."""


@dataclass(frozen=True, slots=True)
class Fork:
    """A block made to contradict another, on the state it stands on."""

    executed: ExecutedBlock
    parent: StateReader


class ChoosyPool(Mempool):
    """A pool that gives out nothing of one sender."""

    shunned = ""

    def take(
        self, *, time_ms: int, txs_max: int, bytes_max: int, records_max: int
    ) -> list[VerifiedTransaction]:
        """Return what to propose; what is shunned takes up no place."""
        taken = super().take(
            time_ms=time_ms, txs_max=BLOCK_TXS_MAX, bytes_max=bytes_max, records_max=records_max
        )
        return [tx for tx in taken if tx.transaction.body.sender != self.shunned][:txs_max]


class ByzantineValidator(SimulatedValidator):
    """A validator that plays tricks. Its own engine may fail over them: that ends nothing."""

    tricks: tuple[Trick, ...] = ()
    silent_kinds: tuple[MessageKind, ...] = ()

    def play(self, tricks: Sequence[Trick]) -> None:
        """Set what it does; draw what it is silent about."""
        self.tricks = tuple(tricks)
        count = self.world.random.randrange(1, 5)
        self.silent_kinds = tuple(self.world.random.sample(list(MessageKind), count))
        self._forks: dict[bytes, Fork] = {}
        """By the digest of the block that each contradicts."""
        self._voted: dict[Subject, None] = {}
        self._leaving: dict[int, dict[int, ViewChange]] = {}
        """The VIEW-CHANGEs heard, by view and sender."""
        self._heard: deque[bytes] = deque(maxlen=HEARD_MAX)
        self._flooded: Counter[int] = Counter()
        if Trick.CLOCK in self.tricks:
            self._utc_offset_ms += self.world.random.choice((-60_000, -900, 900, 60_000))

    def _make_pool(self) -> Mempool:
        pool = ChoosyPool(txs_max=self.machine.pool_txs_max)
        if Trick.CENSOR in self.tricks:
            names = [identity.identity_id for identity in self.genesis.identities]
            pool.shunned = self.world.random.choice(names)
        return pool

    def _take_turn(self, turn: Callable[[Engine], object]) -> None:
        with suppress(NodeError, LookupError):
            super()._take_turn(turn)

    # ------------------------------------------------------------------ what it hears

    def receive(self, peer: int, frame: Frame) -> None:
        if self.engine is not None:
            for data in frame:
                self._heard.append(data)
                if data[1:2] and data[1] in (
                    MessageKind.VOTE,
                    MessageKind.PROPOSAL,
                    MessageKind.VIEW_CHANGE,
                ):
                    self._listen(data)
        super().receive(peer, frame)

    def _listen(self, data: bytes) -> None:
        with suppress(NodeError):
            message = self._decoded(data)
            if isinstance(message, ViewChange):
                self._leaving.setdefault(message.view, {})[message.validator] = message
            elif Trick.VOTE_FOR_ALL in self.tricks:
                subject = message.vote.subject if isinstance(message, Proposal) else None
                if isinstance(message, Vote):
                    subject = message.subject
                if subject is not None:
                    self._vote_for_all(subject)

    def _vote_for_all(self, heard: Subject) -> None:
        for phase in Phase:
            subject = replace(heard, phase=phase)
            if subject in self._voted:
                continue
            self._voted[subject] = None
            vote = encode_message(self._vote(subject))
            for peer in range(self.genesis.validators.size):
                if peer != self.index and self.world.chance(700):
                    self.network.send(self.place, peer, [vote])

    # ------------------------------------------------------------------ what it says

    def _send(self, peer: int, frame: list[bytes]) -> None:
        twisted = [data for said in frame for data in self._twisted(peer, said)]
        if Trick.FLOOD in self.tricks and self._flooded[peer] < FLOOD_MAX:
            self._flooded[peer] += FLOOD_AT_ONCE
            twisted += [encode_message(self._unwanted()) for _ in range(FLOOD_AT_ONCE)]
        if Trick.ABDICATE in self.tricks and self.world.chance(20):
            twisted += self._abdication()
        if twisted and Trick.SLOW in self.tricks:
            delay_us = self.world.draw(self.genesis.parameters.view_timeout_ms * MS)
            self.world.after(delay_us, partial(self.network.send, self.place, peer, twisted))
        elif twisted:
            self.network.send(self.place, peer, twisted)

    def _unwanted(self) -> Message:
        """Return something sound of no use: each is another one, to be remembered in vain."""
        random = self.world.random
        core_view = self.engine.core.view if self.engine is not None else 0
        view, height = core_view + random.randrange(10_000), random.randrange(10_000)
        match random.randrange(6):
            case 0 | 1:
                subject = Subject(random.choice(list(Phase)), view, height, random.randbytes(32))
                return self._vote(subject)
            case 2:
                unsigned = ViewChange(
                    epoch=self.genesis.validators.epoch,
                    view=view + 1,
                    validator=self.index,
                    committed=(),
                    prepared=(),
                    clock_bit=False,
                    clock_ms=height,
                    reason=random.choice(list(Reason)),
                )
                return self._signed_view_change(unsigned)
            case 3:
                return WantBodies(height, random.randbytes(32), ())
            case 4:
                return WantBlocks(1, SYNC_BLOCKS_MAX)
            case _:
                return Transactions((random.randbytes(200),))

    def _abdication(self) -> list[bytes]:
        """Return a VIEW-CHANGE out of the view it is primary of; each peer may hear another."""
        if self.engine is None or not self.engine.core.view_active:
            return []
        core = self.engine.core
        if core.validators.primary(core.view) != self.index:
            return []
        unsigned = ViewChange(
            epoch=core.validators.epoch,
            view=core.view + self.world.random.choice((1, 1, 1, 3)),
            validator=self.index,
            committed=core.recent,
            prepared=(),
            clock_bit=False,
            clock_ms=0,
            reason=Reason.ROTATION,
        )
        return [encode_message(self._signed_view_change(unsigned))]

    def _twisted(self, peer: int, data: bytes) -> list[bytes]:
        """Return what `peer` is sent instead of `data`."""
        kind = MessageKind(data[1])
        if Trick.SILENT in self.tricks and kind in self.silent_kinds:
            return []
        if Trick.SELECTIVE in self.tricks and self._slighted() == peer:
            return []
        if Trick.WITHHOLD in self.tricks and kind in (
            MessageKind.TRANSACTIONS,
            MessageKind.BODIES,
            MessageKind.BLOCKS,
        ):
            return []
        said = self._reworded(peer, kind, data)
        if Trick.GARBLE in self.tricks and self.world.chance(100):
            said = self._damaged(said)
        if Trick.REPLAY in self.tricks and self._heard and self.world.chance(200):
            return [said, self.world.random.choice(self._heard)]
        return [said]

    def _reworded(self, peer: int, kind: MessageKind, data: bytes) -> bytes:
        tricks, random = self.tricks, self.world.random
        other_side = peer % 2 == 1
        message: Message | None = None
        if kind is MessageKind.PROPOSAL and (
            Trick.MISDATE in tricks or (Trick.EQUIVOCATE in tricks and other_side)
        ):
            message = self._other_proposal(self._decoded(data))
        elif kind is MessageKind.VOTE and Trick.EQUIVOCATE in tricks and other_side:
            message = self._other_vote(self._decoded(data))
        elif kind is MessageKind.VIEW_CHANGE and Trick.HIDE in tricks:
            message = self._hiding(self._decoded(data))
        elif kind is MessageKind.NEW_VIEW and Trick.TWO_NEW_VIEWS in tricks and other_side:
            message = self._other_new_view(self._decoded(data))
        elif Trick.FORGE in tricks and random.randrange(4) == 0:
            message = self._forged(self._decoded(data))
        elif kind is MessageKind.STATUS and Trick.LIE in tricks:
            message = Status(
                random.choice((0, 0, 0, 1)),
                random.randrange(20),
                random.randrange(2) == 0,
                random.choice((0, 5, 50, 10**9)),
            )
        elif kind is MessageKind.BODIES and Trick.FALSE_BODIES in tricks:
            message = self._false_bodies(self._decoded(data))
        elif kind is MessageKind.BLOCKS and Trick.FALSE_BODIES in tricks:
            message = self._false_blocks(self._decoded(data))
        return data if message is None else encode_message(message)

    def _slighted(self) -> int:
        return self.world.now_us // (700 * MS) % self.genesis.validators.size

    def _damaged(self, data: bytes) -> bytes:
        random = self.world.random
        if random.randrange(3) == 0:
            return data[: random.randrange(len(data))]
        damaged = bytearray(data)
        for _ in range(random.randrange(1, 4)):
            damaged[random.randrange(len(damaged))] = random.randrange(256)
        return bytes(damaged)

    # ------------------------------------------------------------------ two tongues

    def _other_proposal(self, message: Message) -> Proposal | None:
        """Return a proposal for the same height and view that contradicts `message`."""
        if not isinstance(message, Proposal) or message.vote.validator != self.index:
            return None
        header, digest = message.header, message.vote.subject.header_digest
        fork = self._forks.get(digest)
        if fork is None:
            fork = self._fork(message)
            if fork is None:
                return None
            self._forks[digest] = fork
        executed = fork.executed
        subject = Subject(Phase.PREPARE, header.view, header.height, executed.digest)
        return Proposal(
            executed.header,
            tuple(tx.transaction.tx_hash for tx in executed.transactions),
            self._vote(subject),
        )

    def _fork(self, proposal: Proposal) -> Fork | None:
        header, engine = proposal.header, self.engine
        below = self._forks.get(header.parent)
        parent: StateReader | None = None
        if below is not None:
            parent = Overlay(below.parent, below.executed)
        elif self.ledger.header_digest == header.parent:
            parent = self.ledger
        if parent is None or engine is None:
            return None
        bodies = [engine.mempool.get(tx_hash) for tx_hash in proposal.tx_hashes]
        transactions = [body for body in bodies if body is not None]
        self.world.random.shuffle(transactions)
        kept = self.world.random.randrange(1, len(transactions) + 1) if transactions else 0
        inputs = BlockInputs(
            height=header.height,
            view=header.view,
            time_ms=header.time_ms + (self._shift_ms() if Trick.MISDATE in self.tricks else 1),
            time_degraded=False,
            proposer=self.index,
        )
        with suppress(PeerError):
            return Fork(self.executor.execute(parent, inputs, transactions[:kept]), parent)
        return None

    def _shift_ms(self) -> int:
        return self.world.random.choice((-5_000, -700, -90, 90, 160, 5_000))

    def _other_vote(self, message: Message) -> Vote | None:
        if not isinstance(message, Vote) or message.validator != self.index:
            return None
        fork = self._forks.get(message.subject.header_digest)
        if fork is None:
            return None
        return self._vote(replace(message.subject, header_digest=fork.executed.digest))

    def _vote(self, subject: Subject) -> Vote:
        time_ms = self.now().utc_ms
        signed = subject.sign_bytes(self.genesis.chain_id, self.genesis.validators, time_ms)
        return Vote(subject, self.index, time_ms, self.signer.sign(signed), 0)

    def _hiding(self, message: Message) -> ViewChange | None:
        """Return the same VIEW-CHANGE showing less, or what was true some blocks ago."""
        if not isinstance(message, ViewChange) or message.validator != self.index:
            return None
        random = self.world.random
        tip = message.committed[-1].header.height if message.committed else 0
        older = max(0, tip - random.randrange(4))
        window = self.genesis.parameters.window_slots
        committed = []
        for height in range(max(1, older - window + 1), older + 1):
            block = self.ledger.certified_block(height)
            if block is not None:
                committed.append(CertifiedHeader(block.header, block.certificate))
        kept = random.randrange(len(message.prepared) + 1)
        showing = replace(
            message,
            committed=tuple(committed),
            prepared=() if older < tip else tuple(islice(message.prepared, kept)),
            signature=b"",
        )
        return self._signed_view_change(showing)

    def _signed_view_change(self, unsigned: ViewChange) -> ViewChange:
        signature = self.signer.sign(unsigned.sign_bytes(self.genesis.chain_id))
        return replace(unsigned, signature=signature)

    def _forged(self, message: Message) -> Message | None:
        """Return a message in another's name, or one that rests on less than it has to."""
        random, size = self.world.random, self.genesis.validators.size
        another = random.randrange(size)
        match message:
            case Vote():
                return replace(message, validator=another)
            case Proposal():
                return replace(message, tx_hashes=message.tx_hashes[1:])
            case ViewChange(prepared=prepared) if prepared and random.randrange(2):
                votes = prepared[-1].certificate.votes
                fewer = replace(prepared[-1].certificate, votes=votes[1:])
                unsound = replace(prepared[-1], certificate=fewer)
                return self._signed_view_change(replace(message, prepared=(unsound,)))
            case ViewChange():
                return self._signed_view_change(replace(message, validator=another))
            case NewView(view_changes=view_changes):
                chosen = random.choice((view_changes[1:], view_changes[:1] * len(view_changes)))
                forged = replace(message, view_changes=chosen, signature=b"")
                signature = self.signer.sign(forged.sign_bytes(self.genesis.chain_id))
                return replace(forged, signature=signature)
            case _:
                return None

    def _other_new_view(self, message: Message) -> NewView | None:
        """Return a NEW-VIEW for the same view from another quorum."""
        if not isinstance(message, NewView) or not message.view_changes:
            return None
        known = {view_change.validator: view_change for view_change in message.view_changes}
        known |= self._leaving.get(message.view, {})
        own = known.get(self.index)
        hidden = None if own is None else self._hiding(own)
        if hidden is not None:
            known[self.index] = hidden
        quorum = self.genesis.validators.quorum
        chosen = sorted(self.world.random.sample(sorted(known), min(quorum, len(known))))
        other = NewView(
            epoch=message.epoch,
            view=message.view,
            view_changes=tuple(known[validator] for validator in chosen),
        )
        signature = self.signer.sign(other.sign_bytes(self.genesis.chain_id))
        return replace(other, signature=signature)

    def _false_bodies(self, message: Message) -> Bodies | None:
        if not isinstance(message, Bodies) or not message.transactions:
            return None
        transactions = list(message.transactions)
        which = self.world.random.randrange(len(transactions))
        trick = self.world.random.randrange(3)
        if trick == 0:
            del transactions[which]
        elif trick == 1:
            transactions.append(transactions[which])
        else:
            transactions[which] = self._damaged(transactions[which])
        return replace(message, transactions=tuple(transactions))

    def _false_blocks(self, message: Message) -> Blocks | None:
        if not isinstance(message, Blocks) or not message.blocks:
            return None
        random = self.world.random
        blocks = list(message.blocks)
        which = random.randrange(len(blocks))
        block = CertifiedBlock.decode(blocks[which], self.genesis.suite)
        trick = random.randrange(4)
        if trick == 0:
            false = replace(block, header=replace(block.header, time_ms=block.header.time_ms + 1))
        elif trick == 1:
            false = replace(block, transactions=block.transactions[1:])
        elif trick == 2:
            votes = block.certificate.votes
            false = replace(block, certificate=replace(block.certificate, votes=votes[1:]))
        else:
            del blocks[which]
            return replace(message, blocks=tuple(blocks))
        blocks[which] = false.encode()
        return replace(message, blocks=tuple(blocks))

    def _decoded(self, data: bytes) -> Message:
        return decode_message(data, self.genesis.suite.signature_size)
