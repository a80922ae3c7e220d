"""Whoever asks for little waits for little, however much others ask for: over random floods."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.chain.record import Notarization, RecordAction
from node.chain.transaction import (
    Transaction,
    TransactionBody,
    TransactionKind,
    VerifiedTransaction,
)
from node.service.mempool import AddOutcome, Mempool
from node.service.turns import ROUND_BYTES

NOW_MS = 1_700_000_000_000
BLOCK_BYTES = 16_384
SIZES = (200, 700, 3_000, 9_000)
SENDERS = 5


def make_tx(number: int, sender: int, size_bytes: int) -> VerifiedTransaction:
    body = TransactionBody(
        chain_id=bytes(32),
        sender=f"agency-{sender}",
        nonce=number.to_bytes(16, "big"),
        not_after_ms=NOW_MS + 60_000,
        kind=TransactionKind.NOTARIZE,
        payload=Notarization(
            digest_algorithm=1, type_code="licence", action=RecordAction.RECORD, digests=bytes(32)
        ),
    )
    name = number.to_bytes(32, "big")
    encoded = name.ljust(size_bytes, b"\0")
    return VerifiedTransaction(Transaction(body, bytes(64), encoded, name, name), b"")


arrivals = st.lists(
    st.tuples(st.integers(0, SENDERS - 1), st.sampled_from(SIZES)), min_size=1, max_size=120
)


@given(before=arrivals, after=arrivals, size_bytes=st.sampled_from(SIZES))
def test_a_newcomer_waits_for_one_turn_of_each_other_sender(
    before: list[tuple[int, int]], after: list[tuple[int, int]], size_bytes: int
) -> None:
    pool = Mempool()
    newcomer = make_tx(0, SENDERS, size_bytes)
    asked = [make_tx(number, *each) for number, each in enumerate(before, start=1)]
    later = [make_tx(number, *each) for number, each in enumerate(after, start=1_000)]
    for each in (*asked, newcomer):
        assert pool.add(each) is AddOutcome.ADDED
    served_bytes = 0
    while pool.is_pending(newcomer.transaction.tx_id):
        taken = pool.take(
            time_ms=NOW_MS, txs_max=1_000, bytes_max=BLOCK_BYTES, records_max=1_000_000
        )
        before_it = taken[: taken.index(newcomer)] if newcomer in taken else taken
        assert not any(each in later for each in before_it)
        served_bytes += sum(len(each.transaction.encoded) for each in before_it)
        pool.remove_committed([each.transaction.tx_id for each in taken], time_ms=NOW_MS)
        for each in later:  # others go on asking for as much as they like
            pool.add(each)
    assert served_bytes < SENDERS * (ROUND_BYTES + max(SIZES))
