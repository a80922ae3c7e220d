"""The shell of a validator that catches up: what its ledger's thread does, and the turns beside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from node.chain.admission import AdmissionCode
from node.chain.block import ResultCode
from node.consensus.messages import Status
from node.errors import StorageError
from node.service import reception
from node.service.engine import CommittedBlock
from node.service.runner import Runner
from node.service.wire import Blocks, WantBlocks, decode_message, encode_message
from node.storage import wal
from node.storage.kv import WriteBatch
from node.storage.memory import MemoryStore
from tests.unit.consensus.signing import chain_of_blocks
from tests.unit.execution.small_chain import GENESIS
from tests.unit.service.lone import certified_block
from tests.unit.service.test_runner import Alone, until


class WatchedStore(MemoryStore):
    """A store that notes on which threads blocks are written, and can refuse them there."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []
        self.is_full_beside = False
        self.may_write_beside = threading.Event()
        self.may_write_beside.set()

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        name = threading.current_thread().name
        self.threads.append(name)
        if self.is_full_beside and name.startswith("ledger"):
            raise StorageError("the disk is full", code="GC-3004")
        if name.startswith("ledger"):
            assert self.may_write_beside.wait(20)
        super().write(batch, sync=sync)


CHAIN = chain_of_blocks(4)[1:]
FAR_AHEAD = 100


def fall_behind(backup: Alone, runner: Runner) -> None:
    """Tell a validator that it is far behind, and give it what it asks for first."""
    for peer in (0, 1):
        runner.received(peer, [encode_message(Status(0, 0, True, FAR_AHEAD))])  # noqa: FBT003
    messages = [(to, decode_message(data, 64)) for to, _, data in backup.wire.sent]
    ((asked, _),) = [
        (to, want)
        for to, want in messages
        if isinstance(want, WantBlocks) and want.from_height == 1
    ]
    assert asked is not None
    encoded = tuple(certified_block(block).encode() for block in CHAIN)
    runner.received(asked, [encode_message(Blocks(1, encoded))])


async def test_who_catches_up_writes_on_a_thread_and_tells_of_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reception, "TURN_BYTES_AIM", 1)
    store = WatchedStore()
    backup = Alone(tmp_path, store=store, genesis=GENESIS, name="validator-4")
    told: list[tuple[int, bool]] = []

    def tell(block: CommittedBlock) -> None:
        height = block.executed.header.height
        told.append((height, backup.ledger.tip_height >= height))

    async with backup.running() as runner:
        runner.on_committed.append(tell)
        before = len(store.threads)
        fall_behind(backup, runner)
        await until(lambda: len(told) == len(CHAIN))
        assert runner.engine.is_behind
    assert told == [(block.header.height, True) for block in CHAIN]
    assert store.threads[before:] == ["ledger_0"] * len(CHAIN)
    assert store.unsynced_batches == 0


async def test_a_ledger_that_cannot_be_written_on_its_thread_ends_the_run(tmp_path: Path) -> None:
    store = WatchedStore()
    backup = Alone(tmp_path, store=store, genesis=GENESIS, name="validator-4")
    runner = backup.build()
    life = asyncio.create_task(runner.run())
    await asyncio.sleep(0)  # lets it begin
    store.is_full_beside = True
    fall_behind(backup, runner)
    with pytest.raises(StorageError, match="the disk is full"):
        async with asyncio.timeout(20):
            await life
    backup.log.close()


async def test_what_is_final_and_not_written_yet_is_not_told_as_expired(tmp_path: Path) -> None:
    store = WatchedStore()
    store.may_write_beside.clear()
    backup = Alone(tmp_path, store=store, genesis=GENESIS, name="validator-4")
    again = CHAIN[0].transactions[0].transaction
    async with backup.running() as runner:
        fall_behind(backup, runner)
        assert (runner.engine.height, backup.ledger.tip_height) == (len(CHAIN), 0)
        ticket = await runner.submit([again.encoded])
        assert [each.code for each in ticket.admissions] == [AdmissionCode.ALREADY_FINAL]
        assert ticket.results == [None]
        store.may_write_beside.set()
        await ticket.wait_final()
        (result,) = ticket.results
        assert result is not None
        assert (result.code, result.height) == (ResultCode.OK, 1)


async def test_the_log_of_who_casts_nothing_does_not_grow_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who follows, or is far behind, logs each block that becomes final, and syncs for nobody."""
    monkeypatch.setattr(wal, "SEGMENT_BYTES_TARGET", 1_000)
    backup = Alone(tmp_path, genesis=GENESIS, name="validator-4")
    async with backup.running() as runner:
        fall_behind(backup, runner)
        await until(lambda: runner.engine.height == len(CHAIN))
        await until(lambda: not backup.log.rotation_due)
        assert not runner.engine.waits_for_log
    log, replay = wal.WriteAheadLog.open(tmp_path / "wal", backup.identity)
    log.close()
    assert len(replay.records) == 1, "the newest final block"


async def test_what_is_due_at_once_waits_for_no_timer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A millisecond for each turn would be a part of what catching up takes."""
    monkeypatch.setattr(reception, "TURN_BYTES_AIM", 1)
    loop = asyncio.get_running_loop()
    call_later, delays_s = loop.call_later, list[float]()

    def noted(
        delay_s: float, callback: Callable[..., object], *given: object
    ) -> asyncio.TimerHandle:
        delays_s.append(delay_s)
        return call_later(delay_s, callback, *given)

    backup = Alone(tmp_path, genesis=GENESIS, name="validator-4")
    async with backup.running() as runner:
        monkeypatch.setattr(loop, "call_later", noted)
        fall_behind(backup, runner)
        await until(lambda: runner.engine.height == len(CHAIN))
    assert delays_s.count(0) == len(CHAIN) - 1
