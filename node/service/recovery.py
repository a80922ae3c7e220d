"""From disk to a running validator: replay the log over the ledger. No IO of its own.

The ledger may be behind the log (its writes are not synced) or ahead of it (the log's last records
name nothing newer). Blocks the log shows as final are executed and committed again; what is
undecided becomes the core's durable state, of the epoch in force alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, assert_never

from node.chain.block import CertifiedBlock, CertifiedHeader, Header
from node.chain.certificate import Phase, QuorumCertificate, Vote
from node.chain.epoch import Anchor, Epoch
from node.chain.evidence import Evidence
from node.chain.genesis import Genesis
from node.chain.transaction import Transaction
from node.consensus.state import Recovered
from node.crypto.suite import Suite
from node.errors import InvariantViolation, StorageError
from node.execution.apply import BlockInputs, ExecutedBlock, Executor, StateReader
from node.execution.registry import epoch_in_force, find_epoch_start
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
    epoch_of,
)
from node.storage.held_state import HeldState
from node.storage.stored_block import StoredBlock


class FinalChain(StateReader, Protocol):
    """The chain that is final here, to read."""

    @property
    def tip_height(self) -> int:
        """Height of the newest final block; 0 at genesis."""

    def header_at(self, height: int) -> tuple[Header, QuorumCertificate | None] | None:
        """Return a committed header and its certificate, which genesis has none of."""

    def certified_block(self, height: int) -> CertifiedBlock | None:
        """Return a final block above genesis."""

    def encoded_block(self, height: int) -> bytes | None:
        """Return the same as its canonical bytes, ready to be sent."""


class Ledger(FinalChain, Protocol):
    """The chain that is final here, on disk."""

    @property
    def missing(self) -> range:
        """The heights of the blocks that are not here yet."""

    @property
    def is_whole(self) -> bool:
        """Whether all of the past is here."""

    def fill(self, blocks: Sequence[StoredBlock]) -> None:
        """Write the next missing blocks, durably, or take another step with those here."""

    def block_values(self, height: int) -> tuple[bytes, bytes] | None:
        """Return a block that is not missing as peers store it; None above the tip, or pruned."""

    @property
    def held(self) -> Mapping[int, HeldState]:
        """The states kept readable, by height."""

    def hold(self) -> None:
        """Keep the state at the tip readable."""

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
    """What the engine starts an epoch from."""

    epoch: Epoch
    anchor: Anchor
    consensus: Recovered
    blocks: dict[bytes, BlockRecord]
    """Undecided blocks in the log, by header digest."""
    newest: CertifiedHeader | None
    """The newest final block; None where that is genesis."""
    own_votes: dict[tuple[Phase, int], Vote]
    prepared: dict[int, CertifiedHeader]
    later: tuple[LogRecord, ...] = ()
    """Of epochs to come: where the ledger was lost, the log may know of more than it."""
    silent_up_to: int = 0
    """The height up to which nothing may be cast, as votes may be missing from the log; 0: none."""
    recommitted: int = 0
    """Blocks the log brought back into the ledger."""


def recover(
    genesis: Genesis,
    executor: Executor,
    ledger: Ledger,
    records: Sequence[tuple[int, bytes]],
    *,
    validator_id: str,
) -> Recovery:
    """Replay log `records` (type, payload), oldest first, over the ledger.

    Raises `StorageError` (GC-3012) where the ledger shows a vote that the log should hold.
    """
    size = genesis.suite.signature_size
    decoded = [decode_log_record(kind, payload, size) for kind, payload in records]
    _require_own_votes(decoded, genesis, ledger, validator_id)
    recommitted = _recommit(decoded, executor, ledger, genesis.suite)
    return replace(resume(ledger, decoded, genesis.suite), recommitted=recommitted)


def _require_own_votes(
    records: Sequence[LogRecord], genesis: Genesis, ledger: Ledger, validator_id: str
) -> None:
    """Refuse a log that lacks votes of this validator: it would cast them again, for other blocks.

    A vote is in the log before anybody counts it, and is left out of it only by a rotation, which
    restates the newest final block instead. So above that block, and all the log says became final
    later, whatever this validator certified is in its log, unless that is an old copy, or was begun
    anew, or another process has the same key. Of the votes for a height a rotation restates the
    last one alone: whoever holds that has cast those of the views before.
    """
    known = max(
        (r.item.header.height for r in records if isinstance(r, CommittedRecord)), default=0
    )
    cast = [r.vote for r in records if isinstance(r, VoteRecord)]
    held = frozenset(vote.signature for vote in cast)
    commits = sorted(
        (vote.epoch, vote.subject.height, vote.subject.view)
        for vote in cast
        if vote.subject.phase is Phase.COMMIT
    )
    last_view = {(epoch, height): view for epoch, height, view in commits}
    for height in range(known + 1, ledger.tip_height + 1):
        item = _final(ledger, height)
        if item is None:
            continue  # not every ledger goes back to genesis
        start = find_epoch_start(ledger, item.header.epoch, genesis.suite)
        validators = genesis.validators if start is None else start.validators
        me = validators.index_of(validator_id)
        votes = item.certificate.votes
        if last_view.get((item.header.epoch, height), 0) > item.certificate.subject.view:
            continue
        if any(vote.validator == me and vote.signature not in held for vote in votes):
            raise older_log(height, validator_id)


def older_log(height: int, validator_id: str) -> StorageError:
    """Return the refusal of a log that lacks the vote by which a validator certified a block."""
    return StorageError(
        f"the log is older than the ledger: block {height} is certified by a vote of "
        f"{validator_id} that its log does not hold",
        code="GC-3012",
        fix="put the newest log back; if it is lost, this validator may vote again only "
        "under a new key: govchain node rotate",
    )


def resume(ledger: FinalChain, records: Sequence[LogRecord], suite: Suite) -> Recovery:
    """Return what `records`, oldest first, say of the epoch in force, above the ledger's tip.

    Votes for what became final are left out of a rotated log. So where the log tells of a newer
    final block than the ledger, which was lost then, nothing of it is used before that one is final
    here again: until then this validator knows neither what it signed nor what it has to show in a
    VIEW-CHANGE.
    """
    epoch = epoch_in_force(ledger, suite)
    final = [record for record in records if isinstance(record, CommittedRecord)]
    newest = max(final, key=lambda record: record.item.header.height, default=None)
    silent_up_to = 0 if newest is None else newest.item.header.height
    if silent_up_to <= ledger.tip_height:
        newest, silent_up_to = None, 0
    memory = _Memory(ledger.tip_height, suite)
    later: list[LogRecord] = [] if newest is None else [newest]
    for record in records:
        if isinstance(record, CommittedRecord) or epoch_of(record) < epoch.number:
            continue
        if silent_up_to or epoch_of(record) > epoch.number:
            later.append(record)
        else:
            memory.take(record)
    start = find_epoch_start(ledger, epoch.number, suite)
    height = 0 if start is None else start.first_height - 1
    digest = ledger.digest_at(height)
    if digest is None:
        raise InvariantViolation(f"epoch {epoch.number} stands on block {height}, which is missing")
    result = memory.result(ledger, epoch, Anchor(height, digest), tuple(later))
    return replace(result, silent_up_to=silent_up_to)


_Remembered = BlockRecord | VoteRecord | PreparedRecord | ViewChangeRecord | NewViewRecord


class _Memory:
    """The newest record of each kind and place, of one epoch and above one height."""

    def __init__(self, tip: int, suite: Suite) -> None:
        self._tip, self._suite = tip, suite
        self._blocks: dict[bytes, BlockRecord] = {}
        self._votes: dict[tuple[Phase, int], Vote] = {}
        self._prepared: dict[int, CertifiedHeader] = {}
        self._view_change: ViewChangeRecord | None = None
        self._new_view: NewViewRecord | None = None

    def take(self, record: _Remembered) -> None:
        """Remember a record, if it is newer than what is remembered in its place."""
        match record:
            case BlockRecord():
                if record.header.height > self._tip:
                    self._blocks[record.header.digest(self._suite)] = record
            case VoteRecord():
                subject = record.vote.subject
                held = self._votes.get((subject.phase, subject.height))
                if subject.height > self._tip and (
                    held is None or held.subject.view <= subject.view
                ):
                    self._votes[subject.phase, subject.height] = record.vote
            case PreparedRecord():
                height, view = record.item.header.height, record.item.certificate.subject.view
                known = self._prepared.get(height)
                if height > self._tip and (known is None or known.certificate.subject.view < view):
                    self._prepared[height] = record.item
            case ViewChangeRecord():
                if (
                    self._view_change is None
                    or self._view_change.message.view < record.message.view
                ):
                    self._view_change = record
            case NewViewRecord():
                if self._new_view is None or self._new_view.message.view < record.message.view:
                    self._new_view = record
            case _:
                assert_never(record)

    def result(
        self, ledger: FinalChain, epoch: Epoch, anchor: Anchor, later: tuple[LogRecord, ...]
    ) -> Recovery:
        """Return what is undecided above the ledger's tip."""
        new_view = None if self._new_view is None else self._new_view.message
        view_change = None if self._view_change is None else self._view_change.message
        view, active = (0, True) if new_view is None else (new_view.view, True)
        if view_change is not None and view_change.view > view:
            view, active = view_change.view, False
        return Recovery(
            epoch=epoch,
            anchor=anchor,
            consensus=Recovered(
                tip=ledger.header,
                tip_digest=ledger.header_digest,
                recent=_recent(ledger, anchor.height, epoch.parameters.window_slots),
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
                    for record in self._blocks.values()
                ),
                votes=tuple(vote for _, vote in sorted(self._votes.items())),
                prepared=tuple(item for _, item in sorted(self._prepared.items())),
            ),
            blocks=self._blocks,
            newest=_final(ledger, ledger.tip_height),
            own_votes=self._votes,
            prepared=self._prepared,
            later=later,
        )


def _recommit(
    records: Sequence[LogRecord], executor: Executor, ledger: Ledger, suite: Suite
) -> int:
    """Execute and commit again what the log shows as final above the ledger's tip."""
    blocks: dict[bytes, BlockRecord] = {}
    final: dict[int, CertifiedHeader] = {}
    for record in records:
        if isinstance(record, BlockRecord):
            blocks[record.header.digest(suite)] = record
        elif isinstance(record, CommittedRecord):
            final[record.item.header.height] = record.item
    count = 0
    while item := final.get(ledger.tip_height + 1):
        header, block = item.header, blocks.get(item.certificate.subject.header_digest)
        if block is None:
            break
        transactions = [Transaction.decode(data, suite) for data in block.transactions]
        vouched = vouched_for(transactions, ledger)
        executed = executor.execute(ledger, BlockInputs.of(header), vouched)
        if executed.header != header:
            raise StorageError(
                f"block {header.height} of the log gives other roots than its certificate",
                fix="the state database is damaged: remove data/ and start again to rebuild it",
            )
        ledger.commit([(executed, item.certificate)], sync=True)
        count += 1
    return count


def _recent(ledger: FinalChain, anchor: int, window_slots: int) -> tuple[CertifiedHeader, ...]:
    tip = ledger.tip_height
    first = max(anchor + 1, tip - window_slots + 1)
    found = [_final(ledger, height) for height in range(first, tip + 1)]
    return tuple(item for item in found if item is not None)


def _final(ledger: FinalChain, height: int) -> CertifiedHeader | None:
    """Return a final header with its certificate; None for genesis, and where it is not here."""
    found = ledger.header_at(height)
    if found is None or found[1] is None:
        return None
    return CertifiedHeader(found[0], found[1])
