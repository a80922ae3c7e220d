"""What a verdict carries, how a digest is given, and receipts of blocks that execution made."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from node.chain.block import CertifiedHeader
from node.chain.merkle import inclusion_path, leaf_hash
from node.chain.record import Notarization, RecordAction
from node.chain.transaction import (
    TransactionBody,
    TransactionKind,
    sign_transaction,
    verify_transaction,
)
from node.crypto.suite import SHA_256, SM3
from node.errors import ClientError
from node.execution.apply import Executor
from node.timestamp.receipt import Receipt, build_receipt
from node.timestamp.steps import CLOCK_ERROR_MS
from node.timestamp.trust import TrustAnchor
from node.timestamp.verify import (
    NamedDigest,
    Outcome,
    Step,
    Verdict,
    verify_receipt,
)
from tests.unit.execution.small_chain import DictState, next_inputs
from tests.vectors.receipt.chain import (
    AGENCY,
    CREATED_MS,
    SUITE,
    Chain,
    certify,
    record_of,
    seed,
    signer,
    validator_set,
)

DOCUMENT = b"a document"


def digest_of(document: bytes = DOCUMENT) -> NamedDigest:
    return NamedDigest(SHA_256, hashlib.sha256(document).digest())


def verify(receipt: Receipt, anchor: TrustAnchor, document: bytes = DOCUMENT) -> Verdict:
    return verify_receipt(receipt.encode(), anchor, digest_of(document))


# --- The attestation ---


def test_a_verified_receipt_says_who_when_and_who_attests() -> None:
    chain = Chain.found()
    chain.append(record_of(DOCUMENT), voters=(0, 1, 3), view=2)
    verdict = verify(chain.receipt(1), chain.trust().establish())
    assert verdict.outcome is Outcome.VERIFIED
    assert verdict.failure is None
    assert [report.step for report in verdict.steps] == list(Step)
    attested = verdict.attestation
    assert attested is not None
    assert attested.record == record_of(DOCUMENT)
    assert (attested.sender, attested.operation_index, attested.height) == (AGENCY, 0, 1)
    assert attested.tx_id == chain.receipt(1).leaf.tx_id
    assert attested.time_ms == CREATED_MS + 1_000
    assert attested.seal_time_ms == CREATED_MS + 1_047  # votes at 40, 47 and 54 ms after T
    assert (attested.time_degraded, attested.accuracy_ms) == (False, 1_000)
    assert attested.signers == ("validator-1", "validator-2", "validator-4")
    assert attested.validator_count == 4


def test_no_accuracy_is_promised_for_a_degraded_time() -> None:
    chain = Chain.found()
    chain.append(record_of(DOCUMENT), degraded=True)
    attested = verify(chain.receipt(1), chain.trust().establish()).attestation
    assert attested is not None
    assert (attested.time_degraded, attested.accuracy_ms) == (True, None)


def test_no_accuracy_is_promised_where_parameters_are_no_longer_those_of_genesis() -> None:
    chain = Chain.found()
    chain.tip = replace(chain.tip, parameters_digest=seed("other parameters"))
    chain.append(record_of(DOCUMENT))
    attested = verify(chain.receipt(1), chain.trust().establish()).attestation
    assert attested is not None
    assert (attested.time_degraded, attested.accuracy_ms) == (False, None)


def test_signers_are_those_of_the_receipts_own_epoch() -> None:
    chain = Chain.found()
    chain.append(record_of(b"last"), next_set=validator_set(1, (5, 6, 7, 8, 9)))
    chain.append(record_of(DOCUMENT))
    attested = verify(chain.receipt(2), chain.trust().establish()).attestation
    assert attested is not None
    assert attested.signers == ("validator-5", "validator-6", "validator-7", "validator-8")
    assert attested.validator_count == 5


def test_a_withdrawal_is_not_verified_yet_tells_who_withdrew() -> None:
    chain = Chain.found()
    chain.append(record_of(DOCUMENT, action=RecordAction.WITHDRAW))
    verdict = verify(chain.receipt(1), chain.trust().establish())
    assert verdict.outcome is Outcome.NOT_VERIFIED
    assert verdict.failure is not None
    assert verdict.failure.step is Step.RECORD
    assert verdict.attestation is not None
    assert verdict.attestation.record.action is RecordAction.WITHDRAW


def test_a_superseding_record_is_verified() -> None:
    chain = Chain.found()
    chain.append(record_of(DOCUMENT, action=RecordAction.SUPERSEDE))
    verdict = verify(chain.receipt(1), chain.trust().establish())
    assert verdict.outcome is Outcome.VERIFIED


def test_a_failed_step_says_what_was_expected_and_what_was_got() -> None:
    chain = Chain.found()
    chain.append(record_of(DOCUMENT))
    verdict = verify(chain.receipt(1), chain.trust().establish(), b"another document")
    assert verdict.attestation is None
    assert verdict.failure is not None
    assert verdict.failure.step is Step.DOCUMENT
    assert verdict.failure.detail == (
        f"document-digest: expected {digest_of()}, got {digest_of(b'another document')}"
    )


def test_every_record_of_a_block_verifies_and_none_in_place_of_another() -> None:
    chain = Chain.found()
    chain.append(record_of(b"before"))
    documents = [b"document %d" % number for number in range(9)]
    chain.append(*(record_of(document) for document in documents))
    anchor = chain.trust(2).establish()
    for operation, document in enumerate(documents):
        for other in documents:
            verdict = verify(chain.receipt(2, operation), anchor, other)
            assert (verdict.outcome is Outcome.VERIFIED) == (document == other)


def test_blocks_may_follow_each_other_by_a_millisecond_and_a_leaf() -> None:
    chain = Chain.found()
    chain.append(after_ms=1)
    chain.append(record_of(DOCUMENT), after_ms=1)
    chain.append(after_ms=1)
    for pinned_height in (1, 2, 3):
        anchor = chain.trust(pinned_height).establish()
        assert verify(chain.receipt(2), anchor).outcome is Outcome.VERIFIED


def test_every_pair_of_epochs_is_verified_or_named_unrooted() -> None:
    chain = Chain.found()
    for epoch, numbers in enumerate([(1, 2, 3, 4, 5), (5, 4, 3, 2), (1, 9, 5, 6)], start=1):
        chain.append(record_of(DOCUMENT), next_set=validator_set(epoch, numbers))
    chain.append(record_of(DOCUMENT))
    anchors = [chain.trust().establish()]
    anchors += [chain.trust(height).establish() for height in range(1, 5)]
    for anchor in anchors:
        for height in range(1, 5):
            rooted = chain.blocks[height - 1].header.epoch >= anchor.epoch
            expected = Outcome.VERIFIED if rooted else Outcome.NOT_ROOTED
            assert verify(chain.receipt(height), anchor).outcome is expected


# --- How a digest is given ---


def test_a_digest_is_read_with_and_without_its_algorithm() -> None:
    digits = "0a" * 32
    assert NamedDigest.parse(digits) == NamedDigest(SHA_256, bytes.fromhex(digits))
    assert NamedDigest.parse(f"sha-256:{digits.upper()}") == NamedDigest.parse(digits)
    assert NamedDigest.parse(f"sm3:{digits}") == NamedDigest(SM3, bytes.fromhex(digits))
    assert str(NamedDigest.parse(f"sm3:{digits}")) == f"sm3:{digits}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0a" * 31,
        "0a" * 33,
        "zz" * 32,
        "0a " * 32,
        " " + "0a" * 32,
        ":" + "0a" * 32,
        "md5:" + "0a" * 16,
        "sha-256:",
        "sha-256:sm3:" + "0a" * 32,
    ],
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(ClientError, match="digest: expected"):
        NamedDigest.parse(text)


# --- Blocks that execution made, from the genesis up ---


def test_the_records_of_an_executed_batch_verify() -> None:
    genesis = Chain.found().genesis
    documents = [b"document %d" % number for number in range(5)]
    body = TransactionBody(
        chain_id=genesis.chain_id,
        sender=AGENCY,
        nonce=bytes(16),
        not_after_ms=CREATED_MS + 60_000,
        kind=TransactionKind.NOTARIZE,
        payload=Notarization(
            digest_algorithm=SHA_256.digest_id,
            type_code="archive",
            action=RecordAction.RECORD,
            digests=b"".join(hashlib.sha256(document).digest() for document in documents),
        ),
    )
    key = signer(AGENCY)
    transaction = verify_transaction(sign_transaction(body, key, SUITE), key.public_key)
    executor = Executor(genesis)
    state = DictState(executor.genesis_block())
    executed = executor.execute(state, next_inputs(state), [transaction])
    block = CertifiedHeader(executed.header, certify(executed.header, genesis.validators))
    anchor = replace(Chain.found().trust(), pinned=block).establish()
    first = executed.results[0].log_index
    hashes = [leaf_hash(leaf, SUITE.hash) for leaf in executed.leaves]
    for operation, document in enumerate(documents):
        index = first + operation
        path = inclusion_path(hashes, index, SUITE.hash)
        receipt = build_receipt(SUITE, executed.leaves[index], index, path, block=block)
        verdict = verify(receipt, anchor, document)
        assert verdict.outcome is Outcome.VERIFIED
        assert verdict.attestation is not None
        assert verdict.attestation.operation_index == operation


def test_a_time_after_the_verifiers_clock_is_refused_by_it_and_by_no_other() -> None:
    chain = Chain.found()
    receipt = chain.receipt(chain.append(record_of(b"document")))
    digest = NamedDigest(SHA_256, hashlib.sha256(b"document").digest())
    time_ms = receipt.block.header.time_ms
    for now_ms, is_future in (
        (time_ms - CLOCK_ERROR_MS - 1, True),
        (time_ms - CLOCK_ERROR_MS, False),
        (time_ms + CLOCK_ERROR_MS, False),
        (None, False),
    ):
        anchor = chain.trust().establish()
        failure = verify_receipt(receipt.encode(), anchor, digest, now_ms=now_ms).failure
        assert (failure is not None) is is_future
        if failure is not None:
            assert failure.step is Step.HISTORY
            assert failure.detail.startswith("time-future: expected at most 2025-10-09T08:52:")
