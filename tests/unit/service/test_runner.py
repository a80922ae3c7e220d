"""The asyncio shell, running a chain of one validator: its quorum is itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from node.chain.admission import Admission, AdmissionCode, FinalResult
from node.chain.block import ResultCode
from node.chain.compact import Share
from node.chain.genesis import Genesis
from node.chain.membership import ValidatorSet
from node.chain.record import Notarization
from node.chain.transaction import Transaction, VerifiedTransaction
from node.consensus.events import Now
from node.errors import InvariantViolation, NodeError, PeerError, StorageError
from node.execution.apply import Executor
from node.service import clock
from node.service import runner as runner_module
from node.service.allowance import REFUSALS_PER_PERIOD
from node.service.clock import HELD_UP_MS
from node.service.clock_fitness import ClockFitness
from node.service.engine import Engine, Output
from node.service.home import log_identity
from node.service.mempool import Mempool
from node.service.queries import Queries
from node.service.recovery import recover
from node.service.runner import CHECK_CHUNK, GATHER_PAUSE_MS, GOSSIP_DELAY_MS, Runner
from node.service.wire import (
    CheckpointLines,
    MessageKind,
    Transactions,
    decode_message,
    encode_message,
)
from node.storage import wal
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from node.storage.wal import WriteAheadLog
from tests.unit.execution.small_chain import CREATED_MS, GENESIS, payload, signer, tx

ALONE = replace(
    GENESIS, validators=ValidatorSet(0, GENESIS.validators.validators[:1], GENESIS.suite)
)
STARTED_MS = clock.monotonic_ms()


def now(skipped_ms: int = 0) -> Now:
    """Return a clock that began soon after genesis."""
    elapsed_ms = clock.monotonic_ms() - STARTED_MS + skipped_ms
    return Now(STARTED_MS + elapsed_ms, CREATED_MS + 1_000 + elapsed_ms)


def transaction(
    notarization: Notarization, *, key_of: str | None = None, not_after_ms: int | None = None
) -> Transaction:
    return tx(
        notarization,
        chain_id=ALONE.chain_id,
        key_of=key_of,
        not_after_ms=not_after_ms or now().utc_ms + 300_000,
    ).transaction


@dataclass
class Wire:
    """The peers of a validator that has none."""

    sent: list[tuple[int | None, int, bytes]] = field(default_factory=list)

    def send(self, peer: int, kind: int, data: bytes) -> None:
        self.sent.append((peer, kind, data))

    def broadcast(self, kind: int, data: bytes) -> None:
        self.sent.append((None, kind, data))

    def kinds(self) -> set[int]:
        return {kind for _, kind, _ in self.sent}


class Silent:
    """An observer with nothing to say."""

    def turned(self, output: Output) -> None:
        pass


@dataclass
class Alone:
    """A validator on its own, as it is started again and again in one folder."""

    folder: Path
    store: MemoryStore = field(default_factory=MemoryStore)
    skipped_ms: int = 0
    """How far its clocks are ahead of those of this machine."""
    genesis: Genesis = ALONE
    name: str = "validator-1"

    def __post_init__(self) -> None:
        self.identity = log_identity(self.genesis, self.name)
        WriteAheadLog.create(self.folder / "wal", self.identity)
        self.wire = Wire()

    def build(self) -> Runner:
        genesis, name = self.genesis, self.name
        executor = Executor(genesis)
        self.ledger = LedgerStore.open(self.store, genesis.suite, executor.genesis_block())
        self.log, replay = WriteAheadLog.open(self.folder / "wal", self.identity)
        engine = Engine(
            genesis=genesis,
            validator_id=name,
            signer=signer(name),
            executor=executor,
            ledger=self.ledger,
            log=self.log,
            mempool=Mempool(),
            recovery=recover(genesis, executor, self.ledger, replay.records, validator_id=name),
        )
        return Runner(
            engine,
            self.log,
            self.wire,
            Silent(),
            now=lambda: now(self.skipped_ms),
            verify_threads=2,
            find_result=Queries(self.ledger, ALONE).final_result,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Runner]:
        runner = self.build()
        life = asyncio.create_task(runner.run())
        await asyncio.sleep(0)  # lets it begin
        try:
            yield runner
        finally:
            runner.stop()
            with suppress(StorageError):
                await life
            self.log.close()


@pytest.fixture
def alone(tmp_path: Path) -> Alone:
    return Alone(tmp_path)


async def submit(runner: Runner, *transactions: Transaction) -> list[FinalResult | None]:
    """Submit a batch and return its results when it is final."""
    ticket = await runner.submit([each.encoded for each in transactions])
    async with asyncio.timeout(20):
        await ticket.wait_final()
    return ticket.results


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop go on until something is so."""
    async with asyncio.timeout(20):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def test_a_batch_becomes_final_in_order(alone: Alone) -> None:
    batch = [transaction(payload(f"{number}")) for number in range(3 * CHECK_CHUNK)]
    async with alone.running() as runner:
        results = await submit(runner, *batch)
        assert len(runner.tickets) == 0
    found = [result for result in results if result is not None]
    assert [result.code for result in found] == [ResultCode.OK] * len(batch)
    indexes = [result.log_index for result in found]
    assert indexes == sorted(indexes)
    assert alone.ledger.tip_height == found[-1].height


async def test_what_many_clients_hand_in_one_by_one_costs_few_turns(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    admit = Engine.admit

    def noting(
        self: Engine, checked: Sequence[VerifiedTransaction | None], now: Now, *, from_client: bool
    ) -> list[Admission]:
        taken.append(len(checked))
        return admit(self, checked, now, from_client=from_client)

    monkeypatch.setattr(Engine, "admit", noting)
    wrong = transaction(payload("forged"), key_of="agency-2")
    singles = [transaction(payload(f"{number}")) for number in range(60)]
    again = [singles[0], wrong, *singles[1:], singles[1]]
    async with alone.running() as runner:
        outcomes = await asyncio.gather(*(submit(runner, each) for each in again))
        assert len(runner.tickets) == 0
    assert sum(taken) == len(again) - 1
    assert len(taken) <= 2
    for place, (outcome,) in enumerate(outcomes):
        assert (outcome is None) == (place == 1)
    assert outcomes[2] == outcomes[-1]


async def test_what_has_an_order_waits_for_nothing_but_its_turn(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "GATHER_PAUSE_MS", 3_600_000)
    async with alone.running() as runner, asyncio.timeout(20):
        tickets = [
            await runner.submit_in_order([transaction(payload(f"{number}")).encoded])
            for number in range(5)
        ]
        for ticket in tickets:
            await ticket.wait_final()
    places = [ticket.results[0].log_index for ticket in tickets if ticket.results[0] is not None]
    assert len(places) == len(tickets)
    assert places == sorted(places)


async def test_what_each_part_of_the_work_costs_is_told(alone: Alone) -> None:
    batch = [transaction(payload(f"{number}")) for number in range(CHECK_CHUNK + 1)]
    async with alone.running() as runner:
        efforts = runner.engine.counters.efforts
        spent_ns = {name: effort.spent_ns for name, effort in efforts.named()}
        assert set(spent_ns.values()) == {0}  # nobody gave it a clock
        efforts.measure_by(clock.thread_cpu_ns)
        for transactions in (batch[:1], batch[1:]):  # checked at once, and on threads
            before = efforts.signature_checks.spent_ns
            await submit(runner, *transactions)
            assert efforts.signature_checks.spent_ns > before
        assert all(effort.spent_ns > 0 for _, effort in efforts.named())


async def test_the_same_again_has_the_same_result(alone: Alone) -> None:
    one = transaction(payload("one"))
    async with alone.running() as runner:
        first, twin = await asyncio.gather(submit(runner, one), submit(runner, one))
        ticket = await runner.submit([one.encoded])
        assert ticket.admissions[0].code is AdmissionCode.ALREADY_FINAL
        assert first == twin == ticket.results
        assert len(runner.tickets) == 0


async def test_what_is_refused_is_told_apart_from_what_is_not(alone: Alone) -> None:
    batch = [
        transaction(payload("good")).encoded,
        b"\x80",
        transaction(payload("forged"), key_of="agency-2").encoded,
        transaction(payload("late"), not_after_ms=now().utc_ms - 1).encoded,
    ]
    async with alone.running() as runner:
        ticket = await runner.submit(batch)
        async with asyncio.timeout(20):
            await ticket.wait_final()
    assert [admission.code for admission in ticket.admissions] == [
        AdmissionCode.ACCEPTED,
        AdmissionCode.MALFORMED,
        AdmissionCode.BAD_SIGNATURE,
        AdmissionCode.EXPIRED,
    ]
    assert [result is not None for result in ticket.results] == [True, False, False, False]


async def test_a_stop_keeps_what_was_final_and_a_restart_goes_on(alone: Alone) -> None:
    async with alone.running() as runner:
        await submit(runner, transaction(payload("before")))
    height = alone.ledger.tip_height
    async with alone.running() as runner:
        assert runner.engine.height == height
        (result,) = await submit(runner, transaction(payload("after")))
    assert result is not None
    assert result.height == height + 1


async def test_each_commit_is_told_to_listeners(alone: Alone) -> None:
    heights: list[int] = []
    async with alone.running() as runner:
        runner.on_committed.append(lambda block: heights.append(block.executed.header.height))
        await submit(runner, transaction(payload("a")))
        await submit(runner, transaction(payload("b")))
    assert heights == [1, 2]


async def test_a_log_that_cannot_be_synced_ends_the_run(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = alone.build()
    life = asyncio.create_task(runner.run())
    await asyncio.sleep(0)

    def fail() -> int:
        raise StorageError("the disk is full", code="GC-3004")

    monkeypatch.setattr(alone.log, "sync", fail)
    ticket = await runner.submit([transaction(payload("a")).encoded])
    with pytest.raises(StorageError, match="the disk is full"):
        await life
    assert ticket.results == [None]  # what was not durable was not final
    assert alone.ledger.tip_height == 0
    alone.log.close()


async def test_a_broken_turn_ends_the_run(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = alone.build()
    life = asyncio.create_task(runner.run())
    await asyncio.sleep(0)

    def fail(*_arguments: object, **_named: object) -> None:
        raise InvariantViolation("broken")

    monkeypatch.setattr(runner.engine, "admit", fail)
    with pytest.raises(InvariantViolation):
        await runner.submit([transaction(payload("a")).encoded])
    with pytest.raises(InvariantViolation):
        await life
    runner.received(1, [b"nobody listens any more"])
    alone.log.close()


async def test_a_peer_that_connects_is_greeted(alone: Alone) -> None:
    async with alone.running() as runner:
        alone.wire.sent.clear()
        greeted: list[int] = []
        runner.on_connected.append(greeted.append)
        runner.connected(3)
        assert [peer for peer, _, _ in alone.wire.sent] == greeted == [3]


async def test_what_peers_sign_at_checkpoints_is_told_to_who_listens(alone: Alone) -> None:
    lines = CheckpointLines(1, bytes(32), bytes(64), 0, bytes(64))
    share = Share(0, 1, bytes(32), bytes(96))
    told: list[tuple[str, int, object]] = []
    async with alone.running() as runner:
        runner.on_lines.append(lambda peer, stated: told.append(("lines", peer, stated)))
        runner.on_share.append(lambda peer, stated: told.append(("share", peer, stated)))
        runner.received(2, [encode_message(lines), encode_message(share)])
    assert told == [("lines", 2, lines), ("share", 2, share)]


async def test_an_epoch_is_told_of_once_as_it_begins(alone: Alone) -> None:
    runner = alone.build()
    begun: list[int] = []
    runner.on_epoch.append(lambda: begun.append(len(alone.wire.sent)))
    life = asyncio.create_task(runner.run())
    await asyncio.sleep(0)  # lets it begin
    await submit(runner, transaction(payload("a")))
    runner.stop()
    await life
    alone.log.close()
    assert begun == [0], "before the first message"


async def test_each_turn_and_each_reading_of_the_clocks_is_shown(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[Output] = []
    readings: list[Now] = []
    monkeypatch.setattr(Silent, "turned", lambda _self, output: turns.append(output))
    monkeypatch.setattr(ClockFitness, "observe", lambda _self, reading: readings.append(reading))
    async with alone.running() as runner:
        await submit(runner, transaction(payload("a")))
        assert runner.now().utc_ms - readings[-1].utc_ms < HELD_UP_MS
    assert sum(len(output.committed) for output in turns) == 1


async def test_who_halts_ends_with_the_reason(alone: Alone) -> None:
    runner = alone.build()
    life = asyncio.create_task(runner.run())
    await asyncio.sleep(0)  # lets it begin
    runner.engine.halted = "blocks differ"
    runner.connected(1)
    with pytest.raises(NodeError, match="halted: blocks differ") as caught:
        await life
    assert caught.value.code == "GC-9002"
    alone.log.close()


async def test_where_another_ledger_takes_over_the_run_ends_in_order(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = alone.build()
    life = asyncio.create_task(runner.run())
    await asyncio.sleep(0)  # lets it begin
    monkeypatch.setattr(Engine, "is_superseded", True)
    runner.connected(1)
    async with asyncio.timeout(20):
        await life
    alone.log.close()


async def test_what_a_peer_passes_on_is_checked_and_waits(tmp_path: Path) -> None:
    backup = Alone(tmp_path, genesis=GENESIS, name="validator-4")
    passed_on = tx(payload("a"), not_after_ms=now().utc_ms + 300_000).transaction
    async with backup.running() as runner:
        runner.received(1, [encode_message(Transactions((passed_on.encoded,)))])
        await until(lambda: runner.engine.mempool.is_pending(passed_on.tx_id))


async def test_a_stop_before_the_beginning_counts(alone: Alone) -> None:
    runner = alone.build()
    runner.stop()
    async with asyncio.timeout(20):
        await runner.run()
    alone.log.close()


async def test_a_peer_that_is_cut_off_is_heard_again_later(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "CUT_OFF_MS", HELD_UP_MS)  # more would be left out
    async with alone.running() as runner:
        with pytest.raises(PeerError, match="peer-cut-off"):
            runner.received(0, [b"nonsense"] * (REFUSALS_PER_PERIOD + 1))
        refused = runner.engine.counters.messages_refused
        with pytest.raises(PeerError, match="peer-cut-off"):
            runner.received(0, [b"nonsense"])
        assert runner.engine.counters.messages_refused == refused  # not even looked at
        alone.skipped_ms += HELD_UP_MS
        runner.received(0, [b"nonsense"])
        assert runner.engine.counters.messages_refused == refused + 1


async def test_a_batch_whose_checks_end_after_the_stop_is_refused(alone: Alone) -> None:
    async with alone.running() as runner:
        batch = [transaction(payload(f"{number}")).encoded for number in range(CHECK_CHUNK)]
        submission = asyncio.create_task(runner.submit(batch))
        await asyncio.sleep(0)  # lets the checks begin
        runner.stop()
        ticket = await submission
    assert [each.code for each in ticket.admissions] == [AdmissionCode.NOT_READY] * len(batch)
    assert not alone.log.last_lsn


async def test_a_log_that_has_grown_is_replaced_while_the_loop_runs_on(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "SEGMENT_BYTES_TARGET", 1_000)
    async with alone.running() as runner:
        for number in range(10):
            await submit(runner, transaction(payload(f"{number}")))
    (segment,) = (alone.folder / "wal").iterdir()
    assert segment.name > "0000000000000003.wal"
    async with alone.running() as runner:
        assert runner.engine.height == 10


async def test_the_timer_is_left_alone_where_it_comes_early_enough(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    call_later = loop.call_later
    delays_ms: list[float] = []

    def noted(delay_s: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        delays_ms.append(delay_s * 1_000)
        return call_later(delay_s, callback)

    async with alone.running() as runner:
        monkeypatch.setattr(loop, "call_later", noted)
        for number in range(5):
            await submit(runner, transaction(payload(f"{number}")))
        monkeypatch.undo()
    short_ms = max(GOSSIP_DELAY_MS, GATHER_PAUSE_MS)
    assert [delay_ms for delay_ms in delays_ms if delay_ms > short_ms] == []


async def test_what_comes_soon_after_something_was_passed_on_is_passed_on_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = Alone(tmp_path, genesis=GENESIS, name="validator-4")

    def passed_on() -> list[int]:
        """Return how many transactions each message held."""
        messages = [decode_message(data, 64) for _, _, data in backup.wire.sent]
        return [len(each.transactions) for each in messages if isinstance(each, Transactions)]

    def waiting(name: str) -> bytes:
        return tx(payload(name), not_after_ms=now().utc_ms + 300_000).transaction.encoded

    monkeypatch.setattr(runner_module, "GOSSIP_PAUSE_MS", 200)
    async with backup.running() as runner:
        await runner.submit_in_order([waiting("a")])
        await until(lambda: passed_on() == [1])
        await runner.submit_in_order([waiting("b")])
        await runner.submit_in_order([waiting("c")])
        assert passed_on() == [1]
        await until(lambda: passed_on() != [1])
        assert passed_on() == [1, 2]


async def test_who_was_held_up_hears_the_others_before_it_leaves_their_view(
    tmp_path: Path,
) -> None:
    """A process that was stopped wakes up with its timers run out and all messages unread."""
    backup = Alone(tmp_path, genesis=GENESIS, name="validator-4")
    async with backup.running() as runner:
        waiting = tx(payload("a"), not_after_ms=now().utc_ms + 300_000).transaction
        await runner.submit([waiting.encoded])  # it awaits a block now
        backup.skipped_ms += 5_000
        await until(lambda: runner.held_up_ms > 0)
        assert MessageKind.VIEW_CHANGE not in backup.wire.kinds()
        # But whoever hears nothing at all does not wait for ever.
        await until(lambda: MessageKind.VIEW_CHANGE in backup.wire.kinds())
