"""The asyncio shell of one validator: feeds the engine, drains it, syncs the log, re-arms a timer.

No rules here. Everything runs on one event loop, but for three things that threads do: checking
transaction signatures in batches (the library releases the interpreter lock), `fdatasync`, and the
ledger's writes while this node catches up.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Protocol

from node.chain.admission import ACCEPTED, Admission, AdmissionCode, FinalResult
from node.chain.compact import Share
from node.chain.transaction import VerifiedTransaction
from node.consensus.events import Now
from node.errors import NodeError, PeerError
from node.execution.apply import ExecutedBlock
from node.service.admission import Candidate, Verdict, check_signatures
from node.service.clock import RunningClock
from node.service.effort import Effort
from node.service.engine import CheckJob, CommittedBlock, Engine, Outgoing, Output
from node.service.gathering import Gathering
from node.service.tickets import Ticket, TicketOffice
from node.service.wire import CheckpointLines

CHECK_CHUNK = 128
"""Signatures per thread job: 4 to 8 ms of work, and one handover for most batches of clients."""
CHECK_HERE_MAX = 4
"""So few signatures cost less than waking a thread for them."""
GOSSIP_DELAY_MS = 2
"""How long what clients hand in is gathered before it is passed on."""
GOSSIP_PAUSE_MS = 25
"""What comes so soon after something was passed on waits until then, or for a proposal that needs
it: each message costs a turn, a job and two ends of a link at every other validator."""
GATHERED_BELOW = 32
"""Requests of fewer transactions are taken together with others: a turn, and gossip, cost by
themselves as much as some ten transactions."""
GATHER_PAUSE_MS = 10
GATHERED_REQUESTS_MAX = 500
GC_THRESHOLDS = (100_000, 20, 20)
"""Transactions are many small objects without cycles: looking for cycles often costs a tenth."""
CUT_OFF_MS = 10_000
"""For how long nothing is taken from a peer whose messages were refused again and again."""
_OVER = Admission(AdmissionCode.NOT_READY, "the validator is stopping", retry_after_ms=1_000)
_UNVERIFIED = Admission(AdmissionCode.BAD_SIGNATURE, "does not verify")
_KNOWN = (AdmissionCode.DUPLICATE_PENDING, AdmissionCode.ALREADY_FINAL)


class Log(Protocol):
    """The write-ahead log as the shell sees it."""

    @property
    def rotation_due(self) -> bool:
        """Whether the log has grown enough to be replaced by a snapshot."""

    def begin_rotation(self, snapshot_records: Sequence[tuple[int, bytes]]) -> None:
        """Have the next `sync` replace the log by a snapshot and what is appended from now on."""

    def sync(self) -> int:
        """Block until all records appended before are on disk; return the newest of them."""


class Transport(Protocol):
    """The peers as the shell sees them."""

    def send(self, peer: int, kind: int, data: bytes) -> None:
        """Queue a message for one peer; a lower kind is more urgent."""

    def broadcast(self, kind: int, data: bytes) -> None:
        """Queue a message for every peer."""


class Observer(Protocol):
    """Telemetry as the shell sees it."""

    def turned(self, output: Output) -> None:
        """Look at what a turn produced."""


class Runner:
    """Runs one engine until stopped."""

    def __init__(
        self,
        engine: Engine,
        log: Log,
        transport: Transport,
        observer: Observer,
        *,
        now: Callable[[], Now],
        verify_threads: int,
        find_result: Callable[[bytes], FinalResult | None],
    ) -> None:
        """Wire the parts on the running event loop; `find_result` looks up a final tx_id."""
        self.engine = engine
        self._log, self._transport, self._observer = log, transport, observer
        self._read_clocks = now
        self._clock = RunningClock(self._read_and_show)
        self._find_result = find_result
        self._checkers = ThreadPoolExecutor(verify_threads, "verify")
        self._syncer = ThreadPoolExecutor(1, "wal-sync")
        self._syncing = False
        self._writer = ThreadPoolExecutor(1, "ledger")
        engine.write_beside(self._write_beside)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_ms = 0
        self._gossip_timer: asyncio.TimerHandle | None = None
        self._gossip_again_s = 0.0
        """When, by the loop's clock, clients' transactions may be passed on again."""
        self._cut_off_until_ms: dict[int, int] = {}
        """Until when (monotonic) nothing is taken from a peer."""
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._ending_on_error = _EndingOnError(self.stop)
        self._started = False
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.tickets = TicketOffice()
        self._gathering = Gathering(
            self._submit_all,
            forget=Ticket.close,
            pause_ms=GATHER_PAUSE_MS,
            requests_max=GATHERED_REQUESTS_MAX,
        )
        self.on_committed: list[Callable[[CommittedBlock], None]] = []
        self.on_lines: list[Callable[[int, CheckpointLines], None]] = []
        """Told of what a peer, by its number, signs of the public log."""
        self.on_share: list[Callable[[int, Share], None]] = []
        """Told of its share of a compact certificate."""
        self.on_connected: list[Callable[[int], None]] = []
        """Told of a peer that can be reached from now on."""
        self.on_epoch: list[Callable[[], None]] = []
        """Told of an epoch that began before the first message of it goes out."""

    # ------------------------------------------------------------------ life

    async def run(self) -> None:
        """Run until `stop`; raises the `NodeError` that ended it otherwise."""
        self._started = True
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        try:
            if not self._is_over:
                self.engine.start(self.now())
                self._after_turn()
            await self._stopped
        finally:
            await self._wind_down()

    def stop(self, error: BaseException | None = None) -> None:
        """End `run`, begun or not: in order, or with the error that makes going on impossible."""
        if self._stopped.done():
            return
        if error is None:
            self._stopped.set_result(None)
        else:
            self._stopped.set_exception(error)

    async def _wind_down(self) -> None:
        for timer in (self._timer, self._gossip_timer):
            if timer is not None:
                timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._checkers.shutdown(wait=True)
        self._syncer.shutdown(wait=True)
        self._writer.shutdown(wait=True)

    # ------------------------------------------------------------------ the time

    def now(self) -> Now:
        """Read the clocks; stretches in which this process did not run are left out."""
        return self._clock.now()

    def _read_and_show(self) -> Now:
        """Read both clocks, and show them to who judges them as they are."""
        reading = self._read_clocks()
        self.engine.clock_fitness.observe(reading)
        return reading

    @property
    def held_up_ms(self) -> int:
        """For how long this process did not run, all in all."""
        return self._clock.held_up_ms

    # ------------------------------------------------------------------ inputs

    def received(self, peer: int, messages: Sequence[bytes]) -> None:
        """Take a frame of a peer (called by the transport on the loop).

        Raises `PeerError` where the peer's stream should be broken.
        """
        if self._is_over:
            return
        now = self.now()
        self._refuse_if_cut_off(peer, now)
        with self._ending_on_error:
            self.engine.receive(peer, messages, now)
            self._after_turn()
        self._refuse_if_cut_off(peer, now)

    def _refuse_if_cut_off(self, peer: int, now: Now) -> None:
        if now.monotonic_ms < self._cut_off_until_ms.get(peer, now.monotonic_ms):
            raise PeerError("peer-cut-off", "too many messages broke a rule; come back later")

    def connected(self, peer: int) -> None:
        """Greet a peer that can be reached from now on."""
        if not self._is_over:
            with self._ending_on_error:
                self.engine.connected(peer)
                self._after_turn()
                for greet in self.on_connected:
                    greet(peer)

    async def submit(self, transactions: Sequence[bytes]) -> Ticket:
        """Judge, check and queue encoded transactions; the ticket tells what becomes of them.

        Few at a time, as calls of many clients bring them, are taken together.
        """
        if len(transactions) < GATHERED_BELOW:
            return await self._gathering.ask(transactions)
        return await self.submit_in_order(transactions)

    async def submit_in_order(self, transactions: Sequence[bytes]) -> Ticket:
        """Do the same at once; who waits for it before it submits more has them queued in order."""
        (ticket,) = await self._submit_all([transactions])
        return ticket

    async def _submit_all(self, requests: Sequence[Sequence[bytes]]) -> list[Ticket]:
        """Return a ticket for each request."""
        engine = self.engine
        transactions = [each for request in requests for each in request]
        verdicts = engine.gate.screen(transactions, engine.reckon(self.now()))
        candidates = [verdict for verdict in verdicts if isinstance(verdict, Candidate)]
        checked = await self._check(candidates)
        if self._is_over:
            sizes = [len(request) for request in requests]
            return [self.tickets.open([None] * size, [_OVER] * size) for size in sizes]
        judgements = _judge(verdicts, checked)
        tickets: list[Ticket] = []
        sound: list[tuple[Ticket, int, VerifiedTransaction]] = []
        for request in requests:
            judged = list(islice(judgements, len(request)))
            ticket = self.tickets.open(
                [tx_id for tx_id, _, _ in judged], [admission for _, admission, _ in judged]
            )
            tickets.append(ticket)
            sound += [
                (ticket, index, verified)
                for index, (_, _, verified) in enumerate(judged)
                if verified is not None
            ]
        with self._ending_on_error:
            answers = engine.admit(
                [verified for _, _, verified in sound], self.now(), from_client=True
            )
        for (ticket, index, _), answer in zip(sound, answers, strict=True):
            ticket.revise(index, answer)
        for ticket in tickets:
            self._settle_known(ticket)
        with self._ending_on_error:
            self._after_turn()
        return tickets

    def _settle_known(self, ticket: Ticket) -> None:
        """Settle what was final before anybody waited for it, or became so during the checks."""
        for index, (tx_id, admission) in enumerate(
            zip(ticket.tx_ids, ticket.admissions, strict=True)
        ):
            if tx_id is None or admission.code not in _KNOWN:
                continue
            if self.engine.mempool.is_pending(tx_id):
                continue
            result = self._find_result(tx_id)
            if result is None and self.engine.is_untold(tx_id):
                continue
            self.tickets.forget_one(ticket, index)
            ticket.settle(index, result or FinalResult.expired())

    # ------------------------------------------------------------------ after every turn

    @property
    def _is_over(self) -> bool:
        return not self._started or self._stopped.done()

    def _after_turn(self) -> None:
        """Carry out what the engine asked for, until it asks for nothing more."""
        if self._is_over:
            return
        output = self.engine.drain()
        self._observer.turned(output)
        if output.term is not None:
            for learn in self.on_epoch:
                learn()
        for message in output.messages:
            self._post(message)
        self._tell(output)
        for tx_id in output.expired:
            self.tickets.settle(tx_id, FinalResult.expired())
        for peer in output.cut_off:
            self._cut_off_until_ms[peer] = self.now().monotonic_ms + CUT_OFF_MS
        for job in output.jobs:
            self._spawn(self._run_job(job))
        if self.engine.halted or self.engine.is_superseded:
            self._end()
            return
        if self.engine.has_gossip and self._gossip_timer is None:
            self._arm_gossip()
        self._sync_log()
        self._arm_timer()

    def _tell(self, output: Output) -> None:
        """Tell the listeners what became final, and what peers sign of the public log."""
        for block in output.committed:
            self._settle_tickets(block.executed)
            for listener in self.on_committed:
                listener(block)
        for peer, stated in output.stated:
            if isinstance(stated, Share):
                for hear in self.on_share:
                    hear(peer, stated)
            else:
                for take in self.on_lines:
                    take(peer, stated)

    def _end(self) -> None:
        """End as the engine has: for good, or for whoever runs this to open the ledger it made."""
        if not self.engine.halted:
            self.stop()
            return
        fix = "keep this home for examination; run the same version as the other validators"
        self.stop(NodeError(f"halted: {self.engine.halted}", code="GC-9002", fix=fix))

    def _post(self, message: Outgoing) -> None:
        if message.to is None:
            self._transport.broadcast(message.kind, message.data)
        else:
            self._transport.send(message.to, message.kind, message.data)

    def _settle_tickets(self, executed: ExecutedBlock) -> None:
        if not len(self.tickets):
            return
        header = executed.header
        for result in executed.results:
            self.tickets.settle(
                result.tx_id,
                FinalResult(
                    code=result.code,
                    height=header.height,
                    time_ms=header.time_ms,
                    operation_index=result.operation_index,
                    log_index=result.log_index,
                ),
            )

    def _arm_gossip(self) -> None:
        """Have what waits passed on in a moment, but not too soon after the last time."""
        loop = asyncio.get_running_loop()
        due_s = max(loop.time() + GOSSIP_DELAY_MS / 1_000, self._gossip_again_s)
        self._gossip_timer = loop.call_at(due_s, self._flush_gossip)

    def _flush_gossip(self) -> None:
        self._gossip_timer = None
        self._gossip_again_s = asyncio.get_running_loop().time() + GOSSIP_PAUSE_MS / 1_000
        with self._ending_on_error:
            self.engine.flush_gossip()
            self._after_turn()

    # ------------------------------------------------------------------ threads

    def _sync_log(self) -> None:
        """Start a group commit unless one is running: what comes meanwhile shares the next one.

        Records that nothing waits for are synced with those that come after them. Who casts
        nothing, as it follows or is far behind, has only such, and rotates its log all the same.
        """
        if self._syncing or not (self.engine.waits_for_log or self._log.rotation_due):
            return
        self._syncing = True
        self._spawn(self._sync_once())

    async def _sync_once(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._log.rotation_due:
                self._log.begin_rotation(self.engine.snapshot())
            lsn = await loop.run_in_executor(self._syncer, self._log.sync)
        except NodeError as error:
            self.stop(error)  # what the disk holds is unknown now
            return
        if self._is_over:
            return
        self._syncing = False
        with self._ending_on_error:  # at once: a turn before the task is reaped would fail too
            self.engine.durable(lsn, self.now())
            self._after_turn()

    def _write_beside(self, write: Callable[[], None]) -> Future[int]:
        """Have the ledger written on its thread, and the engine told of it."""
        loop = asyncio.get_running_loop()
        written = self._writer.submit(_write_timed, self.engine.counters.efforts.ledger, write)
        written.add_done_callback(lambda _: loop.call_soon_threadsafe(self._written, written))
        return written

    def _written(self, written: Future[int]) -> None:
        if self._is_over:
            return
        with self._ending_on_error:
            self.engine.counters.efforts.ledger.add(written.result())
            self.engine.written()
            self._after_turn()

    async def _check(self, candidates: Sequence[Candidate]) -> list[VerifiedTransaction | None]:
        """Check signatures: a few at once, many in chunks on the verification threads."""
        effort = self.engine.counters.efforts.signature_checks
        if len(candidates) <= CHECK_HERE_MAX:
            checked, spent_ns = _check_timed(effort, candidates)
            effort.add(spent_ns)
            return checked
        loop = asyncio.get_running_loop()
        chunks = [
            candidates[start : start + CHECK_CHUNK]
            for start in range(0, len(candidates), CHECK_CHUNK)
        ]
        parts = await asyncio.gather(
            *(loop.run_in_executor(self._checkers, _check_timed, effort, chunk) for chunk in chunks)
        )
        effort.add(sum(spent_ns for _, spent_ns in parts))
        return [verified for checked, _ in parts for verified in checked]

    async def _run_job(self, job: CheckJob) -> None:
        verdicts = await self._check(job.candidates)
        if not self._is_over:
            with self._ending_on_error:
                self.engine.checked(job, verdicts, self.now())
                self._after_turn()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._reap)

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            self.stop(task.exception())

    # ------------------------------------------------------------------ the timer

    def _arm_timer(self) -> None:
        """Have `_ticked` called by the deadline; one that comes earlier does, and looks again."""
        due_ms = self.engine.deadline()
        if self._timer is not None:
            if self._timer_due_ms <= due_ms:
                return
            self._timer.cancel()
        self._timer_due_ms = due_ms
        # What is due at once has only others to let go first; a millisecond would be lost to it.
        wait_ms = max(due_ms - self.now().monotonic_ms, 1) if due_ms else 0
        self._clock.expect(due_ms)
        self._timer = asyncio.get_running_loop().call_later(wait_ms / 1_000, self._ticked)

    def _ticked(self) -> None:
        self._timer = None
        if self._is_over:
            return
        now = self.now()
        if self.engine.deadline() > now.monotonic_ms:
            self._arm_timer()
            return
        with self._ending_on_error:
            self.engine.tick(now)
            self._after_turn()


class _EndingOnError:
    """Ends the run on any error within: what the engine or the disk holds is then unknown."""

    __slots__ = ("_stop",)

    def __init__(self, stop: Callable[[BaseException], None]) -> None:
        self._stop = stop

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception):
            self._stop(error)


def _judge(
    verdicts: Sequence[Verdict], checked: Iterable[VerifiedTransaction | None]
) -> Iterator[tuple[bytes | None, Admission, VerifiedTransaction | None]]:
    """Yield each transaction's id, what is to be said of it, and itself if it is sound."""
    results = iter(checked)
    for verdict in verdicts:
        if isinstance(verdict, Admission):
            yield verdict.tx_id, verdict, None
            continue
        verified = next(results)
        admission = _UNVERIFIED if verified is None else ACCEPTED
        yield verdict.transaction.tx_id, admission, verified


def _write_timed(effort: Effort, write: Callable[[], None]) -> int:
    """Write, and return what CPU time (ns) that took on this thread."""
    began_ns = effort.begin()
    write()
    return effort.begin() - began_ns


def _check_timed(
    effort: Effort, candidates: Sequence[Candidate]
) -> tuple[list[VerifiedTransaction | None], int]:
    """Return the verdicts, and what CPU time (ns) they took on this thread."""
    began_ns = effort.begin()
    checked = check_signatures(candidates)
    return checked, effort.begin() - began_ns
