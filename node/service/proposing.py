"""Building proposals as primary: when there is work, of which size, at which T.

A block has a cost of its own, whether it holds one transaction or a thousand. So with nothing under
way a block is proposed at once, but while one is, the next slot of the window is for a backlog: see
`_Reserve`, and node/adr/0006 for what that saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node.chain.time_rules import degraded_time, proposal_time
from node.chain.transaction import VerifiedTransaction
from node.consensus import events as ev
from node.consensus.messages import Proposal, Reason
from node.execution.apply import BlockInputs, ExecutedBlock, StateReader, sender_key
from node.limits import BLOCK_RECORDS_MAX
from node.service.batching import BatchLimit
from node.service.mempool import Mempool
from node.service.output import Counters
from node.service.term import Term
from node.service.undecided import Undecided

BUILD_AGAIN_AFTER_MS = 50
"""How long a primary waits that found nothing includable among what waits."""
RESERVE_FACTOR = 2
_FAILED = (Reason.TIMEOUT, Reason.OTHERS)


@dataclass(frozen=True, slots=True)
class _Reserve:
    """A slot above a block under way, kept back until opening it is worth a block of its own."""

    parent_digest: bytes
    opens_at_txs: int
    """So many waiting are worth it: twice what the block under way holds, or a full batch."""
    opens_at_ms: int
    """Then the block under way is overdue (monotonic): nobody waits for it longer."""


class Proposer:
    """Tells the core whether work waits, and builds a block of it when asked."""

    def __init__(
        self,
        *,
        term: Term,
        mempool: Mempool,
        undecided: Undecided,
        counters: Counters,
    ) -> None:
        """Start with the core taking the pool for empty."""
        self._mempool, self._undecided, self._counters = mempool, undecided, counters
        self.begin(term)

    def begin(self, term: Term) -> None:
        """Begin an epoch, whose core takes the pool for empty."""
        self._parameters, self._me = term.epoch.parameters, term.me
        self._batch_limit = BatchLimit(
            records_max=BLOCK_RECORDS_MAX, delay_max_ms=self._parameters.message_delay_ms // 4
        )
        self._pool_reported: bool | None = False
        """What the core goes by; None where nothing was built, which it may not have heard."""
        self._build_again_at_ms = 0
        self._reserve: _Reserve | None = None

    def pool_change(self, now: ev.Now) -> ev.PoolChanged | None:
        """Return what the core must hear about the pool, if that changed."""
        is_waiting = (
            self._mempool.is_waiting
            and now.monotonic_ms >= self._build_again_at_ms
            and not self._is_kept_back(now)
        )
        if is_waiting == self._pool_reported:
            return None
        self._pool_reported = is_waiting
        return ev.PoolChanged(is_waiting)

    def due_ms(self) -> list[int]:
        """Return the monotonic times (ms) by which `pool_change` must be asked again."""
        if self._mempool.is_waiting and not self._pool_reported:
            reserve = self._standing_reserve()
            return [max(self._build_again_at_ms, reserve.opens_at_ms if reserve else 0)]
        return []

    def build(self, action: ev.BuildProposal, now: ev.Now) -> ev.ProposalBuilt:
        """Execute the transactions whose turn it is on the parent; return the outcome."""
        parameters = self._parameters
        self._reserve_above(action.parent_digest, now)
        if self._is_kept_back(now):
            return self._nothing(action)
        parent = self._undecided.state_after(action.parent_digest)
        if parent is None:
            return self._nothing_includable(action, now)
        is_degraded = action.degraded_to_ms is not None
        time_ms = _stamp(parent.header.time_ms, action.degraded_to_ms, now.utc_ms)
        if not is_degraded and time_ms > now.utc_ms + parameters.precision_ms:
            return self._nothing_includable(action, now)
        taken = self._mempool.take(
            time_ms=time_ms,
            txs_max=parameters.block_txs_max,
            bytes_max=parameters.block_bytes_max,
            records_max=self._batch_limit.records,
        )
        taken = _without_outdated(parent, taken)
        if not taken:
            return self._nothing_includable(action, now)
        inputs = BlockInputs(
            height=action.height,
            view=action.view,
            time_ms=time_ms,
            time_degraded=is_degraded,
            proposer=self._me,
        )
        effort = self._counters.efforts.execution
        spent_before_ns = effort.spent_ns
        executed = self._undecided.execute(parent, inputs, taken)
        self._batch_limit.note_work(_records(executed), effort.spent_ns - spent_before_ns)
        tx_hashes = tuple(tx.transaction.tx_hash for tx in taken)
        self._undecided.pin(executed.digest, tx_hashes)
        self._undecided.add(executed, parent)
        self._counters.proposals_built += 1
        return ev.ProposalBuilt(action.view, action.height, executed.header, tx_hashes)

    def learn_pace(self, proposal: Proposal, now: ev.Now) -> None:
        """Let the time from stamping an own proposal to sending it bound the next one."""
        executed = self._undecided.executed(proposal.vote.subject.header_digest)
        if executed is not None and not proposal.header.time_degraded:
            self._batch_limit.learn(_records(executed), now.utc_ms - proposal.header.time_ms)

    def note_left(self, reason: Reason) -> None:
        """Note that a view is left: unless on schedule, by what may be too much for the others."""
        if reason in _FAILED:
            self._batch_limit.note_failed_view()

    def _reserve_above(self, parent_digest: bytes, now: ev.Now) -> None:
        """Keep the slot back if its parent is under way, from when it was first asked for."""
        if self._reserve is not None and self._reserve.parent_digest == parent_digest:
            return
        under_way = self._undecided.executed(parent_digest)
        if under_way is not None:
            full_txs = min(self._parameters.block_txs_max, self._batch_limit.records)
            self._reserve = _Reserve(
                parent_digest,
                min(RESERVE_FACTOR * len(under_way.transactions), full_txs),
                now.monotonic_ms + self._parameters.message_delay_ms,
            )

    def _standing_reserve(self) -> _Reserve | None:
        """Return the reserve if the block that it was made for is still under way."""
        reserve = self._reserve
        if reserve is None or self._undecided.executed(reserve.parent_digest) is None:
            return None
        return reserve

    def _is_kept_back(self, now: ev.Now) -> bool:
        reserve = self._standing_reserve()
        return (
            reserve is not None
            and self._mempool.waiting_count < reserve.opens_at_txs
            and now.monotonic_ms < reserve.opens_at_ms
        )

    def _nothing_includable(self, action: ev.BuildProposal, now: ev.Now) -> ev.ProposalBuilt:
        """Say that nothing that waits can be included now, and look again before long."""
        if self._mempool.is_waiting:  # else the next to come is built for at once
            self._build_again_at_ms = now.monotonic_ms + BUILD_AGAIN_AFTER_MS
        return self._nothing(action)

    def _nothing(self, action: ev.BuildProposal) -> ev.ProposalBuilt:
        """Answer without a block: unless it left its view, the core takes the pool for empty."""
        self._pool_reported = None
        return ev.ProposalBuilt(action.view, action.height, None, ())


def _without_outdated(
    parent: StateReader, taken: Sequence[VerifiedTransaction]
) -> list[VerifiedTransaction]:
    """Leave out what is signed under another key than its sender has in the parent's state.

    A block that holds such a thing is void (rule B5 of execution). It waits on: the parent is
    undecided then, and may yet be dropped, and the other key with it.
    """
    keys = {tx.transaction.body.sender: b"" for tx in taken}
    for sender in keys:
        keys[sender] = sender_key(parent, sender) or b""
    return [tx for tx in taken if tx.sender_key == keys[tx.transaction.body.sender]]


def _records(executed: ExecutedBlock) -> int:
    return len(executed.leaves) - 1  # the first is the parent's header


def _stamp(parent_time_ms: int, degraded_to_ms: int | None, clock_ms: int) -> int:
    if degraded_to_ms is None:
        return proposal_time(parent_time_ms, clock_ms)
    return degraded_time(parent_time_ms, degraded_to_ms, clock_ms)
