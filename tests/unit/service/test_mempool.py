"""The pool's promises one by one, and that its cost does not grow with its size."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from node.chain.record import Notarization, RecordAction
from node.chain.transaction import (
    Transaction,
    TransactionBody,
    TransactionKind,
    VerifiedTransaction,
)
from node.limits import TX_LIFETIME_MS_MAX
from node.service import mempool
from node.service.mempool import AddOutcome, FirstInTurn, Mempool
from node.service.turns import (
    RETRY_AFTER_MS_MAX,
    RETRY_AFTER_MS_MIN,
    RETRY_AFTER_MS_UNKNOWN,
    ROUND_BYTES,
    SHARE_FACTOR,
)

TraceFunction = Callable[[FrameType, str, Any], Any]

NOW_MS = 1_700_000_000_000
NO_LIMIT = 2**40
SLOT_A, SLOT_B = b"a" * 32, b"b" * 32


def tx(
    number: int,
    *,
    not_after_ms: int = NOW_MS + 60_000,
    signature: int = 0,
    size_bytes: int = 100,
    records: int = 1,
    sender: str = "agency-1",
) -> VerifiedTransaction:
    """Return a transaction; the pool looks at neither its key nor its signature."""
    body = TransactionBody(
        chain_id=bytes(32),
        sender=sender,
        nonce=number.to_bytes(16, "big"),
        not_after_ms=not_after_ms,
        kind=TransactionKind.NOTARIZE,
        payload=Notarization(
            digest_algorithm=1,
            type_code="licence",
            action=RecordAction.RECORD,
            digests=bytes(32 * records),
        ),
    )
    tx_id = number.to_bytes(32, "big")
    tx_hash = signature.to_bytes(8, "big") + number.to_bytes(24, "big")
    encoded = tx_hash.ljust(size_bytes, b"\0")  # as of real ones, no two are alike
    transaction = Transaction(body, bytes(64), encoded, tx_id, tx_hash)
    return VerifiedTransaction(transaction, bytes(33))


def filled(*transactions: VerifiedTransaction) -> Mempool:
    pool = Mempool()
    for transaction in transactions:
        assert pool.add(transaction) is AddOutcome.ADDED
    return pool


def hashes(*transactions: VerifiedTransaction) -> list[bytes]:
    return [transaction.transaction.tx_hash for transaction in transactions]


def ids(*transactions: VerifiedTransaction) -> list[bytes]:
    return [transaction.transaction.tx_id for transaction in transactions]


def take(pool: Mempool, time_ms: int = NOW_MS, txs_max: int = 1_000) -> list[VerifiedTransaction]:
    return pool.take(time_ms=time_ms, txs_max=txs_max, bytes_max=NO_LIMIT, records_max=NO_LIMIT)


def first_in_turn(pool: Mempool) -> FirstInTurn | None:
    return pool.first_in_turn


def test_transactions_come_out_in_order_of_arrival_and_stay() -> None:
    pool = filled(tx(3), tx(1), tx(2))
    assert take(pool) == [tx(3), tx(1), tx(2)]
    assert take(pool, txs_max=2) == [tx(3), tx(1)]
    assert pool.pending_count == 3
    assert pool.pending_bytes == 300


def test_senders_are_served_in_turn_each_in_order_of_arrival() -> None:
    half = ROUND_BYTES // 2
    flood = [tx(number, size_bytes=half) for number in range(6)]
    late = [tx(number, size_bytes=half, sender="agency-2") for number in range(6, 9)]
    pool = filled(*flood, *late)
    assert take(pool) == [*flood[:2], *late[:2], *flood[2:4], *late[2:], *flood[4:]]
    pool.pin(SLOT_A, hashes(*flood[:2]))
    third = tx(9, sender="agency-3")
    pool.add(third)
    assert take(pool)[:3] == [*late[:2], third]
    pool.unpin(SLOT_A)
    assert take(pool)[:5] == [*flood[:2], *late[:2], third]


def test_who_has_nothing_under_way_goes_before_who_has_much() -> None:
    half = ROUND_BYTES // 2
    flood = [tx(number, size_bytes=half) for number in range(4)]
    late = [tx(number, size_bytes=half, sender="agency-2") for number in range(4, 7)]
    pool = filled(*flood[:3])
    pool.pin(SLOT_A, hashes(*flood[:3]))
    for each in (*late, flood[3]):
        pool.add(each)
    assert take(pool) == [*late, flood[3]]


def test_what_is_larger_than_a_round_takes_up_several() -> None:
    huge = [tx(number, size_bytes=3 * ROUND_BYTES) for number in range(2)]
    small = [tx(number, size_bytes=ROUND_BYTES, sender="agency-2") for number in range(2, 7)]
    assert take(filled(*huge, *small)) == [huge[0], *small[:3], huge[1], *small[3:]]
    pool = filled(*huge)
    pool.remove_committed(ids(huge[0]), time_ms=NOW_MS)
    for each in small:
        pool.add(each)
    assert take(pool) == [huge[1], *small]  # who waits alone is not held up by what it had


def test_a_sender_that_floods_the_pool_leaves_room_for_others() -> None:
    pool = Mempool(txs_max=500)
    accepted = [pool.add(tx(number)) for number in range(600)].count(AddOutcome.ADDED)
    assert accepted == 500 * SHARE_FACTOR // (SHARE_FACTOR + 1) + 1
    for sender in range(90):
        name = f"agency-{sender + 2}"
        assert pool.add(tx(1_000 + sender, sender=name)) is AddOutcome.ADDED
    assert pool.add(tx(2_000)) is AddOutcome.FULL
    by_bytes = Mempool(bytes_max=50_000)
    assert [by_bytes.add(tx(n)) for n in range(600)].count(AddOutcome.ADDED) == 401
    assert by_bytes.add(tx(1_000, size_bytes=9_900, sender="agency-2")) is AddOutcome.ADDED


def test_what_a_sender_has_no_more_is_not_held_against_it() -> None:
    for pool in (Mempool(txs_max=500), Mempool(bytes_max=50_000)):
        accepted = [each for each in map(tx, range(600)) if pool.add(each) is AddOutcome.ADDED]
        pool.discard(ids(*accepted[1:]))
        again = [pool.add(tx(1_000 + number)) for number in range(600)]
        assert again.count(AddOutcome.ADDED) == len(accepted) - 1
        assert pool.pending_count == len(accepted)


def test_a_request_is_pending_once_under_whatever_signature() -> None:
    pool = filled(tx(1))
    assert pool.add(tx(1)) is AddOutcome.DUPLICATE
    assert pool.add(tx(1, signature=1)) is AddOutcome.DUPLICATE
    assert pool.get(tx(1, signature=1).transaction.tx_hash) is None
    assert take(pool) == [tx(1)]


def test_a_full_pool_refuses_by_count_and_by_bytes() -> None:
    by_count = Mempool(txs_max=2)
    assert [by_count.add(tx(n)) for n in (1, 2, 3)] == [
        AddOutcome.ADDED,
        AddOutcome.ADDED,
        AddOutcome.FULL,
    ]
    assert by_count.add(tx(1)) is AddOutcome.DUPLICATE  # known, though there is no room
    assert by_count.add(tx(3, sender="agency-2")) is AddOutcome.FULL  # whoever comes
    by_bytes = Mempool(bytes_max=250)
    assert [by_bytes.add(tx(n)) for n in (1, 2, 3)][-1] is AddOutcome.FULL
    assert by_bytes.add(tx(4, size_bytes=50)) is AddOutcome.ADDED


def test_a_batch_ends_at_the_first_that_does_not_fit() -> None:
    pool = filled(tx(1), tx(2, size_bytes=500), tx(3), tx(4, records=5))
    taken = partial(pool.take, time_ms=NOW_MS, txs_max=10)
    assert taken(bytes_max=250, records_max=10) == [tx(1)]
    assert taken(bytes_max=700, records_max=7) == [
        tx(1),
        tx(2, size_bytes=500),
        tx(3),
    ]


def test_a_batch_holds_as_many_records_as_it_may_and_no_more() -> None:
    pool = filled(tx(1, records=3), tx(2, records=5), tx(3))
    taken = partial(pool.take, time_ms=NOW_MS, txs_max=10, bytes_max=NO_LIMIT)
    assert taken(records_max=7) == [tx(1, records=3)]
    assert taken(records_max=8) == [tx(1, records=3), tx(2, records=5)]


def test_what_clients_handed_in_here_can_be_asked_for_alone() -> None:
    pool = Mempool()
    pool.add(tx(1), is_own=True)
    pool.add(tx(2))
    pool.add(tx(3), is_own=True)
    assert take(pool) == [tx(1), tx(2), tx(3)]
    own = pool.take(
        time_ms=NOW_MS, txs_max=9, bytes_max=NO_LIMIT, records_max=NO_LIMIT, is_own=True
    )
    assert own == [tx(1), tx(3)]


def test_it_tells_which_requests_and_which_bytes_it_holds() -> None:
    pool = filled(tx(1))
    twin = tx(1, signature=1)
    assert pool.is_pending(tx(1).transaction.tx_id)
    assert pool.holds(tx(1).transaction.encoded)
    assert not pool.holds(twin.transaction.encoded)
    pool.pin(SLOT_A, hashes(tx(1), twin))
    assert pool.is_pending(tx(1).transaction.tx_id)
    assert pool.hold_body(twin)
    assert pool.holds(twin.transaction.encoded)
    pool.discard(ids(tx(1)))
    assert not pool.is_pending(tx(1).transaction.tx_id)
    assert not pool.holds(tx(1).transaction.encoded)
    assert not pool.holds(twin.transaction.encoded)


def test_how_many_wait_leaves_out_what_slots_pin() -> None:
    pool = Mempool()
    assert not pool.is_waiting
    pool.add(tx(1))
    pool.add(tx(2))
    pool.pin(SLOT_A, hashes(tx(1), tx(3)))
    pool.hold_body(tx(3))
    assert [pool.is_waiting, pool.waiting_count, pool.pending_count] == [True, 1, 3]
    assert list(pool.slots) == [SLOT_A]
    pool.remove_committed(ids(tx(2)), time_ms=NOW_MS)
    assert [pool.is_waiting, pool.waiting_count] == [False, 0]
    pool.unpin(SLOT_A)
    assert [pool.is_waiting, pool.waiting_count] == [True, 2]
    assert list(pool.slots) == []


def test_the_first_in_turn_is_so_since_the_others_can_know_it() -> None:
    pool = Mempool()
    assert first_in_turn(pool) is None
    pool.note_time(100)
    pool.add(tx(1))
    pool.note_time(150)
    pool.add(tx(2))
    assert first_in_turn(pool) == FirstInTurn(tx(1).transaction.tx_id, 100, *[0, 0] * 2)
    pool.note_time(200)
    pool.note_repeated([tx(1)])
    assert first_in_turn(pool) == FirstInTurn(tx(1).transaction.tx_id, 200, *[0, 0] * 2)
    pool.note_time(300)
    pool.note_repeated([tx(1)])
    assert first_in_turn(pool) == FirstInTurn(tx(1).transaction.tx_id, 200, *[0, 0] * 2), (
        "the first time it counts"
    )
    pool.discard(ids(tx(1), tx(2)))
    assert first_in_turn(pool) is None


def test_what_waits_for_a_later_round_is_first_since_that_round_is_served() -> None:
    half = ROUND_BYTES // 2
    first, second, third, fourth, fifth = (tx(number, size_bytes=half) for number in range(5))
    pool = Mempool()
    for number, each in enumerate((first, second, third, fourth, fifth)):
        pool.note_time(100 + 10 * number)
        pool.add(each)
    pool.note_time(500)
    assert pool.remove_committed(ids(second, first), time_ms=NOW_MS) == 110
    assert first_in_turn(pool) == FirstInTurn(third.transaction.tx_id, 500, *[500, 110] * 2)
    pool.note_time(600)
    pool.pin(SLOT_A, hashes(third, fifth))
    assert first_in_turn(pool) == FirstInTurn(fourth.transaction.tx_id, 500, *[500, 110] * 2), (
        "of the same round"
    )


def test_what_slots_let_go_is_first_in_turn_by_its_round() -> None:
    half = ROUND_BYTES // 2
    first, second, third = (tx(number, size_bytes=half) for number in range(3))
    pool = filled(first, second, third)
    pool.pin(SLOT_A, hashes(first, second))
    pool.pin(SLOT_B, hashes(third))
    assert first_in_turn(pool) is None
    for at_ms, slot, expected in ((500, SLOT_B, third), (600, SLOT_A, first)):
        pool.note_time(at_ms)
        pool.unpin(slot)
        assert first_in_turn(pool) == FirstInTurn(expected.transaction.tx_id, at_ms, *[0, 0] * 2)
    assert take(pool) == [first, second, third]


def test_a_commit_tells_when_the_last_to_come_of_it_came() -> None:
    pool = Mempool()
    pool.note_time(100)
    pool.pin(SLOT_A, hashes(tx(1)))
    pool.hold_body(tx(1))
    assert pool.remove_committed(ids(tx(1), tx(9)), time_ms=NOW_MS) == 0, "it never waited here"
    for at_ms, each in ((200, tx(2)), (300, tx(3)), (400, tx(4))):
        pool.note_time(at_ms)
        pool.add(each)
    assert pool.remove_committed(ids(tx(3), tx(2)), time_ms=NOW_MS) == 300


def test_of_several_senders_the_last_to_come_tells() -> None:
    pool = Mempool()
    for at_ms, sender in ((200, "agency-1"), (300, "agency-2")):
        pool.note_time(at_ms)
        pool.add(tx(at_ms, sender=sender))
    both = (tx(200), tx(300, sender="agency-2"))
    assert pool.remove_committed(ids(*both), time_ms=NOW_MS) == 300


def test_what_became_final_is_held_against_its_sender_no_more() -> None:
    pool = filled(tx(1, size_bytes=500), tx(2, size_bytes=300))
    pool.remove_committed(ids(tx(1)), time_ms=NOW_MS)
    sender = pool.turns.sender("agency-1")
    assert (sender.count, sender.size_bytes) == (1, 300)
    assert (sender.organisation.count, sender.organisation.size_bytes) == (1, 300)


def test_who_waits_again_came_when_it_first_waited() -> None:
    pool = Mempool()
    pool.note_time(100)
    pool.add(tx(1))
    pool.pin(SLOT_A, hashes(tx(1)))
    pool.note_time(200)
    pool.unpin(SLOT_A)
    assert pool.remove_committed(ids(tx(1)), time_ms=NOW_MS) == 100


def test_the_first_is_taken_even_if_it_exceeds_a_shrunken_batch() -> None:
    pool = filled(tx(1, size_bytes=500, records=5), tx(2))
    taken = pool.take(time_ms=NOW_MS, txs_max=10, bytes_max=100, records_max=1)
    assert taken == [tx(1, size_bytes=500, records=5)]


def test_only_what_can_be_included_is_taken() -> None:
    expired = tx(1, not_after_ms=NOW_MS - 1)
    last_moment = tx(2, not_after_ms=NOW_MS)
    furthest = tx(3, not_after_ms=NOW_MS + TX_LIFETIME_MS_MAX)
    too_early = tx(4, not_after_ms=NOW_MS + TX_LIFETIME_MS_MAX + 1)
    pool = filled(expired, last_moment, furthest, too_early)
    assert take(pool) == [last_moment, furthest]
    assert take(pool, NOW_MS + 1) == [furthest, too_early]


def test_a_pinned_transaction_is_held_but_not_taken_again() -> None:
    pool = filled(tx(1), tx(2), tx(3))
    pool.pin(SLOT_A, hashes(tx(1), tx(3)))
    assert take(pool) == [tx(2)]
    assert pool.missing(hashes(tx(1), tx(2), tx(3))) == []
    assert pool.get(tx(1).transaction.tx_hash) == tx(1)


def test_a_dropped_slot_returns_its_transactions_to_their_places() -> None:
    pool = filled(tx(1), tx(2), tx(3), tx(4))
    pool.pin(SLOT_A, hashes(tx(4)))
    pool.pin(SLOT_B, hashes(tx(3), tx(1)))
    pool.add(tx(5))
    pool.unpin(SLOT_B)
    assert take(pool) == [tx(1), tx(2), tx(3), tx(5)]
    pool.unpin(SLOT_A)
    assert take(pool) == [tx(1), tx(2), tx(3), tx(4), tx(5)]


def test_a_dropped_slot_names_what_waits_again_and_discarding_forgets_it() -> None:
    pool = filled(tx(1))
    pool.pin(SLOT_A, hashes(tx(1), tx(2)))
    pool.hold_body(tx(2))
    assert sorted(pool.unpin(SLOT_A)) == ids(tx(1), tx(2))
    pool.discard(ids(tx(2), tx(3)))
    assert take(pool) == [tx(1)]
    assert pool.pending_bytes == 100


def test_a_transaction_in_two_slots_is_let_go_with_the_last() -> None:
    pool = filled(tx(1))
    pool.pin(SLOT_A, hashes(tx(1)))
    pool.pin(SLOT_A, hashes(tx(1)))
    pool.pin(SLOT_B, hashes(tx(1)))
    pool.unpin(SLOT_A)
    assert take(pool) == []
    pool.unpin(SLOT_B)
    assert take(pool) == [tx(1)]
    pool.unpin(SLOT_B)
    assert take(pool) == [tx(1)]


def test_pinned_transactions_survive_expiry_until_they_are_let_go() -> None:
    pool = filled(tx(1), tx(2), tx(3, not_after_ms=NOW_MS + 60_001))
    pool.pin(SLOT_A, hashes(tx(1)))
    assert pool.expire(NOW_MS + 60_000) == []
    assert pool.expire(NOW_MS + 60_001) == ids(tx(2))
    assert pool.get(tx(1).transaction.tx_hash) is not None
    pool.unpin(SLOT_A)
    assert take(pool, NOW_MS + 60_001) == [tx(3, not_after_ms=NOW_MS + 60_001)]
    assert pool.expire(NOW_MS + 60_001) == ids(tx(1))
    assert pool.pending_count == 1


def test_a_body_nobody_pinned_has_to_come_through_add() -> None:
    pool = Mempool()
    assert not pool.hold_body(tx(1))
    assert pool.missing(hashes(tx(1))) == hashes(tx(1))


def test_a_fetched_body_is_held_even_in_a_full_pool_and_waits_when_let_go() -> None:
    pool = Mempool(txs_max=1)
    assert pool.add(tx(1)) is AddOutcome.ADDED
    pool.pin(SLOT_A, hashes(tx(1), tx(2)))
    assert pool.missing(hashes(tx(1), tx(2))) == hashes(tx(2))
    assert pool.hold_body(tx(2))
    assert pool.hold_body(tx(2))
    assert (pool.pending_count, pool.pending_bytes) == (2, 200)
    assert take(pool) == [], "a slot carries both"
    pool.remove_committed(ids(tx(1)), time_ms=NOW_MS)
    pool.unpin(SLOT_A)
    assert take(pool) == [tx(2)]


def test_what_came_over_the_bounds_goes_when_its_slot_is_dropped() -> None:
    pool = Mempool(txs_max=1)
    pool.add(tx(1))
    pool.pin(SLOT_A, hashes(tx(2)))
    assert pool.hold_body(tx(2))
    pool.unpin(SLOT_A)
    assert take(pool) == [tx(1)]
    assert (pool.pending_count, pool.pending_bytes) == (1, 100)


def test_what_was_accepted_stays_where_another_slot_came_over_the_bounds() -> None:
    """As where a pool is full, and blocks of others are dropped with one of what waited here."""
    pool = Mempool(txs_max=4)
    for number in (1, 2, 3):
        assert pool.add(tx(number)) is AddOutcome.ADDED
    pool.pin(SLOT_A, hashes(tx(1), tx(2), tx(4)))
    pool.pin(SLOT_B, hashes(tx(5), tx(6)))
    for number in (4, 5, 6):
        assert pool.hold_body(tx(number))
    assert sorted(pool.unpin(SLOT_A)) == ids(tx(1), tx(2)), "the fourth came over the bounds, too"
    assert pool.pending_count == 5
    assert pool.unpin(SLOT_B) == ids(tx(5))
    assert take(pool) == [tx(1), tx(2), tx(3), tx(5)]


def test_pinned_bytes_over_the_bounds_go_with_their_slot_but_for_those_that_just_fit() -> None:
    pool = Mempool(bytes_max=300)
    pool.add(tx(1))
    pool.pin(SLOT_A, hashes(tx(4), tx(2), tx(3)))
    for number in (2, 3, 4):
        assert pool.hold_body(tx(number))
    assert sorted(pool.unpin(SLOT_A)) == ids(tx(2), tx(3))
    assert take(pool) == [tx(1), tx(2), tx(3)]
    assert (pool.pending_count, pool.pending_bytes) == (3, 300)


def test_a_twin_of_a_pending_request_is_held_and_keeps_it_from_being_taken() -> None:
    twin = tx(1, signature=1)
    pool = filled(tx(1), tx(2))
    pool.pin(SLOT_A, hashes(twin))
    assert take(pool) == [tx(1), tx(2)]  # that the slot means the same request shows with the body
    assert pool.hold_body(twin)
    assert take(pool) == [tx(2)]
    assert pool.get(twin.transaction.tx_hash) == twin
    assert pool.get(tx(1).transaction.tx_hash) == tx(1)
    pool.unpin(SLOT_A)
    assert take(pool) == [tx(1), tx(2)]
    assert pool.get(twin.transaction.tx_hash) is None


def test_a_request_does_not_wait_while_any_slot_carries_it_under_whatever_signature() -> None:
    twin = tx(1, signature=1)
    for first, second in ((tx(1), twin), (twin, tx(1))):
        pool = filled(tx(1))
        pool.pin(SLOT_A, hashes(first))
        pool.pin(SLOT_B, hashes(second))
        assert pool.hold_body(twin)
        assert pool.unpin(SLOT_A) == []
        assert take(pool) == []
        assert pool.unpin(SLOT_B) == ids(tx(1))
        assert take(pool) == [tx(1)]


def test_what_other_slots_hold_over_the_bounds_is_left_to_them() -> None:
    pool = Mempool(txs_max=1)
    pool.pin(SLOT_A, hashes(tx(1), tx(2)))
    pool.pin(SLOT_B, hashes(tx(3)))
    for number in (1, 2, 3):
        assert pool.hold_body(tx(number))
    assert pool.unpin(SLOT_B) == []
    assert pool.missing(hashes(tx(1), tx(2), tx(3))) == hashes(tx(3))


def test_a_pinned_twin_that_arrives_by_gossip_is_held() -> None:
    twin = tx(1, signature=1)
    pool = filled(tx(1))
    pool.pin(SLOT_A, hashes(twin))
    assert pool.add(twin) is AddOutcome.DUPLICATE
    assert pool.missing(hashes(twin)) == []


def test_a_commit_removes_every_body_of_the_request() -> None:
    twin = tx(1, signature=1)
    pool = filled(tx(1), tx(2))
    pool.pin(SLOT_A, hashes(twin))
    pool.hold_body(twin)
    pool.remove_committed(ids(tx(1), tx(9)), time_ms=NOW_MS)
    assert pool.missing(hashes(tx(1), twin)) == hashes(tx(1), twin)
    pool.unpin(SLOT_A)
    assert take(pool) == [tx(2)]
    assert (pool.pending_count, pool.pending_bytes) == (1, 100)


def test_a_slot_that_lists_two_bodies_of_one_request_lets_go_of_both() -> None:
    twin = tx(1, signature=1)
    for listed in ([tx(1), twin], [twin, tx(1)]):
        pool = filled(tx(1))
        pool.pin(SLOT_A, [*hashes(*listed), *hashes(*listed)])
        pool.hold_body(twin)
        pool.unpin(SLOT_A)
        assert take(pool) == [tx(1)]
        assert pool.pending_bytes == 100


def test_the_wait_of_a_full_pool_follows_the_drain_rate() -> None:
    pool = Mempool(txs_max=32_000)  # room for 1,000 is what a client should find
    assert pool.retry_after_ms() == RETRY_AFTER_MS_UNKNOWN
    pool.remove_committed(ids(tx(1)), time_ms=NOW_MS)
    assert pool.retry_after_ms() == RETRY_AFTER_MS_UNKNOWN
    pool.remove_committed([bytes(32)] * 500, time_ms=NOW_MS + 1_000)
    assert pool.retry_after_ms() == 2_000
    for second in range(2, 40):
        pool.remove_committed([bytes(32)], time_ms=NOW_MS + second * 1_000)
    assert pool.retry_after_ms() == RETRY_AFTER_MS_MAX
    for millisecond in range(40):
        pool.remove_committed([bytes(32)] * 1_000, time_ms=NOW_MS + 60_000 + millisecond)
    assert pool.retry_after_ms() == RETRY_AFTER_MS_MIN


def lines_run(work: Callable[[], None]) -> int:
    """Return how many lines of the pool's module `work` runs: its cost, without a clock."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> TraceFunction | None:
        nonlocal count
        if frame.f_code.co_filename != mempool.__file__:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_a_block_costs_the_same_in_a_pool_of_90_000() -> None:
    def cost(pool_size: int) -> int:
        senders = [f"agency-{number}" for number in range(10)]
        pool = filled(*(tx(number, sender=senders[number % 10]) for number in range(pool_size)))

        def block() -> None:
            taken = take(pool, txs_max=500)
            assert len(taken) == 500
            pool.pin(SLOT_A, hashes(*taken))
            assert pool.missing(hashes(*taken)) == []
            pool.remove_committed(ids(*taken), time_ms=NOW_MS)
            pool.unpin(SLOT_A)
            assert pool.expire(NOW_MS) == []

        return lines_run(block)

    assert cost(90_000) == cost(1_000) < 26_000
