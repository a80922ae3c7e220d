"""An engine that catches up while its ledger is written: who is told of what, and when."""

from __future__ import annotations

from itertools import count

import pytest

from node.consensus.messages import Status
from node.errors import StorageError
from node.execution.apply import Executor
from node.service import reception
from node.service.recovery import recover
from node.storage.kv import WriteBatch
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from tests.unit.consensus.signing import chain_of_blocks
from tests.unit.execution.small_chain import GENESIS
from tests.unit.service.beside import Later
from tests.unit.service.lone import Lone, certified_block, proposal_of

CHAIN = chain_of_blocks(4)[1:]
ENCODED = tuple(certified_block(block).encode() for block in CHAIN)


class CountingStore(MemoryStore):
    """A store that counts its synced writes, and can refuse the next one."""

    syncs = 0
    is_full = False

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        if self.is_full:
            raise StorageError("no space left")
        self.syncs += sync
        super().write(batch, sync=sync)


class Behind:
    """A node far behind that takes a block a turn; its ledger is written beside."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reception, "TURN_BYTES_AIM", 1)
        self.store, self.later = CountingStore(), Later()
        ledger = LedgerStore.open(self.store, GENESIS.suite, Executor(GENESIS).genesis_block())
        self.node = Lone(3, ledger=ledger)
        self.node.engine.write_beside(self.later)
        self.syncs_before = self.store.syncs

    def fetch(self) -> None:
        """Be given all blocks, and take the first."""
        self.node.fetch(ENCODED, 1)

    def tick(self) -> None:
        """Take the next."""
        self.node.engine.tick(self.node.at(2))

    def told(self) -> list[int]:
        """Return the heights of the blocks that were told of since it was last looked."""
        return [each.executed.header.height for each in self.node.engine.drain().committed]

    @property
    def heights(self) -> tuple[int, int]:
        """Return the heights of the engine and of the ledger."""
        return self.node.engine.height, self.node.ledger.tip_height


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> Behind:
    return Behind(monkeypatch)


def test_a_block_is_told_of_once_it_is_written(behind: Behind) -> None:
    behind.fetch()
    assert (behind.heights, behind.told()) == ((1, 0), [])
    behind.node.engine.written()  # called too early, nothing is waited for
    assert (behind.heights, behind.told()) == ((1, 0), [])
    behind.later.begun[0].result()
    behind.node.engine.written()
    assert (behind.heights, behind.told()) == ((1, 1), [1])


def test_the_next_write_waits_for_the_one_before_and_each_is_one_sync(behind: Behind) -> None:
    behind.fetch()
    behind.tick()
    behind.tick()
    assert (behind.heights, behind.told()) == ((3, 2), [1, 2])
    assert len(behind.later.begun) == 3
    assert behind.store.syncs == behind.syncs_before + 2
    assert behind.store.unsynced_batches == 0


def test_a_turn_that_makes_nothing_final_leaves_the_write_alone(behind: Behind) -> None:
    behind.fetch()
    behind.node.hear(1, Status(0, 0, True, 1_000), 2)  # noqa: FBT003
    assert behind.node.ledger.tip_height == 0
    assert len(behind.later.begun) == 1


def test_what_a_write_at_once_takes_is_told_and_other_turns_take_nothing() -> None:
    node, readings = Lone(3), count()
    node.engine.counters.efforts.ledger.begin = lambda: next(readings)
    node.fetch(ENCODED, 1)
    node.hear(1, Status(0, 0, True, 1_000), 2)  # noqa: FBT003
    assert node.ledger.tip_height == len(CHAIN)
    assert node.engine.counters.efforts.ledger.spent_ns == 1
    assert next(readings) == 2


def test_who_is_not_behind_any_more_has_everything_written_at_the_end_of_the_turn(
    behind: Behind,
) -> None:
    behind.fetch()
    behind.tick()
    behind.told()
    for peer in (0, 1):
        behind.node.hear(peer, Status(0, 0, True, len(CHAIN)), 3)  # noqa: FBT003
    assert (behind.heights, behind.told()) == ((2, 2), [2])
    behind.tick()
    assert (behind.heights, behind.told()) == ((3, 3), [3])
    assert len(behind.later.begun) == 2


def test_what_is_signed_finds_everything_written(behind: Behind) -> None:
    behind.fetch()
    following = CHAIN[1]
    behind.node.admit(following.transactions[0], 2)
    assert behind.node.ledger.tip_height == 0
    votes_before = behind.node.engine.counters.votes_signed
    at_its_time_ms = following.header.time_ms - behind.node.at(0).utc_ms
    behind.node.hear(0, proposal_of(following), at_its_time_ms)
    assert behind.node.engine.counters.votes_signed == votes_before + 1
    assert behind.node.engine.is_behind
    assert (behind.heights, behind.told()) == ((1, 1), [1])


def test_a_crash_during_a_write_leaves_what_was_told_of_and_a_log_that_knows_of_more(
    behind: Behind,
) -> None:
    behind.fetch()
    behind.tick()
    assert (behind.heights, behind.told()) == ((2, 1), [1])
    disk = behind.store.crash(keep=behind.store.unsynced_batches)
    ledger = LedgerStore.open(disk, GENESIS.suite, Executor(GENESIS).genesis_block())
    assert ledger.tip_height == 1
    name = GENESIS.validators.validators[3].validator_id
    log = behind.node.log.records
    recovery = recover(GENESIS, Executor(GENESIS), ledger, log, validator_id=name)
    assert recovery.silent_up_to == 2
    again = Lone(3, ledger=ledger)
    again.fetch(ENCODED[1:], 1)
    assert again.engine.height == 2
    while again.engine.deadline() == 0:
        again.engine.tick(again.at(2))
    assert ledger.tip_height == len(CHAIN)
    assert ledger.header_digest == CHAIN[-1].digest


def test_a_write_that_fails_ends_the_turn_that_waits_for_it(behind: Behind) -> None:
    behind.fetch()
    behind.store.is_full = True
    with pytest.raises(StorageError):
        behind.tick()
    assert behind.told() == []
