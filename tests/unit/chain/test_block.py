"""Headers, results and certified blocks: one encoding each; header rules one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.block import (
    CertifiedBlock,
    Header,
    ResultCode,
    TransactionResult,
    TransactionRoots,
    encode_results,
)
from node.chain.certificate import Phase, Subject, build_certificate
from node.chain.membership import ValidatorSet
from node.chain.merkle import leaf_hashes, merkle_root
from node.chain.validation import HeaderContext, check_header_follows
from node.crypto.hashing import Hasher, HashFunction
from node.errors import DecodeError, PeerError
from tests.suites import SUITE
from tests.unit.chain.test_certificate import vote
from tests.unit.execution.small_chain import GENESIS, payload, tx

CONTEXT = HeaderContext.of_genesis(GENESIS)
PARENT = Header(
    chain_id=GENESIS.chain_id,
    epoch=0,
    height=9,
    view=1,
    time_ms=1_000,
    time_degraded=False,
    parent=bytes(32),
    proposer=1,
    tx_root=bytes(32),
    log_size=20,
    log_roots=(bytes(32),),
    state_root=bytes(32),
    results_root=bytes(32),
    next_set_digest=CONTEXT.set_digest,
    parameters_digest=CONTEXT.parameters_digest,
)
CHILD = replace(PARENT, height=10, time_ms=1_001, parent=PARENT.digest(SUITE), log_size=21)


def test_header_round_trip_and_digest_binds_every_field() -> None:
    assert Header.decode(CHILD.encode()) == CHILD
    assert CHILD.encoded is CHILD.encoded
    changed = [
        replace(CHILD, chain_id=b"\x01" * 32),
        replace(CHILD, epoch=1),
        replace(CHILD, height=11),
        replace(CHILD, view=2),
        replace(CHILD, time_ms=1_002),
        replace(CHILD, time_degraded=True),
        replace(CHILD, parent=b"\x01" * 32),
        replace(CHILD, proposer=2),
        replace(CHILD, tx_root=b"\x01" * 32),
        replace(CHILD, log_size=22),
        replace(CHILD, log_roots=(b"\x01" * 32,)),
        replace(CHILD, state_root=b"\x01" * 32),
        replace(CHILD, results_root=b"\x01" * 32),
        replace(CHILD, next_set_digest=b"\x01" * 32),
        replace(CHILD, parameters_digest=b"\x01" * 32),
    ]
    digests = [header.digest(SUITE) for header in (CHILD, *changed)]
    assert len(frozenset(digests)) == len(digests) == 16


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"chain_id": bytes(32)}, "header-chain"),
        ({"epoch": 1}, "header-epoch"),
        ({"height": 11}, "header-height"),
        ({"parent": bytes(32)}, "header-parent"),
        ({"time_ms": 1_000}, "header-time"),
        ({"view": 0, "proposer": 0}, "header-view"),
        ({"proposer": 2}, "header-proposer"),
        ({"log_size": 20}, "header-log-size"),
        ({"parameters_digest": bytes(32)}, "header-parameters"),
    ],
)
def test_each_header_rule(changes: dict[str, object], rule: str) -> None:
    parent_digest = PARENT.digest(SUITE)
    check_header_follows(CHILD, PARENT, parent_digest, CONTEXT)
    with pytest.raises(PeerError) as caught:
        check_header_follows(
            replace(CHILD, **changes),  # type: ignore[arg-type] # one field, typed by the table
            PARENT,
            parent_digest,
            CONTEXT,
        )
    assert caught.value.rule == rule


def test_nothing_of_an_epoch_follows_its_barrier_and_the_next_begins_in_any_view() -> None:
    members = GENESIS.validators.validators
    next_set = ValidatorSet(GENESIS.validators.epoch + 1, members, SUITE)
    next_context = HeaderContext.of(GENESIS.chain_id, next_set, GENESIS.parameters)
    barrier = replace(PARENT, view=5, next_set_digest=next_set.digest)
    digest = barrier.digest(SUITE)
    same_epoch = replace(CHILD, parent=digest, view=5)
    with pytest.raises(PeerError) as caught:
        check_header_follows(same_epoch, barrier, digest, CONTEXT)
    assert caught.value.rule == "header-set"
    first = replace(same_epoch, epoch=1, view=1, next_set_digest=next_set.digest)
    check_header_follows(first, barrier, digest, next_context)
    with pytest.raises(PeerError) as caught:
        check_header_follows(first, barrier, digest, CONTEXT)
    assert caught.value.rule == "header-epoch"


def test_a_header_has_exactly_one_log_root() -> None:
    for roots in ((), (bytes(32),) * 2):
        with pytest.raises(DecodeError, match="header log roots"):
            Header.decode(replace(CHILD, log_roots=roots).encode())


def test_results_round_trip_and_bound_their_code() -> None:
    result = TransactionResult(
        tx_id=b"\x05" * 32, code=ResultCode.REFERENCE_IN_FORCE, operation_index=3, log_index=9
    )
    assert TransactionResult.decode(result.encode()) == result
    unknown = bytes((0x18, max(ResultCode) + 1, 3))
    with pytest.raises(DecodeError, match="result code"):
        TransactionResult.decode(result.encode().replace(b"\x04\x03", unknown))


def test_a_certified_block_round_trips() -> None:
    subject = Subject(Phase.COMMIT, 1, CHILD.height, CHILD.digest(SUITE))
    certificate = build_certificate([vote(i, subject) for i in (0, 1, 2)], GENESIS.validators)
    block = CertifiedBlock(CHILD, (tx(payload("a")).transaction,), certificate)
    assert CertifiedBlock.decode(block.encode(), SUITE) == block
    with pytest.raises(DecodeError):
        CertifiedBlock.decode(block.encode()[:-1], SUITE)


@pytest.mark.parametrize("size", [0, 1, 2, 5])
def test_the_root_over_a_list_is_hashed_once_while_it_is_remembered(size: int) -> None:
    hashed: list[bytes] = []

    def counting(data: bytes = b"", /) -> Hasher:
        hashed.append(data)
        return SUITE.new_hash(data)

    def listed(number: int) -> tuple[bytes, ...]:
        return tuple(bytes((number, each)) * 16 for each in range(size))

    roots = TransactionRoots(HashFunction(counting))
    expected = merkle_root(leaf_hashes(listed(0), SUITE.hash), SUITE.hash)
    assert roots.of(listed(0)) == expected
    once = len(hashed)
    assert once == max(2 * size - 1, 1)
    assert roots.of(listed(0)) == expected
    assert len(hashed) == once
    for number in range(1, 9):  # as many others as are remembered
        roots.of(listed(number))
    hashed.clear()
    assert roots.of(listed(0)) == expected
    assert len(hashed) == (once if size else 0)  # of no hashes there is one list


def test_results_are_encoded_together_as_each_by_itself() -> None:
    results = [
        TransactionResult(
            tx_id=bytes((number,)) * 32,
            code=ResultCode(number % 3),
            operation_index=number % 2,
            log_index=1 << number,
        )
        for number in range(60)
    ]
    assert encode_results(results) == [each.encode() for each in results]
    assert {(each.code is ResultCode.OK, each.operation_index) for each in results} == {
        (True, 0),
        (True, 1),
        (False, 0),
        (False, 1),
    }
