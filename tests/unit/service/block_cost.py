"""The most that one block may cost all validators together, in the normal case.

Two votes of everybody go to all others (OSDI'99 section 4.2), a PREPARE of the primary inside its
proposal; others' votes are checked until they make a quorum with one's own. What a vote rests on is
in the log with it, and one sync covers both: so a block needs one sync of the log per vote, fewer
where the votes of neighbouring blocks share one, and one of the ledger, which holds block, state
and indexes in one atomic batch. Why that one is synced: see `Engine._turn`.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.chain.membership import quorum_size


@dataclass(frozen=True, slots=True)
class BlockCost:
    """Counts over the whole network. A vote to n - 1 validators is n - 1 votes sent."""

    votes_sent: int
    votes_signed: int
    votes_checked: int
    log_syncs: int
    ledger_syncs: int


def most_per_block(validators: int) -> BlockCost:
    """Return what one block may cost among so many validators."""
    return BlockCost(
        votes_sent=2 * validators * (validators - 1),
        votes_signed=2 * validators,
        votes_checked=2 * validators * (quorum_size(validators) - 1),
        log_syncs=2 * validators,
        ledger_syncs=validators,
    )
