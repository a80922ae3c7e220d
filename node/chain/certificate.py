"""Votes, and the quorum certificates made of them. Checking one needs the validator set only.

A certificate is a quorum of votes *of one view* over one header digest. A PREPARE quorum is a
prepared certificate, a COMMIT quorum a commit certificate (OSDI'99 section 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final

from node.chain.encoding import (
    Encoded,
    encode,
    encode_bytes,
    encode_uint,
    expect_array,
    expect_bytes,
    expect_list,
    expect_uint,
    expect_version,
)
from node.chain.membership import ValidatorSet
from node.crypto import domains
from node.crypto.suite import Suite
from node.errors import DecodeError, PeerError
from node.limits import VALIDATORS_MAX

DIGEST_BYTES = 32
_TO_COME: Final = 0
"""A number of one byte."""
_SETS_REMEMBERED: Final = 64


class Phase(IntEnum):
    """The two voting phases."""

    PREPARE = 1
    COMMIT = 2


@dataclass(frozen=True, slots=True)
class Subject:
    """What a vote is about: everything it signs except its own time."""

    phase: Phase
    view: int
    height: int
    header_digest: bytes

    def sign_bytes(self, chain_id: bytes, validators: ValidatorSet, time_ms: int) -> bytes:
        """Return the byte string a vote signs; binds chain, epoch, set, phase, view and time."""
        return self.sign_bytes_start(chain_id, validators) + encode_uint(time_ms)

    def sign_bytes_start(self, chain_id: bytes, validators: ValidatorSet) -> bytes:
        """Return what all votes about this sign before their own time, which comes last."""
        return b"".join(
            (
                _sign_bytes_of_set(chain_id, validators.epoch, validators.digest),
                encode_uint(self.phase),
                encode_uint(self.view),
                encode_uint(self.height),
                encode_bytes(self.header_digest),
            )
        )


@lru_cache(maxsize=_SETS_REMEMBERED)
def _sign_bytes_of_set(chain_id: bytes, epoch: int, set_digest: bytes) -> bytes:
    """Return what all votes by members of a set sign before the rest, which is five items."""
    statement = [chain_id, epoch, set_digest, *[_TO_COME] * 5]
    return domains.tagged(domains.VOTE, encode(statement)[:-5])


@dataclass(frozen=True, slots=True)
class Vote:
    """One validator's signed statement; untrusted until its signature is checked."""

    subject: Subject
    validator: int
    """Index in the epoch's validator set."""
    time_ms: int
    """The voter's own UTC clock when it voted."""
    signature: bytes
    epoch: int
    """Of the set it is a vote in; the signature binds it too."""

    def to_value(self) -> list[Any]:
        """Return the CBOR array `vote`."""
        subject = self.subject
        return [
            int(subject.phase),
            subject.view,
            subject.height,
            subject.header_digest,
            self.validator,
            self.time_ms,
            self.signature,
            self.epoch,
        ]

    @classmethod
    def from_value(cls, value: object, signature_size: int) -> Vote:
        """Read the CBOR array `vote`; raises `DecodeError`."""
        phase, view, height, digest, validator, time_ms, signature, epoch = expect_array(
            value, 8, "vote"
        )
        return cls(
            Subject(
                expect_phase(phase),
                expect_uint(view, "vote view"),
                expect_uint(height, "vote height"),
                expect_bytes(digest, "vote digest", size=DIGEST_BYTES),
            ),
            expect_uint(validator, "vote validator", VALIDATORS_MAX - 1),
            expect_uint(time_ms, "vote time"),
            expect_bytes(signature, "vote signature", size=signature_size),
            expect_uint(epoch, "vote epoch"),
        )

    def verify(self, chain_id: bytes, validators: ValidatorSet) -> bool:
        """Say whether the signature is the named member's over exactly this vote."""
        if self.validator >= validators.size:
            return False
        if self.epoch != validators.epoch:
            return False
        message = self.subject.sign_bytes(chain_id, validators, self.time_ms)
        return validators.vote_keys[self.validator].verify(message, self.signature)


@dataclass(frozen=True, slots=True)
class CertificateVote:
    """A vote inside a certificate, which states the subject once for all."""

    validator: int
    time_ms: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class QuorumCertificate:
    """Votes of distinct members over one subject, in index order. Untrusted until verified."""

    epoch: int
    set_digest: bytes
    subject: Subject
    votes: tuple[CertificateVote, ...]
    _encoded: Encoded | None = field(default=None, init=False, compare=False, repr=False)

    def to_value(self) -> list[Any]:
        """Return the CBOR array `certificate`."""
        subject = self.subject
        return [
            1,
            self.epoch,
            self.set_digest,
            int(subject.phase),
            subject.view,
            subject.height,
            subject.header_digest,
            [[vote.validator, vote.time_ms, vote.signature] for vote in self.votes],
        ]

    @property
    def encoded(self) -> Encoded:
        """The CBOR array `certificate`, to be spliced; encoded when first asked for."""
        known = self._encoded
        if known is None:
            known = Encoded(self.to_value())
            object.__setattr__(self, "_encoded", known)
        return known

    @classmethod
    def from_value(cls, value: object, signature_size: int) -> QuorumCertificate:
        """Read the CBOR array `certificate`; raises `DecodeError`.

        Voters must be listed in strictly ascending index order, so that none counts twice and one
        set of votes has one encoding.
        """
        version, epoch, set_digest, phase, view, height, digest, listed = expect_array(
            value, 8, "certificate"
        )
        expect_version(version, "certificate")
        votes = []
        previous = -1
        for item in expect_list(listed, VALIDATORS_MAX, "certificate votes"):
            validator, time_ms, signature = expect_array(item, 3, "certificate vote")
            expect_uint(validator, "certificate voter", VALIDATORS_MAX - 1)
            if validator <= previous:
                raise DecodeError(
                    f"certificate: expected voters in ascending order, got {validator} "
                    f"after {previous}"
                )
            previous = validator
            votes.append(
                CertificateVote(
                    validator,
                    expect_uint(time_ms, "certificate vote time"),
                    expect_bytes(signature, "certificate signature", size=signature_size),
                )
            )
        subject = Subject(
            expect_phase(phase),
            expect_uint(view, "certificate view"),
            expect_uint(height, "certificate height"),
            expect_bytes(digest, "certificate digest", size=DIGEST_BYTES),
        )
        return cls(
            expect_uint(epoch, "certificate epoch"),
            expect_bytes(set_digest, "certificate set hash", size=DIGEST_BYTES),
            subject,
            tuple(votes),
        )

    def digest(self, suite: Suite) -> bytes:
        """Return a hash by which to know this very certificate again; nothing signs it."""
        return suite.hash(self.encoded.data)

    def expand(self) -> tuple[Vote, ...]:
        """Return the votes as they were sent."""
        return tuple(map(self.vote, self.votes))

    def vote(self, cast: CertificateVote) -> Vote:
        """Return one of the votes as it was sent."""
        return Vote(self.subject, cast.validator, cast.time_ms, cast.signature, self.epoch)

    def seal_time_ms(self) -> int:
        """Return S, the lower median of the signed vote times (architecture section 5)."""
        times = sorted(vote.time_ms for vote in self.votes)
        return times[(len(times) - 1) // 2]


def build_certificate(votes: list[Vote], validators: ValidatorSet) -> QuorumCertificate:
    """Return the certificate of checked votes, which must share one subject."""
    ordered = sorted(votes, key=lambda vote: vote.validator)
    return QuorumCertificate(
        validators.epoch,
        validators.digest,
        ordered[0].subject,
        tuple(CertificateVote(vote.validator, vote.time_ms, vote.signature) for vote in ordered),
    )


def check_certificate(
    certificate: QuorumCertificate, chain_id: bytes, validators: ValidatorSet, phase: Phase
) -> None:
    """Check a certificate completely; raises `PeerError` naming the rule it breaks.

    1. it is of the wanted phase, of this epoch and of this set;
    2. distinct members (guaranteed by decoding) reach the quorum;
    3. every signature verifies, those above the quorum too.
    """
    subject = certificate.subject
    if subject.phase is not phase:
        raise PeerError("certificate-phase", f"expected {phase.name}, got {subject.phase.name}")
    if certificate.epoch != validators.epoch or certificate.set_digest != validators.digest:
        raise PeerError(
            "certificate-set",
            f"expected epoch {validators.epoch} and set {validators.digest.hex()[:16]}, got epoch "
            f"{certificate.epoch} and set {certificate.set_digest.hex()[:16]}",
        )
    voters = frozenset(vote.validator for vote in certificate.votes)
    if len(voters) != len(certificate.votes) or len(voters) < validators.quorum:
        raise PeerError(
            "certificate-quorum",
            f"expected {validators.quorum} distinct votes, got {len(voters)}",
        )
    start = subject.sign_bytes_start(chain_id, validators)
    for vote in certificate.votes:
        if vote.validator >= validators.size or not validators.vote_keys[vote.validator].verify(
            start + encode_uint(vote.time_ms), vote.signature
        ):
            raise PeerError(
                "certificate-signature", f"the vote of validator {vote.validator} does not verify"
            )


def expect_phase(value: object) -> Phase:
    """Return the phase of a number; raises `DecodeError`."""
    number = expect_uint(value, "vote phase", Phase.COMMIT.value)
    if number == 0:
        raise DecodeError("vote phase: expected 1 (prepare) or 2 (commit), got 0")
    return Phase(number)
