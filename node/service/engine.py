"""The validator without its IO: consensus core, pool, execution, log and ledger, made one machine.

Everything comes in through a method with the time as an argument, everything goes out through
`drain`. The asyncio shell (runner.py) and the simulator drive the very same object.

The engine owns the turn and who hears of what; each of its parts owns one concern and its state:
`succession` the epoch in force and its core, `ballots` what is signed and logged, `undecided` the
blocks above the tip, `pursuit` how they come to be validated, `proposing`, `intake` and `gossip`
transactions, `reception` what peers say, `catch_up` what to do when behind, `desk` what peers are
given, `misconduct`. Reading order: inputs, `_turn`, `_obey`, `_begin_term`, then the parts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, assert_never

from node.chain.admission import Admission
from node.chain.block import CertifiedHeader
from node.chain.evidence import Evidence
from node.chain.genesis import Genesis
from node.chain.membership import Validator
from node.chain.transaction import VerifiedTransaction
from node.consensus import events as ev
from node.consensus.core import Core
from node.consensus.messages import NewView, Proposal, ViewChange
from node.crypto.signature import Signer
from node.errors import InvariantViolation
from node.execution.apply import ExecutedBlock, Executor
from node.service.admission import Gate
from node.service.ballots import Ballots, DurableLog
from node.service.catch_up.course import CatchUp
from node.service.catch_up.snapshot_sync import DraftHome, SnapshotProgress
from node.service.clock_fitness import ClockFitness
from node.service.desk import Desk
from node.service.fairness import Fairness
from node.service.gossip import Gossip
from node.service.intake import Intake
from node.service.mempool import Mempool
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
from node.service.reception import Reception
from node.service.reckoning import Reckoner, Reckoning
from node.service.recovery import Ledger, Recovery, older_log
from node.service.senders import Senders
from node.service.staged import Beside, StagedLedger
from node.service.succession import Succession
from node.service.term import Roster, Term
from node.service.undecided import Undecided

_NEVER_MS: Final = 1 << 62

__all__ = ["CheckJob", "CommittedBlock", "Engine", "Outgoing", "Output"]


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
        suite = genesis.suite
        self._ledger = tip = StagedLedger(ledger)
        self._succession = Succession(genesis, validator_id, tip, recovery, executor.tx_roots)
        self._senders = Senders(tip)
        mempool.turns.seat_of = self._senders.seat_of
        term = self.term
        self._outlet = outlet = Outlet(view=lambda: self.core.view)
        tip.on_written = lambda *block: outlet.note_committed(CommittedBlock(*block))
        self.gate = Gate(
            genesis,
            key_of=self._senders.key_of,
            why_barred=self._senders.why_barred,
            is_pending=mempool.is_pending,
            is_final=tip.has_transaction,
            effort=outlet.counters.efforts.screening,
        )
        self.clock_fitness = ClockFitness(testnet=genesis.testnet)
        """Judges the UTC clock; whoever reads the clocks shows it each reading."""
        self._clock_verdict = self.clock_fitness.judge()
        self._reckoner = Reckoner(
            ledger=tip,
            is_degraded=lambda: self.core.is_degraded,
            is_clock_fit=lambda: self.clock_fitness.judge().is_fit,
            tip_since_ms=lambda: self._committed_at_ms,
        )
        self.halted = ""
        """Why the node stopped for good; empty while it runs."""
        self._events: deque[ev.Event] = deque()
        self._reading: ev.Now | None = None
        """The time in the turn under way, with what this node thinks of its clock."""
        self._committed_at_ms = 0
        self._expects_own_votes = False
        self._beside: Beside | None = None
        """Carries out writes of the ledger beside the turns, where that may be."""
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
        self._undecided = Undecided(tip, mempool, executor, outlet.counters.efforts.execution)
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
            term=term,
            mempool=mempool,
            undecided=self._undecided,
            counters=outlet.counters,
        )
        self._gossip = Gossip(mempool, outlet, repeat_after_ms=0)
        self._intake = Intake(
            gate=self.gate,
            mempool=mempool,
            ledger=tip,
            gossip=self._gossip,
            outlet=outlet,
            arrived=self._pursuits.arrived,
            reckoner=self._reckoner,
        )
        self._catch_up = CatchUp(
            genesis=genesis,
            genesis_block=executor.genesis_block(),
            term=term,
            ledger=ledger,
            tip=tip,
            outlet=outlet,
        )
        desk = Desk(
            suite=suite,
            ledger=ledger,
            tip=tip,
            undecided=self._undecided,
            ballots=self._ballots,
            outlet=outlet,
        )
        self._reception = Reception(
            succession=self._succession,
            intake=self._intake,
            pursuits=self._pursuits,
            misconduct=self._misconduct,
            catch_up=self._catch_up,
            desk=desk,
            outlet=outlet,
            run=self._run,
        )
        self._apply_parameters()
        self._hold_logged(recovery)
        outlet.note_term(term)
        if not term.is_member:
            self._succession.tell(outlet)

    def allow_snapshots(self, home: DraftHome, gap_blocks: int) -> None:
        """Let this node, if it is more than `gap_blocks` behind, make another ledger in `home`.

        It keeps states readable for others that are as far behind as that.
        """
        self._catch_up.allow_snapshots(home, gap_blocks)

    def expect_own_votes(self) -> None:
        """Have this node end where a block shows a vote of its own that its log does not hold.

        A home that was restored, log and ledger, from an old copy finds nothing amiss as it starts;
        only the blocks of the others tell. Then, and at every later start, it raises `StorageError`
        (GC-3012).
        """
        self._expects_own_votes = True

    # ------------------------------------------------------------------ inputs

    def start(self, now: ev.Now) -> None:
        """Take the first turn after construction."""
        self._committed_at_ms = now.monotonic_ms
        self._catch_up.note_committed(0, now)
        self._turn(now, ev.Tick())

    def tick(self, now: ev.Now) -> None:
        """Let time pass; due at `deadline`."""
        if self.is_superseded:
            return
        self._catch_up.chase_snapshot_and_past(now)
        self._pursuits.chase(now)
        self._reception.feed(now)
        self._catch_up.chase_blocks(now)
        self._gossip.repeat(
            now,
            committed_at_ms=self._committed_at_ms,
            time_ms=self.time_ms(now),
            undecided=self._ballots.undecided_transactions(),
        )
        self._intake.expire_by_clock(now, self.term.epoch.parameters)
        self._turn(now, ev.Tick())

    def deadline(self) -> int:
        """Return the monotonic time (ms) by which `tick` is due."""
        if self._catch_up.next_sender is not None:
            return 0
        return min(
            self._succession.core.deadline(),
            *self._pursuits.due_ms(),
            *self._proposer.due_ms(),
            *self._gossip.due_ms(self._committed_at_ms),
            *self._catch_up.due_ms(),
            _NEVER_MS,
        )

    def connected(self, peer: int) -> None:
        """Tell a peer that can be reached from now on where this validator stands."""
        self._reception.greet(peer)

    def receive(self, peer: int, frame: Sequence[bytes], now: ev.Now) -> None:
        """Take messages of one peer, in order; what is wrong with one is counted, not raised."""
        self._reception.receive(peer, frame, now)
        self._turn(now)

    def admit(
        self, checked: Sequence[VerifiedTransaction | None], now: ev.Now, *, from_client: bool
    ) -> list[Admission]:
        """Put checked transactions into the pool; those of clients are passed on to peers."""
        self.mempool.note_time(now.monotonic_ms)
        admissions = [self._intake.admit(each, from_client=from_client) for each in checked]
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
            vote = message.vote if isinstance(message, Proposal) else message
            is_over = vote.epoch != self.term.epoch.number  # it ended before the disk was done
            if is_over and isinstance(message, (ViewChange, NewView)):
                continue
            if isinstance(message, Proposal):
                self._proposer.learn_pace(message, now)
            self._outlet.send(None, message)
            if not is_over:  # a vote may be for a height above the barrier, on another block
                self._events.append(event)
        self._turn(now)

    def write_beside(self, beside: Beside) -> None:
        """Have `beside` carry out the ledger's writes while this node catches up, one at a time.

        `written` is to be called once each has ended.
        """
        self._beside = beside

    def written(self) -> None:
        """Note that a write which was begun beside has ended; raises what it raised."""
        if self._ledger.is_written:
            self._ledger.finish()

    def flush_gossip(self) -> None:
        """Send the transactions admitted from clients since the last call, in few messages."""
        self._gossip.flush()

    def drain(self) -> Output:
        """Return and forget what the turns since the last call produced."""
        return self._outlet.drain()

    # ------------------------------------------------------------------ what can be asked

    @property
    def term(self) -> Term:
        """The epoch in force, as this node sees it."""
        return self._succession.term

    @property
    def core(self) -> Core:
        """The core that serves it."""
        return self._succession.core

    @property
    def roster(self) -> Roster:
        """The numbers that nodes go by."""
        return self._succession.roster

    @property
    def peer_signs(self) -> PeerSigns:
        """When each peer was heard last, and where it said it stands."""
        return self._reception.peer_signs

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
        return self._catch_up.is_behind

    @property
    def informants(self) -> int:
        """How many members said where they stand since the start; `is_behind` rests on them."""
        return self._catch_up.informants

    @property
    def is_abreast(self) -> bool:
        """Whether this node has all that is final, by the word of a quorum less itself."""
        return self._catch_up.is_abreast

    @property
    def is_superseded(self) -> bool:
        """Whether the next start finds another ledger, made of a snapshot; this one ends here."""
        return self._catch_up.is_superseded

    @property
    def missing_blocks(self) -> int:
        """How many blocks of the past are not here yet, where the ledger began with a snapshot."""
        return self._catch_up.missing_blocks

    @property
    def snapshot_progress(self) -> SnapshotProgress | None:
        """How far the state is that this node fetches instead of blocks, if it does."""
        return self._catch_up.snapshot_progress

    def is_untold(self, tx_id: bytes) -> bool:
        """Whether what became of a transaction that waits no more is still to be told.

        It is final, and its block is being written; or it lapsed, and no block says so yet.
        """
        return self._ledger.is_unwritten(tx_id) or self._intake.has_lapsed(tx_id)

    def reckon(self, now: ev.Now) -> Reckoning:
        """Return the time admission reckons with: the later of the tip's T + 1 and a fit clock."""
        return self._reckoner.reckon(now)

    def time_ms(self, now: ev.Now) -> int:
        """Return the earliest time it can be by `reckon`."""
        return self._reckoner.time_ms(now)

    def snapshot(self) -> list[tuple[int, bytes]]:
        """Return the log records that restate everything still needed, for log rotation."""
        return self._ballots.snapshot()

    # ------------------------------------------------------------------ the turn

    def _turn(self, now: ev.Now, *more: ev.Event) -> None:
        """Run the core until it is at rest, then write what became final, and what was signed."""
        self._run(now, *more)
        self._write_ledger()
        self._ballots.write()
        self._reading = None

    def _write_ledger(self) -> None:
        """Write what became final: beside the next turns where those make more of the past final.

        Nothing is signed meanwhile, and of what is being written nobody is told: who is behind has
        nothing to say that rests on it.
        """
        ledger, beside = self._ledger, self._beside
        if not (ledger.is_staged or ledger.is_being_written):
            return
        may_wait = self._catch_up.is_behind and not self._ballots.has_cast
        if beside is None or not may_wait or (ledger.is_staged and not ledger.begin_write(beside)):
            self._write_at_once()

    def _write_at_once(self) -> None:
        # Synced, although the log could rebuild it: a database may lose an unsynced write from the
        # middle of its own log, and a state tree with a hole is worse than one that is behind.
        effort = self.counters.efforts.ledger
        began_ns = effort.begin()
        self._ledger.write()
        effort.end(began_ns)

    def _run(self, now: ev.Now, *more: ev.Event) -> None:
        """Feed events to the core, and what follows from them, until it is at rest."""
        if self._reading is None:
            self.mempool.note_time(now.monotonic_ms)
            self._reading = self._judge_clock(now)
        now = self._reading
        self._report_pool(now)  # first: where nothing waits any more, no timer ends a view
        self._events.extend(more)
        for event in more:
            self._note_signed_time(event, now)
        effort, may_differ = self._outlet.counters.efforts.consensus, False
        while self._events and not self.halted:
            event = self._events.popleft()
            if isinstance(event, ev.Validated) and self._was_released(event):
                continue
            began_ns = effort.begin()
            actions = self._succession.core.step(event, now)
            effort.end(began_ns)
            for action in actions:
                self._obey(action, now)
            may_differ = may_differ or bool(actions)
            if actions and self._succession.is_due:
                self._begin_term(now)
            if may_differ and not self._events:
                may_differ = False
                self._report_pool(now)

    def _note_signed_time(self, event: ev.Event, now: ev.Now) -> None:
        """Have the own clock compared with one that another validator signed."""
        note = self.clock_fitness.note_peer
        match event:
            case ev.VoteReceived(vote):
                note(vote.validator, vote.time_ms, now.utc_ms)
            case ev.ProposalReceived(proposal, arrival_utc_ms):
                note(proposal.vote.validator, proposal.vote.time_ms, arrival_utc_ms)
            case ev.ViewChangeReceived(leaving):
                note(leaving.validator, leaving.clock_ms, now.utc_ms)
            case _:
                pass

    def _judge_clock(self, now: ev.Now) -> ev.Now:
        """Return the readings with what this node thinks of its clock, and tell of a change."""
        verdict = self.clock_fitness.judge()
        if verdict is not self._clock_verdict:
            if verdict.cause is not self._clock_verdict.cause:
                rule = "clock-fit" if verdict.is_fit else "clock-unfit"
                self._outlet.trace(rule, self.height, f"{verdict.cause.name}: {verdict.detail}")
            self._clock_verdict = verdict
        return now._replace(is_fit=False) if now.is_fit and not verdict.is_fit else now

    def _was_released(self, event: ev.Validated) -> bool:
        """Whether the core let go of a block after its execution: it will ask again if need be."""
        return event.matches and self._undecided.executed(event.header_digest) is None

    def _report_pool(self, now: ev.Now) -> None:
        change = self._proposer.pool_change(now)
        if change is not None:
            self._events.append(change)

    # ------------------------------------------------------------------ what the core wants

    def _obey(self, action: ev.Action, now: ev.Now) -> None:  # noqa: C901, PLR0912 - one case per action
        match action:
            case ev.BuildProposal():
                # The core hears of it before all else: a commit between would release the block.
                self._events.appendleft(self._proposer.build(action, now))
            case ev.Validate():
                holders = tuple(self.term.numbers[index] for index in action.holders)
                synced = self._catch_up.block(action.header.height)
                self._pursuits.begin(action, holders, synced, now)
            case ev.CastProposal():
                self._gossip.flush()
                self._ballots.cast_proposal(action, self._executed(action.header_digest), now)
            case ev.CastVote():
                block = self._undecided.executed(action.subject.header_digest)
                self._ballots.cast_vote(action, block, now)
            case ev.CastViewChange():
                self._proposer.note_left(action.view_change.reason)
                self._ballots.cast_view_change(action.view_change)
            case ev.AnnounceNewView():
                self._ballots.announce(action.new_view)
            case ev.AdoptNewView():
                self._ballots.adopt(action.new_view)
            case ev.Commit():
                self._commit(action, now)
            case ev.Retain():
                self._intake.drop_outdated_of(self._undecided.retain(action.header_digests))
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
        if self._expects_own_votes and self._ballots.lacks(certificate):
            self._ledger.write()  # but nothing to the log: so the next start finds it, too
            raise older_log(header.height, self._succession.validator_id)
        self._committed_at_ms = now.monotonic_ms
        self._misconduct.note_final(executed, certificate)
        self._ballots.note_committed(CertifiedHeader(header, certificate))
        are_others = self._senders.note_final(executed.state_writes)
        last_came_ms = self._undecided.became_final(executed)
        if are_others:
            self._intake.drop_outdated()
            self.mempool.turns.reseat()
        self._intake.expire_by_block(header.time_ms)
        self._judge_fairness(last_came_ms, now)
        self._pursuits.try_children(action.header_digest)
        self._catch_up.note_committed(header.height, now)

    def _judge_fairness(self, last_came_ms: int, now: ev.Now) -> None:
        verdict = self._fairness.judge(
            last_came_ms, now, view=self.core.view, time_ms=self.time_ms(now)
        )
        if verdict is not None:
            self._events.append(verdict)

    # ------------------------------------------------------------------ from epoch to epoch

    def _begin_term(self, now: ev.Now) -> None:
        """Go on under the rules that the state after the newest final block holds.

        That was a barrier, or the block up to which this validator was silent.
        """
        self._write_at_once()  # what begins is built from blocks, and those are read once written
        recovery = self._succession.advance()
        self._events.clear()
        self._ballots.begin(self.term, recovery)
        self._proposer.begin(self.term)
        self._catch_up.begin(self.term)
        self._misconduct.begin(self.term)
        self._apply_parameters()
        self._intake.drop_oversized()
        self._hold_logged(recovery)
        self._outlet.note_term(self.term)
        self._succession.tell(self._outlet)
        self._catch_up.chase_blocks(now)
        self._reception.take_early(now)

    def _hold_logged(self, recovery: Recovery) -> None:
        """Hold the blocks of the log that the core goes on with; what is in the others waits."""
        for record in recovery.blocks.values():
            self._pursuits.hold_logged(record)
        # Both, or a pursuit of the core before would go on without what its block pins.
        self._pursuits.retain(self.core.pursued)
        self._intake.drop_outdated_of(self._undecided.retain(self.core.pursued))

    def _apply_parameters(self) -> None:
        """Bring what may change with an epoch to those who hold it."""
        parameters = self.term.epoch.parameters
        self.gate.bytes_max = parameters.block_bytes_max
        self._gossip.repeat_after_ms = parameters.view_timeout_ms // 2
        self.clock_fitness.begin(parameters, self.term.epoch.validators.faults)
        self._fairness = Fairness(self.mempool, self._gossip, deadline_ms=parameters.fairness_ms)

    def _executed(self, header_digest: bytes) -> ExecutedBlock:
        executed = self._undecided.executed(header_digest)
        if executed is None:
            raise InvariantViolation(f"block {header_digest.hex()} was not executed here")
        return executed
