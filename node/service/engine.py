"""The validator without its IO: consensus core, pool, execution, log and ledger, made one machine.

Everything comes in through a method with the time as an argument, everything goes out through
`drain`. The asyncio shell (runner.py) and the simulator drive the very same object.

The rule about durability, in one place: whatever this validator signs is appended to the log in
the turn it is signed; the message waits in `_unsynced` and leaves, and counts here, only when
`durable` reports the log record on disk. Reading order: inputs, `_feed` and `_obey`, then one
section per concern.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Protocol, assert_never

from node.chain.admission import ACCEPTED, Admission, AdmissionCode
from node.chain.block import CertifiedBlock, CertifiedHeader, Header
from node.chain.certificate import Phase, QuorumCertificate, Subject, Vote
from node.chain.genesis import Genesis
from node.chain.time_rules import proposal_time
from node.chain.transaction import Transaction, VerifiedTransaction
from node.chain.validation import HeaderContext
from node.consensus import events as ev
from node.consensus.core import Core
from node.consensus.messages import NewView, Proposal, Status, ViewChange
from node.consensus.verification import Verifier
from node.crypto.signature import Signer
from node.errors import DecodeError, PeerError
from node.execution.apply import BlockInputs, ExecutedBlock, Executor, StateReader, sender_key
from node.execution.overlay import Overlay
from node.limits import BLOCK_RECORDS_MAX
from node.service.admission import Candidate, Gate, check_signatures
from node.service.allowance import Allowance
from node.service.batching import BatchLimit
from node.service.log_records import (
    BlockRecord,
    CommittedRecord,
    LogRecord,
    NewViewRecord,
    PreparedRecord,
    ViewChangeRecord,
    VoteRecord,
    encode_log_record,
)
from node.service.mempool import AddOutcome, Mempool
from node.service.recovery import Ledger, Recovery
from node.service.wire import (
    Blocks,
    Bodies,
    Message,
    Transactions,
    WantBlocks,
    WantBodies,
    decode_message,
    encode_message,
    kind_of,
)

BUILD_AGAIN_AFTER_MS = 50
"""How long a primary waits that found nothing includable among what waits."""
FETCH_AFTER_MS = 50
"""How long a proposal waits for gossip to bring its bodies before they are asked for."""
SYNC_AFTER_MS = 1_000
"""How long a peer may be ahead before blocks are asked for instead of waited for."""
SYNC_RETRY_MS = 2_000
SYNC_BLOCKS_ASKED = 64
SYNC_BYTES_AIM = 524_288
"""An answer ends before the block that would exceed this: it is decoded and checked in one turn."""
GOSSIP_BYTES_MAX = 524_288
EVIDENCE_KEPT = 1_024


class DurableLog(Protocol):
    """The write-ahead log as the engine sees it: append now, become durable later."""

    def append(self, records: Sequence[tuple[int, bytes]]) -> int:
        """Append records in order; return the sequence number of the last."""


class Purpose(IntEnum):
    """Why signatures are checked."""

    GOSSIP = 1
    BODIES = 2


@dataclass(frozen=True, slots=True)
class CheckJob:
    """Candidates whose signatures somebody (a thread, the simulator) must check for the engine."""

    purpose: Purpose
    candidates: tuple[Candidate, ...]
    header_digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to a validator index, or to all others."""

    to: int | None
    kind: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CommittedBlock:
    """A block that just became final here."""

    executed: ExecutedBlock
    certificate: QuorumCertificate


@dataclass(slots=True)
class Output:
    """What a turn produced; taken by `drain`."""

    messages: list[Outgoing] = field(default_factory=list)
    jobs: list[CheckJob] = field(default_factory=list)
    committed: list[CommittedBlock] = field(default_factory=list)
    expired: list[bytes] = field(default_factory=list)
    """Ids of pooled transactions that no later block can include."""
    traces: list[ev.Trace] = field(default_factory=list)


@dataclass(slots=True)
class Counters:
    """What this validator did since its start: the figures behind the metrics."""

    votes_signed: int = 0
    votes_checked: int = 0
    proposals_built: int = 0
    blocks_committed: int = 0
    txs_committed: int = 0
    messages_refused: int = 0
    bodies_asked: int = 0
    blocks_synced: int = 0


@dataclass(slots=True)
class _Pursuit:
    """An undecided block on its way to being validated."""

    header: Header
    digest: bytes
    tx_hashes: tuple[bytes, ...] | None
    holders: tuple[int, ...]
    missing: set[bytes] = field(default_factory=set)
    ask_at_ms: int = 0
    asked: int = 0


class Engine:
    """One validator. Single-threaded; never blocks; raises only for its own broken invariants."""

    def __init__(
        self,
        *,
        genesis: Genesis,
        me: int,
        signer: Signer,
        executor: Executor,
        ledger: Ledger,
        log: DurableLog,
        mempool: Mempool,
        recovery: Recovery,
    ) -> None:
        """Start from what `recovery` found; `me` is the index in the genesis validator set."""
        self.genesis, self.me = genesis, me
        self._suite, self._validators = genesis.suite, genesis.validators
        self._signer, self._executor, self._ledger, self._log = signer, executor, ledger, log
        self.mempool = mempool
        self._verifier = Verifier(
            genesis.chain_id, genesis.validators, genesis.suite, genesis.parameters.window_slots
        )
        self.gate = Gate(
            genesis,
            key_of=lambda sender: sender_key(ledger, sender),
            is_pending=mempool.is_pending,
            is_final=ledger.has_transaction,
        )
        self.core = Core(
            validators=genesis.validators,
            me=me,
            parameters=genesis.parameters,
            context=HeaderContext.of_genesis(genesis),
            genesis_digest=recovery.genesis_digest,
            digest_of=self._verifier.digest_of,
            recovered=recovery.consensus,
        )
        self.counters = Counters()
        self.evidence: list[tuple[Vote, Vote]] = []
        self.halted = ""
        """Why the node stopped for good; empty while it runs."""
        self._events: deque[ev.Event] = deque()
        self._records: list[LogRecord] = []
        self._waiting_for_log: list[tuple[ev.Event, Message]] = []
        """Events and messages of this turn that rest on records appended in it."""
        self._unsynced: deque[tuple[int, ev.Event, Message]] = deque()
        self._overlays: dict[bytes, Overlay] = {}
        self._executed: dict[bytes, ExecutedBlock] = {}
        self._pursuits: dict[bytes, _Pursuit] = {}
        self._pinned: dict[bytes, None] = {}
        """Digests of the blocks whose transactions the pool pins."""
        self._logged_blocks: dict[bytes, BlockRecord] = dict(recovery.blocks)
        self._own_votes: dict[tuple[Phase, int], Vote] = dict(recovery.own_votes)
        self._prepared: dict[int, CertifiedHeader] = dict(recovery.prepared)
        self._last_view_record: LogRecord | None = recovery.last_view_record
        self._last_new_view: NewViewRecord | None = recovery.last_new_view
        self._lapsed: deque[tuple[int, list[bytes]]] = deque()
        """Ids that expired by clock before this time (ms), until a block's T says so too."""
        self._batch_limit = BatchLimit(
            records_max=BLOCK_RECORDS_MAX, delay_max_ms=genesis.parameters.message_delay_ms // 4
        )
        self._in_check: dict[bytes, None] = {}
        """Hashes of transactions whose signatures are being checked: nobody is asked for those."""
        self._gossip: list[bytes] = []
        self._gossip_again_at_ms = 0
        self._peer_heights: dict[int, int] = {}
        self._allowance = Allowance()
        self._synced: dict[int, CertifiedBlock] = {}
        self._offered_height = 0
        self._sync_asked_at_ms: int | None = None
        self._committed_at_ms = 0
        self._pool_reported = False
        self._build_again_at_ms = 0
        self._output = Output()
        for record in recovery.blocks.values():
            self._hold_bodies(record)

    # ------------------------------------------------------------------ inputs

    def start(self, now: ev.Now) -> None:
        """Take the first turn after construction."""
        self._committed_at_ms = now.monotonic_ms
        self._turn(now, ev.Tick())

    def tick(self, now: ev.Now) -> None:
        """Let time pass; due at `deadline`."""
        self._chase_bodies(now)
        self._chase_blocks(now)
        self._feed_synced()
        self._gossip_again(now)
        # By clock, what validators with sound clocks will not include: nobody is told yet, as a
        # block of an earlier view may still hold it, but it is no longer work that waits.
        past_ms = now.utc_ms - 2 * self.genesis.parameters.accuracy_ms
        lapsed = self.mempool.expire(past_ms)
        if lapsed:
            self._lapsed.append((past_ms, lapsed))
        self._turn(now, ev.Tick())

    def deadline(self) -> int:
        """Return the monotonic time (ms) by which `tick` is due."""
        if self._has_synced:
            return 0
        due = [self.core.deadline()]
        due += [p.ask_at_ms for p in self._pursuits.values() if p.missing or p.tx_hashes is None]
        if self.mempool.is_waiting and not self._pool_reported:
            due.append(self._build_again_at_ms)
        return min(due)

    def connected(self, peer: int) -> None:
        """Tell a peer that can be reached from now on where this validator stands."""
        self._send(peer, Status(self.core.view, self.core.view_active, self.height))

    def receive(self, peer: int, frame: Sequence[bytes], now: ev.Now) -> None:
        """Take messages of one peer, in order; what is wrong with one is counted, not raised."""
        for data in frame:
            try:
                message = decode_message(data, self._suite.signature_size)
                self._take(peer, message, now)
            except (DecodeError, PeerError) as error:
                self.counters.messages_refused += 1
                rule = error.rule if isinstance(error, PeerError) else error.code
                detail = f"from validator {peer}: {error}"
                self._output.traces.append(ev.Trace(rule, self.core.view, self.height, detail))
        self._turn(now)

    def admit(
        self, checked: Sequence[VerifiedTransaction | None], now: ev.Now, *, from_client: bool
    ) -> list[Admission]:
        """Put checked transactions into the pool; those of clients are passed on to peers."""
        admissions = []
        for verified in checked:
            if verified is None:
                admissions.append(Admission(AdmissionCode.BAD_SIGNATURE, "does not verify"))
                continue
            transaction = verified.transaction
            if self._ledger.has_transaction(transaction.tx_id):
                admissions.append(Admission(AdmissionCode.ALREADY_FINAL))
                continue
            outcome = self.mempool.add(verified)
            if outcome is AddOutcome.FULL:
                admissions.append(
                    Admission(
                        AdmissionCode.POOL_FULL,
                        "the pool is full",
                        self.mempool.retry_after_ms(),
                    )
                )
                continue
            admissions.append(
                ACCEPTED
                if outcome is AddOutcome.ADDED
                else Admission(AdmissionCode.DUPLICATE_PENDING)
            )
            if from_client and outcome is AddOutcome.ADDED:
                self._gossip.append(transaction.encoded)
            self._arrived(transaction.tx_hash)
        self._turn(now)
        return admissions

    def checked(
        self, job: CheckJob, verdicts: Sequence[VerifiedTransaction | None], now: ev.Now
    ) -> None:
        """Take the answer to a `CheckJob`."""
        for candidate in job.candidates:
            self._in_check.pop(candidate.transaction.tx_hash, None)
        if job.purpose is Purpose.GOSSIP:
            self.admit(verdicts, now, from_client=False)
            return
        pursuit = self._pursuits.get(job.header_digest)
        for verified in verdicts:
            if verified is not None and self.mempool.hold_body(verified):
                self._arrived(verified.transaction.tx_hash)
        if pursuit is not None and None in verdicts:
            self._settle(pursuit, matches=False)
        self._turn(now)

    def durable(self, lsn: int, now: ev.Now) -> None:
        """Note that every log record up to `lsn` is on disk: release what waited for it."""
        while self._unsynced and self._unsynced[0][0] <= lsn:
            _, event, message = self._unsynced.popleft()
            if isinstance(message, Proposal):
                self._learn_pace(message, now)
            self._send(None, message)
            self._events.append(event)
        self._turn(now)

    def flush_gossip(self) -> None:
        """Send the transactions admitted from clients since the last call, in few messages."""
        batch: list[bytes] = []
        size = 0
        for encoded in self._gossip:
            if batch and size + len(encoded) > GOSSIP_BYTES_MAX:
                self._send(None, Transactions(tuple(batch)))
                batch, size = [], 0
            batch.append(encoded)
            size += len(encoded)
        if batch:
            self._send(None, Transactions(tuple(batch)))
        self._gossip.clear()

    def drain(self) -> Output:
        """Return and forget what the turns since the last call produced."""
        output, self._output = self._output, Output()
        return output

    @property
    def has_gossip(self) -> bool:
        """Whether `flush_gossip` has something to send."""
        return bool(self._gossip)

    @property
    def waits_for_log(self) -> bool:
        """Whether something of this validator leaves only once the log is synced."""
        return bool(self._unsynced)

    @property
    def height(self) -> int:
        """Height of the newest final block here."""
        return self._ledger.tip_height

    @property
    def is_behind(self) -> bool:
        """Whether a quorum of peers, by their word, is further than consensus alone can heal."""
        reach = 2 * self.genesis.parameters.window_slots
        ahead = sum(1 for height in self._peer_heights.values() if height > self.height + reach)
        return ahead > self._validators.faults

    def time_ms(self, now: ev.Now) -> int:
        """Return the time admission reckons with: the later of the tip's T + 1 and UTC."""
        return max(self._ledger.header.time_ms + 1, now.utc_ms)

    def snapshot(self) -> list[tuple[int, bytes]]:
        """Return the log records that restate everything still needed, for log rotation."""
        records: list[LogRecord] = []
        if self._last_new_view is not None:
            records.append(self._last_new_view)
        if self._last_view_record is not None and self._last_view_record != self._last_new_view:
            records.append(self._last_view_record)
        records += self._logged_blocks.values()
        records += [PreparedRecord(item) for _, item in sorted(self._prepared.items())]
        votes = sorted(self._own_votes.items())
        records += [VoteRecord(vote) for _, vote in votes]
        return [encode_log_record(record) for record in records]

    # ------------------------------------------------------------------ the turn

    def _turn(self, now: ev.Now, *more: ev.Event) -> None:
        """Run the core until it is at rest, then append this turn's records in one write."""
        self._run(now, *more)
        if self._records:
            lsn = self._log.append([encode_log_record(record) for record in self._records])
            self._records.clear()
            for event, message in self._waiting_for_log:
                self._unsynced.append((lsn, event, message))
            self._waiting_for_log.clear()

    def _run(self, now: ev.Now, *more: ev.Event) -> None:
        """Feed events to the core, and what follows from them, until it is at rest."""
        self._events.extend(more)
        self._report_pool(now)
        while self._events and not self.halted:
            event = self._events.popleft()
            if isinstance(event, ev.Validated) and self._was_released(event):
                continue
            for action in self.core.step(event, now):
                self._obey(action, now)
            if not self._events:
                self._report_pool(now)

    def _was_released(self, event: ev.Validated) -> bool:
        """Whether the core let go of a block after its execution: it will ask again if need be."""
        return event.matches and event.header_digest not in self._executed

    def _report_pool(self, now: ev.Now) -> None:
        is_waiting = self.mempool.is_waiting and now.monotonic_ms >= self._build_again_at_ms
        if is_waiting != self._pool_reported:
            self._pool_reported = is_waiting
            self._events.append(ev.PoolChanged(is_waiting))

    def _take(self, peer: int, message: Message, now: ev.Now) -> None:  # noqa: C901, PLR0912 - one case per kind
        """Check a message of `peer` and turn it into an event, or serve it."""
        core, verifier = self.core, self._verifier
        if isinstance(message, Status | WantBodies | WantBlocks):
            self._answer(peer, message, now)
            return
        match message:
            case Vote():
                if core.wants_vote(message):
                    self._check_vote(message)
                    self._run(now, ev.VoteReceived(message))
            case Proposal():
                if core.wants_proposal(message):
                    self.counters.votes_checked += 1
                    verifier.check_proposal(message)
                    self._run(now, ev.ProposalReceived(message, now.utc_ms))
            case ViewChange():
                if message.view >= core.view and message.validator != self.me:
                    verifier.check_view_change(message)
                    self._run(now, ev.ViewChangeReceived(message))
            case NewView():
                if message.view > core.view or (message.view == core.view and not core.view_active):
                    verifier.check_new_view(message)
                    self._run(now, ev.NewViewReceived(message))
            case CertifiedHeader():
                if message.header.height > self.height:
                    verifier.check_decided(message)
                    self._run(now, ev.DecidedReceived(message))
            case Bodies():
                self._take_bodies(message)
            case Blocks():
                self._take_blocks(message, now)
            case Transactions():
                verdicts = self.gate.screen(message.transactions, self.time_ms(now))
                candidates = tuple(v for v in verdicts if isinstance(v, Candidate))
                if candidates:
                    self._have_checked(CheckJob(Purpose.GOSSIP, candidates))
            case _:
                assert_never(message)

    def _answer(self, peer: int, request: Status | WantBodies | WantBlocks, now: ev.Now) -> None:
        """Answer a peer within its allowance; a request costs it little and this node much."""
        if not self._allowance.has_room(peer, now.monotonic_ms):
            raise PeerError("allowance", f"{type(request).__name__} before earlier answers are due")
        before = len(self._output.messages)
        match request:
            case Status():
                self._peer_heights[peer] = request.height
                self._run(now, ev.StatusReceived(peer, request))
                self._chase_blocks(now)
            case WantBodies():
                self._serve_bodies(peer, request)
            case WantBlocks():
                self._serve_blocks(peer, request)
            case _:
                assert_never(request)
        answers = self._output.messages[before:]
        self._allowance.use(peer, sum(len(m.data) for m in answers if m.to == peer))

    def _have_checked(self, job: CheckJob) -> None:
        self._in_check |= dict.fromkeys(c.transaction.tx_hash for c in job.candidates)
        self._output.jobs.append(job)

    def _check_vote(self, vote: Vote) -> None:
        self.counters.votes_checked += 1
        if not vote.verify(self.genesis.chain_id, self._validators):
            raise PeerError("vote-signature", f"the vote of {vote.validator} does not verify")

    def _obey(self, action: ev.Action, now: ev.Now) -> None:  # noqa: C901, PLR0912 - one case per action
        match action:
            case ev.BuildProposal():
                self._build(action, now)
            case ev.Validate():
                self._pursue(action, now)
            case ev.CastProposal():
                subject = Subject(
                    Phase.PREPARE, action.view, action.header.height, action.header_digest
                )
                vote = self._sign_vote(subject, now)
                proposal = Proposal(action.header, action.tx_hashes, vote)
                self.flush_gossip()
                self._after_log(ev.OwnVoteDurable(vote), proposal)
            case ev.CastVote():
                if action.evidence is not None:
                    self._prepared[action.subject.height] = action.evidence
                    self._records.append(PreparedRecord(action.evidence))
                vote = self._sign_vote(action.subject, now)
                self._after_log(ev.OwnVoteDurable(vote), vote)
            case ev.CastViewChange():
                message = self._sign_view_change(action.view_change)
                self._last_view_record = ViewChangeRecord(message)
                self._records.append(self._last_view_record)
                self._after_log(ev.OwnViewChangeDurable(message), message)
            case ev.AnnounceNewView():
                signature = self._signer.sign(action.new_view.sign_bytes(self.genesis.chain_id))
                announced = replace(action.new_view, signature=signature)
                self._log_new_view(announced)
                self._after_log(ev.OwnNewViewDurable(announced), announced)
            case ev.AdoptNewView():
                self._log_new_view(action.new_view)
            case ev.Commit():
                self._commit(action, now)
            case ev.Retain():
                self._retain(action.header_digests)
            case ev.Send():
                self._send(action.to, action.message)
            case ev.ReportEvidence():
                if len(self.evidence) < EVIDENCE_KEPT:
                    self.evidence.append((action.first, action.second))
                subject = action.second.subject
                self._output.traces.append(
                    ev.Trace(
                        "equivocation",
                        subject.view,
                        subject.height,
                        f"validator {action.second.validator} voted for two headers",
                    )
                )
            case ev.Trace():
                self._output.traces.append(action)
            case ev.Halt():
                self.halted = action.reason
            case _:
                assert_never(action)

    # ------------------------------------------------------------------ signing and logging

    def _sign_vote(self, subject: Subject, now: ev.Now) -> Vote:
        """Sign a vote and put it, after its block, into this turn's records."""
        if subject.phase is Phase.PREPARE and subject.header_digest not in self._logged_blocks:
            executed = self._executed[subject.header_digest]
            record = BlockRecord(
                executed.header, tuple(tx.transaction.encoded for tx in executed.transactions)
            )
            self._logged_blocks[subject.header_digest] = record
            self._records.append(record)
        message = subject.sign_bytes(self.genesis.chain_id, self._validators, now.utc_ms)
        vote = Vote(subject, self.me, now.utc_ms, self._signer.sign(message))
        self._own_votes[subject.phase, subject.height] = vote
        self._records.append(VoteRecord(vote))
        self.counters.votes_signed += 1
        return vote

    def _sign_view_change(self, message: ViewChange) -> ViewChange:
        signature = self._signer.sign(message.sign_bytes(self.genesis.chain_id))
        return replace(message, signature=signature)

    def _log_new_view(self, message: NewView) -> None:
        self._last_new_view = NewViewRecord(message)
        self._last_view_record = self._last_new_view
        self._records.append(self._last_new_view)

    def _after_log(self, event: ev.Event, message: Message) -> None:
        self._waiting_for_log.append((event, message))

    # ------------------------------------------------------------------ proposing and validating

    def _build(self, action: ev.BuildProposal, now: ev.Now) -> None:
        """Execute the oldest waiting transactions on the parent and propose the outcome."""
        parameters = self.genesis.parameters
        parent = self._reader(action.parent_digest)
        header: Header | None = None
        tx_hashes: tuple[bytes, ...] = ()
        if parent is not None:
            time_ms = proposal_time(parent.header.time_ms, now.utc_ms)
            taken = []
            if time_ms <= now.utc_ms + parameters.precision_ms:
                taken = self.mempool.take(
                    time_ms=time_ms,
                    txs_max=parameters.block_txs_max,
                    bytes_max=parameters.block_bytes_max,
                    records_max=self._batch_limit.records,
                )
            if taken:
                inputs = BlockInputs(
                    height=action.height,
                    view=action.view,
                    time_ms=time_ms,
                    time_degraded=False,
                    proposer=self.me,
                )
                executed = self._executor.execute(parent, inputs, taken)
                header = executed.header
                tx_hashes = tuple(tx.transaction.tx_hash for tx in taken)
                self._pin(executed.digest, tx_hashes)
                self._remember(executed, parent)
                self.counters.proposals_built += 1
        if header is None:
            # Nothing that waits can be included at this T: the core takes the pool for empty now.
            self._pool_reported = False
            if self.mempool.is_waiting:  # else the next to come is built for at once
                self._build_again_at_ms = now.monotonic_ms + BUILD_AGAIN_AFTER_MS
        # The core hears of it before anything else: a commit between would release the block.
        self._events.appendleft(ev.ProposalBuilt(action.view, action.height, header, tx_hashes))

    def _learn_pace(self, proposal: Proposal, now: ev.Now) -> None:
        """Let the time from stamping an own proposal to sending it bound the next one."""
        executed = self._executed.get(proposal.vote.subject.header_digest)
        if executed is not None:
            records = len(executed.leaves) - 1  # the first is the parent's header
            self._batch_limit.learn(records, now.utc_ms - proposal.header.time_ms)

    def _pursue(self, action: ev.Validate, now: ev.Now) -> None:
        """Begin, or widen, the effort to hold and execute a block."""
        pursuit = self._pursuits.get(action.header_digest)
        if action.header_digest in self._executed:
            self._events.append(ev.Validated(action.header_digest, matches=True))
            return
        if pursuit is None:
            tx_hashes = action.tx_hashes
            if tx_hashes is None:
                tx_hashes = self._known_list(action.header, action.header_digest)
            pursuit = _Pursuit(action.header, action.header_digest, tx_hashes, action.holders)
            pursuit.ask_at_ms = now.monotonic_ms + FETCH_AFTER_MS
            self._pursuits[pursuit.digest] = pursuit
            if tx_hashes is None:
                pursuit.ask_at_ms = now.monotonic_ms
                self._chase_bodies(now)
            else:
                self._expect(pursuit, tx_hashes)
        else:
            pursuit.holders = action.holders or pursuit.holders
        self._try(pursuit)

    def _known_list(self, header: Header, header_digest: bytes) -> tuple[bytes, ...] | None:
        synced = self._synced.get(header.height)
        if synced is not None and synced.header == header:
            return tuple(transaction.tx_hash for transaction in synced.transactions)
        record = self._logged_blocks.get(header_digest)
        if record is None:
            return None
        return tuple(Transaction.decode(tx, self._suite).tx_hash for tx in record.transactions)

    def _expect(self, pursuit: _Pursuit, tx_hashes: tuple[bytes, ...]) -> None:
        """Pin the list of a block and note which bodies are still to come."""
        pursuit.tx_hashes = tx_hashes
        self._pin(pursuit.digest, tx_hashes)
        record = self._logged_blocks.get(pursuit.digest)
        if record is not None and self.mempool.missing(tx_hashes):
            self._hold_bodies(record)  # dropped and expired since this validator prepared it
        pursuit.missing = set(self.mempool.missing(tx_hashes))

    def _pin(self, digest: bytes, tx_hashes: tuple[bytes, ...]) -> None:
        self._pinned[digest] = None
        self.mempool.pin(digest, tx_hashes)

    def _unpin(self, digest: bytes) -> None:
        """Release a block; what only its body brought here may long be final in another block."""
        self._pinned.pop(digest, None)
        returned = self.mempool.unpin(digest)
        self.mempool.discard([i for i in returned if self._ledger.has_transaction(i)])

    def _arrived(self, tx_hash: bytes) -> None:
        """Note a body that came; the block that waited for it may be complete now."""
        for pursuit in list(self._pursuits.values()):
            if tx_hash in pursuit.missing:
                pursuit.missing.discard(tx_hash)
                if not pursuit.missing:
                    self._try(pursuit)

    def _try(self, pursuit: _Pursuit) -> None:
        """Execute a block whose bodies and parent are there, and settle it."""
        if pursuit.missing or pursuit.tx_hashes is None or pursuit.digest not in self._pursuits:
            return
        parent = self._reader(pursuit.header.parent)
        if parent is None:
            return
        header = pursuit.header
        bodies = [self.mempool.get(tx_hash) for tx_hash in pursuit.tx_hashes]
        transactions = [body for body in bodies if body is not None]
        inputs = BlockInputs(
            height=header.height,
            view=header.view,
            time_ms=header.time_ms,
            time_degraded=header.time_degraded,
            proposer=header.proposer,
        )
        try:
            executed = self._executor.execute(parent, inputs, transactions)
        except PeerError as error:
            self._output.traces.append(
                ev.Trace(error.rule, self.core.view, header.height, str(error))
            )
            self._settle(pursuit, matches=False)
            return
        matches = executed.header == header
        if matches:
            self._remember(executed, parent)
        else:
            self._output.traces.append(
                ev.Trace(
                    "execution-differs",
                    self.core.view,
                    header.height,
                    f"proposed {header}, executed {executed.header}",
                )
            )
        self._settle(pursuit, matches=matches)

    def _settle(self, pursuit: _Pursuit, *, matches: bool) -> None:
        self._pursuits.pop(pursuit.digest, None)
        self._events.append(ev.Validated(pursuit.digest, matches))
        if matches:
            self._try_children(pursuit.digest)

    def _try_children(self, parent_digest: bytes) -> None:
        for pursuit in list(self._pursuits.values()):
            if pursuit.header.parent == parent_digest:
                self._try(pursuit)

    def _reader(self, digest: bytes) -> StateReader | None:
        """Return the state after a block: the tip's, or that of a speculative overlay."""
        if digest == self._ledger.header_digest:
            return self._ledger
        return self._overlays.get(digest)

    def _remember(self, executed: ExecutedBlock, parent: StateReader) -> None:
        self._executed[executed.digest] = executed
        self._overlays[executed.digest] = Overlay(parent, executed)

    # ------------------------------------------------------------------ final blocks

    def _commit(self, action: ev.Commit, now: ev.Now) -> None:
        executed = self._executed[action.header_digest]
        # Synced, although the log could rebuild it: a database may lose an unsynced write from the
        # middle of its own log, and a state tree with a hole is worse than one that is behind.
        self._ledger.commit(executed, action.certificate, sync=True)
        self._records.append(CommittedRecord(CertifiedHeader(action.header, action.certificate)))
        for child in self._overlays.values():
            if child.header.parent == action.header_digest:
                child.rebase(self._ledger)
        tx_ids = [tx.transaction.tx_id for tx in executed.transactions]
        self.mempool.remove_committed(tx_ids, time_ms=action.header.time_ms)
        self._unpin(action.header_digest)
        self._output.expired += self.mempool.expire(action.header.time_ms + 1)
        while self._lapsed and self._lapsed[0][0] <= action.header.time_ms + 1:
            self._output.expired += self._lapsed.popleft()[1]
        was_synced = self._synced.pop(action.header.height, None) is not None
        self._own_votes = {k: v for k, v in self._own_votes.items() if k[1] > action.header.height}
        self._prepared = {h: i for h, i in self._prepared.items() if h > action.header.height}
        self._committed_at_ms = now.monotonic_ms
        self.counters.blocks_committed += 1
        self.counters.txs_committed += len(tx_ids)
        self._output.committed.append(CommittedBlock(executed, action.certificate))
        self._try_children(action.header_digest)
        if was_synced:
            self._chase_blocks(now)

    def _retain(self, digests: tuple[bytes, ...]) -> None:
        """Release every undecided block but those in `digests`."""
        for digest in [d for d in self._executed if d not in digests]:
            del self._executed[digest]
            self._overlays.pop(digest, None)
        for digest in [d for d in self._pursuits if d not in digests]:
            del self._pursuits[digest]
        for digest in [d for d in self._pinned if d not in digests]:
            self._unpin(digest)
        # What was prepared here is kept until its height is decided, pursued or not: a certificate
        # may exist that only others know, and its bodies are asked from whoever signed it.
        self._logged_blocks = {
            digest: record
            for digest, record in self._logged_blocks.items()
            if record.header.height > self.height
        }

    # ------------------------------------------------------------------ bodies

    def _hold_bodies(self, record: BlockRecord) -> None:
        """Put the bodies of a logged block back into the pool."""
        digest = self._verifier.digest_of(record.header)
        transactions = [Transaction.decode(tx, self._suite) for tx in record.transactions]
        self._pin(digest, tuple(tx.tx_hash for tx in transactions))
        candidates = [self.gate.candidate(tx) for tx in transactions]
        for verified in check_signatures([c for c in candidates if c is not None]):
            if verified is not None:
                self.mempool.hold_body(verified)

    def _chase_bodies(self, now: ev.Now) -> None:
        """Ask for bodies that gossip did not bring, each time another holder."""
        for pursuit in self._pursuits.values():
            if now.monotonic_ms < pursuit.ask_at_ms or not pursuit.holders:
                continue
            wanted = tuple(sorted(h for h in pursuit.missing if h not in self._in_check))
            if pursuit.tx_hashes is not None and not wanted:
                pursuit.ask_at_ms = now.monotonic_ms + FETCH_AFTER_MS
                continue
            holder = pursuit.holders[pursuit.asked % len(pursuit.holders)]
            pursuit.asked += 1
            pursuit.ask_at_ms = now.monotonic_ms + FETCH_AFTER_MS * min(1 << pursuit.asked, 32)
            self.counters.bodies_asked += 1
            self._send(holder, WantBodies(pursuit.header.height, pursuit.digest, wanted))

    def _serve_bodies(self, peer: int, want: WantBodies) -> None:
        """Answer with the bodies of an undecided or a final block."""
        held = self._bodies_of(want)
        if held is None:
            return
        if want.tx_hashes:
            wanted = frozenset(want.tx_hashes)
            held = [transaction for transaction in held if transaction.tx_hash in wanted]
        encoded = tuple(transaction.encoded for transaction in held)
        self._send(peer, Bodies(want.header_digest, not want.tx_hashes, encoded))

    def _bodies_of(self, want: WantBodies) -> Sequence[Transaction] | None:
        executed = self._executed.get(want.header_digest)
        if executed is not None:
            return [verified.transaction for verified in executed.transactions]
        record = self._logged_blocks.get(want.header_digest)
        if record is not None:
            return [Transaction.decode(data, self._suite) for data in record.transactions]
        block = self._ledger.certified_block(want.height) if want.height <= self.height else None
        if block is None or block.header.digest(self._suite) != want.header_digest:
            return None
        return block.transactions

    def _take_bodies(self, bodies: Bodies) -> None:
        pursuit = self._pursuits.get(bodies.header_digest)
        if pursuit is None or (pursuit.tx_hashes is not None and not pursuit.missing):
            return
        transactions = [Transaction.decode(data, self._suite) for data in bodies.transactions]
        if bodies.whole and pursuit.tx_hashes is None:
            tx_hashes = tuple(transaction.tx_hash for transaction in transactions)
            self._verifier.check_tx_root(pursuit.header, tx_hashes)
            self._expect(pursuit, tx_hashes)
            if not pursuit.missing:
                self._try(pursuit)
        wanted = [tx for tx in transactions if tx.tx_hash in pursuit.missing]
        candidates = [self.gate.candidate(transaction) for transaction in wanted]
        if None in candidates:
            self._settle(pursuit, matches=False)  # a sender the parent's state does not know
        elif candidates:
            known = tuple(c for c in candidates if c is not None)
            self._have_checked(CheckJob(Purpose.BODIES, known, pursuit.digest))

    def _gossip_again(self, now: ev.Now) -> None:
        """While nothing is final for long, repeat to all what waits, the oldest first.

        That includes the transactions of undecided blocks: after a crash of all, this validator may
        be the only one that still knows of them, and nobody else would see that there is work.
        """
        interval_ms = self.genesis.parameters.view_timeout_ms // 2
        if now.monotonic_ms < max(self._gossip_again_at_ms, self._committed_at_ms + interval_ms):
            return
        self._gossip_again_at_ms = now.monotonic_ms + interval_ms
        for verified in self.mempool.take(
            time_ms=self.time_ms(now), txs_max=200, bytes_max=GOSSIP_BYTES_MAX, records_max=20_000
        ):
            self._gossip.append(verified.transaction.encoded)
        for record in self._logged_blocks.values():
            self._gossip += record.transactions
        self.flush_gossip()

    # ------------------------------------------------------------------ blocks of the past

    def _chase_blocks(self, now: ev.Now) -> None:
        """Ask a peer that is ahead for the next blocks, if waiting did not help."""
        ahead = sorted(peer for peer, height in self._peer_heights.items() if height > self.height)
        if not ahead or self._synced:
            return
        patience_ms = 0 if self.is_behind else SYNC_AFTER_MS
        if now.monotonic_ms < self._committed_at_ms + patience_ms:
            return
        asked = self._sync_asked_at_ms
        if asked is not None and now.monotonic_ms < asked + SYNC_RETRY_MS:
            return
        peer = ahead[(now.monotonic_ms // SYNC_RETRY_MS) % len(ahead)]
        self._sync_asked_at_ms = now.monotonic_ms
        self._send(peer, WantBlocks(self.height + 1, SYNC_BLOCKS_ASKED))

    def _serve_blocks(self, peer: int, want: WantBlocks) -> None:
        blocks: list[bytes] = []
        size = 0
        last = min(self.height, want.from_height + want.count - 1)
        for height in range(max(want.from_height, 1), last + 1):
            encoded = self._ledger.encoded_block(height)
            if encoded is None:
                break
            size += len(encoded)
            if blocks and size > SYNC_BYTES_AIM:
                break
            blocks.append(encoded)
        if blocks:
            self._send(peer, Blocks(tuple(blocks)))

    def _take_blocks(self, message: Blocks, now: ev.Now) -> None:
        """Check consecutive blocks by their certificates and feed them as decided."""
        self._sync_asked_at_ms = None
        try:
            for encoded in message.blocks:
                block = CertifiedBlock.decode(encoded, self._suite)
                height = block.header.height
                if height != self.height + len(self._synced) + 1:
                    continue
                if len(self._synced) == SYNC_BLOCKS_ASKED:
                    break  # more than was asked for
                self._verifier.check_decided(CertifiedHeader(block.header, block.certificate))
                tx_hashes = tuple(transaction.tx_hash for transaction in block.transactions)
                self._verifier.check_tx_root(block.header, tx_hashes)
                self._synced[height] = block
        finally:
            self._feed_synced()  # what was sound before a false block counts
            self._run(now)

    @property
    def _has_synced(self) -> bool:
        """Whether the next block came from a peer and was not offered to the core yet."""
        return self.height + 1 in self._synced and self._offered_height <= self.height

    def _feed_synced(self) -> None:
        """Offer the next synced block to the core; the certificate vouches for its signatures.

        One per turn: a long turn would keep this validator from hearing its peers.
        """
        if not self._has_synced:
            return
        block = self._synced[self.height + 1]
        self._offered_height = block.header.height
        digest = self._verifier.digest_of(block.header)
        self._pin(digest, tuple(tx.tx_hash for tx in block.transactions))
        for transaction in block.transactions:
            key = sender_key(self._ledger, transaction.body.sender)
            if key is not None:
                self.mempool.hold_body(VerifiedTransaction(transaction, key))
                self._arrived(transaction.tx_hash)
        self.counters.blocks_synced += 1
        self._events.append(ev.DecidedReceived(CertifiedHeader(block.header, block.certificate)))

    def _send(self, to: int | None, message: Message) -> None:
        self._output.messages.append(Outgoing(to, kind_of(message).value, encode_message(message)))
