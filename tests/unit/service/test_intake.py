"""What becomes of transactions that no block will hold any more."""

from __future__ import annotations

import pytest

from node.service import intake
from node.service.wire import Blocks
from tests.unit.execution.small_chain import SmallChain, payload, tx
from tests.unit.service.lone import Lone, certified_block


def told_after_a_standstill(lapsing: int) -> tuple[list[bytes], list[bytes]]:
    """Return what lapsed one by one while nothing was final, and of what a block then told."""
    node = Lone(3)
    handed_in = []
    for elapsed_ms in range(1, lapsing * 10_000, 10_000):
        short = tx(payload(f"{elapsed_ms}"), not_after_ms=node.at(elapsed_ms + 100).utc_ms)
        node.admit(short, elapsed_ms)
        node.engine.tick(node.at(elapsed_ms + 5_000))
        assert node.engine.mempool.pending_count == 0
        handed_in.append(short.transaction.tx_id)
    assert node.engine.drain().expired == [], "a block of an earlier T may hold them"
    assert node.engine.is_untold(handed_in[-1])
    late_ms = lapsing * 10_000
    block = SmallChain().execute(tx(payload("at last")), step_ms=late_ms)
    peer = node.ask_for_blocks(late_ms)
    node.hear(peer, Blocks(1, (certified_block(block).encode(),)), late_ms)
    assert node.engine.height == 1
    assert not any(map(node.engine.is_untold, handed_in))
    return handed_in, node.engine.drain().expired


def test_what_lapsed_is_told_when_a_block_says_so_too() -> None:
    handed_in, told = told_after_a_standstill(3)
    assert told == handed_in


def test_of_what_lapses_while_nothing_is_final_so_much_is_remembered_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "LAPSED_MAX", 2)
    handed_in, told = told_after_a_standstill(5)
    assert told == handed_in[-2:]
