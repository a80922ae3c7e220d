"""The ledger within a turn: what is staged is there to read, and is written at once."""

from __future__ import annotations

import pytest

from node.errors import StorageError
from node.execution.apply import Executor
from node.execution.registry import PARAMETERS_KEY
from node.service.staged import StagedLedger
from node.storage.kv import WriteBatch
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from tests.unit.consensus.signing import chain_of_blocks
from tests.unit.execution.small_chain import GENESIS, certify
from tests.unit.service.beside import Later

_, *BLOCKS, FOURTH = chain_of_blocks(4)


class CountingStore(MemoryStore):
    """A store that counts its writes, and can refuse the next one."""

    writes = 0
    is_full = False

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        if self.is_full:
            raise StorageError("no space left")
        self.writes += 1
        super().write(batch, sync=sync)


def opened(store: MemoryStore) -> LedgerStore:
    return LedgerStore.open(store, GENESIS.suite, Executor(GENESIS).genesis_block())


def staging_three(store: MemoryStore) -> tuple[LedgerStore, StagedLedger]:
    ledger = opened(store)
    staged = StagedLedger(ledger)
    for block in BLOCKS:
        staged.stage(block, certify(block))
    return ledger, staged


def test_what_is_staged_is_the_tip_for_who_reads_here_and_for_nobody_else() -> None:
    ledger, staged = staging_three(MemoryStore())
    last = BLOCKS[-1]
    assert (staged.tip_height, staged.header, staged.header_digest) == (3, last.header, last.digest)
    assert staged.log_frontier == last.frontier
    assert all(staged.has_transaction(tx_id) for block in BLOCKS for tx_id in block.tx_ids)
    assert all(staged.find_held([tx_id]) for block in BLOCKS for tx_id in block.tx_ids)
    assert staged.find_held([bytes(32)]) is None
    for block in BLOCKS:
        for key in block.state_writes:
            assert staged.get(key) is not None
    assert staged.tree is last.tree.tree
    assert all(staged.bucket(place) is bucket for place, bucket in last.tree.buckets.items())
    assert staged.encoded_block(1) is None
    assert ledger.tip_height == 0


def test_all_of_a_turn_is_one_write_and_gives_the_ledger_that_many_would() -> None:
    together, apart = CountingStore(), CountingStore()
    _, staged = staging_three(together)
    before = together.writes
    staged.write()
    staged.write()  # nothing is left to write
    assert together.writes == before + 1
    assert together.unsynced_batches == 0
    one_by_one = opened(apart)
    for block in BLOCKS:
        one_by_one.commit([(block, certify(block))], sync=True)
    assert list(together.scan(b"")) == list(apart.scan(b""))
    assert staged.encoded_block(3) == one_by_one.encoded_block(3)
    assert (staged.tip_height, staged.header_digest) == (3, BLOCKS[-1].digest)


def test_states_are_held_at_heights_that_are_the_same_everywhere() -> None:
    store = CountingStore()
    ledger, staged = staging_three(store)
    staged.hold_every = 2
    before = store.writes
    staged.write()
    assert list(ledger.held) == [2]
    assert store.writes == before + 2, "up to the state that is held, and the rest"
    assert store.unsynced_batches == 0
    assert ledger.tip_height == 3
    assert staged.get(PARAMETERS_KEY) == ledger.get(PARAMETERS_KEY)


def test_a_turn_that_ends_with_a_state_to_hold_is_durable_too() -> None:
    store = CountingStore()
    ledger, staged = staging_three(store)
    staged.hold_every = 3
    staged.write()
    assert list(ledger.held) == [3]
    assert store.unsynced_batches == 0


def test_what_is_written_is_read_from_the_ledger() -> None:
    ledger, staged = staging_three(MemoryStore())
    staged.write()
    ledger.commit([(FOURTH, certify(FOURTH))], sync=True)
    assert staged.tip_height == 4


def test_a_write_that_fails_leaves_none_of_the_turn() -> None:
    store = CountingStore()
    _, staged = staging_three(store)
    store.is_full = True
    with pytest.raises(StorageError):
        staged.write()
    assert opened(store.crash(keep=store.unsynced_batches)).tip_height == 0


# ---------------------------------------------------------------------- written beside the turns


def test_what_is_being_written_is_read_here_and_can_be_followed() -> None:
    ledger, staged = staging_three(MemoryStore())
    later = Later()
    assert staged.begin_write(later)
    assert (staged.is_staged, staged.is_being_written, staged.is_written) == (False, True, False)
    staged.stage(FOURTH, certify(FOURTH))
    assert (staged.tip_height, ledger.tip_height, staged.is_staged) == (4, 0, True)
    staged.finish()
    assert (staged.tip_height, ledger.tip_height) == (4, 3)
    assert (staged.is_staged, staged.is_being_written, staged.is_written) == (True, False, True)
    assert all(staged.has_transaction(tx_id) for block in BLOCKS for tx_id in block.tx_ids)
    assert staged.tree is FOURTH.tree.tree
    staged.write()
    assert (staged.tip_height, ledger.tip_height) == (4, 4)


def test_what_is_written_meanwhile_is_read_from_the_ledger_by_what_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else every block of a long way would be kept in memory for the sake of the last."""
    ledger, staged = staging_three(MemoryStore())
    staged.begin_write(Later())
    staged.stage(FOURTH, certify(FOURTH))
    asked: list[bytes] = []
    read = ledger.has_transaction

    def noted(tx_id: bytes) -> bool:
        asked.append(tx_id)
        return read(tx_id)

    monkeypatch.setattr(ledger, "has_transaction", noted)
    (first,) = BLOCKS[0].tx_ids
    assert staged.has_transaction(first)
    assert asked == []
    staged.finish()
    assert staged.has_transaction(first)
    assert asked == [first]


def test_while_the_past_is_being_filled_in_nothing_is_written_beside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, staged = staging_three(MemoryStore())
    monkeypatch.setattr(LedgerStore, "is_whole", property(lambda _: False))
    later = Later()
    assert not staged.begin_write(later)
    assert not later.begun


def test_one_write_is_under_way_at_a_time_and_each_is_one_synced_batch() -> None:
    store = CountingStore()
    ledger, staged = staging_three(store)
    before, later = store.writes, Later()
    staged.begin_write(later)
    staged.stage(FOURTH, certify(FOURTH))
    staged.begin_write(later)
    assert [each.done() for each in later.begun] == [True, False]
    staged.finish()
    assert ledger.tip_height == 4
    assert (store.writes, store.unsynced_batches) == (before + 2, 0)


def test_whatever_was_begun_is_durable_before_what_is_written_at_once() -> None:
    ledger, staged = staging_three(MemoryStore())
    staged.begin_write(Later())
    staged.stage(FOURTH, certify(FOURTH))
    staged.write()
    assert (ledger.tip_height, staged.is_being_written) == (4, False)


def test_a_state_to_hold_is_written_at_once() -> None:
    ledger, staged = staging_three(MemoryStore())
    staged.hold_every = 2
    later = Later()
    assert not staged.begin_write(later)
    assert not later.begun
    staged.write()
    assert list(ledger.held) == [2]


def test_a_write_beside_that_fails_is_told_to_who_waits_for_it() -> None:
    store = CountingStore()
    _, staged = staging_three(store)
    store.is_full = True
    staged.begin_write(Later())
    with pytest.raises(StorageError):
        staged.finish()
    assert opened(store.crash(keep=store.unsynced_batches)).tip_height == 0
