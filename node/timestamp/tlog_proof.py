"""C2SP tlog-proofs: one record's proof as text, made of a receipt and verified against a policy.

Source: c2sp.org/tlog-proof. The record leaf travels as the proof's extra data: it is what the path
begins at, and says digest, T and submitter. Verification needs the proof, a policy file and the
document's digest, and nothing of ours: proto/verify/tlog.md tells others how.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from node.chain.merkle import DIGEST_BYTES, leaf_hash, verify_inclusion
from node.chain.record import LEAF_BYTES_MAX, RecordAction, RecordLeaf
from node.errors import DecodeError, ProofError
from node.timestamp.checkpoint import parse_decimal
from node.timestamp.log_policy import Cosigned, LogPolicy
from node.timestamp.note import (
    NOTE_BYTES_MAX,
    Note,
    decode_text,
    from_base64,
    split_note,
    to_base64,
)

TLOG_PROOF_SUFFIX: Final = ".tlog-proof"
FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"
PATH_HASHES_MAX: Final = 63
TLOG_PROOF_BYTES_MAX: Final = NOTE_BYTES_MAX + 16_384


def sha256(data: bytes) -> bytes:
    """Return the SHA-256 of `data`: the hash of every log in this form."""
    return hashlib.sha256(data).digest()


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A proof as written: its parts, decoded but not checked against each other."""

    entry: bytes
    """What stands at the index: here always sent along, as the extra data."""
    index: int
    path: tuple[bytes, ...]
    checkpoint: Note

    def encode(self) -> bytes:
        """Return the text of the proof."""
        lines = [
            FIRST_LINE,
            f"extra {to_base64(self.entry)}",
            f"index {self.index}",
            *map(to_base64, self.path),
            "",
        ]
        return "".join(f"{line}\n" for line in lines).encode() + self.checkpoint.encode()

    @classmethod
    def decode(cls, data: bytes) -> TlogProof:
        """Read a proof; raises `DecodeError` on all but the one form of one with extra data."""
        text = decode_text(data, "tlog-proof", size_max=TLOG_PROOF_BYTES_MAX)
        head, _, note = text.partition("\n\n")
        lines = head.split("\n")
        if lines[0] != FIRST_LINE:
            raise DecodeError(f"tlog-proof: expected the first line {FIRST_LINE}")
        if len(lines) < len(("first", "extra", "index")):
            raise DecodeError("tlog-proof: expected lines extra and index")
        extra, index, *path = lines[1:]
        if len(path) > PATH_HASHES_MAX:
            raise DecodeError(f"tlog-proof: expected at most {PATH_HASHES_MAX} hashes")
        return cls(
            from_base64(_after("extra", extra), "tlog-proof extra", size_max=LEAF_BYTES_MAX),
            parse_decimal(_after("index", index), "tlog-proof index"),
            parse_hashes(path, "tlog-proof path"),
            Note(*split_note(note)),
        )


class TlogStep(IntEnum):
    """The steps of verification, in their order."""

    PROOF = 1
    ENTRY = 2
    DOCUMENT = 3
    CHECKPOINT = 4
    INCLUSION = 5
    RECORD = 6


@dataclass(frozen=True, slots=True)
class TlogReport:
    """How one step went."""

    step: TlogStep
    passed: bool
    detail: str
    """What was found; for a failed step, what was expected and what was got."""


@dataclass(frozen=True, slots=True)
class TlogVerdict:
    """The answer of a verification. Steps after a failed one were not taken and are not listed."""

    reports: tuple[TlogReport, ...]
    leaf: RecordLeaf | None
    """What is attested; present where every step passed."""
    cosigned: Cosigned | None
    """Who cosigned that, and when."""
    is_rooted: bool
    """False where the policy knows no log of this name: then nothing is shown to be wrong."""

    @property
    def is_verified(self) -> bool:
        """Tell whether every step passed."""
        return self.leaf is not None

    @property
    def failure(self) -> TlogReport | None:
        """Return the step that failed, the last one taken; None when verified."""
        return None if self.reports[-1].passed else self.reports[-1]


def verify_tlog_proof(data: bytes, policy: LogPolicy, document: tuple[int, bytes]) -> TlogVerdict:
    """Check a proof against a policy and a document; never raises, whatever the bytes.

    `document` is the number of a digest algorithm, as records have it, and the digest.
    """
    return _Verification(data, policy, document).run()


def parse_hashes(lines: Sequence[str], what: str) -> tuple[bytes, ...]:
    """Read one hash per line; raises `DecodeError`."""
    hashes = tuple(from_base64(line, what, size_max=DIGEST_BYTES) for line in lines)
    if any(len(each) != DIGEST_BYTES for each in hashes):
        raise DecodeError(f"{what}: expected hashes of {DIGEST_BYTES} bytes")
    return hashes


class _Verification:
    """The state of one verification: what the steps so far have established."""

    _proof: TlogProof
    _leaf: RecordLeaf
    _cosigned: Cosigned

    def __init__(self, data: bytes, policy: LogPolicy, document: tuple[int, bytes]) -> None:
        self._data, self._policy, self._document = data, policy, document

    def run(self) -> TlogVerdict:
        reports: list[TlogReport] = []
        for step, check in self._steps():
            try:
                reports.append(TlogReport(step, passed=True, detail=check()))
            except (DecodeError, ProofError) as error:
                reports.append(TlogReport(step, passed=False, detail=str(error)))
                rule = error.rule if isinstance(error, ProofError) else ""
                return TlogVerdict(tuple(reports), None, None, rule != "policy-origin")
        return TlogVerdict(tuple(reports), self._leaf, self._cosigned, is_rooted=True)

    def _steps(self) -> tuple[tuple[TlogStep, Callable[[], str]], ...]:
        return (
            (TlogStep.PROOF, self._decode),
            (TlogStep.ENTRY, self._read_entry),
            (TlogStep.DOCUMENT, self._check_document),
            (TlogStep.CHECKPOINT, self._check_checkpoint),
            (TlogStep.INCLUSION, self._check_inclusion),
            (TlogStep.RECORD, self._check_record),
        )

    def _decode(self) -> str:
        self._proof = TlogProof.decode(self._data)
        return f"{len(self._data)} bytes, index {self._proof.index}"

    def _read_entry(self) -> str:
        self._leaf = RecordLeaf.decode(self._proof.entry)
        return f"a record of {self._leaf.sender} at height {self._leaf.height}"

    def _check_document(self) -> str:
        record = self._leaf.record
        if (record.digest_algorithm, record.digest) != self._document:
            raise ProofError(
                "document-digest",
                f"expected {record.digest_algorithm}:{record.digest.hex()}, "
                f"got {self._document[0]}:{self._document[1].hex()}",
            )
        return record.digest.hex()

    def _check_checkpoint(self) -> str:
        self._cosigned = self._policy.check(self._proof.checkpoint)
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


def _after(word: str, line: str) -> str:
    if not line.startswith(f"{word} "):
        raise DecodeError(f"tlog-proof: expected a line that begins with {word}")
    return line.removeprefix(f"{word} ")
