"""Canonical bytes in and out: transactions one by one, a batch of records, a whole block."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from node.chain.block import CertifiedBlock
from node.chain.certificate import Phase, Subject, Vote, build_certificate
from node.chain.transaction import Transaction, TransactionBody
from node.crypto.suite import INTERNATIONAL
from node.service.wire import Transactions, decode_message, encode_message
from tests.unit.execution.small_chain import GENESIS, SmallChain, payload, signer, tx

BLOCK_TXS = 500


def transactions(count: int) -> list[Transaction]:
    return [tx(payload(f"document {n}")).transaction for n in range(count)]


def test_decode_transaction(benchmark: BenchmarkFixture) -> None:
    (transaction,) = transactions(1)
    decoded = benchmark(Transaction.decode, transaction.encoded, INTERNATIONAL)
    assert decoded == transaction


def test_encode_transaction_body(benchmark: BenchmarkFixture) -> None:
    body = transactions(1)[0].body
    assert TransactionBody.decode(benchmark(body.encode)) == body


def test_decode_transaction_of_10000_records(benchmark: BenchmarkFixture) -> None:
    transaction = tx(payload(*(f"document {n}" for n in range(10_000)))).transaction
    decoded = benchmark(Transaction.decode, transaction.encoded, INTERNATIONAL)
    assert decoded.body.payload.count == 10_000


def test_decode_gossip_of_100_transactions(benchmark: BenchmarkFixture) -> None:
    encoded = tuple(transaction.encoded for transaction in transactions(100))
    message = encode_message(Transactions(encoded))
    decoded = benchmark(decode_message, message, INTERNATIONAL.signature_size)
    assert decoded == Transactions(encoded)


@pytest.fixture(scope="module")
def certified_block() -> CertifiedBlock:
    chain = SmallChain()
    executed = chain.execute(*(tx(payload(f"document {n}")) for n in range(BLOCK_TXS)))
    subject = Subject(Phase.COMMIT, 0, 1, executed.digest)
    message = subject.sign_bytes(GENESIS.chain_id, GENESIS.validators, executed.header.time_ms)
    votes = [
        Vote(
            subject,
            index,
            executed.header.time_ms,
            signer(f"validator-{index + 1}").sign(message),
            GENESIS.validators.epoch,
        )
        for index in range(GENESIS.validators.quorum)
    ]
    return CertifiedBlock(
        executed.header,
        tuple(verified.transaction for verified in executed.transactions),
        build_certificate(votes, GENESIS.validators),
    )


def test_encode_certified_block_of_500(
    benchmark: BenchmarkFixture, certified_block: CertifiedBlock
) -> None:
    encoded = benchmark(certified_block.encode)
    assert CertifiedBlock.decode(encoded, INTERNATIONAL) == certified_block


def test_decode_certified_block_of_500(
    benchmark: BenchmarkFixture, certified_block: CertifiedBlock
) -> None:
    decoded = benchmark(CertifiedBlock.decode, certified_block.encode(), INTERNATIONAL)
    assert decoded == certified_block


def test_decode_vote(benchmark: BenchmarkFixture, certified_block: CertifiedBlock) -> None:
    vote = certified_block.certificate.expand()[0]
    assert benchmark(decode_message, encode_message(vote), INTERNATIONAL.signature_size) == vote


def test_verify_vote(benchmark: BenchmarkFixture, certified_block: CertifiedBlock) -> None:
    vote = certified_block.certificate.expand()[0]
    assert benchmark(vote.verify, GENESIS.chain_id, GENESIS.validators)
