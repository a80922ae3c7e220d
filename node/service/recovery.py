"""From disk to a running validator: replay the log over the ledger. No IO of its own.

The ledger may be behind the log (its writes are not synced) or ahead of it (the log's last records
name nothing newer). Blocks the log shows as final are executed and committed again; what is
undecided becomes the core's durable state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from node.chain.block import CertifiedBlock, CertifiedHeader
from node.chain.certificate import Phase, QuorumCertificate, Vote
from node.chain.evidence import Evidence
from node.chain.genesis import Genesis
from node.chain.transaction import Transaction
from node.consensus.state import Recovered
from node.errors import StorageError
from node.execution.apply import BlockInputs, ExecutedBlock, Executor, StateReader
from node.service.admission import vouched_for
from node.service.log_records import (
    BlockRecord,
    CommittedRecord,
    LogRecord,
    NewViewRecord,
    PreparedRecord,
    ViewChangeRecord,
    VoteRecord,
    decode_log_record,
)


class FinalChain(StateReader, Protocol):
    """The chain that is final here, to read."""

    @property
    def tip_height(self) -> int:
        """Height of the newest final block; 0 at genesis."""

    def certified_block(self, height: int) -> CertifiedBlock | None:
        """Return a final block above genesis."""

    def encoded_block(self, height: int) -> bytes | None:
        """Return the same as its canonical bytes, ready to be sent."""


class Ledger(FinalChain, Protocol):
    """The chain that is final here, on disk."""

    def commit(
        self, blocks: Sequence[tuple[ExecutedBlock, QuorumCertificate]], *, sync: bool
    ) -> None:
        """Append blocks atomically, all or none."""

    def keep_evidence(self, evidence: Evidence) -> None:
        """Keep evidence of misbehaviour, durably."""

    def evidence(self) -> list[Evidence]:
        """Return all evidence kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What the engine starts from."""

    genesis_digest: bytes
    consensus: Recovered
    blocks: dict[bytes, BlockRecord]
    """Undecided blocks in the log, by header digest."""
    own_votes: dict[tuple[Phase, int], Vote]
    prepared: dict[int, CertifiedHeader]
    last_view_record: LogRecord | None
    last_new_view: NewViewRecord | None
    recommitted: int
    """Blocks the log brought back into the ledger."""


def recover(
    genesis: Genesis,
    executor: Executor,
    ledger: Ledger,
    records: Sequence[tuple[int, bytes]],
) -> Recovery:
    """Replay log `records` (type, payload), oldest first, over the ledger."""
    replay = _Replay(genesis, records)
    recommitted = replay.recommit(executor, ledger)
    return replay.result(ledger, executor.genesis_block().digest, recommitted)


class _Replay:
    """The newest record of each kind and place."""

    def __init__(self, genesis: Genesis, records: Sequence[tuple[int, bytes]]) -> None:
        self._genesis, self._suite = genesis, genesis.suite
        self.blocks: dict[bytes, BlockRecord] = {}
        self.votes: dict[tuple[Phase, int], Vote] = {}
        self.prepared: dict[int, CertifiedHeader] = {}
        self.committed: dict[int, CertifiedHeader] = {}
        self.view_change: ViewChangeRecord | None = None
        self.new_view: NewViewRecord | None = None
        for kind, payload in records:
            self._take(decode_log_record(kind, payload, self._suite.signature_size))

    def _take(self, record: LogRecord) -> None:
        match record:
            case BlockRecord():
                self.blocks[record.header.digest(self._suite)] = record
            case VoteRecord():
                subject = record.vote.subject
                held = self.votes.get((subject.phase, subject.height))
                if held is None or held.subject.view <= subject.view:
                    self.votes[subject.phase, subject.height] = record.vote
            case PreparedRecord():
                height, view = record.item.header.height, record.item.certificate.subject.view
                known = self.prepared.get(height)
                if known is None or known.certificate.subject.view < view:
                    self.prepared[height] = record.item
            case ViewChangeRecord():
                if self.view_change is None or self.view_change.message.view < record.message.view:
                    self.view_change = record
            case NewViewRecord():
                if self.new_view is None or self.new_view.message.view < record.message.view:
                    self.new_view = record
            case CommittedRecord():
                self.committed[record.item.header.height] = record.item

    def recommit(self, executor: Executor, ledger: Ledger) -> int:
        """Execute and commit again what the log shows as final above the ledger's tip."""
        count = 0
        while True:
            item = self.committed.get(ledger.tip_height + 1)
            record = self.blocks.get(item.certificate.subject.header_digest) if item else None
            if item is None or record is None:
                return count
            header = item.header
            inputs = BlockInputs.of(header)
            transactions = [Transaction.decode(data, self._suite) for data in record.transactions]
            executed = executor.execute(ledger, inputs, vouched_for(transactions, ledger))
            if executed.header != header:
                raise StorageError(
                    f"block {header.height} of the log gives other roots than its certificate",
                    fix="the state database is damaged: remove data/ and start again to rebuild it",
                )
            ledger.commit([(executed, item.certificate)], sync=True)
            count += 1

    def result(self, ledger: Ledger, genesis_digest: bytes, recommitted: int) -> Recovery:
        """Return what is undecided above the ledger's tip."""
        tip = ledger.tip_height
        votes = {key: vote for key, vote in self.votes.items() if key[1] > tip}
        prepared = {height: item for height, item in self.prepared.items() if height > tip}
        blocks = {d: record for d, record in self.blocks.items() if record.header.height > tip}
        new_view = None if self.new_view is None else self.new_view.message
        view_change = None if self.view_change is None else self.view_change.message
        view, active = (0, True) if new_view is None else (new_view.view, True)
        last_view_record: LogRecord | None = self.new_view
        if view_change is not None and view_change.view > view:
            view, active, last_view_record = view_change.view, False, self.view_change
        return Recovery(
            genesis_digest=genesis_digest,
            consensus=Recovered(
                tip=ledger.header,
                tip_digest=ledger.header_digest,
                recent=_recent(ledger, self._genesis.parameters.window_slots),
                view=view,
                view_active=active,
                new_view=new_view,
                view_change=None if active else view_change,
                blocks=tuple(
                    (
                        record.header,
                        tuple(
                            Transaction.decode(data, self._suite).tx_hash
                            for data in record.transactions
                        ),
                    )
                    for record in blocks.values()
                ),
                votes=tuple(vote for _, vote in sorted(votes.items())),
                prepared=tuple(item for _, item in sorted(prepared.items())),
            ),
            blocks=blocks,
            own_votes=votes,
            prepared=prepared,
            last_view_record=last_view_record,
            last_new_view=self.new_view,
            recommitted=recommitted,
        )


def _recent(ledger: Ledger, window_slots: int) -> tuple[CertifiedHeader, ...]:
    tip = ledger.tip_height
    found = [
        ledger.certified_block(height) for height in range(max(1, tip - window_slots + 1), tip + 1)
    ]
    return tuple(
        CertifiedHeader(block.header, block.certificate) for block in found if block is not None
    )
