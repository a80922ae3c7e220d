"""Verification of an anchor in eleven steps, offline: by when an authority outside knew a record.

The page proto/ANCHOR.md says the same for those who write a verifier of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from node.chain.block import Header
from node.chain.merkle import TreeHead, leaf_hash, verify_inclusion
from node.chain.record import encode_header_leaf
from node.errors import ProofError
from node.timestamp.history import expect_equal
from node.timestamp.outside.anchor import Anchor, AnchoredCheckpoint
from node.timestamp.outside.kinship import find_insider
from node.timestamp.outside.stamp import (
    OutsideAuthority,
    OutsideStamp,
    StampVerdict,
    verify_stamp,
)
from node.timestamp.receipt import Receipt, iso_time
from node.timestamp.steps import (
    CertifiedClaim,
    Judgement,
    NotRootedError,
    Outcome,
    expect_in_force,
    take_steps,
)
from node.timestamp.tokens.issuing import without_unsigned_attributes
from node.timestamp.tokens.request import TimeStampRequest
from node.timestamp.trust import TrustAnchor
from node.timestamp.verify import NamedDigest, check_record_in_block


class AnchorStep(IntEnum):
    """The steps of verification, in their order."""

    ANCHOR = 1
    CERTIFICATE = 2
    HANDOVERS = 3
    STAMP = 4
    ROOT = 5
    SIGNATURES = 6
    HISTORY = 7
    TIME = 8
    RECEIPT = 9
    JOIN = 10
    RECORD = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorAttestation:
    """What is shown: the quorum's word for `header` existed by the time of the stamp."""

    stamp: OutsideStamp
    header: Header
    """The one that was anchored."""
    signers: tuple[str, ...]
    """Ids of the validators who signed `header`, in index order."""
    validator_count: int
    receipt: Receipt | None
    """Of the record that `header` covers, where one was given: so it existed by then, too."""
    insider: str | None
    """Who of the chain is behind the stamp: then it says no more than the votes do. None: nobody
    as far as certificates show."""


AnchorVerdict = Judgement[AnchorAttestation]
"""What is attested is there if all steps have passed."""


@dataclass(frozen=True, slots=True)
class AnchoredRecord:
    """A record of which it is asked whether the anchor covers it."""

    receipt: bytes
    """In any format that carries a native one. Its certificate need not be rooted any more."""
    document: NamedDigest


def verify_anchor(
    data: bytes,
    trust: TrustAnchor,
    authority: OutsideAuthority,
    record: AnchoredRecord | None = None,
    *,
    now_ms: int | None = None,
    request: TimeStampRequest | None = None,
) -> AnchorVerdict:
    """Verify that a header of the trusted chain, and a record, existed by an outside time.

    Never raises. `now_ms` is a time that no true stamp is after; `request` is the one that the
    token answers, where it is at hand.

    1. ANCHOR: the bytes are the canonical encoding of an anchor.
    2. CERTIFICATE: it is a COMMIT certificate of exactly the anchored header.
    3. HANDOVERS: they are of consecutive epochs, up to the one before the header's, each once.
    4. STAMP: the token is over the checkpoint, and the authority's: the steps of `stamp.py`.
       *Not rooted where it leads to none of the given certificates.*
    5. ROOT: as of a receipt, but that the epoch may be retired by now if the stamp is from before
       its end, when its keys decided still, and nobody of the chain is behind it: whoever has
       retired keys has those of that machine's time-stamping too, and dates as they like.
    6. SIGNATURES: as of a receipt.
    7. HISTORY: as of a receipt.
    8. TIME: the stamp is not from before the header's T, by more than both may err.
    9. RECEIPT: steps 1 to 5 of a receipt pass, and it is of this chain and no later block.
    10. JOIN: the receipt's header is the anchored one, or its leaf is in that one's log.
    11. RECORD: it is not a withdrawal.

    Without a record the last three are not taken, and there must be no header path. The first
    failed step ends it: `NOT_ROOTED` if step 4 or 5 lacks a root, or 9 a receipt in a file of
    another format; else `NOT_VERIFIED`.
    """

    def judge(anchor: Anchor) -> StampVerdict:
        return verify_stamp(
            anchor.token, anchor.checkpoint.document, authority, request=request, now_ms=now_ms
        )

    return _Verification(data, trust, judge, record).run()


class _Verification:
    """One run through the steps."""

    def __init__(
        self,
        data: bytes,
        trust: TrustAnchor,
        judge: Callable[[Anchor], StampVerdict],
        record: AnchoredRecord | None,
    ) -> None:
        self._data, self._trust, self._judge, self._record = data, trust, judge, record
        self._anchor: Anchor
        self._claim: CertifiedClaim
        self._stamp: OutsideStamp
        self._receipt: Receipt

    def run(self) -> AnchorVerdict:
        outcome, reports = take_steps(self._steps())
        attestation = self._attestation() if outcome is Outcome.VERIFIED else None
        return Judgement(outcome, reports, attestation)

    def _steps(self) -> Iterator[tuple[AnchorStep, Callable[[], str]]]:
        yield AnchorStep.ANCHOR, self._decode
        checkpoint = self._anchor.checkpoint
        self._claim = claim = CertifiedClaim(
            checkpoint.block, checkpoint.handovers, checkpoint.suite, self._trust
        )
        yield AnchorStep.CERTIFICATE, claim.check_certificate
        yield AnchorStep.HANDOVERS, self._check_handovers
        yield AnchorStep.STAMP, self._check_stamp
        yield AnchorStep.ROOT, self._find_validators
        yield AnchorStep.SIGNATURES, claim.check_signatures
        yield AnchorStep.HISTORY, claim.check_history
        yield AnchorStep.TIME, self._check_time
        if self._record is not None:
            record = self._record
            yield AnchorStep.RECEIPT, lambda: self._check_receipt(record)
            yield AnchorStep.JOIN, self._check_join
            yield AnchorStep.RECORD, self._check_record

    @property
    def _header(self) -> Header:
        return self._anchor.checkpoint.block.header

    def _decode(self) -> str:  # step 1
        self._anchor = Anchor.decode(self._data)
        if self._record is None and self._anchor.header_path is not None:
            raise ProofError("anchor-path", "expected none without a receipt that it leads from")
        suite = self._anchor.checkpoint.suite
        return f"version 1, {len(self._data)} bytes, suite {suite.name}"

    def _check_handovers(self) -> str:  # step 3
        handovers = self._anchor.checkpoint.handovers
        epochs = [handover.block.header.epoch for handover in handovers]
        first = self._header.epoch - len(epochs)
        if epochs != list(range(first, self._header.epoch)):
            expected = f"those of the epochs before {self._header.epoch}, in order"
            raise ProofError("anchor-handovers", f"expected {expected}, got {len(epochs)}")
        return f"{len(epochs)} from epoch {first}"

    def _check_stamp(self) -> str:  # step 4
        anchor, verdict = self._anchor, self._judge(self._anchor)
        stamp, last = verdict.attestation, verdict.steps[-1]
        if stamp is None:
            said = f"token: step {int(last.step)}: {last.detail}"
            if verdict.outcome is Outcome.NOT_ROOTED:
                raise NotRootedError(said)
            raise ProofError("anchor-stamp", said)
        if without_unsigned_attributes(stamp.token) != anchor.token:
            raise ProofError("anchor-token", "expected a token alone, without unsigned attributes")
        self._stamp = stamp
        return f"{iso_time(stamp.time_ms)} by {stamp.authority}"

    def _find_validators(self) -> str:  # step 5
        in_time = self._is_stamped_in_time()
        if in_time and (insider := self._insider) is not None:
            raise NotRootedError(
                f"expected a stamp from outside the chain, got one of {insider}: "
                f"the keys of epoch {self._header.epoch} are retired"
            )
        return self._claim.find_validators(is_joined=in_time)

    @property
    def _insider(self) -> str | None:
        return find_insider(self._stamp.path, self._trust)

    def _is_stamped_in_time(self) -> bool:
        """Tell whether the stamp has the signatures be from before their keys were retired."""
        if not self._claim.is_retired:
            return False
        end = self._trust.handovers[self._header.epoch].block.header
        return self._stamp.latest_ms <= end.time_ms

    def _check_time(self) -> str:  # step 8
        accuracy_ms = self._trust.genesis.parameters.accuracy_ms
        latest_ms, time_ms = self._stamp.latest_ms, self._header.time_ms
        if latest_ms + accuracy_ms < time_ms:
            raise ProofError(
                "anchor-time", f"expected {iso_time(time_ms)} or later, got {iso_time(latest_ms)}"
            )
        return f"height {self._header.height}, T {iso_time(time_ms)}"

    def _check_receipt(self, record: AnchoredRecord) -> str:  # step 9
        receipt = check_record_in_block(record.receipt, self._trust, record.document)
        header = receipt.block.header
        expect_equal("anchor-suite", self._anchor.checkpoint.suite.name, receipt.suite.name)
        expect_equal("anchor-chain", self._header.chain_id.hex(), header.chain_id.hex())
        if header.height > self._header.height:
            least, got = header.height, self._header.height
            raise ProofError("anchor-height", f"expected at least height {least}, got {got}")
        self._receipt = receipt
        return f"index {receipt.log_index} of the log, height {header.height}"

    def _check_join(self) -> str:  # step 10, RFC 9162 section 2.1.3.2
        header, path = self._receipt.block.header, self._anchor.header_path
        suite, later = self._anchor.checkpoint.suite, self._header
        if header.height == later.height:
            expect_equal("anchor-fork", later.digest(suite).hex(), header.digest(suite).hex())
            if path is not None:
                raise ProofError("anchor-path", "expected none within the anchored block")
            return "the anchored block"
        if path is None:
            raise ProofError("anchor-path", f"expected one from height {header.height}")
        leaf = encode_header_leaf(header.height, header.digest(suite))
        head = TreeHead(later.log_size, later.log_roots[0])
        verify_inclusion(leaf_hash(leaf, suite.hash), header.log_size, path, head, suite.hash)
        return f"index {header.log_size} of {later.log_size}, path of {len(path)}"

    def _check_record(self) -> str:  # step 11
        return expect_in_force(self._receipt.leaf.record)

    def _attestation(self) -> AnchorAttestation:
        return AnchorAttestation(
            stamp=self._stamp,
            header=self._header,
            signers=self._claim.signers,
            validator_count=self._claim.validators.size,
            receipt=None if self._record is None else self._receipt,
            insider=self._insider,
        )


def check_checkpoint(checkpoint: AnchoredCheckpoint, trust: TrustAnchor) -> None:
    """Check what is to be stamped as steps 2, 5, 6 and 7 do, before anybody is asked.

    Raises what the first failed step raises: `CryptoError`, `PeerError`, `ProofError`, or
    `NotRootedError`, also where the keys of its epoch are retired: a stamp of now is too late.
    """
    claim = CertifiedClaim(checkpoint.block, checkpoint.handovers, checkpoint.suite, trust)
    for check in (
        claim.check_certificate,
        claim.find_validators,
        claim.check_signatures,
        claim.check_history,
    ):
        check()
