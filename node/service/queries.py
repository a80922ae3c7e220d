"""What can be asked of the committed chain, answered in the chain's own types. Reads alone.

May be used from any thread while the engine commits: whatever is read at a height never changes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from node.chain.admission import FinalResult
from node.chain.block import CertifiedHeader, Header, ResultCode, TransactionResult
from node.chain.certificate import QuorumCertificate
from node.chain.genesis import Genesis, Parameters
from node.chain.governance import Governance, SetParameters
from node.chain.reference import ReferenceName, ReferenceStatus, reference_key
from node.chain.transaction import Transaction
from node.crypto.signature import Signer
from node.errors import ClientError, InvariantViolation
from node.execution.registry import epoch_in_force, find_epoch_start
from node.storage.checkpoints import CheckpointStore, KeptCheckpoint
from node.storage.ledger import FoundRecord, LedgerStore, RecordPage, RecordQuery
from node.storage.stored_block import StoredBlock
from node.timestamp.compact import CompactProof
from node.timestamp.consistency import ConsistencyProof, build_consistency
from node.timestamp.cose import CoseSignature, sign_root
from node.timestamp.history import Handover, carry_newest
from node.timestamp.receipt import PublicCheckpoint, Receipt, build_receipt
from node.timestamp.standing import StandingProof
from node.timestamp.state_value import StateValueProof

BLOCKS_REMEMBERED: Final = 8
"""Receipts are asked for soon after a block and one after another: it is read once for them all."""
EPOCHS_REMEMBERED: Final = 8
"""As many epochs: what leads to each of them is read once."""


class RecordStatus(IntEnum):
    """Whether a record still stands today. Numbers are those of the wire."""

    NONE = 0
    """It carries no reference, hence has no status."""
    IN_FORCE = 1
    SUPERSEDED = 2
    """A later record stands under its reference, and nothing was withdrawn since."""
    WITHDRAWN = 3
    """It, or what superseded it: for good, whatever is recorded under its reference later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedTransaction:
    """A transaction, its place in the chain and what became of it."""

    height: int
    index: int
    time_ms: int
    transaction: Transaction
    result: TransactionResult


class Queries:
    """Reads one ledger."""

    def __init__(
        self,
        ledger: LedgerStore,
        genesis: Genesis,
        voter: Signer | None = None,
        checkpoints: CheckpointStore | None = None,
    ) -> None:
        """`voter` holds the vote key of this node, which makes receipts COSE Receipts as well.

        `checkpoints` holds those of the public log, which receipts take along.
        """
        self._checkpoints = checkpoints
        self._ledger, self._genesis, self._voter = ledger, genesis, voter
        self._suite = genesis.suite
        self._signed: tuple[bytes, CoseSignature] | None = None
        self._blocks: OrderedDict[int, StoredBlock] = OrderedDict()
        self._carried: OrderedDict[int, tuple[Handover, ...]] = OrderedDict()
        founding = genesis.parameters
        self._parameters: dict[bytes, Parameters] = {founding.digest(genesis.suite): founding}
        """By digest, as headers name them."""

    def block(self, height: int) -> StoredBlock | None:
        """Return a committed block, or None above the tip."""
        block = self._blocks.get(height) or self._ledger.block(height)
        if block is not None:
            self._blocks[height] = block
            if len(self._blocks) > BLOCKS_REMEMBERED:
                self._blocks.popitem(last=False)
        return block

    def header(self, height: int) -> tuple[Header, QuorumCertificate | None] | None:
        """Return a header and its certificate (genesis has none), or None above the tip.

        Raises `NotHeldYet`, as all that asks for what is missing from the past.
        """
        found = self._ledger.header_at(height)
        if found is None and height in self._ledger.missing:
            raise self._ledger.not_held_yet()
        return found

    def transaction(self, tx_id: bytes) -> CommittedTransaction | None:
        """Return a committed transaction, or None."""
        found = self._find_anywhere(tx_id)
        if found is None:
            return None
        block, index = found
        return CommittedTransaction(
            height=block.header.height,
            index=index,
            time_ms=block.header.time_ms,
            transaction=block.transaction(index),
            result=block.result(index),
        )

    def final_result(self, tx_id: bytes) -> FinalResult | None:
        """Return what became of a transaction, or None where it is not final."""
        found = self._find(tx_id)
        if found is None:
            return None
        block, index = found
        result = block.result(index)
        return FinalResult(
            code=result.code,
            height=block.header.height,
            time_ms=block.header.time_ms,
            operation_index=result.operation_index,
            log_index=result.log_index,
        )

    def receipts(self, tx_id: bytes, first_operation: int, limit: int) -> list[Receipt] | None:
        """Return up to `limit` receipts of a transaction's records, from one operation on.

        None where no transaction of this id wrote records.
        """
        block, index = self._find_anywhere(tx_id) or (None, 0)
        if block is None or block.certificate is None:
            return None
        result = block.result(index)
        if result.code is not ResultCode.OK:
            return None
        written = block.written(index).payload
        count = 0 if written is None else written.count
        first = result.log_index + first_operation
        log_indexes = range(first, min(result.log_index + count, first + limit))
        paths = self._ledger.inclusion_paths(log_indexes, block.header.log_size)
        certified = CertifiedHeader(block.header, block.certificate)
        handovers = self.carried_handovers(block.header.epoch)
        cose = self._cose_signature(block.header, handovers)
        public = self._public_checkpoints(block.header, log_indexes)
        compacts = self._compact_proofs(log_indexes, block.header)
        return [
            build_receipt(
                self._suite,
                block.leaf(log_index),
                log_index,
                path,
                block=certified,
                handovers=handovers,
                cose=cose,
                checkpoint=checkpoint,
                compact=compact,
            )
            for log_index, path, checkpoint, compact in zip(
                log_indexes, paths, public, compacts, strict=True
            )
        ]

    def _public_checkpoints(
        self, header: Header, log_indexes: Sequence[int]
    ) -> Sequence[PublicCheckpoint | None]:
        """Return the newest checkpoint of a header's epoch with the path of each of its leaves."""
        kept = self._newest_checkpoint(header)
        if kept is None:
            return [None] * len(log_indexes)
        paths = self._ledger.inclusion_paths(log_indexes, kept.size)
        return [PublicCheckpoint(kept.note, tuple(path)) for path in paths]

    def _newest_checkpoint(self, header: Header) -> KeptCheckpoint | None:
        """Return the newest checkpoint of a header's epoch that covers its block, or None."""
        if self._checkpoints is None:
            return None
        ended = find_epoch_start(self._ledger, header.epoch + 1, self._suite)
        last = None if ended is None else self.header(ended.first_height - 1)
        kept = self._checkpoints.newest(None if last is None else last[0].log_size)
        covers = kept is not None and kept.size >= header.log_size and kept.epoch == header.epoch
        return kept if covers else None

    def _compact_proofs(self, log_indexes: range, header: Header) -> Sequence[CompactProof | None]:
        """Return proofs of a block's records under the newest compact certificate of its epoch.

        None each where there is none from this block on: soon after it.
        """
        certificate = self._ledger.compact(header.epoch)
        if certificate is None or certificate.checkpoint.height < header.height:
            return [None] * len(log_indexes)
        paths = self._ledger.inclusion_paths(log_indexes, certificate.checkpoint.log_size)
        return [CompactProof(tuple(path), certificate) for path in paths]

    def _cose_signature(
        self, header: Header, handovers: Sequence[Handover]
    ) -> CoseSignature | None:
        """Return this node's signature of a log root; None under a key that is not of its epoch."""
        if self._voter is None:
            return None
        members = handovers[-1].next_set if handovers else self._genesis.validators
        vote_key = self._voter.public_key.encoded
        if vote_key not in [member.vote_key for member in members.validators]:
            return None
        root, signed = header.log_roots[0], self._signed
        if signed is None or signed[0] != root:  # one signature serves all receipts of a block
            signed = root, sign_root(header.chain_id, root, self._voter)
            self._signed = signed
        return signed[1]

    def handovers(self, epoch: int) -> tuple[Handover, ...]:
        """Return what led from each validator set to the next, from genesis up to an epoch's.

        All of them, read anew: for files that hold a whole history. Raises `NotHeldYet`.
        """
        return tuple(self._handover(number) for number in range(1, epoch + 1))

    def handovers_from(self, epoch: int, limit: int) -> tuple[Handover, ...]:
        """Return up to `limit` handovers, from the one that ends `epoch` on; none past the tip."""
        in_force = epoch_in_force(self._ledger, self._suite).number
        last = min(in_force, epoch + limit)
        return tuple(self._handover(number) for number in range(epoch + 1, last + 1))

    def carried_handovers(self, epoch: int) -> tuple[Handover, ...]:
        """Return what a proof of an epoch carries of what led to it, see `carry_newest`."""
        found = self._carried.get(epoch)
        if found is None:
            found = carry_newest(self._handover(number) for number in range(epoch, 0, -1))
            self._carried[epoch] = found  # they never change
            if len(self._carried) > EPOCHS_REMEMBERED:
                self._carried.popitem(last=False)
        return found

    def _handover(self, epoch: int) -> Handover:
        """Return what led to an epoch."""
        start = find_epoch_start(self._ledger, epoch, self._suite)
        barrier = None if start is None else self.header(start.first_height - 1)
        if start is None or barrier is None or barrier[1] is None:
            raise InvariantViolation(f"the ledger holds no handover to epoch {epoch}")
        return Handover(CertifiedHeader(barrier[0], barrier[1]), start.validators)

    def parameters_at(self, header: Header) -> Parameters:
        """Return the parameters in force for a committed header, however often they changed since.

        Raises `NotHeldYet`.
        """
        found = self._parameters.get(header.parameters_digest)
        if found is None:
            for each in self._parameters_set_before(header):
                self._parameters[each.digest(self._suite)] = each
            found = self._parameters.get(header.parameters_digest)
        if found is None:
            raise InvariantViolation(f"no parameters are those that header {header.height} names")
        return found

    def _parameters_set_before(self, header: Header) -> Iterator[Parameters]:
        """Yield what the block set by which a header's parameters came into force.

        They change with the epoch alone, in the block before: the newest such block whose own are
        others has set them.
        """
        for epoch in range(header.epoch, 0, -1):
            barrier = self._handover(epoch).block.header
            if barrier.parameters_digest != header.parameters_digest:
                block = self.block(barrier.height)
                if block is None:
                    raise InvariantViolation("a handover lies above the tip")
                yield from _set_parameters(block)
                return

    def receipt_of_digest(self, digest: bytes) -> Receipt | None:
        """Return the receipt of the earliest record of a document's digest, or None."""
        start: int | None = 0
        while start is not None:
            page = self.records(RecordQuery(digest=digest), limit=1, start=start)
            for found in page.records:
                receipts = self.receipts(found.leaf.tx_id, found.leaf.operation_index, 1)
                return receipts[0] if receipts else None
            start = page.next_log_index
        return None

    def standing_proof(self, name: ReferenceName) -> StandingProof | None:
        """Return the proof of what stands under a reference after the newest block.

        None at genesis, which nobody certified.
        """
        proven = self._ledger.prove(name.key)
        if proven is None:
            return None
        return StandingProof(
            suite=self._suite,
            name=name,
            status=None if proven.value is None else ReferenceStatus.decode(proven.value),
            proof=proven.proof,
            block=proven.block,
            handovers=self.carried_handovers(proven.block.header.epoch),
        )

    def state_value_proof(self, key: bytes) -> bytes | None:
        """Return the canonical proof of what the state holds under a key; None at genesis."""
        proven = self._ledger.prove(key)
        if proven is None:
            return None
        return StateValueProof(
            suite=self._suite,
            key=key,
            value=proven.value,
            proof=proven.proof,
            block=proven.block,
            handovers=self.carried_handovers(proven.block.header.epoch),
        ).encode()

    def consistency_proof(self, old_height: int, new_height: int | None) -> ConsistencyProof | None:
        """Return the proof that the chain only grew from one height to another, or to the tip.

        None where one lies above the tip. Raises `ClientError` unless the heights rise from 1 on.
        """
        ledger = self._ledger
        new_height = ledger.tip_height if new_height is None else new_height
        if not 0 < old_height < new_height:
            raise ClientError(
                f"heights: expected two that rise, from 1 on, got {old_height} and {new_height}"
            )
        old, new = self.header(old_height), self.header(new_height)
        if old is None or new is None or new[1] is None:
            return None
        size = new[0].log_size
        return build_consistency(
            self._suite,
            old[0],
            CertifiedHeader(new[0], new[1]),
            log_path=ledger.consistency_path(old[0].log_size, size),
            header_path=ledger.inclusion_path(old[0].log_size, size),
            handovers=self.carried_handovers(new[0].epoch),
        )

    def records(self, query: RecordQuery, *, limit: int, start: int) -> RecordPage:
        """Return up to `limit` matching records from log index `start` on, in log order."""
        return self._ledger.records(query, limit=limit, start=start)

    def status_of(self, found: FoundRecord) -> RecordStatus:
        """Return whether a record still stands, by the state at the tip."""
        record = found.leaf.record
        if record.reference is None:
            return RecordStatus.NONE
        key = reference_key(found.leaf.sender, record.type_code, record.reference)
        value = self._ledger.get(key)
        if value is None:
            return RecordStatus.NONE
        current = ReferenceStatus.decode(value)
        if current.has_withdrawn(found.log_index):
            return RecordStatus.WITHDRAWN
        is_current = current.log_index == found.log_index
        return RecordStatus.IN_FORCE if is_current else RecordStatus.SUPERSEDED

    def _find_anywhere(self, tx_id: bytes) -> tuple[StoredBlock, int] | None:
        """Find a transaction however old it may be."""
        found = self._find(tx_id)
        if found is None and self._ledger.missing:
            raise self._ledger.not_held_yet()
        return found

    def _find(self, tx_id: bytes) -> tuple[StoredBlock, int] | None:
        place = self._ledger.find_transaction(tx_id)
        if place is None:
            return None
        block = self.block(place[0])
        return None if block is None else (block, place[1])


def _set_parameters(block: StoredBlock) -> Iterator[Parameters]:
    """Yield all parameters that transactions of a block ask for, whatever became of them."""
    for index in range(len(block.encoded_transactions)):
        payload = block.transaction(index).body.payload
        if isinstance(payload, Governance):
            for operation in payload.operations:
                if isinstance(operation, SetParameters):
                    yield operation.parameters
