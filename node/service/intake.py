"""Transactions on their way into the pool, and out of it again where no block will hold them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from node.chain.admission import ACCEPTED, Admission, AdmissionCode
from node.chain.genesis import Parameters
from node.chain.transaction import VerifiedTransaction
from node.consensus import events as ev
from node.execution.apply import StateReader
from node.limits import MEMPOOL_TXS_MAX
from node.service.admission import Candidate, Gate
from node.service.gossip import Gossip
from node.service.mempool import AddOutcome, Mempool
from node.service.output import Outlet
from node.service.reckoning import Reckoner

LAPSED_MAX: Final = MEMPOOL_TXS_MAX
"""Of so many that expired by clock it is told when a block says so, the last of them: where no
block becomes final for days, those that clients handed in meanwhile would fill the memory."""


class Intake:
    """The way between gate and pool, both ways."""

    def __init__(
        self,
        *,
        gate: Gate,
        mempool: Mempool,
        ledger: StateReader,
        gossip: Gossip,
        outlet: Outlet,
        arrived: Callable[[bytes], None],
        reckoner: Reckoner,
    ) -> None:
        """`arrived` hears the hash of each transaction that is in the pool after it came."""
        self._gate, self._mempool, self._ledger = gate, mempool, ledger
        self._gossip, self._outlet, self._arrived = gossip, outlet, arrived
        self._reckoner = reckoner
        self._lapsed: deque[tuple[int, list[bytes]]] = deque()
        """Ids that expired by clock before this time (ms), until a block's T says so too."""
        self._lapsed_count = 0

    def candidates(self, encoded: Sequence[bytes], now: ev.Now) -> tuple[Candidate, ...]:
        """Return those of gossiped transactions whose signatures are worth checking.

        What is held is told by its bytes alone: where nothing becomes final all validators repeat
        to all others what waits, and decoding it again would take what time they have.
        """
        unknown = [each for each in encoded if not self._mempool.holds(each)]
        verdicts = self._gate.screen(unknown, self._reckoner.reckon(now))
        return tuple(v for v in verdicts if isinstance(v, Candidate))

    def admit(self, verified: VerifiedTransaction | None, *, from_client: bool) -> Admission:
        """Put a checked transaction into the pool; one of a client is passed on to peers."""
        if verified is None:
            return Admission(AdmissionCode.BAD_SIGNATURE, "does not verify")
        transaction = verified.transaction
        if self._ledger.has_transaction(transaction.tx_id):
            return Admission(AdmissionCode.ALREADY_FINAL)
        if (refused := self._why_void(verified)) is not None:
            return refused
        outcome = self._mempool.add(verified, is_own=from_client)
        if outcome is AddOutcome.FULL:
            retry_after_ms = self._mempool.retry_after_ms()
            return Admission(AdmissionCode.POOL_FULL, "the pool is full", retry_after_ms)
        if outcome is AddOutcome.OVER_QUOTA:
            retry_after_ms = self._mempool.quota_retry_after_ms(transaction.body.sender)
            return Admission(
                AdmissionCode.OVER_QUOTA,
                "as many transactions of its organisation wait as its quota allows",
                retry_after_ms,
            )
        if from_client and outcome is AddOutcome.ADDED:
            self._gossip.add(transaction.encoded)
        self._arrived(transaction.tx_hash)
        if outcome is AddOutcome.DUPLICATE:
            return Admission(AdmissionCode.DUPLICATE_PENDING)
        return ACCEPTED

    def _why_void(self, verified: VerifiedTransaction) -> Admission | None:
        """Refuse what would be screened out by now: its signature was checked meanwhile."""
        outdated = self._gate.why_outdated(verified)
        return outdated or self._gate.why_oversized(verified.transaction.encoded)

    def expire_by_clock(self, now: ev.Now, parameters: Parameters) -> None:
        """Let go of what validators with sound clocks will not include any more.

        Nobody is told yet, as a block of an earlier view may still hold it, but it is no longer
        work that waits; well before the view ends over it, or clients could end views with what
        lapses at once.
        """
        past_ms = self._reckoner.time_ms(now) - min(
            2 * parameters.accuracy_ms, parameters.view_timeout_ms // 2
        )
        lapsed = self._mempool.expire(past_ms)
        if lapsed:
            self._lapsed.append((past_ms, lapsed))
            self._lapsed_count += len(lapsed)
        while self._lapsed_count > LAPSED_MAX:
            self._lapsed_count -= len(self._lapsed.popleft()[1])

    def expire_by_block(self, time_ms: int) -> None:
        """Let go of what no block can hold after one of this T that is final, and tell of it."""
        self._outlet.note_expired(self._mempool.expire(time_ms + 1))
        while self._lapsed and self._lapsed[0][0] <= time_ms + 1:
            lapsed = self._lapsed.popleft()[1]
            self._lapsed_count -= len(lapsed)
            self._outlet.note_expired(lapsed)

    def has_lapsed(self, tx_id: bytes) -> bool:
        """Whether a transaction expired by clock alone, so that it was not told yet."""
        return any(tx_id in lapsed for _, lapsed in self._lapsed)

    def drop_oversized(self) -> None:
        """Let go of what no block can hold any more, were blocks made smaller, and tell of it."""
        why_oversized = self._gate.why_oversized
        self._drop(lambda v: why_oversized(v.transaction.encoded) is not None)

    def drop_outdated(self) -> None:
        """Let go of what is of senders with another key, or without rights by now, and tell of it.

        Kept, it would look like work that the primary leaves undone, and end views: the others do
        not take it any more, if it comes to them after the block that says so.
        """
        self._drop(self._is_outdated)

    def drop_outdated_of(self, tx_ids: Sequence[bytes]) -> None:
        """Let go of the same among what a block held that was left behind, and tell of it."""
        bodies = [(tx_id, self._mempool.body_of(tx_id)) for tx_id in tx_ids]
        dropped = [i for i, body in bodies if body is not None and self._is_outdated(body)]
        self._mempool.discard(dropped)
        self._outlet.note_expired(dropped)

    def _is_outdated(self, verified: VerifiedTransaction) -> bool:
        return self._gate.why_outdated(verified) is not None

    def _drop(self, is_void: Callable[[VerifiedTransaction], bool]) -> None:
        waiting = self._mempool.waiting()
        dropped = [verified.transaction.tx_id for verified in waiting if is_void(verified)]
        self._mempool.discard(dropped)
        self._outlet.note_expired(dropped)
