"""Offline verification of a receipt: ten numbered steps, a verdict, and what is then attested.

The same steps, with every hashed and signed byte, are in proto/RECEIPT.md for those who write a
verifier of their own. Pure: no clock is read, so a receipt verifies in fifty years as it does now.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import TypeVar

from node.chain.compact import Checkpoint, CompactCertificate
from node.chain.merkle import TreeHead, leaf_hash, verify_inclusion
from node.chain.record import Record
from node.crypto.bls_backend import MissingLibraryError
from node.crypto.revocation import RevocationList
from node.crypto.suite import SHA_256, DocumentDigest, document_digest_by_name
from node.errors import ClientError, CryptoError, ProofError
from node.timestamp.compact import CompactProof
from node.timestamp.consistency import (
    ConsistencyAttestation,
    ConsistencyProof,
    verify_consistency_proof,
)
from node.timestamp.cose import CoseSignature
from node.timestamp.export import NATIVE
from node.timestamp.history import expect_equal
from node.timestamp.log.checkpoint import check_collected
from node.timestamp.log.note import Note
from node.timestamp.opening import open_receipt
from node.timestamp.receipt import PublicCheckpoint, Receipt, iso_time
from node.timestamp.steps import (
    COMPACT_CERTIFICATE,
    CertifiedClaim,
    Finding,
    Judgement,
    NotRootedError,
    Outcome,
    Proven,
    StepReport,
    expect_document,
    expect_in_force,
    expect_past,
    take_steps,
)
from node.timestamp.tokens.check import Expectation, verify_token
from node.timestamp.tokens.of_record import carries_chain_proof, check_record_token
from node.timestamp.tokens.reading import is_token_or_answer
from node.timestamp.tokens.request import TimeStampRequest
from node.timestamp.trust import TrustAnchor

__all__ = [
    "Attestation",
    "NamedDigest",
    "Outcome",
    "ReceiptVerifier",
    "Step",
    "StepReport",
    "Verdict",
    "check_record_in_block",
    "verify_receipt",
]


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
    TOKEN = 9
    RECORD = 10


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
    joined_height: int | None = None
    """Of the later block whose votes these are, where the keys of the record's own are retired."""


_Found = TypeVar("_Found")
Verdict = Judgement[Attestation]
"""Of a receipt. What is attested is there once steps 1 to 9 have passed: also for a withdrawal."""


@dataclass(frozen=True, slots=True)
class NamedDigest:
    """A document as its holder knows it: a digest and the algorithm that gave it."""

    algorithm: DocumentDigest
    value: bytes

    def __str__(self) -> str:
        return f"{self.algorithm.name}:{self.value.hex()}"

    @classmethod
    def parse(cls, text: str, unnamed: DocumentDigest = SHA_256) -> NamedDigest:
        """Read `ALGORITHM:HEX`, or `HEX`, taken for one of `unnamed`; raises `ClientError`."""
        name, colon, digits = text.rpartition(":")
        try:
            algorithm = document_digest_by_name(name) if colon else unnamed
            value = bytes.fromhex(digits)
        except (CryptoError, ValueError) as error:
            raise ClientError(f"digest: expected HEX or ALGORITHM:HEX, got {text!r:.90}") from error
        if len(value) != algorithm.size or len(digits) != 2 * len(value):
            raise ClientError(
                f"digest: expected {2 * algorithm.size} hex digits, got {len(digits)}"
            )
        return cls(algorithm, value)


def verify_receipt(
    receipt: bytes,
    anchor: TrustAnchor,
    document: NamedDigest,
    *,
    now_ms: int | None = None,
    request: TimeStampRequest | None = None,
    certificates: Sequence[bytes] = (),
    revocations: Sequence[RevocationList] = (),
) -> Verdict:
    """Verify that a document was recorded on the anchor's chain, and when. Never raises.

    1. RECEIPT: the bytes are the canonical encoding of a receipt, holding a record leaf, or of
       another format that carries one (`opening.py`) and says nothing else.
    2. DOCUMENT: the record's digest and its algorithm are the document's.
    3. BLOCK: receipt and header name one chain; leaf and header one height and one T.
    4. LOG: the path leads from the leaf, at its index below the size, to the header's log root.
    5. CERTIFICATE: it is a COMMIT certificate of exactly this header.
    6. ROOT: the anchor is of this chain, and its sets or the receipt's handovers give the set of
       the header's epoch. An epoch older than the anchor's is not rooted: its keys are retired.
       A refreshed receipt is: what joins it to a later header verifies, and is of its header.
    7. SIGNATURES: distinct members of that set reach the quorum; every signature is valid. So it is
       with a public checkpoint and with a compact certificate, if the receipt holds them, and
       their paths lead to their roots. Where no library for it is installed, the aggregate
       signature of a compact certificate is named as `unchecked`: the votes say all that is
       attested, and nothing is taken from that certificate.
    8. HISTORY: header, handovers and the anchor's headers can all stand on one chain, and T is not
       in the future by `now_ms`, the verifier's clock in ms since 1970 UTC. None asks no clock. Nor
       is the time in header 270 of a COSE Receipt.
    9. TOKEN: a time-stamp token, if there is one, says what record and header say, in the one form
       of this chain's tokens, by a key that an organisation of the genesis vouched for then.
    10. RECORD: it is not a withdrawal.

    The first failed step ends it: `NOT_ROOTED` if step 6 or 9 lacks a root, or if a format carries
    no receipt and is one key's word; else `NOT_VERIFIED`. A time-stamp token that carries no
    receipt is verified by the steps of `tokens/check.py`. With a `request` there has to be a token,
    and it has to answer that. `certificates` (PEM or DER) are at hand for a token that holds none,
    believed no more than its own would be. `revocations` are of the authorities' certificates: they
    undo a token alone, and are told of one that a receipt holds, which rests on no such key.
    """
    expected = Expectation(
        document=(document.algorithm, document.value),
        roots=anchor.authorities,
        certificates=certificates,
        request=request,
        now_ms=now_ms,
        revocations=revocations,
    )
    return _judge(receipt, anchor, document, expected, Proven())


def _judge(
    receipt: bytes,
    anchor: TrustAnchor,
    document: NamedDigest,
    expected: Expectation,
    proven: Proven,
) -> Verdict:
    if is_token_or_answer(receipt) and not carries_chain_proof(receipt):
        outcome, steps = verify_token(receipt, expected)
        return Judgement(outcome, steps, None)
    return _Verification(receipt, anchor, document, expected, proven).run()


class ReceiptVerifier:
    """Verifies many receipts by one anchor: what they share is checked once."""

    def __init__(self, anchor: TrustAnchor) -> None:
        """Begin with nothing checked."""
        self._anchor, self._proven = anchor, Proven()

    def verify(self, receipt: bytes, document: NamedDigest) -> Verdict:
        """Return what `verify_receipt` does, by the anchor. Never raises."""
        expected = Expectation(
            document=(document.algorithm, document.value), roots=self._anchor.authorities
        )
        return _judge(receipt, self._anchor, document, expected, self._proven)


def check_record_in_block(receipt: bytes, anchor: TrustAnchor, document: NamedDigest) -> Receipt:
    """Take steps 1 to 5, which need no keys; return the receipt: so its header holds the record.

    Whether that header is of the chain is for the caller to find out. Raises `CryptoError`,
    `DecodeError`, `ProofError`, or `NotRootedError` for a format that carries no receipt.
    """
    expected = Expectation(document=(document.algorithm, document.value), roots=())
    return _Verification(receipt, anchor, document, expected, Proven()).check_block()


class _Verification:
    """One run through the steps. A step returns what it found or raises what it missed."""

    def __init__(
        self,
        data: bytes,
        anchor: TrustAnchor,
        document: NamedDigest,
        expected: Expectation,
        proven: Proven,
    ) -> None:
        """`proven` holds what was checked before by this anchor."""
        self._data = data
        self._anchor = anchor
        self._document = document
        self._expected = expected
        self._proven = proven
        self._receipt: Receipt
        self._stamped_ms: int | None
        self._joining: ConsistencyProof | None
        self._joined: ConsistencyAttestation | None = None
        self._claim: CertifiedClaim

    def run(self) -> Verdict:
        outcome, reports = take_steps(self._steps())
        attested = reports[-1].step is Step.RECORD
        return Judgement(outcome, reports, self._attestation() if attested else None)

    def check_block(self) -> Receipt:
        for step, check in self._steps():
            if step is Step.ROOT:
                break
            check()
        return self._receipt

    def _steps(self) -> Iterator[tuple[Step, Callable[[], str | Finding]]]:
        yield Step.RECEIPT, self._decode_receipt
        receipt = self._receipt
        subject = (receipt.block, receipt.handovers, receipt.suite)
        claim = self._proven.once(subject, lambda: CertifiedClaim(*subject, self._anchor))
        self._claim = claim
        yield Step.DOCUMENT, self._check_document
        yield Step.BLOCK, self._check_block
        yield Step.LOG, self._check_log
        yield Step.CERTIFICATE, partial(self._once, "certificate", claim.check_certificate)
        yield Step.ROOT, self._find_validators
        yield Step.SIGNATURES, self._check_signatures
        yield Step.HISTORY, self._check_history
        yield Step.TOKEN, self._check_token
        yield Step.RECORD, self._check_record

    def _decode_receipt(self) -> str:  # step 1
        opened = open_receipt(self._data)
        self._receipt, self._joining = opened.receipt, opened.joined
        self._stamped_ms = opened.stamped_ms
        carrier = "" if opened.format == NATIVE else f"carried by {opened.format}: "
        if self._stamped_ms is not None:
            time = iso_time(self._stamped_ms)
            carrier += f"its signature was stamped at {time}, by an authority that nobody checked: "
        return f"{carrier}version 1, {opened.size_bytes} bytes, suite {self._receipt.suite.name}"

    def _check_document(self) -> str:  # step 2
        return expect_document(self._receipt.leaf.record, str(self._document))

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

    def _find_validators(self) -> str:  # step 6
        if self._joining is None:
            return self._once("validators", self._claim.find_validators)
        found = verify_consistency_proof(self._joining.encode(), self._anchor)
        self._joined, failure = found.attestation, found.failure
        if failure is not None:
            said = f"joined: step {int(failure.step)}: {failure.detail}"
            if found.outcome is Outcome.NOT_ROOTED:
                raise NotRootedError(said, failure.epochs)
            raise ProofError("refreshed-proof", said)
        old, own = self._joining.old.digest(self._receipt.suite), self._receipt.block.header
        expect_equal("refreshed-header", own.digest(self._receipt.suite).hex(), old.hex())
        own_set = self._claim.find_validators(is_joined=True)
        later = self._joining.block.header
        return f"{own_set}; joined to height {later.height} of epoch {later.epoch}"

    def _check_signatures(self) -> str | Finding:  # step 7
        found = self._once("signatures", self._claim.check_signatures)
        cose = self._receipt.cose
        if cose is not None:
            self._once(cose, partial(self._check_cose, cose))
            found = f"{found}; the COSE signature too"
        if self._receipt.checkpoint is not None:
            self._check_checkpoint(self._receipt.checkpoint)
            found = f"{found}; the public checkpoint too"
        if self._receipt.compact is not None:
            missing = self._check_compact(self._receipt.compact)
            if missing is not None:
                return Finding(
                    f"{found}; {COMPACT_CERTIFICATE} not checked: {missing}", COMPACT_CERTIFICATE
                )
            found = f"{found}; the {COMPACT_CERTIFICATE} too"
        return found

    def _check_cose(self, cose: CoseSignature) -> None:
        validators = self._claim.validators
        if cose.vote_key not in [each.vote_key for each in validators.validators]:
            raise ProofError("cose-key", f"no validator's of epoch {validators.epoch}")
        cose.check(self._anchor.chain_id, self._receipt.block.header.log_roots[0])

    def _check_checkpoint(self, public: PublicCheckpoint) -> None:
        receipt, hash_function = self._receipt, self._receipt.suite.hash
        collected = self._once(
            public.note,
            lambda: check_collected(
                Note.decode(public.note), receipt.chain_id, self._claim.validators
            ),
        )
        leaf = leaf_hash(receipt.leaf.encode(), hash_function)
        head = collected.checkpoint.head
        verify_inclusion(leaf, receipt.log_index, public.path, head, hash_function)

    def _check_compact(self, proof: CompactProof) -> str | None:
        """Check it; return why its aggregate signature was not checked, if it was not."""
        receipt, certificate = self._receipt, proof.certificate
        block, at = receipt.block, certificate.checkpoint
        missing = self._once(certificate, partial(self._check_aggregate, certificate))
        leaf = leaf_hash(receipt.leaf.encode(), receipt.suite.hash)
        head = TreeHead(at.log_size, at.log_root)
        verify_inclusion(leaf, receipt.log_index, proof.log_path, head, receipt.suite.hash)
        if at.height < block.header.height:
            raise ProofError("compact-height", f"expected at least {block.header.height}")
        stated = Checkpoint.of(block.header, block.certificate.subject.header_digest)
        if at.height == block.header.height and at != stated:
            raise ProofError("compact-fork", f"another header of height {at.height}")
        return missing

    def _check_aggregate(self, certificate: CompactCertificate) -> str | None:
        """Check all of a compact certificate; return which library it takes, if that is missing."""
        try:
            certificate.check(self._receipt.chain_id, self._claim.validators)
        except MissingLibraryError as error:
            return str(error)
        return None

    def _once(self, subject: Hashable, check: Callable[[], _Found]) -> _Found:
        """Check what rests on the claim alone, unless it was with another receipt."""
        return self._proven.once((self._claim, subject), check)

    def _check_history(self) -> str:  # step 8
        joined = () if self._joining is None else self._joining.blocks
        found = self._once(joined, partial(self._claim.check_history, joined))
        times = [block.header.time_ms for block in (self._receipt.block, *joined)]
        for time_ms in (*times, self._stamped_ms or 0):
            expect_past(time_ms, self._expected.now_ms)
        return found

    def _check_token(self) -> str:  # step 9
        if self._receipt.token is None:
            if self._expected.request is not None:
                raise ProofError("token-missing", "expected one that answers the request, got none")
            return "none"
        return check_record_token(self._receipt, self._expected, self._claim.accuracy_ms)

    def _check_record(self) -> str:  # step 10
        return expect_in_force(self._receipt.leaf.record)

    def _attestation(self) -> Attestation:
        leaf, header = self._receipt.leaf, self._receipt.block.header
        # Retired keys may sign any time: then the votes that count are those of the later header.
        joined = self._joined if self._claim.is_retired else None
        proof = self._receipt if joined is None or self._joining is None else self._joining
        return Attestation(
            record=leaf.record,
            sender=leaf.sender,
            tx_id=leaf.tx_id,
            operation_index=leaf.operation_index,
            height=header.height,
            time_ms=header.time_ms,
            time_degraded=header.time_degraded,
            accuracy_ms=self._claim.accuracy_ms,
            seal_time_ms=proof.block.certificate.seal_time_ms(),
            signers=self._claim.signers if joined is None else joined.signers,
            validator_count=(
                self._claim.validators.size if joined is None else joined.validator_count
            ),
            joined_height=None if joined is None else joined.new.height,
        )
