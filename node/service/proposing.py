"""Building proposals as primary: when there is work, of which size, at which T."""

from __future__ import annotations

from node.chain.genesis import Parameters
from node.chain.time_rules import proposal_time
from node.consensus import events as ev
from node.consensus.messages import Proposal
from node.execution.apply import BlockInputs
from node.limits import BLOCK_RECORDS_MAX
from node.service.batching import BatchLimit
from node.service.mempool import Mempool
from node.service.output import Counters
from node.service.undecided import Undecided

BUILD_AGAIN_AFTER_MS = 50
"""How long a primary waits that found nothing includable among what waits."""


class Proposer:
    """Tells the core whether work waits, and builds a block of it when asked."""

    def __init__(
        self,
        *,
        parameters: Parameters,
        me: int,
        mempool: Mempool,
        undecided: Undecided,
        counters: Counters,
    ) -> None:
        """Start with the core taking the pool for empty."""
        self._parameters, self._me = parameters, me
        self._mempool, self._undecided, self._counters = mempool, undecided, counters
        self._batch_limit = BatchLimit(
            records_max=BLOCK_RECORDS_MAX, delay_max_ms=parameters.message_delay_ms // 4
        )
        self._pool_reported = False
        self._build_again_at_ms = 0

    def pool_change(self, now: ev.Now) -> ev.PoolChanged | None:
        """Return what the core must hear about the pool, if that changed."""
        is_waiting = self._mempool.is_waiting and now.monotonic_ms >= self._build_again_at_ms
        if is_waiting == self._pool_reported:
            return None
        self._pool_reported = is_waiting
        return ev.PoolChanged(is_waiting)

    def due_ms(self) -> list[int]:
        """Return the monotonic times (ms) by which `pool_change` must be asked again."""
        if self._mempool.is_waiting and not self._pool_reported:
            return [self._build_again_at_ms]
        return []

    def build(self, action: ev.BuildProposal, now: ev.Now) -> ev.ProposalBuilt:
        """Execute the oldest waiting transactions on the parent; return the outcome."""
        parameters = self._parameters
        parent = self._undecided.state_after(action.parent_digest)
        if parent is None:
            return self._nothing(action, now)
        time_ms = proposal_time(parent.header.time_ms, now.utc_ms)
        if time_ms > now.utc_ms + parameters.precision_ms:
            return self._nothing(action, now)
        taken = self._mempool.take(
            time_ms=time_ms,
            txs_max=parameters.block_txs_max,
            bytes_max=parameters.block_bytes_max,
            records_max=self._batch_limit.records,
        )
        if not taken:
            return self._nothing(action, now)
        inputs = BlockInputs(
            height=action.height,
            view=action.view,
            time_ms=time_ms,
            time_degraded=False,
            proposer=self._me,
        )
        executed = self._undecided.execute(parent, inputs, taken)
        tx_hashes = tuple(tx.transaction.tx_hash for tx in taken)
        self._undecided.pin(executed.digest, tx_hashes)
        self._undecided.add(executed, parent)
        self._counters.proposals_built += 1
        return ev.ProposalBuilt(action.view, action.height, executed.header, tx_hashes)

    def learn_pace(self, proposal: Proposal, now: ev.Now) -> None:
        """Let the time from stamping an own proposal to sending it bound the next one."""
        executed = self._undecided.executed(proposal.vote.subject.header_digest)
        if executed is not None:
            records = len(executed.leaves) - 1  # the first is the parent's header
            self._batch_limit.learn(records, now.utc_ms - proposal.header.time_ms)

    def _nothing(self, action: ev.BuildProposal, now: ev.Now) -> ev.ProposalBuilt:
        """Say that nothing that waits can be included now: the core takes the pool for empty."""
        self._pool_reported = False
        if self._mempool.is_waiting:  # else the next to come is built for at once
            self._build_again_at_ms = now.monotonic_ms + BUILD_AGAIN_AFTER_MS
        return ev.ProposalBuilt(action.view, action.height, None, ())
