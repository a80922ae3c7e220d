"""What a node admits and keeps that knows its clock to be wrong."""

from __future__ import annotations

import pytest

from node.chain.admission import AdmissionCode
from node.consensus.events import Now
from node.limits import TX_LIFETIME_MS_MAX
from node.service.admission import Candidate
from node.service.clock_fitness import STEP_REMEMBERED_MS
from node.service.wire import Transactions
from tests.unit.execution.small_chain import CREATED_MS, SmallChain, payload, tx
from tests.unit.service.lone import Lone, certified_block

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
TIP_MS = CREATED_MS
"""T of the newest block, genesis, which this node has since its start."""
STEPPED_AT_MS = 1_000


def stepped(by_ms: int) -> Lone:
    """Return a backup whose clock was right, and was set wrong after a second."""
    node = Lone(1)
    for now in (node.at(0), shown(by_ms, STEPPED_AT_MS)):
        node.engine.clock_fitness.observe(now)
    return node


def shown(by_ms: int, elapsed_ms: int) -> Now:
    """Return what the clocks of such a node show."""
    right = Lone.at(elapsed_ms)
    return Now(right.monotonic_ms, right.utc_ms + by_ms)


def verdict(node: Lone, by_ms: int, elapsed_ms: int, not_after_ms: int) -> AdmissionCode | None:
    """Return why a transaction is refused, if it is; its lifetime counts from T of the tip."""
    now = shown(by_ms, elapsed_ms)
    node.engine.clock_fitness.observe(now)
    encoded = tx(payload("a"), not_after_ms=TIP_MS + not_after_ms).transaction.encoded
    [found] = node.engine.gate.screen([encoded], node.engine.reckon(now))
    return None if isinstance(found, Candidate) else found.code


@pytest.mark.parametrize("by_ms", [-HOUR_MS, HOUR_MS])
def test_who_knows_its_clock_to_be_wrong_reckons_by_what_passed_since_the_tip(by_ms: int) -> None:
    node = stepped(by_ms)
    for elapsed_ms in (2_000, 50_000):
        assert verdict(node, by_ms, elapsed_ms, elapsed_ms) is AdmissionCode.EXPIRED
        assert verdict(node, by_ms, elapsed_ms, elapsed_ms + 1) is None
        assert verdict(node, by_ms, elapsed_ms, elapsed_ms + 1 + TX_LIFETIME_MS_MAX) is None


@pytest.mark.parametrize(("by_ms", "ahead_ms"), [(-HOUR_MS, 3_001), (HOUR_MS, HOUR_MS + 4_000)])
def test_nor_does_it_let_in_what_lies_too_far_ahead_by_any_reckoning(
    by_ms: int, ahead_ms: int
) -> None:
    latest_ms = ahead_ms + TX_LIFETIME_MS_MAX
    assert verdict(stepped(by_ms), by_ms, 3_000, latest_ms) is None
    assert verdict(stepped(by_ms), by_ms, 3_000, latest_ms + 1) is AdmissionCode.TOO_FAR_AHEAD


def test_a_clock_that_is_believed_again_is_followed_again() -> None:
    node = stepped(HOUR_MS)
    assert verdict(node, HOUR_MS, 2_000, MINUTE_MS) is None
    again_ms = STEPPED_AT_MS + STEP_REMEMBERED_MS
    assert verdict(node, HOUR_MS, again_ms, 5 * MINUTE_MS) is AdmissionCode.EXPIRED


def test_what_waits_is_neither_dropped_nor_kept_back_by_a_clock_known_to_be_wrong() -> None:
    node = stepped(HOUR_MS)
    waiting = tx(payload("a"), not_after_ms=TIP_MS + MINUTE_MS)
    node.engine.mempool.add(waiting, is_own=True)
    node.said()
    for elapsed_ms, is_kept in ((30_000, True), (59_000, True), (MINUTE_MS + 3_000, False)):
        now = shown(HOUR_MS, elapsed_ms)
        node.engine.clock_fitness.observe(now)
        node.engine.tick(now)
        assert node.engine.mempool.is_pending(waiting.transaction.tx_id) is is_kept
        repeated = [each for each in node.said() if isinstance(each, Transactions)]
        assert (repeated == [Transactions((waiting.transaction.encoded,))]) is is_kept


def test_time_goes_on_from_the_newest_block() -> None:
    """However long ago the node began: what passed before a block is final is part of its T."""
    node, block = stepped(HOUR_MS), SmallChain().execute(tx(payload("a")))
    assert node.engine.time_ms(shown(HOUR_MS, 30_000)) == TIP_MS + 1 + 30_000
    node.fetch([certified_block(block).encode()], 30_000)
    assert node.engine.height == 1
    assert node.engine.time_ms(shown(HOUR_MS, 40_000)) == block.header.time_ms + 1 + 10_000
