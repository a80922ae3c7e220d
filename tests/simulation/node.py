"""One simulated validator: the real engine over a simulated disk, its shell driven by the world.

It does what the asyncio shell of a validator does, in the same order, except that everything that
takes time there is an event here. What its process holds is lost in a crash; `log` and `store` are
what the disk keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Protocol

from node.chain.genesis import Genesis
from node.consensus.events import Now
from node.crypto.signature import Signer
from node.errors import DecodeError, StorageError
from node.execution.apply import Executor
from node.service.admission import Candidate, check_signatures
from node.service.clock import HELD_UP_MS
from node.service.engine import CheckJob, Engine, Output
from node.service.mempool import Mempool
from node.service.recovery import recover
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from tests.simulation.disk import SimulatedLog
from tests.simulation.network import Frame, Network
from tests.simulation.world import MS, UTC_AT_START_MS, World

LogRecords = Sequence[tuple[int, bytes]]
GOSSIP_DELAY_US = 2 * MS


class CrashPoint(Enum):
    """Where, around making something durable, a process dies."""

    AT_ONCE = "at once"
    BEFORE_SEND = "after append, before any message of the turn"
    AFTER_APPEND = "after append and the turn's messages, before the sync begins"
    SYNC_FAILS = "when the sync fails, after which no process goes on"
    AFTER_SYNC = "after the sync, before anything that waited for it"
    NO_SPACE = "when the log cannot grow"
    AMID_SEND = "when some peers were sent the messages of a turn and others not"


@dataclass(frozen=True, slots=True)
class Armed:
    """How a process is going to die, and for how long."""

    point: CrashPoint
    record: int | None
    """Only where a record of this type is what the crash can take, or has just saved."""
    down_us: int
    spread: Callable[[], None] | None = None
    """What happens at the same moment elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The clock and disk of one validator."""

    clock_offset_ms: int = 0
    """How far its UTC clock is off true time."""
    sync_min_us: int = 100
    sync_max_us: int = 2 * MS
    check_max_us: int = 1 * MS
    """How long checking a batch of signatures takes at most."""
    rotate_permille: int = 0
    """How often a log is replaced by its snapshot instead of synced."""
    pool_txs_max: int = 5_000


class Observer(Protocol):
    """Told of everything a validator does that others, or its next life, could notice."""

    def started(self, validator: SimulatedValidator) -> None:
        """Note that it recovered from its disk and is about to take its first turn."""

    def crashed(self, validator: SimulatedValidator) -> None:
        """Note that it died; its log holds what it will find."""

    def turned(self, validator: SimulatedValidator, output: Output) -> None:
        """Note that it took a turn, of which nothing has left yet."""

    def hearing(self, validator: SimulatedValidator, peer: int, frame: Sequence[bytes]) -> None:
        """Note that a frame of a peer is about to be delivered to it."""

    def sending(self, validator: SimulatedValidator, peer: int, frame: Sequence[bytes]) -> None:
        """Note that it is about to hand a frame to the network."""

    def synced(self, validator: SimulatedValidator, records: LogRecords) -> None:
        """Note that log records (type, payload) became durable."""

    def rotated(self, validator: SimulatedValidator, records: LogRecords) -> None:
        """Note that the log is replaced by these records, durably, and what follows them."""

    def overlooked(self, validator: SimulatedValidator) -> None:
        """Note that it took a damaged log for a sound one."""

    def halted(self, validator: SimulatedValidator, reason: str) -> None:
        """Note that it stopped for good."""


class SimulatedValidator:
    """A validator process at one place, started and killed at will."""

    def __init__(
        self,
        *,
        world: World,
        network: Network,
        observer: Observer,
        genesis: Genesis,
        executor: Executor,
        index: int,
        signer: Signer,
        machine: Machine,
    ) -> None:
        self.world, self.network, self.observer = world, network, observer
        self.genesis, self.executor, self.index = genesis, executor, index
        self.signer, self.machine = signer, machine
        self._utc_offset_ms = UTC_AT_START_MS + machine.clock_offset_ms
        self.place = network.join(index, self.receive)
        self.names = tuple(each.validator_id for each in genesis.validators.validators)
        """Of all that may ever be validators, by number; those of genesis come first."""
        self._peers = [peer for peer in range(genesis.validators.size) if peer != index]
        """Those that decide now: what goes to all goes to them."""
        self.log = SimulatedLog(genesis.chain_id)
        self.store = MemoryStore()
        self.ledger = self._open_ledger()
        self.engine: Engine | None = None
        self.life = 0
        """Counts starts: what an earlier life left in the world's heap is void."""
        self.armed: Armed | None = None
        self.is_lost = False
        """Whether its disk is damaged, which it must not overlook: it starts no more."""
        self._monotonic_offset_ms = 0
        self._syncing = False
        self._gossip_due = False
        self._timer_at_ms: int | None = None
        self._stopped_until_us = 0
        self._stopped_us = 0
        """For how long it has not run, all in all: waits for others do not count that."""
        self._missed: list[Callable[[], None]] = []
        """What came while it did not run."""
        self._numbers: dict[int, int] = {}
        """By place, the numbers that nodes go by at its engine."""

    # ------------------------------------------------------------------ life

    @property
    def is_up(self) -> bool:
        return self.engine is not None

    def start(self) -> None:
        """Recover from the disk and run, unless it runs already or never will."""
        if self.engine is not None or self.is_lost:
            return
        self.life += 1
        self.arm(None)
        self._syncing = self._gossip_due = False
        self._timer_at_ms = None
        self._stopped_until_us = self._stopped_us = 0
        self._missed.clear()
        self._numbers.clear()
        self._monotonic_offset_ms = self.world.random.randrange(10_000_000)
        self.ledger = self._open_ledger()
        records = self.log.open()
        name = self.names[self.index]
        recovery = recover(self.genesis, self.executor, self.ledger, records, validator_id=name)
        self.engine = Engine(
            genesis=self.genesis,
            validator_id=name,
            signer=self.signer,
            executor=self.executor,
            ledger=self.ledger,
            log=self.log,
            mempool=self._make_pool(),
            recovery=recovery,
        )
        self._note("start", self.ledger.tip_height, len(records))
        self.observer.started(self)
        self._take_turn(lambda engine: engine.start(self.now()))
        for peer in range(len(self.names)):
            if peer != self.index:
                self.connect(peer)

    def _make_pool(self) -> Mempool:
        return Mempool(txs_max=self.machine.pool_txs_max)

    def arm(self, armed: Armed | None) -> None:
        """Have the process die where it says, or not any more."""
        self.armed = armed
        self.log.is_full = armed is not None and armed.point is CrashPoint.NO_SPACE

    def connect(self, peer: int) -> None:
        """Learn that a peer can be reached, for the first time or again."""
        if self._waits(partial(self.connect, peer)):
            return
        self._take_turn(lambda engine: engine.connected(self._number_of(engine, peer)))

    def crash(self, *, power_loss: bool, down_us: int, loses_state: bool = False) -> None:
        """End the process for a while; with `power_loss` the disk forgets what it did not sync.

        With `loses_state` it finds no database either: an operator removed it.
        """
        if self.engine is None:
            return
        self.engine = None
        self.arm(None)
        random = self.world.random
        self.log.crash(random, power_loss=power_loss)
        unsynced = self.store.unsynced_batches
        self.store = self.store.crash(
            keep=random.randrange(unsynced + 1) if power_loss else unsynced
        )
        if loses_state:
            self.store = MemoryStore()
        self._note("crash", power_loss, len(self.log.durable_bytes))
        self.observer.crashed(self)
        self.world.after(down_us, self.start)

    def stop_running(self, for_us: int) -> None:
        """Have the process not run for a while, as if it were suspended; what comes waits for it.

        Its shell leaves the stretch out of the time by which it waits for others.
        """
        if self.engine is None or self._is_stopped:
            return
        self._note("stop", for_us)
        self._stopped_until_us = self.world.now_us + for_us
        self.world.after(for_us, partial(self._go_on, self.life, for_us))

    @property
    def _is_stopped(self) -> bool:
        return self.world.now_us < self._stopped_until_us

    def _go_on(self, life: int, stopped_us: int) -> None:
        if life != self.life:
            return
        if stopped_us > HELD_UP_MS * MS:
            self._stopped_us += stopped_us
        missed, self._missed = self._missed, []
        for happen in missed:
            happen()

    def _waits(self, happening: Callable[[], None]) -> bool:
        """Keep for later what comes while the process does not run, if it does not."""
        if self.engine is not None and self._is_stopped:
            self._missed.append(happening)
            return True
        return False

    def step_clock(self, by_ms: int) -> None:
        """Set the UTC clock forward, or back."""
        self._note("clock", by_ms)
        self._utc_offset_ms += by_ms

    def rot(self) -> None:
        """Have the log damaged while the process is down; it is lost if it notices."""
        self.crash(power_loss=False, down_us=0)
        if self.log.rot(self.world.random):
            try:
                self.log.open()
            except (StorageError, DecodeError):
                self.is_lost = True
            else:
                self.observer.overlooked(self)

    def _note(self, what: str, *facts: int) -> None:
        self.world.note(what, self.place, *facts)
        if self.world.transcript is not None:
            self.world.transcript.note(self.world.now_us, str(self.place), f"== {what} {facts}")

    def _open_ledger(self) -> LedgerStore:
        return LedgerStore.open(self.store, self.genesis.suite, self.executor.genesis_block())

    @property
    def utc_ms(self) -> int:
        """What its UTC clock says."""
        return self.world.now_us // MS + self._utc_offset_ms

    def now(self) -> Now:
        """Read this validator's clocks."""
        elapsed_ms, utc_ms = self.world.now_us // MS, self.utc_ms
        now = Now(elapsed_ms + self._monotonic_offset_ms, utc_ms)
        if self.engine is not None:
            self.engine.clock_fitness.observe(now)
        return Now(self._running_ms, utc_ms) if self._stopped_us else now

    @property
    def _running_ms(self) -> int:
        """The monotonic clock, less what the process has not run."""
        return (self.world.now_us - self._stopped_us) // MS + self._monotonic_offset_ms

    # ------------------------------------------------------------------ inputs

    def receive(self, peer: int, frame: Frame) -> None:
        """Take a frame from the network."""
        if self._is_stopped and self._waits(partial(self.receive, peer, frame)):
            return
        world = self.world
        if self.engine is not None:
            world.note_bytes(self.place, frame)
            self.observer.hearing(self, peer, frame)
            if world.transcript is not None:
                world.transcript.received(world.now_us, str(self.place), peer, frame)
            self._take_turn(
                lambda engine: engine.receive(self._number_of(engine, peer), frame, self.now())
            )

    def submit(self, transactions: Sequence[bytes]) -> None:
        """Take transactions of a client."""
        if self._waits(partial(self.submit, transactions)):
            return
        self._take_turn(lambda engine: self._admit(engine, transactions))

    def _admit(self, engine: Engine, transactions: Sequence[bytes]) -> None:
        now = self.now()
        verdicts = engine.gate.screen(transactions, engine.reckon(now))
        candidates = [verdict for verdict in verdicts if isinstance(verdict, Candidate)]
        engine.admit(check_signatures(candidates), now, from_client=True)

    # ------------------------------------------------------------------ after every turn

    def _take_turn(self, turn: Callable[[Engine], object]) -> None:
        """Let the engine, if the process is up, do something, and carry out what follows."""
        engine = self.engine
        if engine is None:
            return
        try:
            turn(engine)
        except StorageError:
            if not self.log.is_full:
                raise
            self.observer.turned(self, engine.drain())  # its database may have grown before
            self._dies_at(CrashPoint.NO_SPACE, power_loss=False)
            return
        self._after_turn(engine)

    def _after_turn(self, engine: Engine) -> None:
        """Carry out what the engine asked for."""
        output = engine.drain()
        if output.term is not None:
            members = [self._place_of(engine, number) for number in output.term.numbers]
            self._peers = [place for place in members if place != self.index]
        world = self.world
        if world.transcript is not None:
            world.transcript.traced(world.now_us, str(self.place), output.traces)
        self.observer.turned(self, output)
        appended = self.log.last_lsn > self.log.durable_lsn
        is_armed = self.armed is not None
        if is_armed and appended and self._dies_at(CrashPoint.BEFORE_SEND):
            return
        if is_armed and output.messages and self._is_armed_for(CrashPoint.AMID_SEND):
            some = world.random.randrange(len(self._peers))
            reached = world.random.sample(self._peers, some)
            self._post(engine, output, to=reached)
            self._dies_at(CrashPoint.AMID_SEND)
            return
        if output.messages:
            self._post(engine, output)
        for job in output.jobs:
            delay_us = world.draw(self.machine.check_max_us + 1)
            world.after(delay_us, partial(self._checked, self.life, job))
        if engine.halted:
            self.observer.halted(self, engine.halted)
            return
        if engine.has_gossip and not self._gossip_due:
            self._gossip_due = True
            world.after(GOSSIP_DELAY_US, partial(self._flush_gossip, self.life))
        if is_armed and appended and self._dies_at(CrashPoint.AFTER_APPEND):
            return
        if not self._syncing:
            self._sync_log(engine)
        self._arm_timer(engine)

    def _post(self, engine: Engine, output: Output, *, to: Sequence[int] | None = None) -> None:
        """Send the messages of a turn, one frame per peer; `to` limits whom they reach."""
        reached = self._peers if to is None else to
        frame = [message.data for message in output.messages if message.to is None]
        if len(frame) == len(output.messages):
            for peer in reached:
                self._send(peer, frame)
            return
        sent = [
            (None if message.to is None else self._place_of(engine, message.to), message.data)
            for message in output.messages
        ]
        for peer in reached:
            self._send(peer, [data for place, data in sent if place is None or place == peer])
        if to is None:
            apart = [place for place, _ in sent if place is not None and place not in reached]
            for peer in dict.fromkeys(apart):  # those that follow
                self._send(peer, [data for place, data in sent if place == peer])

    def _number_of(self, engine: Engine, place: int) -> int:
        """Return the number that a node goes by at this engine: they differ after a restart."""
        number = self._numbers.get(place)
        if number is None:
            number = self._numbers[place] = engine.roster.number(self.names[place])
        return number

    def _place_of(self, engine: Engine, number: int) -> int:
        return self.names.index(engine.roster.name(number))

    def _send(self, peer: int, frame: list[bytes]) -> None:
        if frame:
            self.observer.sending(self, peer, frame)
            self.network.send(self.place, peer, frame)

    def _checked(self, life: int, job: CheckJob) -> None:
        if life == self.life and not self._waits(partial(self._checked, life, job)):
            verdicts = check_signatures(job.candidates)
            self._take_turn(lambda engine: engine.checked(job, verdicts, self.now()))

    def _flush_gossip(self, life: int) -> None:
        if life == self.life and not self._waits(partial(self._flush_gossip, life)):
            self._gossip_due = False
            self._take_turn(lambda engine: engine.flush_gossip())

    # ------------------------------------------------------------------ the log

    def _sync_log(self, engine: Engine) -> None:
        """Begin a group commit, as none is under way, if something waits for it."""
        if not engine.waits_for_log:
            return
        self._syncing = True
        machine = self.machine
        if self.world.chance(machine.rotate_permille):
            self.log.begin_rotation(engine.snapshot())
        delay_us = machine.sync_min_us + self.world.draw(
            machine.sync_max_us + 1 - machine.sync_min_us
        )
        self.world.after(delay_us, partial(self._synced, self.life, self.log.last_lsn))

    def _synced(self, life: int, lsn: int) -> None:
        engine = self.engine
        if engine is None or life != self.life or self._waits(partial(self._synced, life, lsn)):
            return
        self._syncing = False
        if self._dies_at(CrashPoint.SYNC_FAILS):
            return
        snapshot = self.log.snapshot
        if snapshot is not None:
            self.observer.rotated(self, snapshot)
        self.observer.synced(self, self.log.synced(lsn))
        if not self._dies_at(CrashPoint.AFTER_SYNC):
            self._take_turn(lambda engine: engine.durable(lsn, self.now()))

    def _is_armed_for(self, point: CrashPoint) -> bool:
        armed = self.armed
        if armed is None or armed.point is not point:
            return False
        if armed.record is None or point is CrashPoint.NO_SPACE:
            return True
        is_synced = point in (CrashPoint.AFTER_SYNC, CrashPoint.AMID_SEND)
        return armed.record in (self.log.synced_types if is_synced else self.log.unsynced_types)

    def _dies_at(self, point: CrashPoint, *, power_loss: bool = True) -> bool:
        armed = self.armed
        if armed is None or not self._is_armed_for(point):
            return False
        self.crash(power_loss=power_loss, down_us=armed.down_us)
        if armed.spread is not None:
            armed.spread()
        return True

    # ------------------------------------------------------------------ the timer

    def _arm_timer(self, engine: Engine) -> None:
        now_ms = self._running_ms
        if self._timer_at_ms is not None and self._timer_at_ms <= now_ms + 1:
            return  # it comes early enough, and looks again
        due_ms = max(engine.deadline(), now_ms + 1)
        if self._timer_at_ms is not None and self._timer_at_ms <= due_ms:
            return
        self._timer_at_ms = due_ms
        self.world.after((due_ms - now_ms) * MS, partial(self._ticked, self.life, due_ms))

    def _ticked(self, life: int, at_ms: int) -> None:
        engine = self.engine
        if engine is None or life != self.life or at_ms != self._timer_at_ms:
            return
        if self._waits(partial(self._ticked, life, at_ms)):
            return
        self._timer_at_ms = None
        if engine.deadline() <= self.now().monotonic_ms:
            self._take_turn(lambda engine: engine.tick(self.now()))
        else:
            self._arm_timer(engine)
