"""Turns: what one organisation asks for does not keep others waiting, by counts of bytes served."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.chain.admission import AdmissionCode
from node.chain.block import ResultCode
from node.chain.quota import Quota, SetQuota
from node.chain.transaction import VerifiedTransaction
from node.service.mempool import AddOutcome, Mempool
from node.service.turns import (
    RETRY_AFTER_MS_MAX,
    RETRY_AFTER_MS_MIN,
    RETRY_AFTER_MS_UNKNOWN,
    ROUND_BYTES,
    SHARE_FACTOR,
    Seat,
    Turns,
)
from tests.unit.execution.governed_chain import GOVERNED
from tests.unit.execution.small_chain import CREATED_MS, payload
from tests.unit.execution.small_chain import tx as real_tx
from tests.unit.service.chatting import Chat, govern
from tests.unit.service.test_mempool import NOW_MS, ids, take, tx

SIZE_BYTES = 256
ORGANISATION_BYTES = ROUND_BYTES * (SHARE_FACTOR + 1) // SHARE_FACTOR


def seated(quotas: dict[str, Quota] | None = None) -> Mempool:
    """Return a pool in which senders are called as `org-1/agency`."""
    pool = Mempool()
    known = quotas or {}

    def seat_of(sender: str) -> Seat:
        organisation = sender.partition("/")[0]
        quota = known.get(organisation, Quota())
        return Seat(organisation, quota.share, quota.waiting_max)

    pool.turns.seat_of = seat_of
    return pool


class Requests:
    """Transactions of one size, no two alike."""

    def __init__(self) -> None:
        self._number = 0

    def of(self, sender: str, size_bytes: int = SIZE_BYTES) -> VerifiedTransaction:
        self._number += 1
        return tx(self._number, sender=sender, size_bytes=size_bytes)

    def many(self, sender: str, count: int) -> Iterator[VerifiedTransaction]:
        return (self.of(sender) for _ in range(count))


def organisation_of(transaction: VerifiedTransaction) -> str:
    return transaction.transaction.body.sender.partition("/")[0]


def served_before(pool: Mempool, wanted: VerifiedTransaction) -> int:
    """Return how many bytes are served before a transaction."""
    served = take(pool, txs_max=100_000)
    return sum(len(each.transaction.encoded) for each in served[: served.index(wanted)])


@pytest.mark.parametrize("senders", [1, 2, 10, 100])
def test_however_many_senders_flood_for_an_organisation_another_waits_for_one_round_of_it(
    senders: int,
) -> None:
    pool, requests = seated(), Requests()
    for number in range(20_000 // senders):
        for sender in range(senders):
            assert pool.add(requests.of(f"org-1/{sender}")) is AddOutcome.ADDED, number
    late = requests.of("org-2/one")
    assert pool.add(late) is AddOutcome.ADDED
    assert served_before(pool, late) <= ORGANISATION_BYTES + senders * SIZE_BYTES
    if senders <= 10:
        assert served_before(pool, late) <= ORGANISATION_BYTES + SIZE_BYTES * 8


def test_organisations_that_flood_are_served_alike_however_many_senders_they_have() -> None:
    pool, requests = seated(), Requests()
    for number in range(6_000):
        pool.add(requests.of("org-1/alone"))
        pool.add(requests.of(f"org-2/{number % 50}"))
    served = Counter(organisation_of(each) for each in take(pool, txs_max=3_000))
    assert sum(served.values()) == 3_000
    assert 4 * served["org-2"] <= 5 * served["org-1"] + 200  # 5,120 bytes to 4,096
    assert served["org-1"] <= served["org-2"]


def test_a_colleague_of_one_who_floods_is_served_in_the_same_round() -> None:
    pool, requests = seated(), Requests()
    for each in requests.many("org-1/flood", 5_000):
        pool.add(each)
    colleague = requests.of("org-1/colleague")
    assert pool.add(colleague) is AddOutcome.ADDED
    assert served_before(pool, colleague) <= ROUND_BYTES


@pytest.mark.parametrize("share", [2, 5, 100])
def test_an_organisation_is_served_by_its_share(share: int) -> None:
    pool, requests = seated({"org-2": Quota(share)}), Requests()
    for number in range(4_000):
        pool.add(requests.of("org-1/one"))
        for _ in range(min(share, 5)):
            pool.add(requests.of(f"org-2/{number % 3}"))
    bytes_max = 3 * (ROUND_BYTES + share * ORGANISATION_BYTES)
    served = Counter(
        organisation_of(each)
        for each in pool.take(
            time_ms=NOW_MS, txs_max=100_000, bytes_max=bytes_max, records_max=100_000
        )
    )
    if share < 100:
        assert share * served["org-1"] <= served["org-2"] <= 1.4 * share * served["org-1"]
    assert served["org-2"] > served["org-1"]


@pytest.mark.parametrize("asks_for_more", [False, True])
def test_what_its_organisation_was_served_concerns_who_is_first_if_that_asks_for_too_much(
    *, asks_for_more: bool
) -> None:
    pool, requests = seated(), Requests()
    colleague, first = requests.of("org-1/a"), requests.of("org-1/b")
    pool.note_time(100)
    flood = requests.many("org-1/a", ORGANISATION_BYTES // SIZE_BYTES) if asks_for_more else ()
    for each in (colleague, first, *flood):
        pool.add(each)
    pool.note_time(500)
    pool.remove_committed(ids(colleague), time_ms=NOW_MS)
    turn = pool.first_in_turn
    assert turn is not None
    assert (turn.tx_id, turn.sender_served_ms) == (first.transaction.tx_id, 0)
    assert turn.organisation_served_ms == (500 if asks_for_more else 0)


def test_a_quota_bounds_what_waits_and_says_when_to_come_back() -> None:
    pool, requests = seated({"org-1": Quota(1, 64)}), Requests()
    first = [*requests.many("org-1/a", 40), *requests.many("org-1/b", 24)]
    assert {pool.add(each) for each in first} == {AddOutcome.ADDED}
    for sender in ("org-1/a", "org-1/c"):  # a new sender helps nobody
        assert pool.add(requests.of(sender)) is AddOutcome.OVER_QUOTA
        assert pool.quota_retry_after_ms(sender) == RETRY_AFTER_MS_UNKNOWN
    assert pool.add(requests.of("org-2/a")) is AddOutcome.ADDED
    assert pool.quota_retry_after_ms("org-2/a") == 0
    pool.remove_committed(ids(*first[:10]), time_ms=NOW_MS)
    refill = [*requests.many("org-1/c", 10)]
    assert {pool.add(each) for each in refill} == {AddOutcome.ADDED}
    assert pool.add(requests.of("org-1/a")) is AddOutcome.OVER_QUOTA
    pool.remove_committed(ids(*first[10:18]), time_ms=NOW_MS + 2_000)  # 8 in 2 s: 2 take 500 ms
    more = [*requests.many("org-1/d", 8)]
    assert {pool.add(each) for each in more} == {AddOutcome.ADDED}
    assert pool.quota_retry_after_ms("org-1/a") == 500
    assert RETRY_AFTER_MS_MIN <= 500 <= RETRY_AFTER_MS_MAX


def test_what_a_slot_pins_is_held_over_any_quota() -> None:
    pool, requests = seated({"org-1": Quota(1, 1)}), Requests()
    assert pool.add(requests.of("org-1/a")) is AddOutcome.ADDED
    fetched = requests.of("org-1/a")
    pool.pin(b"slot", [fetched.transaction.tx_hash])
    assert pool.hold_body(fetched)
    assert pool.add(requests.of("org-1/a")) is AddOutcome.OVER_QUOTA


def test_a_quota_that_changes_holds_for_who_is_there_already() -> None:
    quotas = {"org-1": Quota(1, 1)}
    pool, requests = seated(quotas), Requests()
    assert pool.add(requests.of("org-1/a")) is AddOutcome.ADDED
    quotas["org-1"] = Quota(1, 3)
    assert pool.add(requests.of("org-1/a")) is AddOutcome.OVER_QUOTA
    pool.turns.reseat()
    assert pool.add(requests.of("org-1/a")) is AddOutcome.ADDED


def test_who_becomes_known_while_something_of_it_waits_is_let_go_as_it_came() -> None:
    turns = Turns()
    seats = {"new": Seat("")}
    turns.seat_of = lambda name: seats[name]
    turns.place("new", SIZE_BYTES, 0)
    seats["new"] = Seat("org-1", 2, 5)
    turns.reseat()
    turns.leave("new", 1, SIZE_BYTES)
    assert turns.retry_after_ms("new") == 0
    assert turns.organisation_of("new") is None


def test_placing_costs_the_same_behind_a_flood_of_90_000() -> None:
    def cost(waiting: int) -> int:
        pool, requests = seated(), Requests()
        for number in range(waiting):
            pool.turns.place(f"org-1/{number % 30}", SIZE_BYTES, 0)
        lines = 0

        def count(*_: object) -> object:
            nonlocal lines
            lines += 1
            return count

        newcomers = [requests.of(f"org-1/new {number}") for number in range(20)]
        sys.settrace(count)  # type: ignore[arg-type]  # of its events none matters
        try:
            for each in newcomers:
                pool.turns.place(each.transaction.body.sender, SIZE_BYTES, 0)
        finally:
            sys.settrace(None)
        return lines

    assert cost(90_000) <= 2 * cost(900)


arrivals = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 9), st.sampled_from([200, 700, 9_000])),
    min_size=1,
    max_size=150,
)


@given(arrivals)
def test_no_round_holds_more_of_an_organisation_than_its_share(
    asked: list[tuple[int, int, int]],
) -> None:
    turns = Turns()
    turns.seat_of = lambda name: Seat(name.partition("/")[0], share=2)
    last: dict[str, int] = {}
    begun: Counter[tuple[str, int]] = Counter()
    for organisation, sender, size_bytes in asked:
        name = f"org-{organisation}/{sender}"
        number = turns.place(name, size_bytes, 0)
        assert number >= last.get(name, 0)  # its own come in order
        last[name] = number
        begun[f"org-{organisation}", number] += 1
        used = turns.sender(name).organisation.used
        assert max(used.values()) <= 2 * ORGANISATION_BYTES
        assert sum(used.values()) == sum(
            size for of, _, size in asked[: sum(begun.values())] if of == organisation
        )


def test_a_quota_set_on_the_chain_is_what_admission_goes_by() -> None:
    chat = Chat("validator-1", "validator-2", "validator-3", "validator-4")
    assert govern(chat, SetQuota("org-1", Quota(1, 2)), members=()) is ResultCode.OK
    engine = chat.nodes["validator-1"].engine
    asked = [
        real_tx(
            payload(f"document {number}"),
            sender=sender,
            chain_id=GOVERNED.chain_id,
            not_after_ms=CREATED_MS + 600_000,
        )
        for number, sender in enumerate(["agency-1"] * 4 + ["agency-2"])
    ]
    admissions = engine.admit(asked, chat.now, from_client=True)
    codes = [each.code for each in admissions]
    accepted, refused = AdmissionCode.ACCEPTED, AdmissionCode.OVER_QUOTA
    of_org_1 = {accepted: 2, refused: 2}
    assert Counter(codes[:4]) == of_org_1
    assert all(each.retry_after_ms > 0 for each in admissions if each.code is refused)
    assert not any(each.code.is_admitted for each in admissions if each.code is refused)
