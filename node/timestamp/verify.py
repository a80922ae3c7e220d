"""Offline verification of a receipt: nine numbered steps, a verdict, and what is then attested.

The same steps, with every hashed and signed byte, are in proto/RECEIPT.md for those who write a
verifier of their own. Pure: no clock is read, so a receipt verifies in fifty years as it does now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum

from node.chain.certificate import Phase, check_certificate
from node.chain.membership import ValidatorSet
from node.chain.merkle import TreeHead, leaf_hash, verify_inclusion
from node.chain.record import Record, RecordAction
from node.crypto.suite import SHA_256, DocumentDigest, document_digest_by_name
from node.errors import ClientError, CryptoError, DecodeError, PeerError, ProofError
from node.timestamp.history import check_about, check_one_chain, expect_equal
from node.timestamp.receipt import Receipt, digest_name, iso_time
from node.timestamp.trust import TrustAnchor


class Outcome(Enum):
    """What verification comes to."""

    VERIFIED = "verified"
    NOT_VERIFIED = "not verified"
    """Something does not fit or a signature is wrong, or the record withdraws a document."""
    NOT_ROOTED = "not rooted"
    """Nothing is wrong so far, but the trust file does not lead to this receipt's validators."""


class Step(IntEnum):
    """The steps of verification, in their order."""

    RECEIPT = 1
    DOCUMENT = 2
    BLOCK = 3
    LOG = 4
    CERTIFICATE = 5
    ROOT = 6
    SIGNATURES = 7
    HISTORY = 8
    RECORD = 9


@dataclass(frozen=True, slots=True)
class StepReport:
    """How one step went."""

    step: Step
    passed: bool
    detail: str
    """What was found; for a failed step, what was expected and what was got."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """What a quorum of the chain's validators attests. Times are milliseconds since 1970 UTC."""

    record: Record
    sender: str
    """Identity id of the submitter."""
    tx_id: bytes
    operation_index: int
    height: int
    time_ms: int
    """T, the agreed time of the block."""
    time_degraded: bool
    """True where the validators could not vouch for T: rely on the seal time alone."""
    accuracy_ms: int | None
    """How far T may lie from UTC, as genesis promises; None if degraded or parameters changed."""
    seal_time_ms: int
    """S, the lower median of the times the votes sign."""
    signers: tuple[str, ...]
    """Validator ids, in index order."""
    validator_count: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a verification. Steps after a failed one were not taken and are not listed."""

    outcome: Outcome
    steps: tuple[StepReport, ...]
    attestation: Attestation | None
    """Present once steps 1 to 8 have passed: also for a withdrawal, which is not verified."""

    @property
    def failure(self) -> StepReport | None:
        """Return the step that failed, the last one taken; None when verified."""
        return None if self.steps[-1].passed else self.steps[-1]


@dataclass(frozen=True, slots=True)
class NamedDigest:
    """A document as its holder knows it: a digest and the algorithm that gave it."""

    algorithm: DocumentDigest
    value: bytes

    def __str__(self) -> str:
        return f"{self.algorithm.name}:{self.value.hex()}"

    @classmethod
    def parse(cls, text: str) -> NamedDigest:
        """Read `HEX`, taken for SHA-256, or `ALGORITHM:HEX`; raises `ClientError`."""
        name, colon, digits = text.rpartition(":")
        try:
            algorithm = document_digest_by_name(name) if colon else SHA_256
            value = bytes.fromhex(digits)
        except (CryptoError, ValueError) as error:
            raise ClientError(f"digest: expected HEX or ALGORITHM:HEX, got {text!r:.90}") from error
        if len(value) != algorithm.size or len(digits) != 2 * len(value):
            raise ClientError(
                f"digest: expected {2 * algorithm.size} hex digits, got {len(digits)}"
            )
        return cls(algorithm, value)


class _NotRootedError(Exception):
    """The trust file does not lead to the receipt; nothing is known to be wrong with it."""


def verify_receipt(receipt: bytes, anchor: TrustAnchor, document: NamedDigest) -> Verdict:
    """Verify that a document was recorded on the anchor's chain, and when. Never raises.

    1. RECEIPT: the bytes are the canonical encoding of a receipt, holding a record leaf.
    2. DOCUMENT: the record's digest and its algorithm are the document's.
    3. BLOCK: receipt and header name one chain; leaf and header one height and one T.
    4. LOG: the path leads from the leaf, at its index below the size, to the header's log root.
    5. CERTIFICATE: it is a COMMIT certificate of exactly this header.
    6. ROOT: the anchor is of this chain, and its sets or the receipt's handovers give the set of
       the header's epoch. An epoch older than the anchor's is not rooted: its keys are retired.
    7. SIGNATURES: distinct members of that set reach the quorum; every signature is valid.
    8. HISTORY: header, handovers and the anchor's headers can all stand on one chain.
    9. RECORD: it is not a withdrawal.

    The first failed step ends it: `NOT_ROOTED` if step 6 lacks a root, else `NOT_VERIFIED`.
    """
    return _Verification(receipt, anchor, document).run()


class _Verification:
    """One run through the steps. A step returns what it found or raises what it missed."""

    def __init__(self, data: bytes, anchor: TrustAnchor, document: NamedDigest) -> None:
        self._data = data
        self._anchor = anchor
        self._document = document
        self._receipt: Receipt
        self._validators: ValidatorSet

    def run(self) -> Verdict:
        steps: dict[Step, Callable[[], str]] = {
            Step.RECEIPT: self._decode_receipt,
            Step.DOCUMENT: self._check_document,
            Step.BLOCK: self._check_block,
            Step.LOG: self._check_log,
            Step.CERTIFICATE: self._check_certificate,
            Step.ROOT: self._find_validators,
            Step.SIGNATURES: self._check_signatures,
            Step.HISTORY: self._check_history,
            Step.RECORD: self._check_record,
        }
        reports: list[StepReport] = []
        outcome = Outcome.VERIFIED
        for step, check in steps.items():
            try:
                reports.append(StepReport(step, passed=True, detail=check()))
            except (CryptoError, DecodeError, PeerError, ProofError, _NotRootedError) as error:
                reports.append(StepReport(step, passed=False, detail=str(error)))
                unrooted = isinstance(error, _NotRootedError)
                outcome = Outcome.NOT_ROOTED if unrooted else Outcome.NOT_VERIFIED
                break
        attested = len(reports) > Step.HISTORY
        return Verdict(outcome, tuple(reports), self._attestation() if attested else None)

    def _decode_receipt(self) -> str:  # step 1
        self._receipt = Receipt.decode(self._data)
        return f"version 1, {len(self._data)} bytes, suite {self._receipt.suite.name}"

    def _check_document(self) -> str:  # step 2
        record = self._receipt.leaf.record
        recorded = f"{digest_name(record.digest_algorithm)}:{record.digest.hex()}"
        expect_equal("document-digest", recorded, str(self._document))
        return recorded

    def _check_block(self) -> str:  # step 3
        leaf, header = self._receipt.leaf, self._receipt.block.header
        expect_equal("receipt-chain", header.chain_id.hex(), self._receipt.chain_id.hex())
        expect_equal("leaf-height", header.height, leaf.height)
        expect_equal("leaf-time", header.time_ms, leaf.time_ms)
        return f"height {header.height}, T {iso_time(header.time_ms)}"

    def _check_log(self) -> str:  # step 4, RFC 9162 section 2.1.3.2
        receipt, header = self._receipt, self._receipt.block.header
        hash_function = receipt.suite.hash
        verify_inclusion(
            leaf_hash(receipt.leaf.encode(), hash_function),
            receipt.log_index,
            receipt.log_path,
            TreeHead(header.log_size, header.log_roots[0]),
            hash_function,
        )
        return f"index {receipt.log_index} of {header.log_size}, path of {len(receipt.log_path)}"

    def _check_certificate(self) -> str:  # step 5
        receipt = self._receipt
        check_about(receipt.block, receipt.suite)
        return f"header {receipt.block.certificate.subject.header_digest.hex()}"

    def _find_validators(self) -> str:  # step 6
        receipt, anchor = self._receipt, self._anchor
        epoch = receipt.block.header.epoch
        # The chain id settles the suite, but the steps so far hashed by the receipt's word for it.
        if (receipt.chain_id, receipt.suite) != (anchor.chain_id, anchor.suite):
            raise _NotRootedError(
                f"expected chain {anchor.chain_id.hex()}, got {receipt.chain_id.hex()}"
            )
        if epoch < anchor.epoch:
            raise _NotRootedError(
                f"expected epoch {anchor.epoch} or later, got {epoch}: its keys are retired"
            )
        first = receipt.handovers[0].block.header.epoch if receipt.handovers else epoch
        if first > anchor.epoch:
            raise _NotRootedError(
                f"expected handovers from epoch {anchor.epoch} or earlier, got from {first}"
            )
        validators = anchor.validator_sets[first]
        for handover in receipt.handovers:
            handover.check(anchor.chain_id, validators)
            validators = handover.next_set
            if validators.epoch <= anchor.epoch:
                known = anchor.validator_sets[validators.epoch]
                expect_equal("handover-known", known.digest.hex(), validators.digest.hex())
        expect_equal("handover-last", epoch, validators.epoch)
        self._validators = validators
        return f"epoch {epoch}, {validators.size} validators, {len(receipt.handovers)} handovers"

    def _check_signatures(self) -> str:  # step 7
        certificate, validators = self._receipt.block.certificate, self._validators
        check_certificate(certificate, self._anchor.chain_id, validators, Phase.COMMIT)
        return f"{len(certificate.votes)} of {validators.size}, quorum {validators.quorum}"

    def _check_history(self) -> str:  # step 8
        handed_over = [handover.block for handover in self._receipt.handovers]
        blocks = [*self._anchor.blocks, *handed_over, self._receipt.block]
        check_one_chain(self._anchor.genesis, blocks)
        pinned = self._anchor.pinned
        return "pinned at genesis" if pinned is None else f"pinned at height {pinned.header.height}"

    def _check_record(self) -> str:  # step 9
        action = self._receipt.leaf.record.action
        if action is RecordAction.WITHDRAW:
            raise ProofError("record-action", "expected a record in force, got a withdrawal")
        return action.name.lower()

    def _attestation(self) -> Attestation:
        leaf, header = self._receipt.leaf, self._receipt.block.header
        genesis, certificate = self._anchor.genesis, self._receipt.block.certificate
        unchanged = header.parameters_digest == genesis.parameters.digest(genesis.suite)
        promised = unchanged and not header.time_degraded
        members = self._validators.validators
        return Attestation(
            record=leaf.record,
            sender=leaf.sender,
            tx_id=leaf.tx_id,
            operation_index=leaf.operation_index,
            height=header.height,
            time_ms=header.time_ms,
            time_degraded=header.time_degraded,
            accuracy_ms=genesis.parameters.accuracy_ms if promised else None,
            seal_time_ms=certificate.seal_time_ms(),
            signers=tuple(members[vote.validator].validator_id for vote in certificate.votes),
            validator_count=self._validators.size,
        )
