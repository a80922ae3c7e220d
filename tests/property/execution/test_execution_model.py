"""Random chains executed twice: by the executor, and by a slow, obvious model of its rules."""

from __future__ import annotations

from dataclasses import dataclass
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from node.chain.block import ResultCode
from node.chain.encoding import encode
from node.chain.merkle import leaf_hash, merkle_root
from node.chain.record import Notarization, Record, RecordAction
from node.chain.state_tree import EMPTY_TREE, Bucket, update
from node.chain.transaction import VerifiedTransaction
from node.execution.notary import PlainKind
from node.execution.overlay import Overlay
from node.execution.registry import genesis_state
from tests.unit.execution.small_chain import (
    CREATED_MS,
    GENESIS,
    SHORT_LIVED,
    SHORT_LIVED_NOT_AFTER_MS,
    SmallChain,
    next_inputs,
    payload,
    tx,
)

SUITE = GENESIS.suite
HOUR_MS = 3_600_000


@dataclass
class SlowStatus:
    in_force: bool
    version: int
    position: tuple[int, int, int]  # height, T, log index
    record: Record
    withdrawals: tuple[int, ...]  # their log indices


class SlowChain:
    """What the rules say, without trees, overlays or batches: one dict, one list of leaves."""

    def __init__(self) -> None:
        self.height, self.time_ms, self.digest = 0, CREATED_MS, bytes(32)
        self.statuses: dict[tuple[str, str, str], SlowStatus] = {}
        self.leaves: list[bytes] = []

    def apply(self, time_ms: int, transactions: list[VerifiedTransaction]) -> list[list[object]]:
        """Apply a block; return its results as [code, operation, log index]."""
        self.leaves.append(encode([1, 0, self.height, self.digest]))
        self.height, self.time_ms = self.height + 1, time_ms
        results: list[list[object]] = []
        for verified in transactions:
            statuses, leaves = dict(self.statuses), list(self.leaves)
            start = len(leaves)
            code, operation = self.carry_out(verified)
            if code is not ResultCode.OK:
                self.statuses, self.leaves = statuses, leaves
            results.append([code, operation, start])
        return results

    def carry_out(self, verified: VerifiedTransaction) -> tuple[ResultCode, int]:
        body = verified.transaction.body
        if body.sender == SHORT_LIVED and self.time_ms > SHORT_LIVED_NOT_AFTER_MS:
            return ResultCode.IDENTITY_NOT_VALID, 0
        if not body.sender.startswith("agency"):
            return ResultCode.NOT_PERMITTED, 0
        if not isinstance(body.payload, Notarization):
            raise TypeError("the model knows notarizations alone")
        if body.payload.digest_algorithm not in (1, 2, 3, 4):
            return ResultCode.DIGEST_ALGORITHM_UNKNOWN, 0
        for index, record in enumerate(body.payload.records()):
            code = self.move(body.sender, record)
            if code is not ResultCode.OK:
                return code, index
            leaf = [1, 1, self.height, self.time_ms, verified.transaction.tx_id, index]
            self.leaves.append(encode([*leaf, body.sender, record.to_value()]))
        return ResultCode.OK, 0

    def move(self, issuer: str, record: Record) -> ResultCode:
        first = record.action is RecordAction.RECORD
        if record.reference is None:
            return ResultCode.OK if first else ResultCode.REFERENCE_MISSING
        key = (issuer, record.type_code, record.reference)
        before = self.statuses.get(key)
        if first and before and before.in_force:
            return ResultCode.REFERENCE_IN_FORCE
        if not first and not (before and before.in_force):
            return ResultCode.REFERENCE_NOT_IN_FORCE
        self.statuses[key] = SlowStatus(
            record.action is not RecordAction.WITHDRAW,
            before.version + 1 if before else 1,
            (self.height, self.time_ms, len(self.leaves)),
            record,
            before.withdrawals if before else (),
        )
        if record.action is RecordAction.WITHDRAW:
            self.statuses[key].withdrawals += (len(self.leaves),)
        return ResultCode.OK

    def state(self) -> dict[bytes, bytes]:
        state = dict(genesis_state(GENESIS))
        for key, status in self.statuses.items():
            record = status.record
            value: list[object] = [1, 1 if status.in_force else 2, status.version, *status.position]
            value += [record.digest_algorithm, record.digest]
            if status.in_force and status.withdrawals:
                value[1] = 3
                value.append(status.withdrawals[-1])
            state[encode([5, *key])] = encode(value)
        return state

    def log_root(self) -> bytes:
        return merkle_root([leaf_hash(leaf, SUITE.hash) for leaf in self.leaves], SUITE.hash)

    def state_root(self) -> bytes:
        def no_bucket(place: bytes) -> Bucket | None:
            raise AssertionError(place)

        return update(EMPTY_TREE, self.state(), no_bucket, SUITE).root


@st.composite
def payloads(draw: st.DrawFn) -> Notarization:
    documents = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3))
    references: list[str | None] | None = None
    if draw(st.integers(0, 3)):
        references = [draw(st.sampled_from(["R-1", "R-2", None])) for _ in documents]
        if not any(references):
            references = None
    return payload(
        *documents,
        action=draw(st.sampled_from(RecordAction)),
        references=references,
        type_code=draw(st.sampled_from(4 * ["licence"] + ["permit"])),
        algorithm=draw(st.sampled_from(6 * [1] + [2, 3, 4, 5])),
    )


_PAYLOADS = payloads()


@st.composite
def blocks(
    draw: st.DrawFn, of: st.SearchStrategy[Notarization] = _PAYLOADS, txs_max: int = 6
) -> list[tuple[int, list[VerifiedTransaction]]]:
    """Draw a chain as (milliseconds since the block before, its transactions)."""
    chain: list[tuple[int, list[VerifiedTransaction]]] = []
    senders = st.sampled_from([*6 * ["agency-1"], "agency-2", SHORT_LIVED, "auditor-1"])
    time_ms = CREATED_MS
    for _ in range(draw(st.integers(1, 5))):
        step_ms = draw(st.sampled_from([1, 1_000, 9_000, HOUR_MS]))
        time_ms += step_ms
        chain.append(
            (
                step_ms,
                [
                    tx(
                        draw(of),
                        sender=draw(senders),
                        not_after_ms=time_ms + draw(st.sampled_from([60_000, 0, 600_000])),
                    )
                    for _ in range(draw(st.integers(0, txs_max)))
                ],
            )
        )
    return chain


@given(chain=blocks())
@settings(max_examples=150)
def test_the_executor_agrees_with_the_slow_model(
    chain: list[tuple[int, list[VerifiedTransaction]]],
) -> None:
    fast, slow = SmallChain(), SlowChain()
    slow.digest = fast.state.header_digest
    for step_ms, transactions in chain:
        block = fast.commit(*transactions, step_ms=step_ms)
        results = slow.apply(slow.time_ms + step_ms, transactions)
        assert [[r.code, r.operation_index, r.log_index] for r in block.results] == results
        slow.digest = block.digest
        assert fast.state.leaves == slow.leaves
        assert fast.state.values == slow.state()
        assert block.header.log_roots == (slow.log_root(),)
        assert block.header.state_root == slow.state_root()
        tx_leaves = [leaf_hash(t.transaction.tx_hash, SUITE.hash) for t in transactions]
        assert block.header.tx_root == merkle_root(tx_leaves, SUITE.hash)


@st.composite
def lone_payloads(draw: st.DrawFn) -> Notarization:
    """Draw one record, as a rule a first one under a reference that is seldom used again."""
    reference = draw(st.sampled_from([*(f"R-{number}" for number in range(8)), None]))
    return payload(
        draw(st.sampled_from("abc")),
        action=draw(st.sampled_from([*6 * [RecordAction.RECORD], *RecordAction])),
        references=None if reference is None else [reference],
        type_code=draw(st.sampled_from(["licence", "permit"])),
        algorithm=draw(st.sampled_from([*6 * [1], 2, 3, 4, 5])),
    )


@given(chain=blocks(lone_payloads(), txs_max=20))
@settings(max_examples=100)
def test_what_is_plain_fares_as_it_does_by_itself(
    chain: list[tuple[int, list[VerifiedTransaction]]],
) -> None:
    """Results, leaves, writes and roots are those of one after the other, to the byte."""
    together, one_by_one = SmallChain(), SmallChain()
    for step_ms, transactions in chain:
        with patch.object(PlainKind, "plain", lambda _kind, _payload: None):
            expected = one_by_one.commit(*transactions, step_ms=step_ms)
        assert together.commit(*transactions, step_ms=step_ms) == expected


@given(chain=blocks(), window=st.integers(1, 4))
@settings(max_examples=40)
def test_executing_ahead_gives_the_same_blocks(
    chain: list[tuple[int, list[VerifiedTransaction]]], window: int
) -> None:
    """A validator that executes up to `window` blocks above its ledger ends where all others do."""
    plain, ahead = SmallChain(), SmallChain()
    state, undecided = ahead.state, list[Overlay]()
    blocks_ahead = []
    for step_ms, transactions in chain:
        top = undecided[-1] if undecided else state
        inputs = next_inputs(top, step_ms=step_ms)
        block = ahead.executor.execute(top, inputs, transactions)
        blocks_ahead.append(block)
        undecided.append(Overlay(top, block))
        if len(undecided) > window:
            state.commit(blocks_ahead[len(blocks_ahead) - len(undecided)])
            undecided.pop(0)
            undecided[0].rebase(state)
        assert block == plain.commit(*transactions, step_ms=step_ms)
