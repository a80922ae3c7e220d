"""The standing of a reference, proved offline: in force, withdrawn, or never recorded, as of a T.

A proof holds what the state has under (issuer, type, reference), or that it has nothing there, up
to the state root of a certified header. It is kept in a file named `*.standing`; the page
proto/STANDING.md says how to verify it. Pure: how old a proof may be is for its reader to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from node.chain.block import CertifiedHeader
from node.chain.encoding import decode, encode, expect_array, expect_blob, expect_version
from node.chain.reference import ReferenceName, ReferenceStatus
from node.chain.state_tree import StateProof, verify_proof
from node.crypto.suite import Suite
from node.errors import DecodeError, ProofError
from node.limits import RECEIPT_BYTES_MAX, STATE_VALUE_BYTES_MAX
from node.timestamp.history import Handover, expect_equal, read_handovers
from node.timestamp.receipt import Receipt, digest_name, expect_suite, iso_time
from node.timestamp.steps import CertifiedClaim, Judgement, Outcome, expect_past, take_steps
from node.timestamp.trust import TrustAnchor

STANDING_SUFFIX: Final = ".standing"
STANDING_FORMAT: Final = "govchain-standing"
STANDING_PREFIX: Final = encode([STANDING_FORMAT, *[None] * 8])[: 2 + len(STANDING_FORMAT)]
"""What such a file, and no other of ours, begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingProof:
    """What the state after a block holds under a reference. Proves nothing until verified."""

    suite: Suite
    name: ReferenceName
    status: ReferenceStatus | None
    """None where nothing was ever recorded."""
    proof: StateProof
    block: CertifiedHeader
    """The header whose state root it leads to, and its commit certificate."""
    handovers: tuple[Handover, ...]
    """As in a receipt."""

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `standing-proof`."""
        return encode(
            [
                STANDING_FORMAT,
                1,
                self.suite.suite_id,
                self.name.to_value(),
                None if self.status is None else self.status.encode(),
                self.proof.to_value(),
                *self.block.to_value(),
                [handover.to_value() for handover in self.handovers],
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> StandingProof:
        """Read a proof; raises `DecodeError` on all but the canonical bytes of one."""
        form, version, suite_id, name, status, proof, header, certificate, handovers = expect_array(
            decode(data, what="standing proof", size_max=RECEIPT_BYTES_MAX), 9, "standing proof"
        )
        if form != STANDING_FORMAT:
            raise DecodeError(f"standing proof: expected {STANDING_FORMAT!r}, got {form!r:.40}")
        expect_version(version, "standing proof")
        suite = expect_suite(suite_id, "standing proof suite")
        return cls(
            suite=suite,
            name=ReferenceName.from_value(name),
            status=None if status is None else _read_status(status),
            proof=StateProof.from_value(proof),
            block=CertifiedHeader.from_value([header, certificate], suite.signature_size),
            handovers=read_handovers(handovers, suite, "standing proof handovers"),
        )


class StandingStep(IntEnum):
    """The steps of verification, in their order."""

    PROOF = 1
    NAME = 2
    STATE = 3
    CERTIFICATE = 4
    ROOT = 5
    SIGNATURES = 6
    HISTORY = 7
    RECORD = 8


class Fate(Enum):
    """What stands under a reference; beside a receipt, what became of its record."""

    ABSENT = "absent"
    """Nothing was ever recorded under it."""
    IN_FORCE = "in_force"
    SUPERSEDED = "superseded"
    """Only of a record: a later one is in force, and nothing was withdrawn since."""
    WITHDRAWN = "withdrawn"
    """Of a record, for good: whatever is recorded under the reference later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingAttestation:
    """What a quorum attests of a reference. Times are milliseconds since 1970 UTC."""

    name: ReferenceName
    status: ReferenceStatus | None
    fate: Fate
    """Of the receipt's record, where one was given, else of the reference."""
    height: int
    """Of the block after which it is so; of what came later nothing is said."""
    time_ms: int
    """T of that block."""
    time_degraded: bool
    """True where the validators could not vouch for T: rely on the seal time alone."""
    accuracy_ms: int | None
    """How far T may lie from UTC, as genesis promises; None if that must not be stated."""
    seal_time_ms: int
    """S, the lower median of the times the votes sign."""
    signers: tuple[str, ...]
    """Validator ids, in index order."""
    validator_count: int

    @property
    def known_ms(self) -> int:
        """Return as of when it is known: T, or S where nobody vouches for T."""
        return self.seal_time_ms if self.time_degraded else self.time_ms


StandingVerdict = Judgement[StandingAttestation]
"""What is attested is there if all steps have passed."""


def verify_standing(
    proof: bytes,
    anchor: TrustAnchor,
    name: ReferenceName | None = None,
    receipt: Receipt | None = None,
    *,
    now_ms: int | None = None,
) -> StandingVerdict:
    """Verify what stands, or never stood, under a reference after a block. Never raises.

    1. PROOF: the bytes are the canonical encoding of a standing proof.
    2. NAME: it is about `name`; without one, whatever it says.
    3. STATE: status, or absence, and siblings lead to the header's state root.
    4. CERTIFICATE: it is a COMMIT certificate of exactly this header.
    5. ROOT: the anchor is of this chain, and its sets or the handovers give the set of the header's
       epoch. An epoch older than the anchor's is not rooted: its keys are retired.
    6. SIGNATURES: distinct members of that set reach the quorum; every signature is valid.
    7. HISTORY: header, handovers and the anchor's headers can all stand on one chain, and T is not
       after `now_ms`, the verifier's clock (ms since 1970 UTC), by more than that may err; None
       asks no clock.
    8. RECORD, only with a `receipt`, verified already: it is of a record under this name, the proof
       is no older than its block, the two can stand on one chain, and the status is not of an
       earlier record. Then what is attested is the fate of that record.

    The first failed step ends it: `NOT_ROOTED` if step 5 lacks a root, else `NOT_VERIFIED`.
    """
    return _Verification(proof, anchor, name, receipt, now_ms).run()


class _Verification:
    """One run through the steps."""

    def __init__(
        self,
        data: bytes,
        anchor: TrustAnchor,
        name: ReferenceName | None,
        receipt: Receipt | None,
        now_ms: int | None,
    ) -> None:
        self._data, self._anchor, self._name, self._receipt = data, anchor, name, receipt
        self._now_ms = now_ms
        self._proof: StandingProof
        self._claim: CertifiedClaim
        self._fate: Fate

    def run(self) -> StandingVerdict:
        outcome, reports = take_steps(self._steps())
        attestation = self._attestation() if outcome is Outcome.VERIFIED else None
        return Judgement(outcome, reports, attestation)

    def _steps(self) -> Iterator[tuple[StandingStep, Callable[[], str]]]:
        yield StandingStep.PROOF, self._decode
        proof = self._proof
        self._claim = claim = CertifiedClaim(
            proof.block, proof.handovers, proof.suite, self._anchor
        )
        yield StandingStep.NAME, self._check_name
        yield StandingStep.STATE, self._check_state
        yield StandingStep.CERTIFICATE, claim.check_certificate
        yield StandingStep.ROOT, claim.find_validators
        yield StandingStep.SIGNATURES, claim.check_signatures
        yield StandingStep.HISTORY, self._check_history
        self._fate = _fate_of(proof.status)
        if self._receipt is not None:
            receipt = self._receipt
            yield StandingStep.RECORD, lambda: self._check_record(receipt)

    def _decode(self) -> str:  # step 1
        self._proof = StandingProof.decode(self._data)
        return f"version 1, {len(self._data)} bytes, suite {self._proof.suite.name}"

    def _check_name(self) -> str:  # step 2
        if self._name is not None:
            expect_equal("standing-name", self._name, self._proof.name)
        return str(self._proof.name)

    def _check_state(self) -> str:  # step 3
        proof, header = self._proof, self._proof.block.header
        value = None if proof.status is None else proof.status.encode()
        verify_proof(header.state_root, proof.name.key, value, proof.proof, proof.suite)
        if proof.status is None:
            return f"nothing, after height {header.height}, T {iso_time(header.time_ms)}"
        return f"record {proof.status.version}, after height {header.height}"

    def _check_history(self) -> str:  # step 7
        told = self._claim.check_history()
        expect_past(self._proof.block.header.time_ms, self._now_ms)
        return told

    def _check_record(self, receipt: Receipt) -> str:  # step 8
        leaf, header = receipt.leaf, self._proof.block.header
        record, status = leaf.record, self._proof.status
        if record.reference is None:
            raise ProofError("standing-record", "expected a record with a reference, got none")
        named = ReferenceName(leaf.sender, record.type_code, record.reference)
        expect_equal("standing-record", self._proof.name, named)
        if header.height < leaf.height:
            raise ProofError(
                "standing-older", f"expected height {leaf.height} or later, got {header.height}"
            )
        anchor = self._anchor
        theirs = CertifiedClaim(receipt.block, receipt.handovers, receipt.suite, anchor)
        anchor.check_joined([*theirs.blocks, *self._claim.blocks])
        if status is None or status.log_index < receipt.log_index:
            got = "none" if status is None else f"{status.log_index}"
            expected = f"expected log index {receipt.log_index} or later"
            raise ProofError("standing-contradicts", f"{expected}, got {got}")
        if status.log_index == receipt.log_index:
            told = (status.height, status.time_ms, status.digest_algorithm, status.digest.hex())
            recorded = (leaf.height, leaf.time_ms, record.digest_algorithm, record.digest.hex())
            expect_equal("standing-contradicts", recorded, told)
        elif status.has_withdrawn(receipt.log_index):
            self._fate = Fate.WITHDRAWN
        else:
            self._fate = Fate.SUPERSEDED
        return self._fate.value

    def _attestation(self) -> StandingAttestation:
        header, claim = self._proof.block.header, self._claim
        return StandingAttestation(
            name=self._proof.name,
            status=self._proof.status,
            fate=self._fate,
            height=header.height,
            time_ms=header.time_ms,
            time_degraded=header.time_degraded,
            accuracy_ms=claim.accuracy_ms,
            seal_time_ms=self._proof.block.certificate.seal_time_ms(),
            signers=claim.signers,
            validator_count=claim.validators.size,
        )


def status_digest(status: ReferenceStatus) -> str:
    """Return the digest of the latest record, as `algorithm:hex`."""
    return f"{digest_name(status.digest_algorithm)}:{status.digest.hex()}"


def _fate_of(status: ReferenceStatus | None) -> Fate:
    if status is None:
        return Fate.ABSENT
    return Fate.IN_FORCE if status.is_in_force else Fate.WITHDRAWN


def _read_status(value: object) -> ReferenceStatus:
    return ReferenceStatus.decode(
        expect_blob(value, "standing proof status", size_max=STATE_VALUE_BYTES_MAX)
    )
