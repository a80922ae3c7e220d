"""The pool against a slow, obvious model of its docstring, over random interleavings."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from node.chain.record import Notarization, RecordAction
from node.chain.transaction import (
    Transaction,
    TransactionBody,
    TransactionKind,
    VerifiedTransaction,
)
from node.limits import TX_LIFETIME_MS_MAX
from node.service.mempool import AddOutcome, Mempool
from node.service.turns import ROUND_BYTES, SHARE_FACTOR

START_MS = 1_700_000_000_000
REQUESTS = 12
SENDERS = ("agency-1", "agency-1", "agency-2", "agency-3")
TXS_MAX, BYTES_MAX = 8, 20_000


def make_tx(number: int, signature: int) -> VerifiedTransaction:
    """Request `number` under one of two signatures; sizes, records and lifetimes vary with it."""
    records = 1 + number % 3
    body = TransactionBody(
        chain_id=bytes(32),
        sender=SENDERS[number % len(SENDERS)],
        nonce=number.to_bytes(16, "big"),
        not_after_ms=START_MS + number * 700 + (TX_LIFETIME_MS_MAX if number == 7 else 0),
        kind=TransactionKind.NOTARIZE,
        payload=Notarization(
            digest_algorithm=1,
            type_code="licence",
            action=RecordAction.RECORD,
            digests=bytes(32 * records),
        ),
    )
    tx_hash = b"hash" + bytes((number, signature))
    encoded = tx_hash.ljust((100, 2_000, 5_000, 9_000)[number % 5 % 4], b"\0")
    transaction = Transaction(body, bytes(64), encoded, b"id" + bytes((number,)), tx_hash)
    return VerifiedTransaction(transaction, bytes(33))


ALL = {
    tx.transaction.tx_hash: tx
    for tx in (make_tx(number, signature) for number in range(REQUESTS) for signature in (0, 1))
}
known_hashes = st.sampled_from(list(ALL))
slots = st.sampled_from([b"slot-1", b"slot-2"])
hash_lists = st.lists(known_hashes, max_size=8)
# Just before, at and just after each not-after.
times_ms = st.builds(
    lambda number, offset: START_MS + number * 700 + offset,
    st.integers(0, REQUESTS),
    st.sampled_from([-1, 0, 1]),
)


@dataclass
class SlowRequest:
    tx_id: bytes
    first: VerifiedTransaction
    round: int
    twins: list[VerifiedTransaction] = field(default_factory=list)
    has_waited: bool = False

    @property
    def bodies(self) -> list[VerifiedTransaction]:
        return [self.first, *self.twins]


@dataclass
class SlowPool:
    """One list in order of arrival; everything else is looked up in it, but for senders' rounds."""

    requests: list[SlowRequest] = field(default_factory=list)
    filled: dict[str, list[int]] = field(default_factory=dict)
    """Sender to its last round, and the bytes used of it and later ones."""
    slots: dict[bytes, list[bytes]] = field(default_factory=dict)

    def find(self, tx_id: bytes) -> SlowRequest | None:
        return next((request for request in self.requests if request.tx_id == tx_id), None)

    def bodies(self) -> dict[bytes, VerifiedTransaction]:
        held = [body for request in self.requests for body in request.bodies]
        return {body.transaction.tx_hash: body for body in held}

    def size_bytes(self) -> int:
        return sum(len(body.transaction.encoded) for body in self.bodies().values())

    def pins(self, tx_hash: bytes) -> bool:
        return any(tx_hash in listed for listed in self.slots.values())

    def waits(self, request: SlowRequest) -> bool:
        return not any(self.pins(body.transaction.tx_hash) for body in request.bodies)

    def hold(self, tx: VerifiedTransaction) -> bool:
        if tx.transaction.tx_hash in self.bodies():
            return True
        if not self.pins(tx.transaction.tx_hash):
            return False
        request = self.find(tx.transaction.tx_id)
        if request is None:
            self.append(tx)
        else:
            request.twins.append(tx)
        return True

    def add(self, tx: VerifiedTransaction) -> AddOutcome:
        known = self.find(tx.transaction.tx_id) is not None
        held = self.hold(tx)
        if known:
            return AddOutcome.DUPLICATE
        if held:
            return AddOutcome.ADDED
        size_bytes = self.size_bytes() + len(tx.transaction.encoded)
        if len(self.requests) >= TXS_MAX or size_bytes > BYTES_MAX:
            return AddOutcome.FULL
        sizes = self.held_of(tx.transaction.body.sender)
        if len(sizes) > SHARE_FACTOR * (TXS_MAX - len(self.requests)):
            return AddOutcome.FULL
        if sum(sizes) > SHARE_FACTOR * (BYTES_MAX - self.size_bytes()):
            return AddOutcome.FULL
        self.append(tx)
        return AddOutcome.ADDED

    def held_of(self, sender: str) -> list[int]:
        """Return the sizes of the requests held of a sender."""
        transactions = [request.first.transaction for request in self.requests]
        return [len(each.encoded) for each in transactions if each.body.sender == sender]

    def in_turn(self) -> list[SlowRequest]:
        """Return what waits, in the order in which it is served."""
        waiting = [request for request in self.requests if self.waits(request)]
        return sorted(waiting, key=lambda request: request.round)

    def append(self, tx: VerifiedTransaction) -> None:
        sender, size_bytes = tx.transaction.body.sender, len(tx.transaction.encoded)
        lowest = min((request.round for request in self.in_turn()), default=0)
        if not self.held_of(sender):
            self.filled[sender] = [lowest, 0]
        last, used = self.filled[sender]
        while used >= ROUND_BYTES:
            last, used = last + 1, used - ROUND_BYTES
        if last < lowest:
            last, used = lowest, 0
        self.filled[sender] = [last, used + size_bytes]
        request = SlowRequest(tx.transaction.tx_id, tx, last)
        request.has_waited = self.waits(request)
        self.requests.append(request)

    def unpin(self, slot: bytes) -> None:
        waited = [request for request in self.requests if self.waits(request)]
        self.slots.pop(slot, None)
        for request in self.requests:
            request.twins = [t for t in request.twins if self.pins(t.transaction.tx_hash)]
        returned = [r for r in self.requests if self.waits(r) and r not in waited]
        for request in reversed(returned):
            is_over = len(self.requests) > TXS_MAX or self.size_bytes() > BYTES_MAX
            if is_over and not request.has_waited:
                self.requests.remove(request)
            else:
                request.has_waited = True

    def take(
        self, time_ms: int, txs_max: int, bytes_max: int, records_max: int
    ) -> list[VerifiedTransaction]:
        candidates = [
            request.first
            for request in self.in_turn()
            if 0 <= request.first.transaction.body.not_after_ms - time_ms <= TX_LIFETIME_MS_MAX
        ]
        for count in range(min(txs_max, len(candidates)), 1, -1):
            batch = [tx.transaction for tx in candidates[:count]]
            if (
                sum(len(tx.encoded) for tx in batch) <= bytes_max
                and sum(tx.body.payload.count for tx in batch) <= records_max
            ):
                return candidates[:count]
        return candidates[: min(txs_max, 1)]

    def expire(self, time_ms: int) -> list[bytes]:
        expired = [
            request
            for request in self.requests
            if self.waits(request) and request.first.transaction.body.not_after_ms < time_ms
        ]
        self.requests = [request for request in self.requests if request not in expired]
        return [request.tx_id for request in expired]


class MempoolAgainstModel(RuleBasedStateMachine):
    """Every rule does the same to both and compares the answers, the invariant what they hold."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = Mempool(txs_max=TXS_MAX, bytes_max=BYTES_MAX)
        self.slow = SlowPool()

    @rule(tx_hash=known_hashes)
    def add(self, tx_hash: bytes) -> None:
        assert self.pool.add(ALL[tx_hash]) is self.slow.add(ALL[tx_hash])

    @rule(tx_hash=known_hashes)
    def hold_body(self, tx_hash: bytes) -> None:
        assert self.pool.hold_body(ALL[tx_hash]) is self.slow.hold(ALL[tx_hash])

    @rule(slot=slots, listed=hash_lists, fetch=st.booleans())
    def pin(self, slot: bytes, listed: list[bytes], fetch: bool) -> None:  # noqa: FBT001 - drawn
        self.pool.pin(slot, listed)
        self.slow.slots.setdefault(slot, listed)
        missing = self.pool.missing(listed)
        assert missing == [tx_hash for tx_hash in listed if tx_hash not in self.slow.bodies()]
        for tx_hash in missing if fetch else ():
            assert self.pool.hold_body(ALL[tx_hash]) is self.slow.hold(ALL[tx_hash])

    @rule(slot=slots)
    def unpin(self, slot: bytes) -> None:
        self.pool.unpin(slot)
        self.slow.unpin(slot)

    @rule(committed=hash_lists, time_ms=times_ms)
    def commit(self, committed: list[bytes], time_ms: int) -> None:
        tx_ids = [ALL[tx_hash].transaction.tx_id for tx_hash in committed]
        self.pool.remove_committed(tx_ids, time_ms=time_ms)
        self.slow.requests = [r for r in self.slow.requests if r.tx_id not in tx_ids]

    @rule(time_ms=times_ms)
    def expire(self, time_ms: int) -> None:
        assert sorted(self.pool.expire(time_ms)) == sorted(self.slow.expire(time_ms))

    @rule(
        time_ms=times_ms,
        txs_max=st.integers(0, 6),
        bytes_max=st.integers(0, 25_000),
        records_max=st.integers(0, 12),
    )
    def take(self, time_ms: int, txs_max: int, bytes_max: int, records_max: int) -> None:
        taken = self.pool.take(
            time_ms=time_ms, txs_max=txs_max, bytes_max=bytes_max, records_max=records_max
        )
        assert taken == self.slow.take(time_ms, txs_max, bytes_max, records_max)

    @invariant()
    def same_contents(self) -> None:
        held = self.slow.bodies()
        assert self.pool.pending_count == len(self.slow.requests)
        assert self.pool.pending_bytes == self.slow.size_bytes()
        assert self.pool.is_waiting == bool(self.slow.in_turn())
        assert self.pool.waiting_count == len(self.slow.in_turn())
        for tx_hash, tx in ALL.items():
            assert self.pool.get(tx_hash) is held.get(tx_hash)
            assert self.pool.holds(tx.transaction.encoded) == (tx_hash in held)
            known = self.slow.find(tx.transaction.tx_id) is not None
            assert self.pool.is_pending(tx.transaction.tx_id) == known

    @invariant()
    def what_waited_is_within_the_bounds(self) -> None:
        waited = [request.first for request in self.slow.requests if request.has_waited]
        assert len(waited) <= TXS_MAX
        assert sum(len(tx.transaction.encoded) for tx in waited) <= BYTES_MAX


MempoolAgainstModel.TestCase.settings = settings(max_examples=120, stateful_step_count=50)
TestMempoolAgainstModel = MempoolAgainstModel.TestCase
