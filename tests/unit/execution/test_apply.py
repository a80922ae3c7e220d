"""Executing blocks: what makes a block invalid or a transaction fail, and what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from node.chain.block import ResultCode, TransactionResult, TransactionRoots
from node.chain.genesis import Parameters
from node.chain.merkle import TreeHead, inclusion_path, leaf_hash, merkle_root, verify_inclusion
from node.chain.record import Notarization, RecordAction, RecordLeaf, encode_header_leaf
from node.chain.reference import ReferenceStatus, Standing, reference_key
from node.chain.transaction import VerifiedTransaction
from node.crypto.hashing import Hasher
from node.errors import PeerError
from node.execution import apply
from node.execution.apply import BlockInputs
from node.execution.notary import notarize
from node.limits import BLOCK_RECORDS_MAX, TX_LIFETIME_MS_MAX
from tests.suites import SUITE
from tests.unit.execution.small_chain import (
    AGENCIES,
    CREATED_MS,
    GENESIS,
    SHORT_LIVED,
    SHORT_LIVED_NOT_AFTER_MS,
    SmallChain,
    build_genesis,
    next_inputs,
    payload,
    tx,
)

HASH = SUITE.hash


def only_result(chain: SmallChain, verified: VerifiedTransaction, **step: int) -> TransactionResult:
    (result,) = chain.execute(verified, **step).results
    return result


# --- The blocks themselves ---


def test_the_genesis_block_is_the_documented_one() -> None:
    block = SmallChain().executor.genesis_block()
    header = block.header
    assert (header.height, header.view, header.epoch, header.proposer) == (0, 0, 0, 0)
    assert (header.chain_id, header.time_ms) == (GENESIS.chain_id, GENESIS.created_ms)
    assert header.parent == bytes(32)
    assert not header.time_degraded
    assert (header.log_size, header.log_roots) == (0, (HASH(b""),))
    assert header.tx_root == header.results_root == HASH(b"")
    assert header.next_set_digest == GENESIS.validators.digest
    assert header.parameters_digest == GENESIS.parameters.digest(GENESIS.suite)
    assert block.digest == header.digest(GENESIS.suite)
    assert (block.transactions, block.results, block.leaves) == ((), (), ())
    assert block.tree.root == header.state_root


def test_another_genesis_gives_another_genesis_block() -> None:
    other = SmallChain(build_genesis(name="other")).executor.genesis_block()
    assert other.digest != SmallChain().executor.genesis_block().digest


def test_a_block_without_transactions_logs_its_parent_and_changes_no_state() -> None:
    chain = SmallChain()
    parent = chain.state.header
    block = chain.commit()
    assert block.leaves == (encode_header_leaf(0, parent.digest(GENESIS.suite)),)
    assert block.header.log_size == 1
    assert block.header.state_root == parent.state_root
    assert block.header.parent == parent.digest(GENESIS.suite)


def test_the_header_takes_over_what_the_proposer_decided() -> None:
    chain = SmallChain()
    inputs = BlockInputs(
        height=1, view=7, time_ms=CREATED_MS + 5, time_degraded=True, proposer=7 % 4
    )
    header = chain.executor.execute(chain.state, inputs, []).header
    assert (header.height, header.view, header.time_ms) == (1, 7, CREATED_MS + 5)
    assert (header.time_degraded, header.proposer) == (True, 3)


def test_leaves_are_the_parents_header_and_each_record_in_order() -> None:
    chain = SmallChain()
    chain.commit(tx(payload("before")))
    parent = chain.state.header
    first, second = tx(payload("a", "b", references=["A", None])), tx(payload("c"))
    block = chain.commit(first, second)
    assert block.leaves[0] == encode_header_leaf(1, parent.digest(GENESIS.suite))
    leaves = [RecordLeaf.decode(leaf) for leaf in block.leaves[1:]]
    assert [(leaf.tx_id, leaf.operation_index) for leaf in leaves] == [
        (first.transaction.tx_id, 0),
        (first.transaction.tx_id, 1),
        (second.transaction.tx_id, 0),
    ]
    for leaf in leaves:
        assert (leaf.height, leaf.time_ms, leaf.sender) == (2, block.header.time_ms, "agency-1")
    records = [
        *first.transaction.body.payload.records(),
        *second.transaction.body.payload.records(),
    ]
    assert [leaf.record for leaf in leaves] == records
    assert [result.log_index for result in block.results] == [3, 5]


def test_every_root_commits_to_what_it_names() -> None:
    chain = SmallChain()
    chain.commit(tx(payload("before")))
    transactions = [tx(payload(f"{n}", references=[f"R-{n}"])) for n in range(5)]
    block = chain.commit(*transactions)
    header = block.header
    tx_hashes = [leaf_hash(t.transaction.tx_hash, HASH) for t in transactions]
    assert header.tx_root == merkle_root(tx_hashes, HASH)
    results = [leaf_hash(result.encode(), HASH) for result in block.results]
    assert header.results_root == merkle_root(results, HASH)
    log = [leaf_hash(leaf, HASH) for leaf in chain.state.leaves]
    assert (header.log_size, header.log_roots) == (len(log), (merkle_root(log, HASH),))
    assert block.log_growth.rows[0] == b"".join(log[2:])
    assert header.log_roots[0] == block.frontier.root(HASH)


def test_a_later_log_root_proves_every_older_header() -> None:
    chain = SmallChain()
    digests = [chain.commit(tx(payload(f"{n}"))).digest for n in range(4)]
    log = [leaf_hash(leaf, HASH) for leaf in chain.state.leaves]
    head = TreeHead(chain.state.header.log_size, chain.state.header.log_roots[0])
    for height, digest in enumerate(digests[:-1], start=1):
        leaf = leaf_hash(encode_header_leaf(height, digest), HASH)
        path = inclusion_path(log, log.index(leaf), HASH)
        verify_inclusion(leaf, log.index(leaf), path, head, HASH)


# --- Rules of a block (B1 to B6) ---


def test_b1_at_most_block_txs_max_transactions() -> None:
    chain = SmallChain(build_genesis(parameters=Parameters(block_txs_max=2)))
    transactions = [tx(payload("a"), chain_id=chain.genesis.chain_id) for _ in range(3)]
    chain.execute(*transactions[:2])
    with pytest.raises(PeerError, match="block-transactions: expected at most 2, got 3"):
        chain.execute(*transactions)


def test_b1_at_most_block_bytes_max_encoded_bytes() -> None:
    chain = SmallChain(build_genesis(parameters=Parameters(block_bytes_max=1_024)))
    fitting = [tx(payload("a"), chain_id=chain.genesis.chain_id) for _ in range(3)]
    rest = 1_024 - sum(len(verified.transaction.encoded) for verified in fitting)
    chain.execute(*fitting)
    excess = tx(payload(*"abcdefghijkl"), chain_id=chain.genesis.chain_id)
    size = len(excess.transaction.encoded)
    assert size > rest
    with pytest.raises(PeerError, match=f"block-bytes: .* 1024, got {1_024 - rest + size}"):
        chain.execute(*fitting, excess)


def test_b1_at_most_20_000_records() -> None:
    half = payload(*["a"] * (BLOCK_RECORDS_MAX // 2))
    chain = SmallChain()
    chain.execute(tx(half), tx(half))
    with pytest.raises(PeerError, match="block-records: expected at most 20000, got 20001"):
        chain.execute(tx(half), tx(half), tx(payload("b")))


def test_b2_a_transaction_of_another_chain() -> None:
    foreign = tx(payload("a"), chain_id=bytes(32))
    with pytest.raises(PeerError, match="tx-chain"):
        SmallChain().execute(tx(payload("a")), foreign)


def test_b3_a_transaction_twice_in_the_block_or_on_the_chain() -> None:
    chain = SmallChain()
    verified = tx(payload("a"))
    other = structs.replace(verified.transaction, signature=bytes(64), tx_hash=bytes(32))
    other_signature = structs.replace(verified, transaction=other)
    for second in (verified, other_signature):
        with pytest.raises(PeerError, match="tx-repeated: 3 transactions have 2 ids"):
            chain.execute(verified, tx(payload("b")), second)
    chain.commit(verified)
    with pytest.raises(PeerError, match=r"tx-repeated: \w+ is on the chain already"):
        chain.execute(other_signature)


def test_b3_holds_for_failed_transactions_too() -> None:
    chain = SmallChain()
    failing = tx(payload("a"), sender="auditor-1")
    assert chain.commit(failing).results[0].code is ResultCode.NOT_PERMITTED
    with pytest.raises(PeerError, match="tx-repeated"):
        chain.execute(failing)


@pytest.mark.parametrize("ahead_ms", [-1, TX_LIFETIME_MS_MAX + 1])
def test_b4_a_transaction_out_of_its_lifetime(ahead_ms: int) -> None:
    verified = tx(payload("a"), not_after_ms=CREATED_MS + 1_000 + ahead_ms)
    with pytest.raises(PeerError, match="tx-lifetime"):
        SmallChain().execute(tx(payload("b")), verified, step_ms=1_000)


@pytest.mark.parametrize("ahead_ms", [0, TX_LIFETIME_MS_MAX])
def test_b4_not_after_lies_at_or_after_t_and_at_most_ten_minutes_ahead(ahead_ms: int) -> None:
    verified = tx(payload("a"), not_after_ms=CREATED_MS + 1_000 + ahead_ms)
    assert only_result(SmallChain(), verified, step_ms=1_000).code is ResultCode.OK


def test_b4_makes_the_ids_of_one_lifetime_enough() -> None:
    """Whoever has forgotten older ones judges every block as those who remember them all."""
    chain = SmallChain()
    verified = tx(payload("a"), not_after_ms=CREATED_MS + 1_000 + TX_LIFETIME_MS_MAX)
    chain.commit(verified, step_ms=1_000)
    for step_ms in (1, TX_LIFETIME_MS_MAX, TX_LIFETIME_MS_MAX + 1):
        rules = []
        for remembers in (True, False):
            if not remembers and step_ms > TX_LIFETIME_MS_MAX:
                chain.state.tx_ids.clear()
            with pytest.raises(PeerError) as refusal:
                chain.execute(verified, step_ms=step_ms)
            rules.append(refusal.value.rule)
        assert rules[0] == rules[1]


def test_b5_an_unknown_sender_or_another_key_than_in_state() -> None:
    chain = SmallChain()
    with pytest.raises(PeerError, match="tx-sender: expected a known identity, got 'nobody'"):
        chain.execute(tx(payload("a"), sender="nobody"))
    with pytest.raises(PeerError, match="tx-sender: agency-1: expected key"):
        chain.execute(tx(payload("a")), tx(payload("a"), key_of="agency-2"))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda inputs: replace(inputs, height=2), "header-height"),
        (lambda inputs: replace(inputs, time_ms=CREATED_MS), "header-time"),
        (lambda inputs: replace(inputs, proposer=1), "header-proposer"),
    ],
)
def test_b6_the_header_follows_its_parent(
    change: Callable[[BlockInputs], BlockInputs], rule: str
) -> None:
    chain = SmallChain()
    with pytest.raises(PeerError) as refusal:
        chain.executor.execute(chain.state, change(next_inputs(chain.state)), [])
    assert refusal.value.rule == rule


def test_an_invalid_block_leaves_nothing_behind() -> None:
    chain = SmallChain()
    values, buckets, header = (
        dict(chain.state.values),
        dict(chain.state.buckets),
        chain.state.header,
    )
    with pytest.raises(PeerError):
        chain.execute(tx(payload("a", references=["A-1"])), tx(payload("a"), sender="nobody"))
    assert (chain.state.values, chain.state.buckets, chain.state.header) == (
        values,
        buckets,
        header,
    )


# --- Rules of a transaction (T1 and T2) ---


@pytest.mark.parametrize(("past_ms", "code"), [(0, ResultCode.OK), (1, ResultCode(3))])
def test_t1_the_senders_certificate_is_valid_at_t(past_ms: int, code: ResultCode) -> None:
    step_ms = SHORT_LIVED_NOT_AFTER_MS + past_ms - CREATED_MS
    verified = tx(payload("a"), sender=SHORT_LIVED)
    assert only_result(SmallChain(), verified, step_ms=step_ms).code is code


def test_t1_a_certificate_not_valid_yet() -> None:
    later = replace(GENESIS.identities[0], not_before_ms=CREATED_MS + 1_001)
    genesis = replace(GENESIS, identities=(later, *GENESIS.identities[1:]))
    chain = SmallChain(genesis)
    verified = tx(payload("a"), chain_id=genesis.chain_id)
    assert only_result(chain, verified, step_ms=1_000).code is ResultCode.IDENTITY_NOT_VALID
    assert only_result(chain, verified, step_ms=1_001).code is ResultCode.OK


@pytest.mark.parametrize("sender", ["auditor-1", "admin-1"])
def test_t2_only_an_agency_notarizes(sender: str) -> None:
    verified = tx(payload("a"), sender=sender)
    assert only_result(SmallChain(), verified).code is ResultCode.NOT_PERMITTED


def test_a_failed_transaction_has_a_result_and_no_effect() -> None:
    chain = SmallChain()
    chain.commit(tx(payload("a", references=["A-1"])))
    state_root = chain.state.header.state_root
    failing = tx(payload("b", "c", references=["A-2", "A-1"]))
    fine = tx(payload("d"))
    block = chain.commit(failing, fine)
    assert block.results == (
        TransactionResult(
            tx_id=failing.transaction.tx_id,
            code=ResultCode.REFERENCE_IN_FORCE,
            operation_index=1,
            log_index=3,
        ),
        TransactionResult(
            tx_id=fine.transaction.tx_id, code=ResultCode.OK, operation_index=0, log_index=3
        ),
    )
    assert len(block.leaves) == 2
    assert block.header.state_root == state_root
    assert failing.transaction.tx_id in block.tx_ids


def test_a_transaction_sees_what_earlier_ones_of_its_block_changed() -> None:
    chain = SmallChain()
    steps = [RecordAction.RECORD, RecordAction.RECORD, RecordAction.WITHDRAW, RecordAction.RECORD]
    transactions = [
        tx(payload(f"{n}", action=action, references=["A-1"])) for n, action in enumerate(steps)
    ]
    block = chain.commit(*transactions)
    codes = [result.code for result in block.results]
    assert codes == [ResultCode.OK, ResultCode.REFERENCE_IN_FORCE, ResultCode.OK, ResultCode.OK]
    stored = chain.state.get(reference_key("agency-1", "licence", "A-1"))
    assert stored is not None
    status = ReferenceStatus.decode(stored)
    assert (status.standing, status.version, status.log_index) == (Standing.RENEWED, 3, 3)


# --- What it costs ---


def hashed_by_block(count: int, *, references: bool) -> Counter[bytes]:
    """Execute one block of `count` single-record transactions; return what was hashed."""
    hashed: Counter[bytes] = Counter()

    def new_hash(data: bytes = b"", /) -> Hasher:
        hashed[data] += 1
        return SUITE.new_hash(data)

    suite = replace(SUITE, new_hash=new_hash)
    chain = SmallChain(build_genesis(suite=suite))
    transactions = [
        tx(
            payload(f"{n}", references=[f"R-{n}"] if references else None),
            chain_id=chain.genesis.chain_id,
        )
        for n in range(count)
    ]
    chain.execute(transactions[0])  # the first block computes what holds for its whole epoch
    chain.executor.tx_roots = TransactionRoots(chain.genesis.suite.hash)
    hashed.clear()
    chain.execute(*transactions)
    return hashed


def test_what_is_plain_is_carried_out_together_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_itself: list[Notarization] = []

    def noting(payload: Notarization, *rest: Any) -> Any:  # noqa: ANN401 - as it is passed on
        by_itself.append(payload)
        return notarize(payload, *rest)

    monkeypatch.setattr(apply, "notarize", noting)
    chain = SmallChain()
    plain = [
        tx(payload(f"{n}", references=[f"R-{n}"] if n % 3 else None), sender=AGENCIES[n % 2])
        for n in range(30)
    ]
    assert {r.code for r in chain.commit(*plain).results} == {ResultCode.OK}
    assert by_itself == []
    others = [
        payload("1", references=["R-2"]),  # it is there already
        payload("2", references=["S-1"], action=RecordAction.SUPERSEDE),
        payload("3", "4"),
        payload("5", algorithm=9),
        payload("6", references=["S-2"]),  # after the same one in the block
    ]
    chain.commit(tx(payload("7", references=["S-2"])), *map(tx, others))
    assert by_itself == others


@pytest.mark.parametrize("count", [1, 2, 100, 1_000])
def test_a_single_record_costs_six_hashes(count: int) -> None:
    trees = 2 * (2 * count - 1)  # transactions and results: a leaf each, and the nodes above
    log = (count + 1) + count  # the parent's header and the records, and at most the nodes above
    header = 1
    total = hashed_by_block(count, references=False).total()
    assert 5 * count < total <= trees + log + header <= 6 * count


@pytest.mark.parametrize("references", [False, True])
def test_nothing_is_hashed_twice(*, references: bool) -> None:
    hashed = hashed_by_block(300, references=references)
    assert [data for data, times in hashed.items() if times > 1] == []
