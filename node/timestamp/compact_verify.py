"""Offline verification of a compact receipt's text: six numbered steps. Pure, and it never raises.

proto/verify/qr.md spells out the same steps for verifiers written by others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from node.chain.block import Header
from node.chain.compact import Checkpoint
from node.chain.record import Record
from node.crypto.suite import SHA_256, DocumentDigest, document_digest_by_id
from node.errors import CryptoError, DecodeError, ProofError
from node.timestamp.compact import COMPACT_START, CompactReceipt
from node.timestamp.history import expect_equal, expect_rise
from node.timestamp.receipt import iso_time
from node.timestamp.steps import (
    Epochs,
    Judgement,
    NotRootedError,
    expect_document,
    expect_in_force,
    expect_past,
    take_steps,
)
from node.timestamp.trust import TrustAnchor
from node.timestamp.verify import NamedDigest


class CompactStep(IntEnum):
    """The steps of verification, in their order."""

    RECEIPT = 1
    DOCUMENT = 2
    ROOT = 3
    SIGNATURE = 4
    HISTORY = 5
    RECORD = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactAttestation:
    """What a quorum of the chain's validators attests together. Times are ms since 1970 UTC."""

    record: Record
    sender: str
    """Identity id of the submitter."""
    tx_id: bytes
    operation_index: int
    height: int
    """Of the block that committed the record."""
    time_ms: int
    """T of that block. Whether the validators vouched for it only the full receipt shows."""
    checkpoint_height: int
    """Of the header by which the log was signed."""
    signers: tuple[str, ...]
    """Validator ids, in index order."""
    validator_count: int


CompactVerdict = Judgement[CompactAttestation]
"""Attested once steps 1 to 5 have passed: also for a withdrawal, which is not verified."""


def is_compact(data: bytes) -> bool:
    """Tell whether a file is the text of a compact receipt, sound or not, by how it begins."""
    return data.lstrip().startswith(COMPACT_START)


def digest_algorithm_of_compact(text: bytes) -> DocumentDigest:
    """Return the algorithm to hash a document with before it is compared; SHA-256 if untold."""
    try:
        return document_digest_by_id(CompactReceipt.parse(text).leaf.record.digest_algorithm)
    except (CryptoError, DecodeError, ProofError):
        return SHA_256


def verify_compact(
    text: bytes, anchor: TrustAnchor, document: NamedDigest, *, now_ms: int | None = None
) -> CompactVerdict:
    """Verify that a document was recorded on the anchor's chain. Never raises.

    1. RECEIPT: the text is that of a compact receipt, and its path one of its index and log size.
    2. DOCUMENT: the record's digest and its algorithm are the document's.
    3. ROOT: the anchor is of this chain, and its latest epoch that of the checkpoint. Keys of an
       older one are retired; those of a newer one are not known: both are not rooted.
    4. SIGNATURE: distinct members of that set reach the quorum, and the aggregate is theirs over
       the checkpoint, whose log root is where the path leads.
    5. HISTORY: record and checkpoint fit the headers that the anchor holds, and the record is not
       of the future by `now_ms`, the verifier's clock in ms since 1970 UTC. None asks no clock.
    6. RECORD: it is not a withdrawal.

    The first failed step ends it: `NOT_ROOTED` if step 3 lacks a root, or step 4 the library that
    it takes, for there is no other signature; else `NOT_VERIFIED`.
    """
    return _Verification(text, anchor, document, now_ms).run()


class _Verification:
    """One run through the steps. A step returns what it found or raises what it missed."""

    def __init__(
        self, text: bytes, anchor: TrustAnchor, document: NamedDigest, now_ms: int | None
    ) -> None:
        self._text, self._anchor, self._document = text, anchor, document
        self._now_ms = now_ms
        self._receipt: CompactReceipt

    def run(self) -> CompactVerdict:
        outcome, reports = take_steps(self._steps())
        attested = len(reports) > CompactStep.HISTORY
        return Judgement(outcome, reports, self._attestation() if attested else None)

    def _steps(self) -> Iterator[tuple[CompactStep, Callable[[], str]]]:
        yield CompactStep.RECEIPT, self._parse
        yield CompactStep.DOCUMENT, self._check_document
        yield CompactStep.ROOT, self._find_validators
        yield CompactStep.SIGNATURE, self._check_signature
        yield CompactStep.HISTORY, self._check_history
        yield CompactStep.RECORD, self._check_record

    @property
    def _checkpoint(self) -> Checkpoint:
        return self._receipt.proof.certificate.checkpoint

    def _parse(self) -> str:  # step 1
        self._receipt = receipt = CompactReceipt.parse(self._text)
        place = f"index {receipt.log_index} of {self._checkpoint.log_size}"
        return f"version 1, {len(self._text)} characters, {place}"

    def _check_document(self) -> str:  # step 2
        return expect_document(self._receipt.leaf.record, str(self._document))

    def _find_validators(self) -> str:  # step 3
        receipt, anchor, epoch = self._receipt, self._anchor, self._checkpoint.epoch
        if (receipt.chain_id, receipt.suite) != (anchor.chain_id, anchor.suite):
            raise NotRootedError(
                f"expected chain {anchor.chain_id.hex()}, got {receipt.chain_id.hex()}"
            )
        if epoch < anchor.epoch:
            raise NotRootedError(
                f"expected epoch {anchor.epoch}, got {epoch}: its keys are retired",
                Epochs(epoch, anchor.epoch),
            )
        if epoch > anchor.epoch:
            raise NotRootedError(
                f"expected epoch {anchor.epoch}, got {epoch}: a newer trust file knows its keys",
                Epochs(epoch, anchor.epoch),
            )
        return f"epoch {epoch}, {anchor.validator_sets[epoch].size} validators"

    def _check_signature(self) -> str:  # step 4
        certificate, validators = self._receipt.proof.certificate, self._anchor.validator_sets[-1]
        certificate.check(self._anchor.chain_id, validators)
        at = certificate.checkpoint
        count = f"{len(certificate.indices)} of {validators.size}, quorum {validators.quorum}"
        return f"{count}, checkpoint at height {at.height}"

    def _check_history(self) -> str:  # step 5
        leaf, genesis = self._receipt.leaf, self._anchor.genesis
        if leaf.height > self._checkpoint.height:
            raise ProofError(
                "compact-height", f"expected at most {self._checkpoint.height}, got {leaf.height}"
            )
        expect_rise("compact-time", genesis.created_ms, leaf.time_ms, leaf.height)
        expect_past(leaf.time_ms, self._now_ms)
        for block in self._anchor.blocks:
            self._check_beside(block.header, block.certificate.subject.header_digest)
        pinned = self._anchor.pinned
        return "pinned at genesis" if pinned is None else f"pinned at height {pinned.header.height}"

    def _check_beside(self, header: Header, digest: bytes) -> None:
        """Check that record and checkpoint can stand on the chain of a certified header."""
        leaf, at = self._receipt.leaf, self._checkpoint
        if header.height == at.height:
            if Checkpoint.of(header, digest) != at:
                raise ProofError("compact-fork", f"another header is pinned at {at.height}")
        elif header.height < at.height:
            expect_rise("compact-log-size", header.log_size, at.log_size, at.height - header.height)
        elif header.epoch < at.epoch:
            raise ProofError("compact-epoch", f"epoch {at.epoch} began above {header.height}")
        else:
            expect_rise("compact-log-size", at.log_size, header.log_size, header.height - at.height)
        if (self._receipt.log_index < header.log_size) != (leaf.height <= header.height):
            raise ProofError("compact-place", f"the log held {header.log_size} at {header.height}")
        if leaf.height == header.height:
            expect_equal("compact-time", header.time_ms, leaf.time_ms)
        elif leaf.height < header.height:
            expect_rise("compact-time", leaf.time_ms, header.time_ms, header.height - leaf.height)
        else:
            expect_rise("compact-time", header.time_ms, leaf.time_ms, leaf.height - header.height)

    def _check_record(self) -> str:  # step 6
        leaf = self._receipt.leaf
        action = expect_in_force(leaf.record)
        return f"{action}, height {leaf.height}, T {iso_time(leaf.time_ms)}"

    def _attestation(self) -> CompactAttestation:
        leaf, certificate = self._receipt.leaf, self._receipt.proof.certificate
        members = self._anchor.validator_sets[-1].validators
        return CompactAttestation(
            record=leaf.record,
            sender=leaf.sender,
            tx_id=leaf.tx_id,
            operation_index=leaf.operation_index,
            height=leaf.height,
            time_ms=leaf.time_ms,
            checkpoint_height=certificate.checkpoint.height,
            signers=tuple(members[index].validator_id for index in certificate.indices),
            validator_count=len(members),
        )
