"""Everything this validator signs, and the log that remembers it.

The rule about durability has its one place here: what is signed is a record of the turn in which it
is signed, `write` appends a turn's records at once, and `durable` gives back the messages that may
leave, and the events that count now, only when the log reports their records on disk. All is of one
epoch, and carries its number.

What the log must restate at its next rotation is kept here too (`snapshot`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase, QuorumCertificate, Subject, Vote
from node.consensus import events as ev
from node.consensus.messages import NewView, Proposal, ViewChange
from node.crypto.signature import Signer
from node.errors import InvariantViolation
from node.execution.apply import ExecutedBlock
from node.service.log_records import (
    BlockRecord,
    CommittedRecord,
    LogRecord,
    NewViewRecord,
    PreparedRecord,
    ViewChangeRecord,
    VoteRecord,
    encode_log_record,
)
from node.service.output import Counters
from node.service.recovery import Recovery
from node.service.term import Term

Cast = Vote | Proposal | ViewChange | NewView
"""What this validator signs and sends."""


class DurableLog(Protocol):
    """The write-ahead log as the engine sees it: append now, become durable later."""

    def append(self, records: Sequence[tuple[int, bytes]]) -> int:
        """Append records in order; return the sequence number of the last."""


class Ballots:
    """Own votes, view changes and new views: signed, logged, released when durable."""

    def __init__(
        self,
        *,
        term: Term,
        signer: Signer,
        log: DurableLog,
        recovery: Recovery,
        counters: Counters,
    ) -> None:
        """Start from what the log held."""
        self._signer, self._log, self._counters = signer, log, counters
        self._newest = recovery.newest
        """The newest final block. It tells, after a rotation, up to where votes were left out."""
        self.begin(term, recovery)
        self._records: list[LogRecord] = []
        """Of this turn, not appended yet."""
        self._of_this_turn: list[tuple[ev.Event, Cast]] = []
        """What rests on these records."""
        self._unsynced: deque[tuple[int, ev.Event, Cast]] = deque()
        """What rests on appended records, with the number of the last of them."""

    def begin(self, term: Term, recovery: Recovery) -> None:
        """Begin an epoch with what the log held of it; what was signed before binds no more."""
        self._epoch, self._me = term.epoch, term.me
        self._blocks: dict[bytes, BlockRecord] = dict(recovery.blocks)
        """Undecided blocks in the log, by header digest."""
        self._votes: dict[tuple[Phase, int], Vote] = dict(recovery.own_votes)
        self._prepared: dict[int, CertifiedHeader] = dict(recovery.prepared)
        self._new_view: NewView | None = recovery.consensus.new_view
        """The one adopted last."""
        self._view_change: ViewChange | None = recovery.consensus.view_change
        """The one cast since."""
        self._later = recovery.later
        """Records of epochs to come."""

    # ------------------------------------------------------------------ casting

    def cast_proposal(self, action: ev.CastProposal, block: ExecutedBlock, now: ev.Now) -> None:
        """Log a block of this validator with its PREPARE, and propose it."""
        subject = Subject(Phase.PREPARE, action.view, action.header.height, action.header_digest)
        vote = self._vote(subject, block, now)
        proposal = Proposal(action.header, action.tx_hashes, vote)
        self._of_this_turn.append((ev.OwnVoteDurable(vote), proposal))

    def cast_vote(self, action: ev.CastVote, block: ExecutedBlock | None, now: ev.Now) -> None:
        """Log a vote after what it rests on: the executed block, or the prepared certificate."""
        if action.evidence is not None:
            self._prepared[action.subject.height] = action.evidence
            self._records.append(PreparedRecord(action.evidence))
        vote = self._vote(action.subject, block, now)
        self._of_this_turn.append((ev.OwnVoteDurable(vote), vote))

    def cast_view_change(self, unsigned: ViewChange) -> None:
        """Sign and log a VIEW-CHANGE."""
        message = replace(unsigned, signature=self._sign(unsigned))
        self._view_change = message
        self._records.append(ViewChangeRecord(message))
        self._of_this_turn.append((ev.OwnViewChangeDurable(message), message))

    def announce(self, unsigned: NewView) -> None:
        """Sign and log the NEW-VIEW of this validator as primary."""
        message = replace(unsigned, signature=self._sign(unsigned))
        self.adopt(message)
        self._of_this_turn.append((ev.OwnNewViewDurable(message), message))

    def adopt(self, message: NewView) -> None:
        """Log an accepted NEW-VIEW, before the first vote of its view."""
        self._new_view, self._view_change = message, None
        self._records.append(NewViewRecord(message))

    def note_committed(self, item: CertifiedHeader) -> None:
        """Log that a block is final, which nothing waits for, and forget what led there."""
        self._records.append(CommittedRecord(item))
        self._newest = item
        height = item.header.height
        self._votes = {key: vote for key, vote in self._votes.items() if key[1] > height}
        self._prepared = {h: held for h, held in self._prepared.items() if h > height}
        # What was prepared here is kept until its height is decided, pursued or not: a certificate
        # may exist that only others know, and its bodies are asked from whoever signed it.
        self._blocks = {d: block for d, block in self._blocks.items() if _height(block) > height}

    def _vote(self, subject: Subject, block: ExecutedBlock | None, now: ev.Now) -> Vote:
        """Sign a vote and put it, after its block, into this turn's records."""
        if subject.header_digest not in self._blocks:
            if block is None:
                raise InvariantViolation(f"vote for block {subject.height} without its bodies")
            record = BlockRecord(
                block.header, tuple(tx.transaction.encoded for tx in block.transactions)
            )
            self._blocks[subject.header_digest] = record
            self._records.append(record)
        epoch, effort = self._epoch, self._counters.efforts.consensus
        began_ns = effort.begin()
        message = subject.sign_bytes(epoch.chain_id, epoch.validators, now.utc_ms)
        vote = Vote(subject, self._me, now.utc_ms, self._signer.sign(message), epoch.number)
        effort.end(began_ns)
        self._votes[subject.phase, subject.height] = vote
        self._records.append(VoteRecord(vote))
        self._counters.votes_signed += 1
        return vote

    def _sign(self, unsigned: ViewChange | NewView) -> bytes:
        effort = self._counters.efforts.consensus
        began_ns = effort.begin()
        signature = self._signer.sign(unsigned.sign_bytes(self._epoch.chain_id))
        effort.end(began_ns)
        return signature

    def lacks(self, certificate: QuorumCertificate) -> bool:
        """Whether this validator signed a commit certificate by a vote that is not in its log.

        Of the votes for an undecided height the last one is remembered: whoever cast that has cast
        those of the views before.
        """
        subject = certificate.subject
        held = self._votes.get((subject.phase, subject.height))
        if held is not None and held.subject.view > subject.view:
            return False
        known = None if held is None or held.subject != subject else held.signature
        return any(
            vote.validator == self._me and vote.signature != known for vote in certificate.votes
        )

    # ------------------------------------------------------------------ the log

    def write(self) -> None:
        """Append the records of this turn in one write."""
        if not self._records:
            return
        lsn = self._log.append([encode_log_record(record) for record in self._records])
        self._records.clear()
        self._unsynced += [(lsn, event, message) for event, message in self._of_this_turn]
        self._of_this_turn.clear()

    def durable(self, lsn: int) -> list[tuple[ev.Event, Cast]]:
        """Return what rests on records up to `lsn` alone: to send to all, and to count."""
        released = []
        while self._unsynced and self._unsynced[0][0] <= lsn:
            _, event, message = self._unsynced.popleft()
            released.append((event, message))
        return released

    @property
    def has_cast(self) -> bool:
        """Whether something was signed in this turn."""
        return bool(self._of_this_turn)

    @property
    def is_waiting(self) -> bool:
        """Whether something leaves only once the log is synced."""
        return bool(self._unsynced)

    def snapshot(self) -> list[tuple[int, bytes]]:
        """Return the log records that restate everything still needed, for log rotation."""
        records: list[LogRecord] = []
        if self._newest is not None:
            records.append(CommittedRecord(self._newest))
        if self._new_view is not None:
            records.append(NewViewRecord(self._new_view))
        if self._view_change is not None:
            records.append(ViewChangeRecord(self._view_change))
        records += self._blocks.values()
        records += [PreparedRecord(item) for item in self._prepared.values()]
        records += [VoteRecord(vote) for vote in self._votes.values()]
        records += self._later
        return [encode_log_record(record) for record in records]

    # ------------------------------------------------------------------ what the log holds

    def block(self, header_digest: bytes) -> BlockRecord | None:
        """Return a block that was prepared here and whose height is not decided."""
        return self._blocks.get(header_digest)

    def undecided_transactions(self) -> Iterator[bytes]:
        """Yield the encoded transactions of every such block."""
        for record in self._blocks.values():
            yield from record.transactions


def _height(record: BlockRecord) -> int:
    return record.header.height
