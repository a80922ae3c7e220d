"""Pruned blocks: what receipts need remains, the rest is refused by name, and nobody lacks it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from node.chain.genesis import Parameters
from node.chain.record import RecordAction
from node.crypto.suite import SHA_256
from node.errors import DecodeError, InvariantViolation, StorageError
from node.execution.governance import EVIDENCE_CHECKPOINTS_MAX
from node.service.catch_up.filling import PAST_KEPT_MS, PAST_RANGE_BLOCKS, PAST_RANGES_AHEAD
from node.service.pruning import prunable_below, prune
from node.service.queries import Queries
from node.storage import keys
from node.storage.kv import WriteBatch
from node.storage.ledger import LedgerStore, RecordQuery
from node.storage.ledger_check import verify_store
from node.storage.memory import MemoryStore
from node.storage.packing import unpack
from node.storage.past import Pruned
from node.storage.stored_block import VALUE_BYTES_MAX, StoredBlock
from node.timestamp.trust import TrustFile
from node.timestamp.verify import NamedDigest, Outcome, verify_receipt
from tests.unit.execution.small_chain import (
    GENESIS,
    SmallChain,
    build_genesis,
    certify,
    payload,
    tx,
)

SUITE = GENESIS.suite
BLOCKS = 6
PARAMETERS = Parameters(checkpoint_blocks=4)
GROWING = build_genesis(parameters=PARAMETERS)
ANCHOR = TrustFile(chain_id=GENESIS.chain_id, genesis=GENESIS).establish()


@dataclass
class Kept:
    """A ledger with its store, and the ids of the first transaction of each block."""

    store: MemoryStore
    ledger: LedgerStore
    tx_ids: list[bytes]

    def reopened(self, store: MemoryStore) -> LedgerStore:
        return LedgerStore.open(store, SUITE, SmallChain().executor.genesis_block())


def document(number: int) -> str:
    return f"document {number}"


@pytest.fixture
def kept() -> Kept:
    chain, store = SmallChain(), MemoryStore()
    ledger = LedgerStore.open(store, SUITE, chain.executor.genesis_block())
    tx_ids = []
    for number in range(1, BLOCKS + 1):
        batch = [
            tx(payload(document(number), "of many", references=[f"R-{number}", None])),
            tx(payload("refused"), sender="auditor-1"),
            tx(payload("unknown", references=["none"], action=RecordAction.WITHDRAW)),
        ]
        executed = chain.commit(*batch)
        ledger.commit([(executed, certify(executed))], sync=True)
        tx_ids.append(batch[0].transaction.tx_id)
    return Kept(store, ledger, tx_ids)


def contents(store: MemoryStore) -> dict[bytes, bytes]:
    return dict(store.scan(b""))


def test_all_that_is_proved_stays_as_it_was(kept: Kept) -> None:
    before = Queries(kept.ledger, GENESIS)
    receipts = [before.receipts(tx_id, 0, 9) for tx_id in kept.tx_ids]
    leaves = list(kept.ledger.leaves(range(kept.ledger.log_frontier.size)))
    results = [kept.ledger.result(tx_id) for tx_id in kept.tx_ids]
    found = kept.ledger.records(RecordQuery(reference="R-2"), limit=9)
    assert prune(kept.store, kept.ledger, 5) == 4
    for ledger in (kept.ledger, kept.reopened(kept.store)):
        assert ledger.pruned_below == 5
        after = Queries(ledger, GENESIS)
        assert [after.receipts(tx_id, 0, 9) for tx_id in kept.tx_ids] == receipts
        assert list(ledger.leaves(range(ledger.log_frontier.size))) == leaves
        assert [ledger.result(tx_id) for tx_id in kept.tx_ids] == results
        assert ledger.records(RecordQuery(reference="R-2"), limit=9) == found
        assert after.consistency_proof(1, 6) == before.consistency_proof(1, 6)
        verify_store(kept.store, ledger, SUITE)
    receipt = (receipts[0] or [])[0]
    digest = NamedDigest(SHA_256, payload(document(1)).digests)
    assert verify_receipt(receipt.encode(), ANCHOR, digest).outcome is Outcome.VERIFIED


def test_what_was_pruned_is_refused_by_name_and_the_rest_is_given(kept: Kept) -> None:
    prune(kept.store, kept.ledger, 5)
    queries = Queries(kept.ledger, GENESIS)
    with pytest.raises(Pruned, match="below block") as caught:
        queries.transaction(kept.tx_ids[0])
    assert (caught.value.code, bool(caught.value.fix)) == ("GC-2210", True)
    block = kept.ledger.block(1)
    assert block is not None
    for refused in (block.encode, block.certified):
        with pytest.raises(Pruned):
            refused()
    for height in range(1, 5):
        assert kept.ledger.block_values(height) is None
        assert kept.ledger.certified_block(height) is None
        assert kept.ledger.encoded_block(height) is None
    for height in (5, 6):
        assert kept.ledger.block_values(height) is not None
        assert kept.ledger.encoded_block(height) is not None
    assert queries.transaction(kept.tx_ids[5]) is not None
    assert kept.ledger.has_transaction(kept.tx_ids[0])


def test_signatures_and_nonces_are_gone(kept: Kept) -> None:
    first = kept.ledger.block(1)
    assert first is not None
    transaction = first.transaction(0)
    values = kept.ledger.block_values(1)
    prune(kept.store, kept.ledger, 2)
    body = unpack(kept.store.get(keys.body(1)) or b"", VALUE_BYTES_MAX)
    assert transaction.signature not in body
    assert transaction.body.nonce not in body
    assert transaction.tx_id in body
    assert values is not None
    with pytest.raises(DecodeError):  # nobody else's pruned block is believed
        StoredBlock(values[0], body, SUITE)


def test_every_crash_leaves_a_ledger_that_holds_all_it_says(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.service.pruning.STEP_BLOCKS", 1)
    store = kept.store
    for below in (0, 2, 3, 4):
        store = store.crash(keep=0)
        ledger = kept.reopened(store)
        assert ledger.pruned_below == below
        verify_store(store, ledger, SUITE)
        with pytest.raises(KeyboardInterrupt):
            prune(store, ledger, 5, advance=interrupt)
    ledger = kept.reopened(store.crash(keep=0))
    assert prune(store, ledger, 5) == prune(store, ledger, 3) == 0
    ledger.prune(3)
    assert ledger.pruned_below == 5


def interrupt(_blocks: int) -> None:
    raise KeyboardInterrupt


def test_the_tip_is_never_pruned(kept: Kept) -> None:
    with pytest.raises(InvariantViolation):
        kept.ledger.prune(BLOCKS + 1)


def test_a_pruned_block_that_was_damaged_is_named(kept: Kept) -> None:
    prune(kept.store, kept.ledger, 3)
    body = bytearray(kept.store.get(keys.body(1)) or b"")
    batch = WriteBatch()
    batch.put(keys.body(1), bytes(body[:-1]))
    kept.store.write(batch, sync=True)
    with pytest.raises(StorageError):
        kept.ledger.block(1)


@pytest.mark.parametrize(("gap", "step_ms"), [(3, PAST_KEPT_MS), (3, 1_000), (100, PAST_KEPT_MS)])
def test_what_another_validator_may_need_is_never_pruned(gap: int, step_ms: int) -> None:
    """It needs the state of a block within a gap of the tip, and ten minutes of blocks below."""
    deep = EVIDENCE_CHECKPOINTS_MAX * PARAMETERS.checkpoint_blocks
    ahead = PAST_RANGE_BLOCKS * PAST_RANGES_AHEAD
    chain, store = SmallChain(GROWING), MemoryStore()
    ledger = LedgerStore.open(store, SUITE, chain.executor.genesis_block())
    blocks = ahead + deep + 20
    for _ in range(blocks):
        executed = chain.commit(step_ms=step_ms)
        ledger.commit([(executed, certify(executed, GROWING))], sync=False)
    base = blocks - gap
    below = prunable_below(ledger, gap)
    if step_ms == PAST_KEPT_MS:
        assert below == max(base - deep - ahead, 0)
    else:
        assert below == max(base - PAST_KEPT_MS // step_ms - ahead, 0)
    assert prunable_below(ledger, blocks) == prunable_below(ledger, 10 * blocks) == 0
