"""The state in a store: whatever a crash or damage leaves, its tree is the tip's or refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from node.chain.record import RecordAction
from node.chain.state_bucket import Bucket
from node.chain.state_tree import EMPTY_TREE, root_of, tree_of_buckets, verify_proof
from node.errors import StorageError
from node.execution.apply import ExecutedBlock
from node.storage import keys
from node.storage.kv import WriteBatch
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from node.storage.state_buckets import find_value, read_tree
from tests.unit.execution.small_chain import GENESIS, SmallChain, certify, payload, tx

SUITE = GENESIS.suite
BLOCKS = 12


@pytest.fixture(scope="module")
def blocks() -> list[ExecutedBlock]:
    """Return blocks that put new references beside old ones, and move old ones."""
    chain = SmallChain()
    made = []
    for height in range(1, BLOCKS + 1):
        names = [f"{height}-{at}" for at in range(5)]
        new = tx(payload(*names, references=names))
        old = payload(f"{height}", references=[f"{height - 1}-0"], action=RecordAction.SUPERSEDE)
        made.append(chain.commit(new, tx(old)))
    return made


def opened(store: MemoryStore) -> LedgerStore:
    return LedgerStore.open(store, SUITE, SmallChain().executor.genesis_block())


def committed(blocks: list[ExecutedBlock], store: MemoryStore) -> LedgerStore:
    ledger = opened(store)
    for block in blocks:
        ledger.commit([(block, certify(block))], sync=False)
    return ledger


def values_of(blocks: list[ExecutedBlock]) -> dict[bytes, bytes | None]:
    values: dict[bytes, bytes | None] = {b"absent": None}
    for block in blocks:
        values |= block.state_writes
    return values


def buckets_in(store: MemoryStore) -> Iterator[tuple[bytes, bytes]]:
    yield from store.scan(keys.STATE)


def test_whatever_prefix_a_crash_leaves_its_tree_is_that_of_its_tip(
    blocks: list[ExecutedBlock],
) -> None:
    for kept in range(BLOCKS + 1):
        store = MemoryStore()
        committed(blocks, store)
        ledger = opened(store.crash(keep=kept))
        assert ledger.tip_height == kept
        assert root_of(ledger.tree) == ledger.header.state_root
        if kept:
            assert ledger.tree == blocks[kept - 1].tree.tree
        for key, value in values_of(blocks[:kept]).items():
            assert ledger.get(key) == value
            proven = ledger.prove(key)
            if proven is not None:
                verify_proof(ledger.header.state_root, key, value, proven.proof, SUITE)


def test_buckets_of_two_states_are_refused(blocks: list[ExecutedBlock]) -> None:
    """As no crash leaves them: a bucket is older than the tip, is missing, or is there twice."""
    store, before = MemoryStore(), MemoryStore()
    committed(blocks, store)
    committed(blocks[:-1], before)
    older = dict(buckets_in(before))
    newest = dict(buckets_in(store))
    changed = {key: older.get(key) for key in newest if older.get(key) != newest[key]}
    assert changed
    divided = {key: value for key, value in older.items() if key not in newest}
    for key, value in (changed | divided).items():
        damaged = MemoryStore()
        committed(blocks, damaged)
        batch = WriteBatch()
        batch.delete(key)
        if value is not None:
            batch.put(key, value)
        damaged.write(batch, sync=True)
        with pytest.raises(StorageError) as caught:
            _ = opened(damaged).tree
        assert caught.value.code == "GC-3003"


def test_a_value_is_found_with_and_without_the_tree(blocks: list[ExecutedBlock]) -> None:
    store = MemoryStore()
    ledger = committed(blocks, store)
    for key, value in values_of(blocks).items():
        assert find_value(store, key, SUITE) == ledger.get(key) == value
    assert find_value(MemoryStore(), b"absent", SUITE) is None
    assert read_tree(MemoryStore(), SUITE) == tree_of_buckets([], SUITE) == EMPTY_TREE


class AskedMeanwhile(MemoryStore):
    """A store in which others read right after a batch is written, before its writer goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger: LedgerStore | None = None
        self.asked: list[bytes] = []
        self.answers: dict[bytes, bytes | None] = {}

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        super().write(batch, sync=sync)
        if self.ledger is not None:
            self.answers = {key: self.ledger.get(key) for key in self.asked}


def test_who_reads_while_buckets_are_divided_finds_what_was_there_or_what_is_to_be(
    blocks: list[ExecutedBlock],
) -> None:
    store = AskedMeanwhile()
    ledger = opened(store)
    assert root_of(ledger.tree) == ledger.header.state_root
    store.ledger = ledger
    for height, block in enumerate(blocks):
        known = values_of(blocks[:height])
        store.asked = list(known)
        ledger.commit([(block, certify(block))], sync=False)
        assert store.answers.keys() == known.keys()
        for key, answer in store.answers.items():
            assert answer in {known[key], block.state_writes.get(key, known[key])}


def test_each_stored_bucket_is_one_of_the_block_that_wrote_it_last(
    blocks: list[ExecutedBlock],
) -> None:
    store = MemoryStore()
    committed(blocks, store)
    expected: dict[bytes, Bucket | None] = dict(SmallChain().executor.genesis_block().tree.buckets)
    for block in blocks:
        expected |= block.tree.buckets
    stored = {key[1:]: Bucket.decode(value, key[1:]) for key, value in buckets_in(store)}
    assert stored == {place: bucket for place, bucket in expected.items() if bucket is not None}
