"""Offline verification of a tlog-proof against a policy file: six numbered steps, a verdict.

Needs the proof, the policy and the document's digest, and nothing of ours: proto/verify/tlog.md
tells others how to do the same. Pure: no clock is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from node.chain.membership import ValidatorSet
from node.chain.merkle import leaf_hash, verify_inclusion
from node.chain.record import RecordLeaf
from node.crypto.suite import SHA_256, DocumentDigest, document_digest_by_id
from node.errors import CryptoError, DecodeError, ProofError
from node.timestamp.log.checkpoint import Checkpoint
from node.timestamp.log.policy import (
    LOG_RULE,
    QUORUM_RULE,
    Cosigned,
    LogPolicy,
    parse_policy,
    policy_of,
)
from node.timestamp.log.proof import FIRST_LINE, TlogProof, sha256
from node.timestamp.steps import (
    Epochs,
    Judgement,
    NotRootedError,
    Outcome,
    StepReport,
    expect_document,
    expect_in_force,
    expect_past,
    take_steps,
)
from node.timestamp.trust import TrustAnchor
from node.timestamp.verify import NamedDigest


class TlogStep(IntEnum):
    """The steps of verification, in their order."""

    PROOF = 1
    ENTRY = 2
    DOCUMENT = 3
    CHECKPOINT = 4
    INCLUSION = 5
    RECORD = 6


@dataclass(frozen=True, slots=True)
class TlogAttestation:
    """What is attested, and by whom."""

    leaf: RecordLeaf
    cosigned: Cosigned
    """Who cosigned the log it is in, and when."""


TlogVerdict = Judgement[TlogAttestation]
"""Attested once steps 1 to 5 have passed: also for a withdrawal, which is not verified. Not rooted
where the policy knows no log of this name, or too few of its keys: nothing is wrong so far then."""


def verify_tlog_proof(
    data: bytes, policy: LogPolicy, document: NamedDigest, *, now_ms: int | None = None
) -> TlogVerdict:
    """Check a proof against a policy and a document. Never raises.

    1. PROOF: the bytes are the one form of a proof.
    2. ENTRY: its extra data are the canonical encoding of a record leaf, which is not of the future
       by `now_ms`, the verifier's clock in ms since 1970 UTC. None asks no clock.
    3. DOCUMENT: the record's digest and its algorithm are the document's.
    4. CHECKPOINT: a log that the policy names signed it, and enough of its witnesses cosigned it;
       every line of a key that the policy knows is valid. *Not rooted where too few of them did,
       and others signed under names of that log: a newer policy may know their keys.*
    5. INCLUSION: the path leads from the leaf, at its index, to the checkpoint's root.
    6. RECORD: it is not a withdrawal.
    """
    return _Verification(data, policy, document, now_ms).run()


class _Verification:
    """The state of one verification: what the steps so far have established."""

    def __init__(
        self, data: bytes, policy: LogPolicy, document: NamedDigest, now_ms: int | None
    ) -> None:
        self._data, self._policy, self._document = data, policy, document
        self._now_ms = now_ms
        self._proof: TlogProof
        self._leaf: RecordLeaf
        self._cosigned: Cosigned

    def run(self) -> TlogVerdict:
        outcome, steps = take_steps(
            (
                (TlogStep.PROOF, self._decode),
                (TlogStep.ENTRY, self._read_entry),
                (TlogStep.DOCUMENT, self._check_document),
                (TlogStep.CHECKPOINT, self._check_checkpoint),
                (TlogStep.INCLUSION, self._check_inclusion),
                (TlogStep.RECORD, self._check_record),
            )
        )
        if len(steps) <= TlogStep.INCLUSION:
            return Judgement(outcome, steps, None)
        return Judgement(outcome, steps, TlogAttestation(self._leaf, self._cosigned))

    def _decode(self) -> str:
        self._proof = TlogProof.decode(self._data)
        return f"{len(self._data)} bytes, index {self._proof.index}"

    def _read_entry(self) -> str:
        self._leaf = RecordLeaf.decode(self._proof.entry)
        expect_past(self._leaf.time_ms, self._now_ms)
        return f"a record of {self._leaf.sender} at height {self._leaf.height}"

    def _check_document(self) -> str:
        return expect_document(self._leaf.record, str(self._document))

    def _check_checkpoint(self) -> str:
        note = self._proof.checkpoint
        origin = Checkpoint.parse(note.text).origin
        if not self._policy.knows(origin):
            raise NotRootedError(f"the policy names no log {origin:.120}")
        try:
            self._cosigned = self._policy.check(note)
        except ProofError as error:
            strangers = self._policy.strangers(note, origin)
            if error.rule in (LOG_RULE, QUORUM_RULE) and strangers:
                raise NotRootedError(
                    f"too few known keys signed it; unknown ones did: {', '.join(strangers):.200}"
                ) from error
            raise
        listed = ", ".join(self._cosigned.witnesses)
        return f"size {self._cosigned.checkpoint.head.size}, cosigned by {listed or 'nobody'}"

    def _check_inclusion(self) -> str:
        proof, head = self._proof, self._cosigned.checkpoint.head
        verify_inclusion(leaf_hash(proof.entry, sha256), proof.index, proof.path, head, sha256)
        return f"index {proof.index} of {head.size}, path of {len(proof.path)}"

    def _check_record(self) -> str:
        return expect_in_force(self._leaf.record)


def is_tlog_proof(data: bytes) -> bool:
    """Tell whether a file is one, by its first line."""
    return data.startswith(f"{FIRST_LINE}\n".encode())


def digest_algorithm_of_tlog(data: bytes) -> DocumentDigest:
    """Return the algorithm to hash a document with before it is compared with a proof.

    SHA-256 where the bytes do not tell: verification then says what is wrong with them.
    """
    try:
        leaf = RecordLeaf.decode(TlogProof.decode(data).entry)
        return document_digest_by_id(leaf.record.digest_algorithm)
    except (CryptoError, DecodeError):
        return SHA_256


def verify_tlog_by_trust(
    data: bytes, anchor: TrustAnchor, document: NamedDigest, *, now_ms: int | None = None
) -> TlogVerdict:
    """Check a proof by the policy of the newest epoch that a trust file knows. Never raises.

    Not rooted where the validators of an earlier one cosigned it: their keys are retired; nor where
    those of a later one did, whose keys it does not know.
    """
    newest = _verify_by_set(data, anchor, anchor.validator_sets[-1], document, now_ms)
    if newest.failure is None or newest.failure.step is not TlogStep.CHECKPOINT:
        return newest
    for validators in anchor.validator_sets[-2::-1]:
        verdict = _verify_by_set(data, anchor, validators, document, now_ms)
        if verdict.attestation is not None:
            detail = f"cosigned in epoch {validators.epoch}, whose keys are retired"
            epochs = Epochs(validators.epoch, anchor.epoch)
            retired = StepReport(TlogStep.CHECKPOINT, passed=False, detail=detail, epochs=epochs)
            steps = (*verdict.steps[: TlogStep.CHECKPOINT - 1], retired)
            return Judgement(Outcome.NOT_ROOTED, steps, None)
    return newest


def _verify_by_set(
    data: bytes,
    anchor: TrustAnchor,
    validators: ValidatorSet,
    document: NamedDigest,
    now_ms: int | None,
) -> TlogVerdict:
    try:
        policy = parse_policy(policy_of(anchor.chain_id, validators).encode())
    except DecodeError:  # too few of its members could sign: no quorum ever did
        policy = LogPolicy(logs=(), witnesses={}, groups={}, quorum=None)
    return verify_tlog_proof(data, policy, document, now_ms=now_ms)
