"""Byzantine validators: the real engine, with what it sends twisted by tricks, under its own key.

They may do anything but sign for others. What they say before the network sees it goes through
`_twisted`; what they hear, through `receive`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase, Subject, Vote
from node.chain.transaction import VerifiedTransaction
from node.consensus.messages import Proposal, Reason, ViewChange
from node.errors import NodeError, StorageError
from node.limits import BLOCK_TXS_MAX
from node.service.engine import Engine, Output
from node.service.mempool import Mempool
from node.service.wire import Message, MessageKind, decode_message, encode_message
from tests.simulation.adversaries.bulk import (
    damaged,
    false_blocks,
    false_bodies,
    false_status,
    spoiled,
    unwanted,
)
from tests.simulation.adversaries.forger import Forger
from tests.simulation.adversaries.speaker import Speaker
from tests.simulation.adversaries.tricks import Trick
from tests.simulation.adversaries.two_tongues import TwoTongues
from tests.simulation.network import Frame
from tests.simulation.node import LogRecords, SimulatedValidator
from tests.simulation.world import MS

HEARD_MAX = 200
FLOOD_AT_ONCE = 20
FLOOD_MAX = 2_000
"""To each peer."""
_BULK = (MessageKind.TRANSACTIONS, MessageKind.BODIES, MessageKind.BLOCKS)
_TELLS_OF_BLOCKS = (MessageKind.BLOCKS, MessageKind.VIEW_CHANGE, MessageKind.NEW_VIEW)
_LISTENED_TO = (
    MessageKind.VOTE,
    MessageKind.PROPOSAL,
    MessageKind.VIEW_CHANGE,
    MessageKind.WANT_BODIES,
)


class Unobserved:
    """The observer of validators that are not judged."""

    def started(self, validator: SimulatedValidator) -> None:
        """Ignore it."""

    def crashed(self, validator: SimulatedValidator) -> None:
        """Ignore it."""

    def turned(self, validator: SimulatedValidator, output: Output) -> None:
        """Ignore it."""

    def hearing(self, validator: SimulatedValidator, peer: int, frame: Sequence[bytes]) -> None:
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


class ChoosyPool(Mempool):
    """A pool that gives out nothing of one sender."""

    shunned = ""

    def take(
        self,
        *,
        time_ms: int,
        txs_max: int,
        bytes_max: int,
        records_max: int,
        is_own: bool = False,
    ) -> list[VerifiedTransaction]:
        """Return what to propose; what is shunned takes up no place."""
        taken = super().take(
            time_ms=time_ms,
            txs_max=BLOCK_TXS_MAX,
            bytes_max=bytes_max,
            records_max=records_max,
            is_own=is_own,
        )
        return [tx for tx in taken if tx.transaction.body.sender != self.shunned][:txs_max]


Rewording = Callable[[int, Message], Message | None]
"""What a peer, by its number, is sent instead of a message; None for the message itself."""


class ByzantineValidator(SimulatedValidator):
    """A validator that plays tricks. Its own engine may fail over them: that ends nothing.

    Nor does its recovery. Where blocks were certified by votes that it cast past its own log, it
    stays down: a mute liar is one of the faults that the others bear.
    """

    tricks: tuple[Trick, ...] = ()
    silent_kinds: tuple[MessageKind, ...] = ()

    def play(self, tricks: Sequence[Trick]) -> None:
        """Set what it does; draw what it is silent about."""
        random = self.world.random
        self.tricks = tuple(tricks)
        self.silent_kinds = tuple(random.sample(list(MessageKind), random.randrange(1, 5)))
        self._starved = random.choice([n for n in range(len(self.names)) if n != self.index])
        self._speaker = Speaker(self)
        self._tongues = TwoTongues(self._speaker, self.tricks)
        self._forger = Forger(self._speaker)
        known = self._rewordings()
        self._instead = [known[trick] for trick in self.tricks if trick in known]
        self._voted: dict[Subject, None] = {}
        self._heard: deque[bytes] = deque(maxlen=HEARD_MAX)
        self._flooded: Counter[int] = Counter()
        if Trick.CLOCK in self.tricks:
            self._utc_offset_ms += random.choice((-60_000, -900, 900, 60_000))

    def start(self) -> None:
        try:
            super().start()
        except StorageError as error:
            if error.code != "GC-3012":
                raise

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
                if data[1:2] and data[1] in _LISTENED_TO:
                    self._listen(peer, data)
        super().receive(peer, frame)

    def _listen(self, peer: int, data: bytes) -> None:
        with suppress(NodeError):
            message = self._decoded(data)
            bodies = self._tongues.bodies(message)
            if bodies is not None:
                self.network.send(self.place, peer, [encode_message(bodies)])
            elif isinstance(message, ViewChange):
                self._tongues.leaving.setdefault(message.view, {})[message.validator] = message
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
            vote = encode_message(self._speaker.vote(subject))
            for peer in self._peers:
                if self.world.chance(700):
                    self.network.send(self.place, peer, [vote])

    # ------------------------------------------------------------------ what it says

    def _send(self, peer: int, frame: list[bytes]) -> None:
        if Trick.GAP in self.tricks:
            frame = _without_all_but_the_newest(frame, self._decoded)
        twisted = [data for said in frame for data in self._twisted(peer, said)]
        if Trick.FLOOD in self.tricks and self._flooded[peer] < FLOOD_MAX:
            self._flooded[peer] += FLOOD_AT_ONCE
            twisted += [encode_message(unwanted(self._speaker)) for _ in range(FLOOD_AT_ONCE)]
        if Trick.OUTDATE in self.tricks and not self._speaker.engine.term.is_member:
            twisted.append(encode_message(self._speaker.intruding()))
        if Trick.ABDICATE in self.tricks and self.world.chance(20):
            twisted += self._abdication()
        if twisted and Trick.SLOW in self.tricks:
            delay_us = self.world.draw(self.genesis.parameters.view_timeout_ms * MS)
            self.world.after(delay_us, partial(self.network.send, self.place, peer, twisted))
        elif twisted:
            self.network.send(self.place, peer, twisted)

    def _abdication(self) -> list[bytes]:
        """Return a VIEW-CHANGE out of the view it is primary of; each peer may hear another."""
        core = self._speaker.core
        if not core.view_active or not self._speaker.is_primary(core.view):
            return []
        view = core.view + self.world.random.choice((1, 1, 1, 3))
        leaving = self._speaker.leaving_for(view, committed=core.recent, reason=Reason.ROTATION)
        return [encode_message(leaving)]

    def _twisted(self, peer: int, data: bytes) -> list[bytes]:
        """Return what `peer` is sent instead of `data`."""
        kind = MessageKind(data[1])
        if self._keeps_back(peer, kind):
            return []
        said = [self._reworded(peer, kind, data)]
        if kind is MessageKind.NEW_VIEW and Trick.SUPPLANT in self.tricks:
            block = self._tongues.supplanting(self._decoded(data))
            if block is not None and self.world.chance(700):
                said.append(encode_message(block))
        if Trick.OUTDATE in self.tricks and kind in (MessageKind.VOTE, MessageKind.PROPOSAL):
            said += self._outdated(self._decoded(data))
        if Trick.GARBLE in self.tricks and self.world.chance(100):
            said[0] = damaged(said[0], self.world.random)
        if Trick.REPLAY in self.tricks and self._heard and self.world.chance(200):
            said.append(self.world.random.choice(self._heard))
        return said

    def _keeps_back(self, peer: int, kind: MessageKind) -> bool:
        tricks = self.tricks
        return (
            (Trick.SILENT in tricks and kind in self.silent_kinds)
            or (Trick.SELECTIVE in tricks and self._slighted() == peer)
            or (Trick.WITHHOLD in tricks and kind in _BULK)
            or (Trick.GAP in tricks and kind in _TELLS_OF_BLOCKS)
            or (Trick.STARVE in tricks and kind in _BULK and peer == self._starved)
        )

    def _slighted(self) -> int:
        return self.world.now_us // (700 * MS) % self.genesis.validators.size

    def _reworded(self, peer: int, kind: MessageKind, data: bytes) -> bytes:
        for kinds, reword in self._instead:
            if kind in kinds:
                message = reword(peer, self._decoded(data))
                if message is not None:
                    return encode_message(message)
        return data

    def _rewordings(self) -> dict[Trick, tuple[Collection[MessageKind], Rewording]]:
        """Return what some tricks say instead of messages of some kinds."""
        votes = (MessageKind.VOTE, MessageKind.PROPOSAL)
        proposals = (MessageKind.PROPOSAL,)
        return {
            Trick.EQUIVOCATE: (votes, self._contradict),
            Trick.MISDATE: (proposals, self._propose_otherwise),
            Trick.REPEAT_FINAL: (proposals, self._propose_otherwise),
            Trick.ALTER: (proposals, self._alter),
            Trick.HIDE: ((MessageKind.VIEW_CHANGE,), self._hide),
            Trick.TWO_NEW_VIEWS: ((MessageKind.NEW_VIEW,), self._start_otherwise),
            Trick.FORGE: (tuple(MessageKind), self._forge),
            Trick.STUFF: (
                (MessageKind.VIEW_CHANGE, MessageKind.DECIDED, MessageKind.BLOCKS),
                self._stuff,
            ),
            Trick.LIE: ((MessageKind.STATUS,), self._lie),
            Trick.FALSE_BODIES: ((MessageKind.BODIES, MessageKind.BLOCKS), self._answer_falsely),
            Trick.SPOIL: ((MessageKind.TRANSACTIONS,), self._spoil),
        }

    def _outdated(self, message: Message) -> list[bytes]:
        """Return its vote again as one of an epoch that is over, if there is one."""
        vote = message.vote if isinstance(message, Proposal) else message
        past = self._speaker.past[:-1]
        if not isinstance(vote, Vote) or vote.validator != self._speaker.index or not past:
            return []
        return [encode_message(self._speaker.vote(vote.subject, self.world.random.choice(past)))]

    def _decoded(self, data: bytes) -> Message:
        return decode_message(data, self.genesis.suite.signature_size)

    # ------------------------------------------------------------------ one trick, one kind

    def _contradict(self, peer: int, message: Message) -> Message | None:
        if peer % 2 == 0:
            return None
        if isinstance(message, Vote):
            return self._tongues.other_vote(message)
        return self._tongues.other_proposal(message)

    def _propose_otherwise(self, peer: int, message: Message) -> Message | None:
        del peer
        return self._tongues.other_proposal(message)

    def _hide(self, peer: int, message: Message) -> Message | None:
        del peer
        return self._tongues.hiding(message)

    def _start_otherwise(self, peer: int, message: Message) -> Message | None:
        return self._tongues.other_new_view(message) if peer % 2 == 1 else None

    def _forge(self, peer: int, message: Message) -> Message | None:
        del peer
        return None if self.world.random.randrange(4) else self._forger.forged(message)

    def _stuff(self, peer: int, message: Message) -> Message | None:
        del peer
        if self.world.random.randrange(2):
            return None
        return self._forger.stuffed(message) or false_blocks(message, self._speaker, stuffs=True)

    def _alter(self, peer: int, message: Message) -> Message | None:
        del peer
        return None if self.world.random.randrange(2) else self._forger.altered(message)

    def _lie(self, peer: int, message: Message) -> Message | None:
        del peer, message
        return false_status(self.world.random)

    def _answer_falsely(self, peer: int, message: Message) -> Message | None:
        del peer
        return false_bodies(message, self.world.random) or false_blocks(
            message, self._speaker, stuffs=False
        )

    def _spoil(self, peer: int, message: Message) -> Message | None:
        del peer
        return spoiled(message)


def _without_all_but_the_newest(
    frame: Sequence[bytes], decoded: Callable[[bytes], Message]
) -> list[bytes]:
    """Return a frame of whose certified headers only the highest is left."""
    decided = [data for data in frame if data[1] == MessageKind.DECIDED]
    if len(decided) < 2:
        return list(frame)
    heights = {data: _height(decoded(data)) for data in decided}
    newest = max(decided, key=heights.__getitem__)
    return [data for data in frame if data[1] != MessageKind.DECIDED or data == newest]


def _height(message: Message) -> int:
    return message.header.height if isinstance(message, CertifiedHeader) else 0
