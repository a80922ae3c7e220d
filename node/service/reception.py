"""What peers say: each message is checked and becomes an event for the core, or is served.

What is wrong with a message is counted, told, and the fault of who sent it; who sends too many of
those is cut off for a while. Of the turn nothing is known here but that events are given to `run`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, TypeVar, assert_never

from node.chain.block import CertifiedHeader, Header
from node.chain.certificate import Vote
from node.chain.compact import Share
from node.consensus import events as ev
from node.consensus.messages import NewView, Proposal, Status, ViewChange
from node.errors import DecodeError, PeerError
from node.service.allowance import (
    EARLY_CHECKS_OF_VIEW_CHANGE,
    EARLY_CHECKS_PER_PERIOD,
    Allowance,
    Patience,
)
from node.service.catch_up.course import CatchUp
from node.service.desk import Desk, Request
from node.service.early import EarlyMessages
from node.service.intake import Intake
from node.service.misconduct import Misconduct
from node.service.output import CheckJob, Outlet, Purpose
from node.service.peer_signs import PeerSigns
from node.service.pursuit import Pursuits
from node.service.succession import Succession
from node.service.term import Term
from node.service.wire import (
    LAST_OF_CONSENSUS,
    Accusations,
    Blocks,
    Bodies,
    CheckpointLines,
    Message,
    PastBlocks,
    Snapshots,
    StateParts,
    Transactions,
    WantBlocks,
    WantBodies,
    WantPast,
    WantSnapshots,
    WantState,
    decode_message,
    kind_of,
)

TURN_BYTES_AIM = 131_072
"""A turn takes no further synced block above this: some 600 transactions, 60 ms of work.

Who is behind has little else to hear; pages of the state and syncs are fewer the more a turn takes.
"""
BLOCK_BYTES_LEAST = 2_048
"""What the smallest synced block counts as."""

_Checked = TypeVar("_Checked", bound=Vote | Proposal | ViewChange | NewView | CertifiedHeader)


class Reception:
    """Where a validator hears its peers."""

    def __init__(
        self,
        *,
        succession: Succession,
        intake: Intake,
        pursuits: Pursuits,
        misconduct: Misconduct,
        catch_up: CatchUp,
        desk: Desk,
        outlet: Outlet,
        run: Callable[[ev.Now, ev.Event], None],
    ) -> None:
        """Hand events to `run`, which has the core at rest again when it returns."""
        self._succession, self._intake = succession, intake
        self._pursuits, self._misconduct = pursuits, misconduct
        self._catch_up, self._desk, self._outlet = catch_up, desk, outlet
        self._run = run
        self._patience, self._early = Patience(), EarlyMessages()
        self._early_checks = Allowance(EARLY_CHECKS_PER_PERIOD, least=1)
        self._signature_size = succession.term.epoch.validators.suite.signature_size
        self.peer_signs = PeerSigns()

    def greet(self, peer: int) -> None:
        """Tell a peer that can be reached from now on where this validator stands."""
        core = self._succession.core
        status = Status(self._term.epoch.number, core.view, core.view_active, self._height)
        self._outlet.send(peer, status)
        self._misconduct.tell(peer)

    def receive(self, peer: int, frame: Sequence[bytes], now: ev.Now) -> None:
        """Take messages of one peer, in order; what is wrong with one is counted, not raised."""
        self.peer_signs.note_heard(peer, now)
        for data in frame:
            try:
                message = self._decode(data)
                self._take(peer, message, now, arrival_utc_ms=now.utc_ms)
            except (DecodeError, PeerError) as error:
                self._refuse(peer, error, now)

    def take_early(self, now: ev.Now) -> None:
        """Take what was said of the epoch that has begun before it had."""
        for peer, message, arrival_utc_ms in self._early.take():
            try:
                self._take(peer, message, now, arrival_utc_ms=arrival_utc_ms)
            except (DecodeError, PeerError) as error:
                self._refuse(peer, error, now)

    def feed(self, now: ev.Now) -> None:
        """Give the core synced blocks, one after the other, as far as a turn should go.

        A longer one would keep this validator from hearing its peers; with one block in each, what
        a turn costs by itself, its sync above all, would make catching up slow.
        """
        spent_bytes = 0
        while spent_bytes < TURN_BYTES_AIM and (sender := self._catch_up.next_sender) is not None:
            try:
                block, size_bytes = self._catch_up.offer_next(now)
            except (DecodeError, PeerError) as error:
                self._refuse(sender, error, now)
                return
            spent_bytes += max(size_bytes, BLOCK_BYTES_LEAST)
            self._pursuits.take_certified(block)
            decided = CertifiedHeader(block.header, block.certificate)
            self._run(now, ev.DecidedReceived(decided))

    @property
    def _term(self) -> Term:
        return self._succession.term

    @property
    def _height(self) -> int:
        return self._succession.height

    # ------------------------------------------------------------------ one message

    def _decode(self, data: bytes) -> Message:
        effort = self._outlet.counters.efforts.consensus
        began_ns = effort.begin()
        message = decode_message(data, self._signature_size)
        if kind_of(message) <= LAST_OF_CONSENSUS:
            effort.end(began_ns)
        return message

    def _verify(self, check: Callable[[_Checked], object], message: _Checked) -> None:
        """Check what validators signed, and remember it; raises `PeerError`."""
        effort = self._outlet.counters.efforts.consensus
        began_ns = effort.begin()
        check(message)
        effort.end(began_ns)
        self._misconduct.note(message)

    def _take(  # noqa: C901, PLR0912, PLR0915 - one case per kind
        self, peer: int, message: Message, now: ev.Now, *, arrival_utc_ms: int
    ) -> None:
        """Check a message of `peer` and turn it into an event, or serve it."""
        core, term = self._succession.core, self._succession.term
        verifier = term.verifier
        if isinstance(message, _SIGNED):
            self._misconduct.hear(peer, message)
        epoch_of = _EPOCH_OF.get(type(message))
        if epoch_of is not None and epoch_of(message) != term.epoch.number:
            self._take_of_other_epoch(peer, message, now, arrival_utc_ms=arrival_utc_ms)
            return
        if isinstance(message, _ANSWERED):
            self._answer(peer, message, now)
            return
        if peer not in term.indices and not isinstance(message, _GIVEN_BY_ANYBODY):
            raise PeerError("no-member", f"{type(message).__name__} from outside the set in force")
        match message:
            case Vote():
                is_early = message.subject.view != core.view or not core.view_active
                if core.wants_vote(message) and not (is_early and self._is_enough(peer, 1, now)):
                    self._verify(self._check_vote, message)
                    self._run(now, ev.VoteReceived(message))
            case Proposal():
                if core.wants_proposal(message):
                    self._outlet.counters.votes_checked += 1
                    self._verify(verifier.check_proposal, message)
                    self._run(now, ev.ProposalReceived(message, arrival_utc_ms))
            case ViewChange():
                matters = message.view >= core.view and message.validator != term.me
                if matters and not self._is_enough(peer, EARLY_CHECKS_OF_VIEW_CHANGE, now):
                    self._verify(verifier.check_view_change, message)
                    self._run(now, ev.ViewChangeReceived(message))
            case NewView():
                if message.view > core.view or (message.view == core.view and not core.view_active):
                    self._verify(verifier.check_new_view, message)
                    self._run(now, ev.NewViewReceived(message))
            case CertifiedHeader():
                if message.header.height > self._height:
                    self._verify(verifier.check_decided, message)
                    self._run(now, ev.DecidedReceived(message))
            case Bodies():
                self._pursuits.take(message)
            case Blocks():
                self._catch_up.take(peer, message, now)
                self.feed(now)
                self._catch_up.chase_blocks(now)
            case Snapshots() | StateParts() | PastBlocks():
                self._catch_up.take(peer, message, now)
            case Transactions() if self._catch_up.is_behind:
                # Most of it is in the blocks to come, whose signatures nobody checks again. What
                # is not, its other holders propose, and bodies that are missing are asked for.
                self._outlet.counters.txs_passed_over += len(message.transactions)
            case Transactions():
                candidates = self._intake.candidates(message.transactions, now)
                if candidates:
                    self._pursuits.have_checked(CheckJob(Purpose.GOSSIP, candidates))
            case Accusations():
                self._misconduct.take(message)
            case CheckpointLines() | Share():
                self._outlet.note_stated(peer, message)
            case _:
                assert_never(message)

    def _take_of_other_epoch(
        self, peer: int, message: Message, now: ev.Now, *, arrival_utc_ms: int
    ) -> None:
        """Tell a peer that is behind how its epoch ended; take note of one that is ahead.

        What is said in the next epoch is kept until this one ends; further ahead, and unchecked in
        any case, it only shows whom to ask for blocks.
        """
        match message:
            case Status(epoch=epoch, height=height):
                self._catch_up.note_height(peer, height)
                if epoch < self._term.epoch.number:
                    self._answer(peer, message, now)
                self._catch_up.chase_blocks(now)
            case ViewChange(epoch=epoch):
                if epoch < self._term.epoch.number:
                    self._answer(peer, message, now)
            case CertifiedHeader(header=header):
                if header.epoch > self._term.epoch.number:
                    self._catch_up.note_height(peer, header.height)
            case Proposal(header=Header(epoch=epoch)) | Vote(epoch=epoch):
                if epoch == self._term.epoch.number + 1:
                    self._early.keep(peer, message, arrival_utc_ms)
            case _:
                pass

    def _answer(self, peer: int, request: Request | Status | ViewChange, now: ev.Now) -> None:
        with self._desk.serving(peer, request, now):
            match request:
                case Status(epoch=epoch) | ViewChange(epoch=epoch) if (
                    epoch < self._term.epoch.number
                ):
                    self._desk.give_handover(peer, epoch)
                    self.greet(peer)  # there is more than the barrier
                case Status():
                    self._take_status(peer, request, now)
                case ViewChange():
                    pass
                case _:
                    self._desk.give(peer, request)

    def _take_status(self, peer: int, status: Status, now: ev.Now) -> None:
        self.peer_signs.note_status(peer, status)
        self._catch_up.note_height(peer, status.height)
        index = self._term.indices.get(peer)
        if index is not None:
            self._run(now, ev.StatusReceived(index, status))
        elif self._term.is_member:
            self._inform(peer, status.height)
        self._catch_up.chase_blocks(now)

    def _refuse(self, peer: int, error: DecodeError | PeerError, now: ev.Now) -> None:
        self._outlet.counters.messages_refused += 1
        rule = error.rule if isinstance(error, PeerError) else error.code
        name = self._succession.roster.name(peer)
        self._outlet.trace(rule, self._height, f"from {name}: {error}")
        if self._patience.note_refusal(peer, now.monotonic_ms):
            self._outlet.trace("peer-cut-off", self._height, f"{name}, again and again: {error}")
            self._outlet.cut_off(peer)

    def _inform(self, follower: int, height: int) -> None:
        """Tell a node outside the set, which members tell nothing unasked, of what is final."""
        if height < self._height:
            self.greet(follower)
        for item in self._succession.core.recent:
            if item.header.height > height:
                self._outlet.send(follower, item)

    def _is_enough(self, peer: int, checks: int, now: ev.Now) -> bool:
        """Count the checks of what `peer` says of a view to come, or say that it had its share."""
        has_room = self._early_checks.has_room(peer, now.monotonic_ms)
        if has_room:
            self._early_checks.use(peer, checks)
        return not has_room

    def _check_vote(self, vote: Vote) -> None:
        self._outlet.counters.votes_checked += 1
        epoch = self._term.epoch
        if not vote.verify(epoch.chain_id, epoch.validators):
            raise PeerError("vote-signature", f"the vote of {vote.validator} does not verify")


_SIGNED: Final = (Vote, Proposal, ViewChange, NewView)
_ANSWERED: Final = (Status, WantBodies, WantBlocks, WantSnapshots, WantState, WantPast)
_GIVEN_BY_ANYBODY: Final = (CertifiedHeader, Blocks, Bodies, Transactions, CheckpointLines, Share)
"""What proves itself, or was asked for: who gives it may decide in an epoch this node is not in.

Transactions, because a node that no longer decides, or does not yet, may hold some of its clients.
"""

_EPOCH_OF: Final[Mapping[type, Callable[[Any], int]]] = {
    Proposal: attrgetter("header.epoch"),
    CertifiedHeader: attrgetter("header.epoch"),
    ViewChange: attrgetter("epoch"),
    NewView: attrgetter("epoch"),
    Vote: attrgetter("epoch"),
    Status: attrgetter("epoch"),
}
"""Where a message says which epoch it is of."""
