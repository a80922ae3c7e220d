"""Evidence of equivocation: two votes of one validator that no correct one can both have signed.

A correct validator signs at most one header for each epoch, view, height and phase, whatever
happens to its memory (node/consensus/README.md, step S1). Two such votes for different headers
prove, to anybody who has the validator set, that the holder of the key broke that rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from node.chain.certificate import (
    DIGEST_BYTES,
    Phase,
    Subject,
    Vote,
    expect_phase,
)
from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_bytes,
    expect_uint,
    expect_version,
)
from node.chain.membership import ValidatorSet
from node.crypto.suite import Suite
from node.errors import DecodeError, PeerError, invariant
from node.limits import EVIDENCE_BYTES_MAX, VALIDATORS_MAX


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """What a validator may vote for once, and who did twice: one offence, whatever its proof."""

    epoch: int
    view: int
    height: int
    phase: Phase
    validator: int
    """Index in the set of that epoch."""


def contradict(one: Vote, other: Vote) -> bool:
    """Say whether two votes are of one validator for one place, and for different headers."""
    return (
        one.validator == other.validator
        and one.epoch == other.epoch
        and one.subject.phase is other.subject.phase
        and one.subject.view == other.subject.view
        and one.subject.height == other.subject.height
        and one.subject.header_digest != other.subject.header_digest
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Two contradicting votes. Untrusted until `check` has passed."""

    epoch: int
    set_digest: bytes
    first: Vote
    """The one for the lesser header digest."""
    second: Vote

    @classmethod
    def of(cls, one: Vote, other: Vote, validators: ValidatorSet) -> Evidence:
        """Return the evidence that two contradicting votes make, in whichever order they came."""
        invariant(contradict(one, other), "these votes contradict each other in nothing")
        first, second = sorted((one, other), key=lambda vote: vote.subject.header_digest)
        return cls(epoch=validators.epoch, set_digest=validators.digest, first=first, second=second)

    @property
    def place(self) -> Place:
        """Return what is proven: who voted twice, and for what."""
        subject = self.first.subject
        return Place(self.epoch, subject.view, subject.height, subject.phase, self.first.validator)

    def check(self, chain_id: bytes, validators: ValidatorSet) -> None:
        """Check that it proves what it says; raises `PeerError` naming the rule it breaks.

        1. it is of this epoch and this set;
        2. both signatures are the named member's, of this chain.
        That the two votes contradict each other is certain by construction and by decoding.
        """
        if self.epoch != validators.epoch or self.set_digest != validators.digest:
            raise PeerError(
                "evidence-set",
                f"expected epoch {validators.epoch} and set {validators.digest.hex()[:16]}, got "
                f"epoch {self.epoch} and set {self.set_digest.hex()[:16]}",
            )
        for vote in (self.first, self.second):
            if not vote.verify(chain_id, validators):
                raise PeerError(
                    "evidence-signature",
                    f"a vote of validator {vote.validator} does not verify",
                )

    def to_value(self) -> list[Any]:
        """Return the CBOR array `evidence`, which states once what the votes share."""
        subject = self.first.subject
        return [
            1,
            self.epoch,
            self.set_digest,
            subject.phase.value,
            subject.view,
            subject.height,
            self.first.validator,
            *(
                [vote.subject.header_digest, vote.time_ms, vote.signature]
                for vote in (self.first, self.second)
            ),
        ]

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(self.to_value())

    @classmethod
    def from_value(cls, value: object, signature_size: int) -> Evidence:
        """Read the CBOR array `evidence`; raises `DecodeError`.

        The votes must stand in ascending order of their digests: so they differ, and one pair has
        one encoding.
        """
        version, epoch, set_digest, phase, view, height, validator, *statements = expect_array(
            value, 9, "evidence"
        )
        expect_version(version, "evidence")
        shared = (
            expect_phase(phase),
            expect_uint(view, "evidence view"),
            expect_uint(height, "evidence height"),
        )
        expect_uint(epoch, "evidence epoch")
        expect_uint(validator, "evidence validator", VALIDATORS_MAX - 1)
        votes = []
        for statement in statements:
            digest, time_ms, signature = expect_array(statement, 3, "evidence vote")
            votes.append(
                Vote(
                    Subject(*shared, expect_bytes(digest, "evidence digest", size=DIGEST_BYTES)),
                    validator,
                    expect_uint(time_ms, "evidence vote time"),
                    expect_bytes(signature, "evidence signature", size=signature_size),
                    epoch,
                )
            )
        first, second = votes
        if first.subject.header_digest >= second.subject.header_digest:
            raise DecodeError("evidence: expected two digests in ascending order")
        return cls(
            epoch=epoch,
            set_digest=expect_bytes(set_digest, "evidence set hash", size=DIGEST_BYTES),
            first=first,
            second=second,
        )

    @classmethod
    def decode(cls, data: bytes, suite: Suite) -> Evidence:
        """Read evidence on its own; raises `DecodeError`."""
        value = decode(data, what="evidence", size_max=EVIDENCE_BYTES_MAX)
        return cls.from_value(value, suite.signature_size)
