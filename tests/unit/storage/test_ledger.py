"""The ledger on every engine: what was committed is found again, and damage is noticed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.chain.block import CertifiedBlock, ResultCode, TransactionResult
from node.chain.encoding import encode
from node.chain.log import TILE_HASHES, TileId
from node.chain.merkle import TreeHead, leaf_hash, verify_consistency, verify_inclusion
from node.chain.record import Notarization, RecordAction, RecordLeaf
from node.chain.reference import reference_key
from node.chain.state_tree import update, verify_proof
from node.chain.transaction import VerifiedTransaction
from node.errors import InvariantViolation, ProofError, StorageError
from node.execution.apply import ExecutedBlock
from node.execution.overlay import Overlay
from node.storage import indexes, keys, ledger, runs
from node.storage.kv import WriteBatch
from node.storage.ledger import LedgerStore, RecordQuery
from node.storage.ledger_check import verify_store
from node.storage.memory import MemoryStore
from node.storage.stored_block import encode_header_value
from tests.unit.execution.small_chain import (
    CREATED_MS,
    GENESIS,
    SmallChain,
    build_genesis,
    certify,
    next_inputs,
    payload,
    tx,
)
from tests.unit.storage import engines

SUITE = GENESIS.suite
GENESIS_BLOCK = SmallChain().executor.genesis_block()
HASH = SUITE.hash


@dataclass
class Engine(engines.Engine):
    """A store under test, and the ledger in it."""

    def ledger(self) -> LedgerStore:
        return LedgerStore.open(self.store, SUITE, GENESIS_BLOCK)

    def restart(self) -> LedgerStore:
        self.store = self.reopen(self.store)
        return self.ledger()


@pytest.fixture(params=engines.ENGINES.values(), ids=list(engines.ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    under_test: engines.Engine = request.param(tmp_path)
    made = Engine(under_test.store, under_test.reopen)
    yield made
    made.store.close()


def random_transaction(rng: random.Random) -> VerifiedTransaction:
    """Return a transaction of one of every kind, failing ones included."""
    count = rng.choice([1, 1, 2, 90])
    references = [rng.choice([f"R-{rng.randrange(3)}", None]) for _ in range(count)]
    plain = count == 90 or not any(references)  # a large batch with references would always fail
    actions = [RecordAction.RECORD, *RecordAction]
    return tx(
        payload(
            *(f"document {rng.randrange(60)}" for _ in range(count)),
            action=RecordAction.RECORD if plain else rng.choice(actions),
            references=None if plain else references,
            type_code=rng.choice(["licence", "permit", "per"]),
        ),
        sender=rng.choice(["agency-1", "agency-1", "agency-2", "auditor-1"]),
        not_after_ms=CREATED_MS + 600_000,
    )


def replace_digests(notarization: Notarization, digests: bytes) -> Notarization:
    return msgspec.structs.replace(notarization, digests=digests)


@dataclass
class Committed:
    """A chain with all it ought to be, kept by the simple double of the tests."""

    chain: SmallChain
    blocks: list[ExecutedBlock]

    @property
    def leaves(self) -> list[bytes]:
        return self.chain.state.leaves

    def record_leaves(self) -> dict[int, RecordLeaf]:
        headers = {len(self.leaves_before(block)) for block in self.blocks}
        return {
            index: RecordLeaf.decode(leaf)
            for index, leaf in enumerate(self.leaves)
            if index not in headers
        }

    def leaves_before(self, block: ExecutedBlock) -> list[bytes]:
        return self.leaves[: block.header.log_size - len(block.leaves)]


@pytest.fixture(scope="module")
def committed() -> Committed:
    """Forty random blocks, with more leaves than a tile of the log holds."""
    rng = random.Random(4)
    chain = SmallChain()
    blocks = [
        chain.commit(*(random_transaction(rng) for _ in range(rng.choice([0, 1, 3, 8]))))
        for _ in range(40)
    ]
    made = Committed(chain, blocks)
    codes = {result.code for block in blocks for result in block.results}
    assert len(made.leaves) > 2 * TILE_HASHES
    assert codes >= {
        ResultCode.OK,
        ResultCode.NOT_PERMITTED,
        ResultCode.REFERENCE_IN_FORCE,
        ResultCode.REFERENCE_NOT_IN_FORCE,
        ResultCode.REFERENCE_MISSING,
    }
    return made


def write_all(store: LedgerStore, blocks: list[ExecutedBlock], *, sync: bool = False) -> None:
    for block in blocks:
        store.commit([(block, certify(block))], sync=sync)


# --- Beginning ---


def test_an_empty_store_begins_with_genesis_and_keeps_it(engine: Engine) -> None:
    for open_ledger in (engine.ledger, engine.restart):
        opened = open_ledger()
        assert (opened.tip_height, opened.header) == (0, GENESIS_BLOCK.header)
        assert opened.header_digest == GENESIS_BLOCK.digest
        assert opened.log_frontier == GENESIS_BLOCK.frontier
        assert opened.header_at(0) == (GENESIS_BLOCK.header, None)
        assert opened.certified_block(0) is None
        assert opened.encoded_block(0) is None
        for key, value in GENESIS_BLOCK.state_writes.items():
            assert opened.get(key) == value
        verify_store(engine.store, opened, SUITE)


def test_beginning_is_durable_at_once() -> None:
    store = MemoryStore()
    LedgerStore.open(store, SUITE, GENESIS_BLOCK)
    assert LedgerStore.open(store.crash(keep=0), SUITE, GENESIS_BLOCK).tip_height == 0


def test_another_chains_ledger_is_refused(engine: Engine) -> None:
    engine.ledger()
    other = SmallChain(build_genesis(name="other")).executor.genesis_block()
    with pytest.raises(StorageError, match="is that of chain") as refusal:
        LedgerStore.open(engine.store, SUITE, other)
    assert refusal.value.code == "GC-3011"


@pytest.mark.parametrize(
    ("key", "value"),
    [(b"x", b"y"), (keys.FORMAT, encode([ledger.FORMAT_VERSION + 1, GENESIS.chain_id]))],
)
def test_what_is_no_ledger_of_this_format_is_refused(key: bytes, value: bytes) -> None:
    store = MemoryStore()
    batch = WriteBatch()
    batch.put(key, value)
    store.write(batch, sync=True)
    with pytest.raises(StorageError) as refusal:
        LedgerStore.open(store, SUITE, GENESIS_BLOCK)
    assert refusal.value.code == "GC-3010"


# --- Everything committed is found, before and after a restart ---


def check_state(opened: LedgerStore, committed: Committed) -> None:
    state = committed.chain.state
    assert opened.header == state.header
    assert opened.header_digest == state.header_digest
    assert opened.log_frontier == state.log_frontier
    assert opened.tip_height == len(committed.blocks)
    absent = reference_key("agency-1", "licence", "never")
    for key, value in [*state.values.items(), (absent, None)]:
        assert opened.get(key) == value
        proven = opened.prove(key)
        if proven is None:
            assert opened.tip_height == 0
            continue
        assert (proven.block.header, proven.value) == (state.header, value)
        verify_proof(state.header.state_root, key, value, proven.proof, SUITE)
    assert opened.tree == state.tree
    assert {place: opened.bucket(place) for place in state.buckets} == state.buckets


def check_blocks(opened: LedgerStore, committed: Committed) -> None:
    for block in committed.blocks:
        height, certificate = block.header.height, certify(block)
        assert opened.header_at(height) == (block.header, certificate)
        stored = opened.block(height)
        assert stored is not None
        assert stored.results() == block.results
        plain = tuple(verified.transaction for verified in block.transactions)
        certified = CertifiedBlock(block.header, plain, certificate)
        assert opened.certified_block(height) == certified
        assert opened.encoded_block(height) == certified.encode()
        assert stored.encode() == certified.encode()
        for index, result in enumerate(block.results):
            assert opened.find_transaction(result.tx_id) == (height, index)
            assert opened.result(result.tx_id) == result
            assert opened.has_transaction(result.tx_id)
    above = len(committed.blocks) + 1
    assert opened.header_at(above) is None
    assert opened.block(above) is None
    assert opened.certified_block(above) is None
    assert opened.find_transaction(bytes(32)) is None
    assert opened.result(bytes(32)) is None
    assert not opened.has_transaction(bytes(32))


def check_log(opened: LedgerStore, committed: Committed) -> None:
    leaves = committed.leaves
    assert list(opened.leaves(range(len(leaves)))) == leaves
    rng = random.Random(7)
    for index in rng.sample(range(len(leaves)), 40):
        assert opened.leaf(index) == leaves[index]
        block = next(b for b in committed.blocks if b.header.log_size > index)
        head = TreeHead(block.header.log_size, block.header.log_roots[0])
        path = opened.inclusion_path(index, head.size)
        verify_inclusion(leaf_hash(leaves[index], HASH), index, path, head, HASH)
    heads = [TreeHead(b.header.log_size, b.header.log_roots[0]) for b in committed.blocks]
    for old in heads[::7]:
        path = opened.consistency_path(old.size, heads[-1].size)
        verify_consistency(old, heads[-1], path, HASH)
    for index in (-1, len(leaves)):
        with pytest.raises(ProofError, match="proof-index"):
            opened.leaf(index)


def check_everything(opened: LedgerStore, committed: Committed) -> None:
    check_state(opened, committed)
    check_blocks(opened, committed)
    check_log(opened, committed)


def test_what_was_committed_is_found_before_and_after_a_restart(
    engine: Engine, committed: Committed
) -> None:
    opened = engine.ledger()
    write_all(opened, committed.blocks)
    check_everything(opened, committed)
    reopened = engine.restart()
    check_everything(reopened, committed)
    verify_store(engine.store, reopened, SUITE)


def test_a_restarted_ledger_carries_on(engine: Engine, committed: Committed) -> None:
    write_all(engine.ledger(), committed.blocks[:10])
    reopened = engine.restart()
    write_all(reopened, committed.blocks[10:])
    assert reopened.header == committed.chain.state.header
    verify_store(engine.store, reopened, SUITE)


def test_blocks_execute_on_the_ledger_as_on_any_state(engine: Engine) -> None:
    opened, chain = engine.ledger(), SmallChain()
    for number in range(3):
        batch = [tx(payload("a", references=["R-1"])), tx(payload(f"{number}"))]
        block = chain.executor.execute(opened, next_inputs(opened), batch)
        assert block == chain.commit(*batch)
        opened.commit([(block, certify(block))], sync=False)
    ahead = chain.executor.execute(opened, next_inputs(opened), [tx(payload("b"))])
    above = Overlay(opened, ahead)
    opened.commit([(ahead, certify(ahead))], sync=False)
    above.rebase(opened)
    assert above.header == opened.header


def test_a_block_that_does_not_follow_is_refused(engine: Engine, committed: Committed) -> None:
    opened = engine.ledger()
    first, second = committed.blocks[:2]
    with pytest.raises(InvariantViolation, match="block 2 does not follow the tip 0"):
        opened.commit([(second, certify(second))], sync=False)
    with pytest.raises(InvariantViolation, match="certificate of block 1 is that of another"):
        opened.commit([(first, certify(second))], sync=False)
    opened.commit([(first, certify(first))], sync=False)
    fork = SmallChain().execute(step_ms=9)
    with pytest.raises(InvariantViolation, match="block 1 does not follow the tip 1"):
        opened.commit([(fork, certify(fork))], sync=False)


def test_a_deleted_state_value_is_gone(engine: Engine, committed: Committed) -> None:
    opened, block = engine.ledger(), committed.blocks[0]
    key = next(iter(GENESIS_BLOCK.state_writes))
    assert opened.get(key) is not None
    writes = {**block.state_writes, key: None}
    tree = update(opened.tree, writes, opened.bucket, SUITE)
    deleting = replace(block, state_writes=writes, tree=tree)
    opened.commit([(deleting, certify(block))], sync=False)
    assert opened.get(key) is None


@pytest.mark.parametrize("remembered", [0, 1, 1_000])
def test_a_transaction_is_absent_until_a_block_brings_it_however_often_asked(
    engine: Engine, committed: Committed, monkeypatch: pytest.MonkeyPatch, remembered: int
) -> None:
    monkeypatch.setattr(ledger, "ABSENT_REMEMBERED", remembered)
    opened, final = engine.ledger(), set[bytes]()
    everything = [result.tx_id for block in committed.blocks for result in block.results]
    for block in committed.blocks:
        for _ in range(2):
            assert [tx_id for tx_id in everything if opened.has_transaction(tx_id)] == [
                tx_id for tx_id in everything if tx_id in final
            ]
        absent = [tx_id for tx_id in everything if tx_id not in final]
        assert opened.find_held(absent) is None
        for tx_id in final:
            assert opened.find_held([*absent, tx_id, bytes(32)]) == tx_id
        opened.commit([(block, certify(block))], sync=False)
        final |= block.tx_ids
    assert all(map(opened.has_transaction, everything))
    assert [opened.find_held([tx_id]) for tx_id in everything] == everything


# --- Crashes ---


def test_a_crash_leaves_whole_blocks(committed: Committed) -> None:
    blocks = committed.blocks[:8]
    for kept in range(len(blocks) + 1):
        store = MemoryStore()
        write_all(LedgerStore.open(store, SUITE, GENESIS_BLOCK), blocks)
        found = store.crash(keep=kept)
        reopened = LedgerStore.open(found, SUITE, GENESIS_BLOCK)
        assert reopened.tip_height == kept
        verify_store(found, reopened, SUITE)
        write_all(reopened, blocks[kept:])
        assert reopened.header == blocks[-1].header
        verify_store(found, reopened, SUITE)


def test_what_was_synced_survives_a_crash(committed: Committed) -> None:
    store = MemoryStore()
    opened = LedgerStore.open(store, SUITE, GENESIS_BLOCK)
    write_all(opened, committed.blocks[:2], sync=True)
    write_all(opened, committed.blocks[2:3])
    opened.sync()
    write_all(opened, committed.blocks[3:5])
    reopened = LedgerStore.open(store.crash(keep=0), SUITE, GENESIS_BLOCK)
    assert reopened.tip_height == 3


def test_a_failed_write_leaves_the_tip_where_it_was(committed: Committed) -> None:
    store = MemoryStore()
    opened = LedgerStore.open(store, SUITE, GENESIS_BLOCK)
    store.close()
    with pytest.raises(StorageError):
        opened.commit([(committed.blocks[0], certify(committed.blocks[0]))], sync=True)
    assert opened.tip_height == 0


# --- Finding records ---


def all_records(opened: LedgerStore, query: RecordQuery, limit: int) -> dict[int, RecordLeaf]:
    """Follow the pages to the end."""
    found: dict[int, RecordLeaf] = {}
    start: int | None = 0
    while start is not None:
        page = opened.records(query, limit=limit, start=start)
        assert len(page.records) <= limit
        found |= {record.log_index: record.leaf for record in page.records}
        start = page.next_log_index
    return found


Matches = Callable[[RecordLeaf], bool]


def between(early_ms: int, late_ms: int) -> Matches:
    return lambda leaf: early_ms <= leaf.time_ms < late_ms


def both(first: Matches, second: Matches) -> Matches:
    return lambda leaf: first(leaf) and second(leaf)


def queries(committed: Committed) -> Iterator[tuple[RecordQuery, Matches]]:
    times = [block.header.time_ms for block in committed.blocks]
    digest = payload("document 7").digests
    yield RecordQuery(), lambda _: True
    yield RecordQuery(digest=digest), lambda leaf: leaf.record.digest == digest
    yield RecordQuery(digest=bytes(32)), lambda _: False
    yield RecordQuery(digest=digest[:4]), lambda _: False
    yield RecordQuery(digest=b""), lambda _: False
    yield RecordQuery(reference="R-1"), lambda leaf: leaf.record.reference == "R-1"
    yield RecordQuery(reference="R-"), lambda _: False
    yield RecordQuery(type_code="per"), lambda leaf: leaf.record.type_code == "per"
    yield (
        RecordQuery(reference="R-2", type_code="permit"),
        lambda leaf: (leaf.record.reference, leaf.record.type_code) == ("R-2", "permit"),
    )
    yield (
        RecordQuery(digest=digest, type_code="licence"),
        lambda leaf: (leaf.record.digest, leaf.record.type_code) == (digest, "licence"),
    )
    for early, late in [(times[3], times[9]), (times[3] - 1, times[9] + 1), (times[9], times[3])]:
        within = between(early, late)
        yield RecordQuery(from_ms=early, to_ms=late), within
        yield (
            RecordQuery(type_code="permit", from_ms=early, to_ms=late),
            both(within, lambda leaf: leaf.record.type_code == "permit"),
        )
    yield RecordQuery(from_ms=times[-1] + 1), lambda _: False
    yield RecordQuery(to_ms=times[0]), lambda _: False
    yield RecordQuery(from_ms=0, to_ms=2**63), lambda _: True


@pytest.fixture(params=[(500, 4_096), (2, 3), (1, 2)], ids=["entries", "both", "runs"])
def run_sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """From how many records on a transaction has runs in the indexes, and those of more parts."""
    least, many = request.param
    monkeypatch.setattr(indexes, "RECORDS_LEAST", least)
    monkeypatch.setattr(runs, "MANY_RECORDS", many)


@pytest.mark.usefixtures("run_sizes")
@pytest.mark.parametrize("limit", [3, 10_000])
def test_records_are_found_by_every_filter(
    engine: Engine, committed: Committed, limit: int
) -> None:
    opened = engine.ledger()
    write_all(opened, committed.blocks)
    everything = committed.record_leaves()
    for query, matches in queries(committed):
        expected = {index: leaf for index, leaf in everything.items() if matches(leaf)}
        found = all_records(opened, query, limit)
        assert found == expected, query
        assert list(found) == sorted(found)


def test_a_page_may_begin_wherever_a_client_says(engine: Engine, committed: Committed) -> None:
    opened = engine.ledger()
    write_all(opened, committed.blocks)
    end = committed.blocks[-1].header.log_size
    for query, _ in queries(committed):
        for start in (end - 1, end, end + 1, 2**40, 2**64 - 1):
            page = opened.records(query, limit=9, start=start)
            assert all(record.log_index >= start for record in page.records)
            assert page.next_log_index is None


@pytest.mark.usefixtures("run_sizes")
def test_one_call_looks_at_a_bounded_number_of_records(
    engine: Engine, committed: Committed, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = engine.ledger()
    write_all(opened, committed.blocks)
    monkeypatch.setattr(ledger, "RECORDS_EXAMINED_MAX", 2)
    digest = payload("document 7").digests
    nowhere = RecordQuery(digest=digest, type_code="none of them")
    page = opened.records(nowhere, limit=1)
    assert page.records == ()
    assert page.next_log_index is not None
    assert all_records(opened, nowhere, 1) == {}
    everything = committed.record_leaves()
    expected = {i: leaf for i, leaf in everything.items() if leaf.record.digest == digest}
    assert len(expected) > 2
    assert all_records(opened, RecordQuery(digest=digest), 1_000) == expected


@pytest.mark.usefixtures("run_sizes")
def test_digests_that_begin_alike_are_told_apart(engine: Engine) -> None:
    opened, chain = engine.ledger(), SmallChain()
    alike = [bytes(8) + bytes((number,)) * 24 for number in range(3)]
    written = [replace_digests(payload("any"), digest) for digest in [*alike, alike[0]]]
    executed = chain.commit(*map(tx, written))
    opened.commit([(executed, certify(executed))], sync=True)
    for digest, places in zip(alike, [[1, 4], [2], [3]], strict=True):
        found = opened.records(RecordQuery(digest=digest), limit=9).records
        assert [record.log_index for record in found] == places


# --- Damage ---


@pytest.fixture(scope="module")
def small_store() -> dict[bytes, bytes]:
    """Every key of a ledger of three blocks."""
    store = MemoryStore()
    opened = LedgerStore.open(store, SUITE, GENESIS_BLOCK)
    chain = SmallChain()
    for number in range(3):
        batch = [
            tx(payload(f"{number}", "x", references=[f"R-{number}", None])),
            tx(payload("y"), sender="auditor-1"),
        ]
        block = chain.commit(*batch)
        opened.commit([(block, certify(block))], sync=False)
    return dict(store.scan(b""))


def check(contents: dict[bytes, bytes]) -> None:
    store = store_of(contents)
    verify_store(store, LedgerStore.open(store, SUITE, GENESIS_BLOCK), SUITE)


def test_no_key_can_be_missing(small_store: dict[bytes, bytes]) -> None:
    check(small_store)
    for missing in small_store:
        with pytest.raises(StorageError):
            check({key: value for key, value in small_store.items() if key != missing})


def test_no_run_can_be_missing_or_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "RECORDS_LEAST", 1)
    store, chain = MemoryStore(), SmallChain()
    opened = LedgerStore.open(store, SUITE, GENESIS_BLOCK)
    block = chain.commit(tx(payload("x", "y", references=["R-1", None])))
    opened.commit([(block, certify(block))], sync=False)
    contents = dict(store.scan(b""))
    check(contents)
    kept = [key for key in contents if key[:1] in {keys.DIGEST_RUN, keys.REFERENCE_RUN}]
    assert len(kept) == 3
    for key in kept:
        for damaged in (None, contents[key][:-1] + b"\x07"):
            rest = {each: value for each, value in contents.items() if each != key}
            with pytest.raises(StorageError):
                check(rest if damaged is None else rest | {key: damaged})


def test_no_value_can_change(small_store: dict[bytes, bytes]) -> None:
    for changed, value in small_store.items():
        at = 60 if changed.startswith(keys.HEADER) else -1  # a header's end is a vote's signature
        flipped = bytearray(value or b"\x00")
        flipped[at] ^= 1
        with pytest.raises(StorageError):
            check(small_store | {changed: bytes(flipped)})


@pytest.mark.parametrize(
    "key",
    [
        keys.records_by_type("licence") + keys.number(0),
        keys.records_by_reference(keys.reference_hash("R-9", SUITE)) + keys.log_index(1),
        keys.records_by_digest(bytes(32)) + keys.log_index(1),
        keys.run(keys.DIGEST_RUN, 4, 0, 1),
        keys.run(keys.REFERENCE_RUN, 8, 0, 1),
        keys.transaction(bytes(32)),
        keys.log_index_at_time(1),
        keys.block_at_log_index(2),
        keys.state(b"\x81\x09"),
        keys.log_tile(TileId(0, 1)),
    ],
)
def test_nothing_can_be_added(small_store: dict[bytes, bytes], key: bytes) -> None:
    assert key not in small_store
    with pytest.raises(StorageError):
        check(small_store | {key: b""})


def store_of(contents: dict[bytes, bytes]) -> MemoryStore:
    store = MemoryStore()
    batch = WriteBatch()
    for key, value in contents.items():
        batch.put(key, value)
    store.write(batch, sync=True)
    return store


def test_damage_met_on_the_way_is_named(small_store: dict[bytes, bytes]) -> None:
    def without(family: bytes) -> LedgerStore:
        kept = {key: value for key, value in small_store.items() if not key.startswith(family)}
        return LedgerStore.open(store_of(kept), SUITE, GENESIS_BLOCK)

    with pytest.raises(StorageError, match="no block holds leaf 1"):
        without(keys.BLOCK_AT_LOG_INDEX).leaf(1)
    with pytest.raises(StorageError, match="body of block 1 is missing"):
        without(keys.BODY).leaf(1)
    headless = {key: value for key, value in small_store.items() if key != keys.header(1)}
    opened = LedgerStore.open(store_of(headless), SUITE, GENESIS_BLOCK)
    with pytest.raises(StorageError, match="block 1 is missing below the tip 3"):
        opened.leaf(1)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"tx_root": bytes(32)}, "do not give its tx_root"),
        ({"results_root": bytes(32)}, "do not give its results_root"),
        ({"log_roots": (bytes(32),)}, "do not give its log_roots"),
        ({"state_root": bytes(32)}, "do not give the state root of the tip"),
    ],
)
def test_a_root_that_does_not_cover_its_content_is_noticed(
    changes: dict[str, Any], complaint: str, committed: Committed
) -> None:
    store = MemoryStore()
    opened = LedgerStore.open(store, SUITE, GENESIS_BLOCK)
    block = committed.blocks[0]
    header = replace(block.header, **changes)
    lying = replace(block, header=header, digest=header.digest(SUITE))
    opened.commit([(lying, certify(lying))], sync=False)
    with pytest.raises(StorageError, match=complaint):
        verify_store(store, opened, SUITE)


def test_the_certificate_of_another_block_is_noticed(
    small_store: dict[bytes, bytes], committed: Committed
) -> None:
    opened = LedgerStore.open(store_of(small_store), SUITE, GENESIS_BLOCK)
    found = opened.header_at(1)
    assert found is not None
    other = certify(committed.blocks[0])
    for certificate in (other, None):
        value = encode_header_value(found[0], certificate)
        with pytest.raises(StorageError, match="certificate of another block, or none"):
            check(small_store | {keys.header(1): value})


def test_blocks_that_contradict_themselves_are_noticed(small_store: dict[bytes, bytes]) -> None:
    tip = max(key for key in small_store if key.startswith(keys.HEADER))
    above = keys.header(keys.last_number(tip) + 1)
    with pytest.raises(StorageError, match="above the tip"):
        check(small_store | {above: small_store[tip]})
    below = keys.header(keys.last_number(tip) - 1)
    with pytest.raises(StorageError, match="does not follow the one before"):
        check(small_store | {below: small_store[tip]})


def test_a_result_keeps_its_place_among_failures() -> None:
    chain = SmallChain()
    store = MemoryStore()
    opened = LedgerStore.open(store, SUITE, GENESIS_BLOCK)
    failing = [tx(payload("f"), sender="auditor-1") for _ in range(4)]
    first, second = tx(payload("a", "b")), tx(payload("c"))
    block = chain.commit(failing[0], first, *failing[1:3], second, failing[3])
    opened.commit([(block, certify(block))], sync=False)
    assert [RecordLeaf.decode(leaf).tx_id for leaf in opened.leaves(range(1, 4))] == [
        first.transaction.tx_id,
        first.transaction.tx_id,
        second.transaction.tx_id,
    ]
    assert opened.result(failing[3].transaction.tx_id) == TransactionResult(
        tx_id=failing[3].transaction.tx_id,
        code=ResultCode.NOT_PERMITTED,
        operation_index=0,
        log_index=4,
    )
