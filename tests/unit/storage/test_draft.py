"""A ledger made of pieces: it is the ledger that executing its blocks would have made."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from node.chain.log import frontier_of_edge
from node.chain.record import RecordAction
from node.chain.state_page import Page
from node.chain.state_tree import build_subtree
from node.errors import DecodeError, ProofError
from node.execution.apply import ExecutedBlock
from node.storage.draft import LedgerDraft, Subtree, subtrees_of
from node.storage.held_state import HeldState
from node.storage.kv import WriteBatch
from node.storage.ledger import STATES_HELD, LedgerStore, RecordQuery
from node.storage.ledger_check import verify_store
from node.storage.memory import MemoryStore
from node.storage.past import NotHeldYet
from node.storage.stored_block import StoredBlock
from tests.unit.execution.small_chain import (
    CREATED_MS,
    GENESIS,
    SmallChain,
    certify,
    payload,
    tx,
)

SUITE = GENESIS.suite
GENESIS_BLOCK = SmallChain().executor.genesis_block()
HEAD, HELD_FROM = 40, 33


class Source:
    """A ledger that has all of a chain of `HEAD` blocks, and then a few more."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.ledger = LedgerStore.open(self.store, SUITE, GENESIS_BLOCK)
        self.chain = SmallChain()
        self.blocks: list[ExecutedBlock] = []
        self.grow(HEAD)
        self.ledger.hold()

    def grow(self, count: int) -> None:
        for _ in range(count):
            height = len(self.blocks) + 1
            named = payload(
                f"{height}", references=[f"R-{height % 25}"], action=self.action(height)
            )
            executed = self.chain.commit(
                tx(named, not_after_ms=CREATED_MS + height * 1_000 + 60_000),
                tx(payload(*(f"{height}-{n}" for n in range(height % 9 + 1)))),
            )
            self.blocks.append(executed)
            self.ledger.commit([(executed, certify(executed))], sync=True)

    @staticmethod
    def action(height: int) -> RecordAction:
        return RecordAction.RECORD if height < 25 or height % 3 else RecordAction.SUPERSEDE

    def past(self, first: int, last: int) -> list[StoredBlock]:
        return [read(self.ledger, height) for height in range(first, last + 1)]


def read(ledger: LedgerStore, height: int) -> StoredBlock:
    values = ledger.block_values(height)
    assert values is not None
    block = StoredBlock(*values, SUITE)
    block.require_sound()
    return block


@pytest.fixture(scope="module")
def source() -> Source:
    return Source()


def fetch(
    draft: LedgerDraft, held: HeldState, *, size_max: int, limit: int | None = None
) -> list[str]:
    """Bring the state of `held` into a draft, or `limit` pieces of it; return those places."""
    todo: list[Subtree] = [("", held.block.header.state_root)]
    came: list[str] = []
    while todo and (limit is None or len(came) < limit):
        subtree = todo.pop()
        known = draft.missing_below(subtree)
        if known is not None:
            todo += known
            continue
        place, subtree_hash = subtree
        came.append(place)
        values, _ = held.values_below(place, size_max)
        if values is None:
            page = Page.decode(held.page(place) or b"", place, SUITE)
            assert page.top == subtree_hash
            draft.put_page(subtree, page)
            todo += subtrees_of(page, place)
        else:
            built = build_subtree(place, values, SUITE)
            assert built.root == subtree_hash
            draft.put_whole(subtree, values, built.buckets)
    return came


def finish(draft: LedgerDraft, held: HeldState, held_from: int = HELD_FROM) -> None:
    header = held.block.header
    draft.finish(
        genesis=GENESIS_BLOCK,
        head=held.block,
        log_edge=held.log_edge,
        frontier=frontier_of_edge(header.log_size, held.log_edge, SUITE.hash),
        held_from=held_from,
        barriers=(),
        evidence=(),
    )


def begun(source: Source, store: MemoryStore, *, size_max: int = 500) -> LedgerStore:
    """Return a ledger that began with a snapshot of `HEAD`."""
    draft = LedgerDraft(store, SUITE)
    held = source.ledger.held[HEAD]
    fetch(draft, held, size_max=size_max)
    draft.put_blocks(source.past(HELD_FROM, HEAD))
    finish(draft, held)
    return LedgerStore.open(store, SUITE, GENESIS_BLOCK)


def contents(store: MemoryStore) -> dict[bytes, bytes]:
    return dict(store.scan(b""))


@pytest.mark.parametrize("size_max", [1, 500, 5_000, 1_000_000])
def test_a_snapshot_and_then_its_past_make_the_ledger_that_execution_made(size_max: int) -> None:
    source, store = Source(), MemoryStore()
    ledger = begun(source, store, size_max=size_max)
    assert (ledger.tip_height, ledger.missing) == (HEAD, range(1, HELD_FROM))
    for height in (1, 12, 30):  # the chain goes on meanwhile
        ledger.fill(source.past(ledger.missing.start, height))
        assert ledger.missing == range(height + 1, HELD_FROM)
        source.grow(3)
        grown = source.blocks[ledger.tip_height :]
        ledger.commit([(executed, certify(executed)) for executed in grown], sync=True)
    ledger.fill(source.past(31, HELD_FROM - 1))
    assert not ledger.missing
    assert not ledger.is_whole
    ledger = LedgerStore.open(store, SUITE, GENESIS_BLOCK)
    while not ledger.is_whole:
        ledger.fill(())
    assert contents(store) == contents(source.store)
    verify_store(store, LedgerStore.open(store, SUITE, GENESIS_BLOCK), SUITE)


def test_a_ledger_without_its_past_says_so_and_answers_what_it_can(source: Source) -> None:
    store = MemoryStore()
    ledger, whole = begun(source, store), source.ledger
    chain, later = SmallChain(), []
    for executed in source.blocks:
        chain.state.commit(executed)
    for n in range(3):
        executed = chain.commit(tx(payload(f"later-{n}")))
        later.append(executed)
        ledger.commit([(executed, certify(executed))], sync=True)
    old = source.blocks[4]
    refused: tuple[Callable[[], object], ...] = (
        lambda: ledger.block(5),
        lambda: ledger.leaf(old.header.log_size - 1),
        lambda: ledger.inclusion_path(3, old.header.log_size),
        lambda: ledger.inclusion_path(source.blocks[-2].header.log_size, whole.header.log_size),
        lambda: ledger.consistency_path(3, ledger.header.log_size),
        lambda: ledger.records(RecordQuery(), limit=1),
        lambda: ledger.records(RecordQuery(digest=bytes(32)), limit=1),
        lambda: ledger.records(RecordQuery(from_ms=CREATED_MS + 5_000), limit=1),
        lambda: verify_store(store, ledger, SUITE),
    )
    for question in refused:
        with pytest.raises(NotHeldYet, match="blocks 1 to 32 are being fetched"):
            question()
    assert (ledger.header_at(5), ledger.certified_block(5), ledger.encoded_block(5)) == (
        None,
        None,
        None,
    )
    assert ledger.encoded_block(HEAD) == whole.encoded_block(HEAD)
    (tail,) = ledger.records(
        RecordQuery(digest=payload(f"{HEAD}-0").digests, from_ms=source.blocks[-1].header.time_ms),
        limit=5,
    ).records
    assert tail.leaf.height == HEAD
    newest = later[-1].header.log_size - 1
    path = ledger.inclusion_path(newest, later[-1].header.log_size)
    assert len(path) > 1
    in_horizon = source.blocks[HELD_FROM].transactions[0].transaction.tx_id
    assert ledger.has_transaction(in_horizon)
    assert ledger.result(in_horizon) == whole.result(in_horizon)


def test_a_draft_left_in_the_middle_goes_on_with_what_it_has(source: Source) -> None:
    store, held = MemoryStore(), source.ledger.held[HEAD]
    whole = fetch(LedgerDraft(MemoryStore(), SUITE), held, size_max=300)
    first = fetch(LedgerDraft(store, SUITE), held, size_max=300, limit=len(whole) // 2)
    store = store.crash(keep=store.unsynced_batches)
    rest = fetch(LedgerDraft(store, SUITE), held, size_max=300)
    assert sorted(first + rest) == sorted(whole)
    assert fetch(LedgerDraft(store, SUITE), held, size_max=300) == []


class Remembering(MemoryStore):
    """A store that knows every batch it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[WriteBatch] = []

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        self.batches.append(batch)
        super().write(batch, sync=sync)


def test_whatever_a_power_loss_takes_of_a_draft_is_fetched_again(source: Source) -> None:
    held, chance = source.ledger.held[HEAD], random.Random(1)
    for _ in range(10):
        before, after = Remembering(), MemoryStore()
        draft = LedgerDraft(before, SUITE)
        fetch(draft, held, size_max=300)
        for height in range(1, HEAD + 1):
            draft.put_blocks(source.past(height, height))
        for batch in before.batches:  # even from the middle
            if chance.random() < 0.8:
                after.write(batch, sync=False)
        draft = LedgerDraft(after, SUITE)
        fetch(draft, held, size_max=300)
        lost = [height for height in range(1, HEAD + 1) if draft.header_at(height) is None]
        for height in lost:
            draft.put_blocks(source.past(height, height))
        finish(draft, held, held_from=1)
        ledger = LedgerStore.open(after, SUITE, GENESIS_BLOCK)
        ledger.fill(())
        assert 0 < len(lost) < HEAD
        assert contents(after) == contents(source.store)


@pytest.mark.parametrize("size_max", [(300, 300), (1, 5_000), (5_000, 1)])
def test_a_draft_begun_for_one_height_serves_another(size_max: tuple[int, int]) -> None:
    source, store = Source(), MemoryStore()
    fetch(LedgerDraft(store, SUITE), source.ledger.held[HEAD], size_max=size_max[0])
    source.grow(5)
    source.ledger.hold()
    held = source.ledger.held[HEAD + 5]
    again = fetch(LedgerDraft(MemoryStore(), SUITE), held, size_max=size_max[1])
    draft = LedgerDraft(store, SUITE)
    came = fetch(draft, held, size_max=size_max[1])
    if size_max[0] == size_max[1]:
        assert len(came) < len(again)
    draft.put_blocks(source.past(1, HEAD + 5))
    finish(draft, held, held_from=1)
    ledger = LedgerStore.open(store, SUITE, GENESIS_BLOCK)
    ledger.fill(())
    assert ledger.is_whole
    assert contents(store) == contents(source.store)


def test_the_states_held_are_a_few_and_do_not_change() -> None:
    source = Source()
    root = source.ledger.held[HEAD].block.header.state_root
    source.grow(2)
    source.ledger.hold()
    source.ledger.hold()
    assert list(source.ledger.held) == [HEAD, HEAD + 2]
    values, size = source.ledger.held[HEAD].values_below("", 10**9)
    assert values is not None
    assert size > sum(map(len, values.values()))
    assert build_subtree("", values, SUITE).root == root
    source.grow(1)
    source.ledger.hold()
    assert list(source.ledger.held) == [HEAD + 2, HEAD + 3]
    assert len(source.ledger.held) == STATES_HELD


# ---------------------------------------------------------------------- blocks of others


def test_no_byte_of_a_past_block_but_its_certificate_can_be_anything_else(source: Source) -> None:
    values = source.ledger.block_values(26)
    assert values is not None
    header, body = values
    original = StoredBlock(header, body, SUITE)
    assert original.results()[0].code.value != 0, "one with a failure has all there is to a block"
    for at in range(len(body)):
        flipped = bytearray(body)
        flipped[at] ^= 1
        with pytest.raises((DecodeError, ProofError)):
            StoredBlock(header, bytes(flipped), SUITE).require_sound()
    other = source.ledger.block_values(27)
    assert other is not None
    with pytest.raises(ProofError, match="past-transactions"):
        StoredBlock(header, other[1], SUITE).require_sound()


def test_blocks_that_do_not_give_the_log_are_refused(source: Source) -> None:
    store = MemoryStore()
    ledger = begun(source, store)
    before = contents(store)
    (first,) = source.past(1, 1)
    chain = SmallChain()
    other = chain.commit(tx(payload("other")))
    scratch = LedgerStore.open(MemoryStore(), SUITE, GENESIS_BLOCK)
    scratch.commit([(other, certify(other))], sync=True)
    block = read(scratch, 1)
    block.header = first.header
    with pytest.raises(ProofError, match="past-log"):
        ledger.fill([block])
    assert contents(store) == before
