"""The validator without its IO: consensus core, pool, execution, log and ledger, made one machine.

Everything comes in through a method with the time as an argument, everything goes out through
`drain`. The asyncio shell (runner.py) and the simulator drive the very same object.

The engine owns the turn and who hears of what; each of its parts owns one concern and its state:
`ballots` what is signed and logged, `undecided` the blocks above the tip, `pursuit` how they come
to be validated, `proposing`, `gossip`, `block_sync`, `serving` and `misconduct`. Reading order:
inputs, `_turn`, `_take`, `_obey`, `_begin_term`, then the parts.

One core lives as long as an epoch. When the barrier is final here, the next epoch's core is built
from the state after it; what the old one was about is void. Peers are told by number (term.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, Final, TypeVar, assert_never

from node.chain.admission import ACCEPTED, Admission, AdmissionCode
from node.chain.block import CertifiedHeader, Header
from node.chain.certificate import Vote
from node.chain.evidence import Evidence
from node.chain.genesis import Genesis
from node.chain.membership import Validator
from node.chain.transaction import VerifiedTransaction
from node.consensus import events as ev
from node.consensus.core import Core
from node.consensus.messages import NewView, Proposal, Status, ViewChange
from node.crypto.signature import Signer
from node.errors import DecodeError, InvariantViolation, PeerError
from node.execution.apply import ExecutedBlock, Executor, sender_key
from node.service.admission import Candidate, Gate
from node.service.allowance import Allowance, Patience
from node.service.ballots import Ballots, DurableLog
from node.service.catch_up.backfill import Backfill
from node.service.catch_up.block_serving import BlockDesk
from node.service.catch_up.block_sync import BlockSync
from node.service.catch_up.lineage import Lineage
from node.service.catch_up.snapshot_serving import SnapshotDesk
from node.service.catch_up.snapshot_sync import DraftHome, SnapshotProgress, SnapshotSync
from node.service.early import EarlyMessages
from node.service.fairness import Fairness
from node.service.gossip import Gossip
from node.service.mempool import AddOutcome, Mempool
from node.service.misconduct import Misconduct
from node.service.output import (
    CheckJob,
    CommittedBlock,
    Counters,
    Outgoing,
    Outlet,
    Output,
    Purpose,
)
from node.service.peer_signs import PeerSigns
from node.service.proposing import Proposer
from node.service.pursuit import Pursuits
from node.service.recovery import Ledger, Recovery, resume
from node.service.staged import StagedLedger
from node.service.term import Roster, Term
from node.service.undecided import Undecided
from node.service.wire import (
    LAST_OF_CONSENSUS,
    Accusations,
    Blocks,
    Bodies,
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

__all__ = ["CheckJob", "CommittedBlock", "Engine", "Outgoing", "Output"]

TURN_BYTES_AIM = 32_768
"""A turn takes no further synced block above this: some 150 transactions, 15 ms of work."""
BLOCK_BYTES_LEAST = 2_048
"""What the smallest synced block counts as."""


HOLDS_PER_GAP: Final = 4
"""A state is kept readable every such part of the gap from which snapshots are worth it: so what
follows a snapshot in blocks is less, and the last but one lasts as long as fetching should take."""

_ALL: Final = 1 << 62
_Checked = TypeVar("_Checked", bound=Vote | Proposal | ViewChange | NewView | CertifiedHeader)
_Request = Status | WantBodies | WantBlocks | WantSnapshots | WantState | WantPast


class Engine:
    """One validator. Single-threaded; never blocks; raises only for its own broken invariants."""

    def __init__(
        self,
        *,
        genesis: Genesis,
        validator_id: str,
        signer: Signer,
        executor: Executor,
        ledger: Ledger,
        log: DurableLog,
        mempool: Mempool,
        recovery: Recovery,
    ) -> None:
        """Start from what `recovery` found; a node that is no validator now follows the others."""
        self.genesis, self.mempool = genesis, mempool
        self._validator_id = validator_id
        suite = genesis.suite
        self._suite = suite
        self._final = ledger
        self._ledger = tip = StagedLedger(ledger)
        self.roster = Roster(genesis.validators)
        self.term = term = self._term_of(recovery)
        self._later = recovery.later
        self._outlet = outlet = Outlet(view=lambda: self.core.view)
        self.gate = Gate(
            genesis,
            key_of=lambda sender: sender_key(tip, sender),
            is_pending=mempool.is_pending,
            is_final=tip.has_transaction,
        )
        self.core = _make_core(term, recovery)
        self.halted = ""
        """Why the node stopped for good; empty while it runs."""
        self.peer_signs = PeerSigns()
        self._events: deque[ev.Event] = deque()
        self._committed_at_ms = 0
        self._lapsed: deque[tuple[int, list[bytes]]] = deque()
        """Ids that expired by clock before this time (ms), until a block's T says so too."""
        self._allowance, self._patience = Allowance(), Patience()
        self._early = EarlyMessages()
        self._ballots = Ballots(
            term=term,
            signer=signer,
            log=log,
            recovery=recovery,
            counters=outlet.counters,
        )
        self._misconduct = Misconduct(
            term=term, founders=genesis.validators, ledger=ledger, outlet=outlet
        )
        for item in recovery.consensus.recent:
            self._misconduct.note_certificate(item.certificate)
        self._undecided = Undecided(tip, mempool, executor)
        self._pursuits = Pursuits(
            suite=suite,
            mempool=mempool,
            gate=self.gate,
            verifier=term.verifier,
            ballots=self._ballots,
            undecided=self._undecided,
            outlet=outlet,
            settled=self._events.append,
        )
        self._proposer = Proposer(
            term=term, mempool=mempool, undecided=self._undecided, counters=outlet.counters
        )
        self._gossip = Gossip(mempool, outlet, repeat_after_ms=0)
        self._sync = BlockSync(term=term, suite=suite, ledger=tip, outlet=outlet)
        lineage = Lineage(genesis, tip)
        self._snapshot = SnapshotSync(
            genesis=genesis,
            genesis_block=executor.genesis_block(),
            ledger=ledger,
            lineage=lineage,
            outlet=outlet,
        )
        self._backfill = Backfill(suite=suite, ledger=ledger, lineage=lineage, outlet=outlet)
        self._snapshot_desk = SnapshotDesk(suite=suite, ledger=ledger, outlet=outlet)
        self._desk = BlockDesk(
            suite=suite,
            ledger=tip,
            undecided=self._undecided,
            ballots=self._ballots,
            outlet=outlet,
        )
        self._apply_parameters()
        for record in recovery.blocks.values():
            self._pursuits.hold_logged(record)
        outlet.note_term(term)
        if not term.is_member:
            self._tell_term()

    def allow_snapshots(self, home: DraftHome, gap_blocks: int) -> None:
        """Let this node, if it is more than `gap_blocks` behind, make another ledger in `home`.

        It keeps states readable for others that are as far behind as that.
        """
        self._snapshot.allow(home, gap_blocks)
        self._ledger.hold_every = max(1, gap_blocks // HOLDS_PER_GAP)

    # ------------------------------------------------------------------ inputs

    def start(self, now: ev.Now) -> None:
        """Take the first turn after construction."""
        self._committed_at_ms = now.monotonic_ms
        self._turn(now, ev.Tick())

    def tick(self, now: ev.Now) -> None:
        """Let time pass; due at `deadline`."""
        if self.is_superseded:
            return
        self._snapshot.chase(now, self._sync.heights, self._sync.reach)
        self._backfill.chase(now, self._sync.heights)
        self._pursuits.chase(now)
        self._feed(now)
        self._chase_blocks(now)
        self._gossip.repeat(
            now,
            committed_at_ms=self._committed_at_ms,
            time_ms=self.time_ms(now),
            undecided=self._ballots.undecided_transactions(),
        )
        # By clock, what validators with sound clocks will not include: nobody is told yet, as a
        # block of an earlier view may still hold it, but it is no longer work that waits; well
        # before the view ends over it, or clients could end views with what lapses at once.
        parameters = self.term.epoch.parameters
        past_ms = now.utc_ms - min(2 * parameters.accuracy_ms, parameters.view_timeout_ms // 2)
        lapsed = self.mempool.expire(past_ms)
        if lapsed:
            self._lapsed.append((past_ms, lapsed))
        self._turn(now, ev.Tick())

    def deadline(self) -> int:
        """Return the monotonic time (ms) by which `tick` is due."""
        if self._sync.next_sender is not None:
            return 0
        due_ms = [
            *self._pursuits.due_ms(),
            *self._proposer.due_ms(),
            *self._gossip.due_ms(self._committed_at_ms),
            *self._snapshot.due_ms(),
            *self._backfill.due_ms(),
        ]
        if not self._snapshot.is_fetching:
            due_ms += self._sync.due_ms()
        return min([self.core.deadline(), *due_ms])

    def connected(self, peer: int) -> None:
        """Tell a peer that can be reached from now on where this validator stands."""
        core = self.core
        status = Status(self.term.epoch.number, core.view, core.view_active, self.height)
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
        self._turn(now)

    def admit(
        self, checked: Sequence[VerifiedTransaction | None], now: ev.Now, *, from_client: bool
    ) -> list[Admission]:
        """Put checked transactions into the pool; those of clients are passed on to peers."""
        self.mempool.note_time(now.monotonic_ms)
        admissions = [self._admit_one(verified, from_client=from_client) for verified in checked]
        self._turn(now)
        return admissions

    def checked(
        self, job: CheckJob, verdicts: Sequence[VerifiedTransaction | None], now: ev.Now
    ) -> None:
        """Take the answer to a `CheckJob`."""
        self._pursuits.checked(job, verdicts)
        if job.purpose is Purpose.GOSSIP:
            self.admit(verdicts, now, from_client=False)
        else:
            self._turn(now)

    def durable(self, lsn: int, now: ev.Now) -> None:
        """Note that every log record up to `lsn` is on disk: release what waited for it."""
        for event, message in self._ballots.durable(lsn):
            if (
                isinstance(message, ViewChange | NewView)
                and message.epoch != self.term.epoch.number
            ):
                continue  # the epoch ended before the disk was done
            if isinstance(message, Proposal):
                self._proposer.learn_pace(message, now)
            self._outlet.send(None, message)
            self._events.append(event)
        self._turn(now)

    def flush_gossip(self) -> None:
        """Send the transactions admitted from clients since the last call, in few messages."""
        self._gossip.flush()

    def drain(self) -> Output:
        """Return and forget what the turns since the last call produced."""
        return self._outlet.drain()

    # ------------------------------------------------------------------ what can be asked

    @property
    def counters(self) -> Counters:
        """What this validator did since its start."""
        return self._outlet.counters

    @property
    def has_gossip(self) -> bool:
        """Whether `flush_gossip` has something to send."""
        return self._gossip.is_waiting

    @property
    def waits_for_log(self) -> bool:
        """Whether something of this validator leaves only once the log is synced."""
        return self._ballots.is_waiting

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """Proofs that validators equivocated, in order of epoch, offence and validator."""
        return self._misconduct.evidence

    @property
    def accused(self) -> tuple[Validator, ...]:
        """Of whose misbehaviour there is proof here, in the order of the set."""
        return self._misconduct.accused

    @property
    def height(self) -> int:
        """Height of the newest final block here."""
        return self._ledger.tip_height

    @property
    def is_behind(self) -> bool:
        """Whether a quorum of peers, by their word, is further than consensus alone can heal."""
        return self._sync.is_behind

    @property
    def informants(self) -> int:
        """How many members said where they stand since the start; `is_behind` rests on them."""
        return self._sync.informants

    @property
    def is_superseded(self) -> bool:
        """Whether the next start finds another ledger, made of a snapshot; this one ends here."""
        return self._snapshot.is_complete

    @property
    def missing_blocks(self) -> int:
        """How many blocks of the past are not here yet, where the ledger began with a snapshot."""
        return len(self._final.missing)

    @property
    def snapshot_progress(self) -> SnapshotProgress | None:
        """How far the state is that this node fetches instead of blocks, if it does."""
        return self._snapshot.progress

    def time_ms(self, now: ev.Now) -> int:
        """Return the time admission reckons with: the later of the tip's T + 1 and UTC."""
        return max(self._ledger.header.time_ms + 1, now.utc_ms)

    def snapshot(self) -> list[tuple[int, bytes]]:
        """Return the log records that restate everything still needed, for log rotation."""
        return self._ballots.snapshot()

    def _chase_blocks(self, now: ev.Now) -> None:
        """Ask for blocks, unless the state above them is being fetched."""
        if not self._snapshot.takes_over(now, self._sync.reach):
            self._sync.chase(now, committed_at_ms=self._committed_at_ms)

    # ------------------------------------------------------------------ the turn

    def _turn(self, now: ev.Now, *more: ev.Event) -> None:
        """Run the core until it is at rest, then write what became final, and what was signed."""
        self._run(now, *more)
        # Synced, although the log could rebuild it: a database may lose an unsynced write from the
        # middle of its own log, and a state tree with a hole is worse than one that is behind.
        self._ledger.write()
        self._ballots.write()

    def _run(self, now: ev.Now, *more: ev.Event) -> None:
        """Feed events to the core, and what follows from them, until it is at rest."""
        self.mempool.note_time(now.monotonic_ms)
        self._report_pool(now)  # first: where nothing waits any more, no timer ends a view
        self._events.extend(more)
        while self._events and not self.halted:
            event = self._events.popleft()
            if isinstance(event, ev.Validated) and self._was_released(event):
                continue
            effort = self.counters.effort
            began_ns = effort.begin()
            actions = self.core.step(event, now)
            effort.end(began_ns)
            for action in actions:
                self._obey(action, now)
            if self.core.has_ended or 0 < self._silent_up_to <= self.height:
                self._begin_term(now)
            if not self._events:
                self._report_pool(now)

    def _was_released(self, event: ev.Validated) -> bool:
        """Whether the core let go of a block after its execution: it will ask again if need be."""
        return event.matches and self._undecided.executed(event.header_digest) is None

    def _report_pool(self, now: ev.Now) -> None:
        change = self._proposer.pool_change(now)
        if change is not None:
            self._events.append(change)

    # ------------------------------------------------------------------ what peers say

    def _decode(self, data: bytes) -> Message:
        effort = self.counters.effort
        began_ns = effort.begin()
        message = decode_message(data, self._suite.signature_size)
        if kind_of(message) <= LAST_OF_CONSENSUS:
            effort.end(began_ns)
        return message

    def _verify(self, check: Callable[[_Checked], object], message: _Checked) -> None:
        """Check what validators signed, and remember it; raises `PeerError`."""
        effort = self.counters.effort
        began_ns = effort.begin()
        check(message)
        effort.end(began_ns)
        self._misconduct.note(message)

    def _take(  # noqa: C901, PLR0912 - one case per kind
        self, peer: int, message: Message, now: ev.Now, *, arrival_utc_ms: int
    ) -> None:
        """Check a message of `peer` and turn it into an event, or serve it."""
        core, verifier = self.core, self.term.verifier
        if isinstance(message, Vote | Proposal | ViewChange | NewView):
            self._misconduct.hear(peer, message)
        epoch_of = _EPOCH_OF.get(type(message))
        if epoch_of is not None and epoch_of(message) != self.term.epoch.number:
            self._take_of_other_epoch(peer, message, now, arrival_utc_ms=arrival_utc_ms)
            return
        if isinstance(message, _Request):
            self._answer(peer, message, now)
            return
        if peer not in self.term.indices and not isinstance(message, _GIVEN_BY_ANYBODY):
            raise PeerError("no-member", f"{type(message).__name__} from outside the set in force")
        match message:
            case Vote():
                if core.wants_vote(message):
                    self._verify(self._check_vote, message)
                    self._run(now, ev.VoteReceived(message))
            case Proposal():
                if core.wants_proposal(message):
                    self.counters.votes_checked += 1
                    self._verify(verifier.check_proposal, message)
                    self._run(now, ev.ProposalReceived(message, arrival_utc_ms))
            case ViewChange():
                if message.view >= core.view and message.validator != self.term.me:
                    self._verify(verifier.check_view_change, message)
                    self._run(now, ev.ViewChangeReceived(message))
            case NewView():
                if message.view > core.view or (message.view == core.view and not core.view_active):
                    self._verify(verifier.check_new_view, message)
                    self._run(now, ev.NewViewReceived(message))
            case CertifiedHeader():
                if message.header.height > self.height:
                    self._verify(verifier.check_decided, message)
                    self._run(now, ev.DecidedReceived(message))
            case Bodies():
                self._pursuits.take(message)
            case Blocks() | Snapshots() | StateParts() | PastBlocks():
                self._take_of_the_past(peer, message, now)
            case Transactions():
                verdicts = self.gate.screen(message.transactions, self.time_ms(now))
                candidates = tuple(v for v in verdicts if isinstance(v, Candidate))
                if candidates:
                    self._pursuits.have_checked(CheckJob(Purpose.GOSSIP, candidates))
            case Accusations():
                self._misconduct.take(message)
            case _:
                assert_never(message)

    def _take_of_the_past(
        self, peer: int, message: Blocks | Snapshots | StateParts | PastBlocks, now: ev.Now
    ) -> None:
        """Take an answer to what this node asked for because it is, or was, behind."""
        match message:
            case Blocks():
                self._sync.take(peer, message)
                self._feed(now)
                self._chase_blocks(now)
            case Snapshots():
                self._snapshot.take_held(peer, message, now)
            case StateParts():
                self._snapshot.take_state(peer, message, now)
            case PastBlocks() if self._backfill.wants(peer, message):
                self._backfill.take(peer, message, now)
            case PastBlocks():
                self._snapshot.take_past(peer, message, now)
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
                self._sync.note_height(peer, height)
                if epoch < self.term.epoch.number:
                    self._answer(peer, message, now)
                self._chase_blocks(now)
            case ViewChange(epoch=epoch):
                if epoch < self.term.epoch.number:
                    self._answer(peer, message, now)
            case CertifiedHeader(header=header):
                if header.epoch > self.term.epoch.number:
                    self._sync.note_height(peer, header.height)
            case Proposal(header=Header(epoch=epoch)) | Vote(epoch=epoch):
                if epoch == self.term.epoch.number + 1:
                    self._early.keep(peer, message, arrival_utc_ms)
            case _:
                pass

    def _answer(
        self,
        peer: int,
        request: Status
        | ViewChange
        | WantBodies
        | WantBlocks
        | WantSnapshots
        | WantState
        | WantPast,
        now: ev.Now,
    ) -> None:
        """Answer a peer within its allowance; a request costs it little and this node much."""
        if not self._allowance.has_room(peer, now.monotonic_ms):
            raise PeerError("allowance", f"{type(request).__name__} before earlier answers are due")
        before, read_bytes = len(self._outlet.messages), 0
        match request:
            case Status(epoch=epoch) | ViewChange(epoch=epoch) if epoch < self.term.epoch.number:
                self._desk.give_handover(peer, epoch)
                self.connected(peer)  # there is more than the barrier
            case Status():
                self.peer_signs.note_status(peer, request)
                self._sync.note_height(peer, request.height)
                index = self.term.indices.get(peer)
                if index is not None:
                    self._run(now, ev.StatusReceived(index, request))
                elif self.term.is_member:
                    self._inform(peer, request.height)
                self._chase_blocks(now)
            case ViewChange():
                pass
            case WantBodies():
                self._desk.give_bodies(peer, request)
            case WantBlocks():
                self._desk.give_blocks(peer, request)
            case WantSnapshots():
                self._snapshot_desk.give_snapshots(peer, request)
            case WantState():
                read_bytes = self._snapshot_desk.give_state(peer, request)
            case WantPast():
                self._snapshot_desk.give_past(peer, request)
            case _:
                assert_never(request)
        answers = self._outlet.messages[before:]
        given_bytes = sum(len(m.data) for m in answers if m.to == peer)
        self._allowance.use(peer, max(given_bytes, read_bytes))

    def _refuse(self, peer: int, error: DecodeError | PeerError, now: ev.Now) -> None:
        self.counters.messages_refused += 1
        rule = error.rule if isinstance(error, PeerError) else error.code
        name = self.roster.name(peer)
        self._outlet.trace(rule, self.height, f"from {name}: {error}")
        if self._patience.note_refusal(peer, now.monotonic_ms):
            self._outlet.trace("peer-cut-off", self.height, f"{name}, again and again: {error}")
            self._outlet.cut_off(peer)

    def _inform(self, follower: int, height: int) -> None:
        """Tell a node outside the set, which members tell nothing unasked, of what is final."""
        if height < self.height:
            self.connected(follower)
        for item in self.core.recent:
            if item.header.height > height:
                self._outlet.send(follower, item)

    def _check_vote(self, vote: Vote) -> None:
        self.counters.votes_checked += 1
        epoch = self.term.epoch
        if not vote.verify(epoch.chain_id, epoch.validators):
            raise PeerError("vote-signature", f"the vote of {vote.validator} does not verify")

    def _feed(self, now: ev.Now) -> None:
        """Give the core synced blocks, one after the other, as far as a turn should go.

        A longer one would keep this validator from hearing its peers; with one block in each, what
        a turn costs by itself, its sync above all, would make catching up slow.
        """
        spent_bytes = 0
        while spent_bytes < TURN_BYTES_AIM and (sender := self._sync.next_sender) is not None:
            try:
                block, size_bytes = self._sync.offer_next(now)
            except (DecodeError, PeerError) as error:
                self._refuse(sender, error, now)
                return
            spent_bytes += max(size_bytes, BLOCK_BYTES_LEAST)
            self._pursuits.take_certified(block)
            decided = CertifiedHeader(block.header, block.certificate)
            self._run(now, ev.DecidedReceived(decided))

    def _admit_one(self, verified: VerifiedTransaction | None, *, from_client: bool) -> Admission:
        if verified is None:
            return Admission(AdmissionCode.BAD_SIGNATURE, "does not verify")
        transaction = verified.transaction
        if self._ledger.has_transaction(transaction.tx_id):
            return Admission(AdmissionCode.ALREADY_FINAL)
        outcome = self.mempool.add(verified)
        if outcome is AddOutcome.FULL:
            retry_after_ms = self.mempool.retry_after_ms()
            return Admission(AdmissionCode.POOL_FULL, "the pool is full", retry_after_ms)
        if from_client and outcome is AddOutcome.ADDED:
            self._gossip.add(transaction.encoded)
        self._pursuits.arrived(transaction.tx_hash)
        if outcome is AddOutcome.DUPLICATE:
            return Admission(AdmissionCode.DUPLICATE_PENDING)
        return ACCEPTED

    # ------------------------------------------------------------------ what the core wants

    def _obey(self, action: ev.Action, now: ev.Now) -> None:  # noqa: C901, PLR0912 - one case per action
        match action:
            case ev.BuildProposal():
                # The core hears of it before all else: a commit between would release the block.
                self._events.appendleft(self._proposer.build(action, now))
            case ev.Validate():
                holders = tuple(self.term.numbers[index] for index in action.holders)
                synced = self._sync.block(action.header.height)
                self._pursuits.begin(replace(action, holders=holders), synced, now)
            case ev.CastProposal():
                self._gossip.flush()
                self._ballots.cast_proposal(action, self._executed(action.header_digest), now)
            case ev.CastVote():
                block = self._undecided.executed(action.subject.header_digest)
                self._ballots.cast_vote(action, block, now)
            case ev.CastViewChange():
                self._ballots.cast_view_change(action.view_change)
            case ev.AnnounceNewView():
                self._ballots.announce(action.new_view)
            case ev.AdoptNewView():
                self._ballots.adopt(action.new_view)
            case ev.Commit():
                self._commit(action, now)
            case ev.Retain():
                self._undecided.retain(action.header_digests)
                self._pursuits.retain(action.header_digests)
            case ev.Send():
                to = None if action.to is None else self.term.numbers[action.to]
                self._outlet.send(to, action.message)
            case ev.ReportEvidence():
                self._misconduct.report(action.first, action.second)
            case ev.Trace():
                self._outlet.note_trace(action)
            case ev.Halt():
                self.halted = action.reason
            case _:
                assert_never(action)

    def _commit(self, action: ev.Commit, now: ev.Now) -> None:
        header, certificate = action.header, action.certificate
        executed = self._executed(action.header_digest)
        self._ledger.stage(executed, certificate)
        self._misconduct.note_final(executed, certificate)
        self._ballots.note_committed(CertifiedHeader(header, certificate))
        last_came_ms = self._undecided.became_final(executed)
        self._outlet.note_expired(self.mempool.expire(header.time_ms + 1))
        while self._lapsed and self._lapsed[0][0] <= header.time_ms + 1:
            self._outlet.note_expired(self._lapsed.popleft()[1])
        self._judge_fairness(last_came_ms, now)
        self._committed_at_ms = now.monotonic_ms
        self._outlet.note_committed(CommittedBlock(executed, certificate))
        self._pursuits.try_children(action.header_digest)
        self._sync.forget(header.height)

    def _judge_fairness(self, last_came_ms: int, now: ev.Now) -> None:
        verdict = self._fairness.judge(
            last_came_ms, now, view=self.core.view, time_ms=self.time_ms(now)
        )
        if verdict is not None:
            self._events.append(verdict)

    # ------------------------------------------------------------------ from epoch to epoch

    def _term_of(self, recovery: Recovery) -> Term:
        self._silent_up_to = recovery.silent_up_to
        return Term.of(
            recovery.epoch,
            recovery.anchor,
            self._validator_id,
            self.roster,
            is_silent=recovery.silent_up_to > 0,
        )

    def _begin_term(self, now: ev.Now) -> None:
        """Go on under the rules that the state after the newest final block holds.

        That was a barrier, or the block up to which this validator was silent.
        """
        recovery = resume(self._ledger, self._later, self._suite)
        self._later = recovery.later
        self._events.clear()
        self.term = self._term_of(recovery)
        self._ballots.begin(self.term, recovery)
        self._proposer.begin(self.term)
        self._sync.begin(self.term)
        self._misconduct.begin(self.term)
        self._apply_parameters()
        self._drop_oversized(now)
        for record in recovery.blocks.values():
            self._pursuits.hold_logged(record)
        self.core = _make_core(self.term, recovery)
        self._outlet.note_term(self.term)
        self._tell_term()
        self._chase_blocks(now)
        for peer, message, arrival_utc_ms in self._early.take():
            try:
                self._take(peer, message, now, arrival_utc_ms=arrival_utc_ms)
            except (DecodeError, PeerError) as error:
                self._refuse(peer, error, now)

    def _tell_term(self) -> None:
        """Say what this node is in the epoch that begins."""
        epoch = self.term.epoch
        detail = f"epoch {epoch.number}, {epoch.validators.size} validators"
        if self._silent_up_to:
            detail += f"; by its log, block {self._silent_up_to} was final here: none is cast below"
            self._outlet.trace("log-ahead", self.height, detail)
        elif self.term.is_member:
            self._outlet.trace("epoch-begun", self.height, detail)
        else:
            detail += f", {self._validator_id} is none of them: it follows, and casts no vote"
            self._outlet.trace("epoch-followed", self.height, detail)

    def _apply_parameters(self) -> None:
        """Bring what may change with an epoch to those who hold it."""
        parameters = self.term.epoch.parameters
        self.gate.bytes_max = parameters.block_bytes_max
        self._gossip.repeat_after_ms = parameters.view_timeout_ms // 2
        self._fairness = Fairness(self.mempool, self._gossip, deadline_ms=parameters.fairness_ms)

    def _drop_oversized(self, now: ev.Now) -> None:
        """Let go of what no block can hold any more, were blocks made smaller."""
        bytes_max = self.gate.bytes_max
        waiting = self.mempool.take(
            time_ms=self.time_ms(now), txs_max=_ALL, bytes_max=_ALL, records_max=_ALL
        )
        transactions = [verified.transaction for verified in waiting]
        dropped = [tx.tx_id for tx in transactions if len(tx.encoded) > bytes_max]
        self.mempool.discard(dropped)
        self._outlet.note_expired(dropped)

    def _executed(self, header_digest: bytes) -> ExecutedBlock:
        executed = self._undecided.executed(header_digest)
        if executed is None:
            raise InvariantViolation(f"block {header_digest.hex()} was not executed here")
        return executed


def _make_core(term: Term, recovery: Recovery) -> Core:
    epoch = term.epoch
    return Core(
        validators=epoch.validators,
        me=term.me,
        parameters=epoch.parameters,
        context=epoch.context,
        anchor=term.anchor,
        digest_of=term.verifier.digest_of,
        recovered=recovery.consensus,
    )


_GIVEN_BY_ANYBODY: Final = (CertifiedHeader, Blocks, Bodies, Transactions)
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
