"""Offline verification of a tlog-proof against a policy file: six numbered steps, a verdict.

Needs the proof, the policy and the document's digest, and nothing of ours: proto/verify/tlog.md
tells others how to do the same. Pure: no clock is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from node.chain.merkle import leaf_hash, verify_inclusion
from node.chain.record import RecordAction, RecordLeaf
from node.errors import ProofError
from node.timestamp.checkpoint import Checkpoint
from node.timestamp.history import expect_equal
from node.timestamp.log_policy import Cosigned, LogPolicy
from node.timestamp.receipt import digest_name
from node.timestamp.steps import NotRootedError, Outcome, StepReport, take_steps
from node.timestamp.tlog_proof import TlogProof, sha256
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
class TlogVerdict:
    """The answer of a verification. Steps after a failed one were not taken and are not listed."""

    outcome: Outcome
    """Not rooted where the policy knows no log of this name: nothing is shown to be wrong then."""
    steps: tuple[StepReport, ...]
    leaf: RecordLeaf | None
    """What is attested; present once steps 1 to 5 have passed: also for a withdrawal."""
    cosigned: Cosigned | None
    """Who cosigned that, and when; present with the leaf."""

    @property
    def failure(self) -> StepReport | None:
        """Return the step that failed, the last one taken; None when verified."""
        return None if self.steps[-1].passed else self.steps[-1]


def verify_tlog_proof(data: bytes, policy: LogPolicy, document: NamedDigest) -> TlogVerdict:
    """Check a proof against a policy and a document. Never raises.

    1. PROOF: the bytes are the one form of a proof.
    2. ENTRY: its extra data are the canonical encoding of a record leaf.
    3. DOCUMENT: the record's digest and its algorithm are the document's.
    4. CHECKPOINT: a log that the policy names signed it, and enough of its witnesses cosigned it;
       every line of a key that the policy knows is valid.
    5. INCLUSION: the path leads from the leaf, at its index, to the checkpoint's root.
    6. RECORD: it is not a withdrawal.
    """
    return _Verification(data, policy, document).run()


class _Verification:
    """The state of one verification: what the steps so far have established."""

    def __init__(self, data: bytes, policy: LogPolicy, document: NamedDigest) -> None:
        self._data, self._policy, self._document = data, policy, document
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
            return TlogVerdict(outcome, steps, None, None)
        return TlogVerdict(outcome, steps, self._leaf, self._cosigned)

    def _decode(self) -> str:
        self._proof = TlogProof.decode(self._data)
        return f"{len(self._data)} bytes, index {self._proof.index}"

    def _read_entry(self) -> str:
        self._leaf = RecordLeaf.decode(self._proof.entry)
        return f"a record of {self._leaf.sender} at height {self._leaf.height}"

    def _check_document(self) -> str:
        record = self._leaf.record
        recorded = f"{digest_name(record.digest_algorithm)}:{record.digest.hex()}"
        expect_equal("document-digest", recorded, str(self._document))
        return recorded

    def _check_checkpoint(self) -> str:
        note = self._proof.checkpoint
        origin = Checkpoint.parse(note.text).origin
        if not self._policy.knows(origin):
            raise NotRootedError(f"the policy names no log {origin:.120}")
        self._cosigned = self._policy.check(note)
        listed = ", ".join(self._cosigned.witnesses)
        return f"size {self._cosigned.checkpoint.head.size}, cosigned by {listed or 'nobody'}"

    def _check_inclusion(self) -> str:
        proof, head = self._proof, self._cosigned.checkpoint.head
        verify_inclusion(leaf_hash(proof.entry, sha256), proof.index, proof.path, head, sha256)
        return f"index {proof.index} of {head.size}, path of {len(proof.path)}"

    def _check_record(self) -> str:
        action = self._leaf.record.action
        if action is RecordAction.WITHDRAW:
            raise ProofError("record-action", "expected a record in force, got a withdrawal")
        return action.name.lower()
