"""When a primary is held to have passed somebody over, and when it only has too much to do."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from node.chain.transaction import VerifiedTransaction
from node.consensus.events import Now, PassedOver
from node.service.fairness import Fairness
from node.service.gossip import Gossip
from node.service.mempool import Mempool
from node.service.output import Outlet
from node.service.turns import Seat
from node.service.wire import Transactions, decode_message
from tests.unit.service.test_mempool import NOW_MS, ids, tx

DEADLINE_MS = 1_000
NO_LIMIT = 2**40
JITTER_MS = 200
"""By how much validators differ in when they hear of a transaction."""


class Watch:
    """A validator's pool, and its judgement of the blocks of view 0."""

    def __init__(self, deadline_ms: int = DEADLINE_MS) -> None:
        self.pool, self.outlet = Mempool(), Outlet(view=lambda: 0)
        gossip = Gossip(self.pool, self.outlet, repeat_after_ms=100)
        self.fairness = Fairness(self.pool, gossip, deadline_ms=deadline_ms)

    def add(self, at_ms: int, *transactions: VerifiedTransaction) -> None:
        self.pool.note_time(at_ms)
        for transaction in transactions:
            self.pool.add(transaction)

    def commit(
        self, at_ms: int, *transactions: VerifiedTransaction, view: int = 0
    ) -> PassedOver | None:
        """Make a block final while in `view`."""
        self.pool.note_time(at_ms)
        last_came_ms = self.pool.remove_committed(ids(*transactions), time_ms=NOW_MS)
        return self.fairness.judge(last_came_ms, Now(at_ms, NOW_MS), view=view, time_ms=NOW_MS)

    def repeated(self) -> list[int]:
        """Return how many transactions were told to the others, message by message."""
        messages = [decode_message(sent.data, 64) for sent in self.outlet.drain().messages]
        return [len(each.transactions) for each in messages if isinstance(each, Transactions)]


@pytest.mark.parametrize("sender", ["agency-1", "agency-2"])
@pytest.mark.parametrize(("later_ms", "breach"), [(1_000, False), (1_001, True)])
def test_who_comes_a_deadline_later_is_not_served_before_the_first(
    sender: str, later_ms: int, *, breach: bool
) -> None:
    watch = Watch()
    watch.add(50, tx(0))
    watch.commit(50, tx(9))  # the view begins
    watch.add(50 + later_ms, tx(1, sender=sender))
    verdict = watch.commit(50 + later_ms, tx(1))
    assert verdict == (PassedOver(0, tx(0).transaction.tx_id, later_ms) if breach else None)


def test_whose_sender_is_served_has_no_claim_against_other_senders() -> None:
    watch = Watch()
    watch.add(0, tx(0), tx(1))
    watch.commit(0, tx(9))
    assert watch.commit(500, tx(1)) is None
    assert watch.repeated() == []
    watch.add(1_500, tx(2, sender="agency-2"))
    assert watch.commit(1_500, tx(2)) is None
    assert watch.repeated() == [1]
    watch.add(2_501, tx(3, sender="agency-2"), tx(4, sender="agency-2"))
    assert watch.commit(2_501, tx(3)) is not None


def test_whose_organisation_asks_for_too_much_is_not_passed_over_for_colleagues() -> None:
    watch = Watch()
    watch.pool.turns.seat_of = lambda _sender: Seat("city")
    flood = [tx(1 + each, sender="agency-2", size_bytes=300) for each in range(80)]
    watch.add(0, *flood)
    watch.commit(0, tx(9))  # the view begins, and more than a round waits
    watch.add(10, tx(0, sender="agency-1"))
    verdicts = []
    for at_ms in range(100, 1_800, 100):
        late = tx(at_ms, sender="agency-3")
        watch.add(at_ms, late)
        verdicts.append(watch.commit(at_ms, late, *(flood.pop(0) for _ in range(4))))
    waiting = tx(0, sender="agency-1").transaction.tx_id
    assert verdicts == [None] * 16 + [PassedOver(0, waiting, 1_100)], "told once more at 600"


def test_each_view_has_a_deadline_of_its_own() -> None:
    watch = Watch()
    watch.add(0, tx(0))
    watch.commit(0, tx(9))
    watch.add(5_000, tx(1), tx(2))
    assert watch.commit(5_001, tx(1), view=1) is None  # carried over
    watch.add(6_001, tx(3))
    assert watch.commit(6_001, tx(3), view=1) is None
    watch.add(6_002, tx(4))
    assert watch.commit(6_002, tx(4), view=1) is not None


def test_what_was_only_fetched_with_a_proposal_may_have_come_long_before() -> None:
    watch = Watch()
    watch.add(0, tx(0))
    watch.commit(0, tx(9))
    watch.pool.note_time(5_000)
    watch.pool.pin(b"slot", [tx(1).transaction.tx_hash])
    assert watch.pool.hold_body(tx(1))
    assert watch.commit(5_000, tx(1)) is None


def test_what_waits_long_is_told_once_more_and_the_deadline_starts_over() -> None:
    watch = Watch()
    watch.add(0, tx(0), tx(1, sender="agency-2"))
    watch.commit(0, tx(9))
    watch.add(400, tx(2))
    watch.commit(500, tx(2))
    assert watch.repeated() == []
    watch.commit(501, tx(9))
    assert watch.repeated() == [2]
    watch.commit(502, tx(9))
    assert watch.repeated() == []
    watch.add(1_501, tx(3))
    assert watch.commit(1_501, tx(3)) is None
    assert watch.repeated() == [3 - 1]
    watch.add(1_502, tx(4))
    assert watch.commit(1_502, tx(4)) is not None


@pytest.mark.parametrize("seed", range(2))
def test_overload_alone_breaches_nothing(seed: int) -> None:
    """Eight times what fits is asked for, unevenly, and in different orders."""
    random, watch, primary = Random(seed), Watch(2 * JITTER_MS), Mempool()
    block_ms, block_txs = 50, 20
    arrivals: list[tuple[int, int, VerifiedTransaction]] = []
    for number in range(16_000):
        sender = random.choice(("agency-1",) * 60 + ("agency-2", "agency-3", "agency-4"))
        size_bytes = random.choice((200, 300, 2_000))
        at_ms = number * block_ms // (8 * block_txs)
        transaction = tx(number, sender=sender, size_bytes=size_bytes)
        arrivals += [(at_ms + random.randrange(JITTER_MS), pool, transaction) for pool in range(2)]
    arrivals.sort(key=lambda arrival: arrival[:2], reverse=True)
    final: dict[bytes, None] = {}
    longest_ms, came_ms = 0, {each.transaction.tx_id: at_ms for at_ms, _, each in arrivals}
    for at_ms in range(0, arrivals[0][0], block_ms):
        while arrivals and arrivals[-1][0] <= at_ms:
            heard_ms, pool, transaction = arrivals.pop()
            if not pool:
                primary.add(transaction)
            elif transaction.transaction.tx_id not in final:
                watch.add(heard_ms, transaction)
        taken: Sequence[VerifiedTransaction] = primary.take(
            time_ms=NOW_MS, txs_max=block_txs, bytes_max=NO_LIMIT, records_max=NO_LIMIT
        )
        primary.remove_committed(ids(*taken), time_ms=NOW_MS)
        final |= dict.fromkeys(ids(*taken))
        assert watch.commit(at_ms, *taken) is None
        longest_ms = max([longest_ms, *(at_ms - came_ms[tx_id] for tx_id in ids(*taken))])
    assert longest_ms > 2 * DEADLINE_MS
