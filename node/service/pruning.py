"""How far back blocks may be pruned, and pruning them step by step. It judges by the ledger alone.

A validator that is behind by less than its snapshot gap fetches blocks; one that is farther behind
fetches a state that others hold readable, at most a gap below their tip, and the blocks that
execution above that state looks at. All of these are kept here as they were signed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Final

from node.execution.registry import PARAMETERS_KEY
from node.service.catch_up.filling import (
    PAST_KEPT_MS,
    PAST_RANGE_BLOCKS,
    PAST_RANGES_AHEAD,
    heights_needed,
)
from node.storage import keys
from node.storage.kv import KeyValueStore
from node.storage.ledger import LedgerStore

STEP_BLOCKS: Final = 256
"""Blocks pruned in one write, and compacted in one go."""


def prunable_below(ledger: LedgerStore, snapshot_gap_blocks: int) -> int:
    """Return the height below which no other validator needs to be given blocks; 0 for none.

    Raises `NotHeldYet` where the past is still being fetched.
    """
    if not ledger.is_whole:
        raise ledger.not_held_yet()
    base = ledger.tip_height - snapshot_gap_blocks
    if base <= 0:
        return 0

    def time_ms(height: int) -> int:
        return ledger.require_header(height)[0].time_ms

    recent = bisect_left(range(base), time_ms(base) - PAST_KEPT_MS, key=time_ms)
    deep = base - heights_needed(ledger.get(PARAMETERS_KEY))
    # Whoever fetches them asks for some more: where they end only the blocks tell.
    return max(min(recent - 1, deep) - PAST_RANGE_BLOCKS * PAST_RANGES_AHEAD, 0)


def prune(
    store: KeyValueStore,
    ledger: LedgerStore,
    below: int,
    advance: Callable[[int], None] = lambda _blocks: None,
) -> int:
    """Prune what is below a height, which `prunable_below` allows; return how many blocks.

    A crash between two steps loses nothing: the next call goes on. `advance` is told how many more
    blocks were looked at.
    """
    first = max(ledger.pruned_below, 1)
    for start in range(first, below, STEP_BLOCKS):
        end = min(start + STEP_BLOCKS, below)
        ledger.prune(end)
        store.compact(keys.body(start), keys.body(end))
        advance(end - start)
    return max(below - first, 0)
