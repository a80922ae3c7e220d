"""Auditing a ledger: all of it is checked, and each thing that can be wrong is named."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from node.chain.block import ResultCode
from node.chain.governance import RemoveValidator
from node.chain.transaction import VerifiedTransaction
from node.errors import ProofError
from node.execution.apply import ExecutedBlock, Executor
from node.service.audit import replay as module
from node.service.audit.replay import Audited, audit
from node.storage import keys
from node.storage.kv import WriteBatch
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from node.storage.stored_block import encode_header_value
from tests.unit.execution.governed_chain import GOVERNED, adding
from tests.unit.execution.small_chain import (
    GENESIS,
    SmallChain,
    certify,
    payload,
    signer,
    tx,
)
from tests.unit.service.chatting import Chat, govern, notarize

FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")


class Kept:
    """A ledger of three blocks, in memory."""

    def __init__(self) -> None:
        self.chain = SmallChain()
        self.store = MemoryStore()
        genesis_block = self.chain.executor.genesis_block()
        self.ledger = LedgerStore.open(self.store, GENESIS.suite, genesis_block)
        for height in range(1, 4):
            records = [
                tx(payload(f"{height}-{n}", references=[f"no {height}-{n}"])) for n in range(3)
            ]
            self.commit(self.chain.commit(*records))

    def commit(self, block: ExecutedBlock) -> None:
        self.ledger.commit([(block, certify(block))], sync=True)

    def change(self, key: bytes, value: bytes | None) -> None:
        batch = WriteBatch()
        if value is None:
            batch.delete(key)
        else:
            batch.put(key, value)
        self.store.write(batch, sync=True)


@pytest.fixture(scope="module")
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as workers:
        yield workers


def rule_broken(kept: Kept, workers: ThreadPoolExecutor) -> str:
    with pytest.raises(ProofError) as caught:
        audit(GENESIS, kept.store, MemoryStore(), workers)
    return f"{caught.value}"


def test_a_sound_ledger_is_what_its_blocks_make_of_genesis(
    workers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SIGNATURES_PER_JOB", 2)
    kept, done = Kept(), list[int]()
    kept.commit(kept.chain.commit(tx(payload("0"), sender="auditor-1"), tx(payload("1"))))
    found = audit(GENESIS, kept.store, MemoryStore(), workers, done.append)
    digest = kept.ledger.header_digest
    assert found == Audited(
        blocks=4, transactions=11, failed=1, votes=12, records=10, header_digest=digest
    )
    assert done == [1] * 4


def test_evidence_of_misbehaviour_is_no_part_of_the_chain(workers: ThreadPoolExecutor) -> None:
    kept = Kept()
    for family in keys.BESIDE_THE_CHAIN:
        kept.change(family + b"somebody voted twice", b"the votes")
    assert audit(GENESIS, kept.store, MemoryStore(), workers).blocks == 3


def test_a_forged_transaction_is_found_although_a_quorum_certified_it(
    workers: ThreadPoolExecutor,
) -> None:
    kept = Kept()
    forged = tx(payload("forged"), key_of="agency-2").transaction
    claimed = VerifiedTransaction(forged, signer("agency-1").public_key.encoded)
    kept.commit(kept.chain.commit(tx(payload("true")), claimed))
    expected = f"audit-signature: block 4: transaction {forged.tx_id.hex()}"
    assert rule_broken(kept, workers) == expected


def test_a_certificate_without_quorum_is_found(workers: ThreadPoolExecutor) -> None:
    kept = Kept()
    block = kept.chain.commit(tx(payload("alone")))
    certificate = certify(block)
    lacking = replace(certificate, votes=certificate.votes[1:])
    kept.ledger.commit([(block, lacking)], sync=True)
    assert rule_broken(kept, workers).startswith("audit-certificate: block 4: certificate-quorum")


@pytest.mark.parametrize("field", ["state_root", "results_root", "tx_root", "log_roots"])
def test_a_root_that_execution_does_not_give_is_found_although_certified(
    field: str, workers: ThreadPoolExecutor
) -> None:
    kept = Kept()
    block = kept.chain.commit(tx(payload("lie")))
    false = (bytes(32),) if field == "log_roots" else bytes(32)
    header = replace(block.header, **{field: false})  # type: ignore[arg-type]
    kept.commit(replace(block, header=header, digest=header.digest(GENESIS.suite)))
    assert rule_broken(kept, workers).startswith(f"audit-execution: block 4: {field}: ")


def test_a_block_that_breaks_a_rule_is_found_although_certified(
    workers: ThreadPoolExecutor,
) -> None:
    kept = Kept()
    block = kept.chain.commit(tx(payload("late")))
    header = replace(block.header, time_ms=block.header.time_ms - 1_000)
    kept.commit(replace(block, header=header, digest=header.digest(GENESIS.suite)))
    assert rule_broken(kept, workers).startswith("audit-execution: block 4: header-time")


def test_a_missing_block_is_found(workers: ThreadPoolExecutor) -> None:
    kept = Kept()
    kept.change(keys.header(2), None)
    assert rule_broken(kept, workers).startswith("audit-block: block 2 ")


def test_a_database_with_more_less_or_other_than_its_blocks_make_is_found(
    workers: ThreadPoolExecutor,
) -> None:
    for key, value in (
        (keys.state(b"nobody wrote this"), b"1"),
        (keys.transaction(bytes(32)), bytes(12)),
        (keys.log_index_at_time(GENESIS.created_ms + 1_000), None),
    ):
        kept = Kept()
        kept.change(key, value)
        assert rule_broken(kept, workers).startswith(f"audit-database: key {key.hex()} ")


def governed_store() -> MemoryStore:
    """Return the disk of a validator of a chain of three epochs."""
    chat = Chat(*FOUNDERS, "validator-5")
    notarize(chat, "first")
    chat.pass_time(2_000)
    assert govern(chat, adding("validator-5"), members=(*FOUNDERS, "validator-5")) is ResultCode.OK
    chat.pass_time(2_000)
    notarize(chat, "second")
    left, change = (*FOUNDERS[1:], "validator-5"), RemoveValidator("validator-1")
    assert govern(chat, change, members=left, at="validator-2") is ResultCode.OK
    notarize(chat, "third", at="validator-2")
    chat.pass_time(2_000)
    node = chat.nodes["validator-3"]
    assert (node.engine.term.epoch.number, node.ledger.tip_height) == (2, 5)
    return node.store


def test_every_block_is_checked_by_the_validators_of_its_epoch(workers: ThreadPoolExecutor) -> None:
    found = audit(GOVERNED, governed_store(), MemoryStore(), workers)
    assert (found.blocks, found.transactions, found.records) == (5, 5, 3)


def test_the_set_of_another_epoch_certifies_nothing(workers: ThreadPoolExecutor) -> None:
    store = governed_store()
    ledger = LedgerStore.open(store, GOVERNED.suite, Executor(GOVERNED).genesis_block())
    block = ledger.certified_block(5)
    assert block is not None
    one, other, *_ = block.certificate.votes
    swapped = (replace(one, signature=other.signature), *block.certificate.votes[1:])
    for certificate in (
        replace(block.certificate, votes=swapped),
        replace(block.certificate, epoch=0, set_digest=GOVERNED.validators.digest),
    ):
        batch = WriteBatch()
        batch.put(keys.header(5), encode_header_value(block.header, certificate))
        store.write(batch, sync=True)
        with pytest.raises(ProofError, match="audit-certificate: block 5: certificate-"):
            audit(GOVERNED, store, MemoryStore(), workers)
