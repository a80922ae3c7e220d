"""Evidence of equivocation: two things one validator signed, of which a correct one signs one.

Whatever happens to its memory, a correct validator signs at most one header for each epoch, view,
height and phase, one VIEW-CHANGE and, as primary, one NEW-VIEW for each epoch and view, and states
at each height the one header that is final there (node/consensus/README.md, step S1). Two such
statements that differ prove, to anybody who has the validator set, that the holder of the key broke
that rule. A primary that proposes two blocks signs a PREPARE for each: that is evidence of votes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from node.chain.block import (
    CERTIFIED_HEADER_BYTES_MAX,
    CertifiedHeader,
    Header,
    checkpoint_of,
)
from node.chain.certificate import DIGEST_BYTES, Phase, Subject, Vote, check_certificate
from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_blob,
    expect_bytes,
    expect_list,
    expect_uint,
    expect_version,
)
from node.chain.governance import CheckpointStatement
from node.chain.membership import ValidatorSet
from node.crypto import domains
from node.crypto.suite import Suite
from node.errors import CryptoError, DecodeError, PeerError, invariant
from node.limits import EVIDENCE_BYTES_MAX, VALIDATORS_MAX

_STATEMENT_BYTES_MAX: Final = EVIDENCE_BYTES_MAX // 2
_MESSAGE_FIELDS_MAX: Final = 16
_COSIGNATURE_BYTES: Final = 64


class Offence(IntEnum):
    """What was signed twice. Numbers are those of the wire; the first two are the phases'."""

    PREPARE = Phase.PREPARE.value
    COMMIT = Phase.COMMIT.value
    VIEW_CHANGE = 3
    NEW_VIEW = 4
    CHECKPOINT = 5
    """Two headers stated for one height."""
    FALSE_CHECKPOINT = 6
    """A header stated that is not the one certified at its height."""


_PHASES: Final = (Offence.PREPARE, Offence.COMMIT)
_VIEW_TAGS: Final = {
    Offence.VIEW_CHANGE: domains.VIEW_CHANGE,
    Offence.NEW_VIEW: domains.NEW_VIEW,
}


@dataclass(frozen=True, slots=True, order=True)
class Charge:
    """Who did what in which epoch, however often: one proof of it is as good as many."""

    epoch: int
    offence: Offence
    validator: int
    """Index in the set of that epoch."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One of the two things signed. Untrusted until the evidence is checked."""

    content: bytes
    """PREPARE, COMMIT: the header digest. VIEW_CHANGE, NEW_VIEW: the message but its signature.
    CHECKPOINT: the header. FALSE_CHECKPOINT: the header; then the certified header."""
    time_ms: int
    """Of a vote; 0 of all else."""
    signature: bytes
    """Empty of a certified header, which holds its own."""


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
    """Two statements that contradict each other. Untrusted until `check` has passed."""

    epoch: int
    set_digest: bytes
    offence: Offence
    view: int
    """0 of checkpoints."""
    height: int
    """0 of VIEW-CHANGEs and NEW-VIEWs."""
    validator: int
    first: Statement
    """The one of lesser content; of a false checkpoint, the checkpoint."""
    second: Statement

    @classmethod
    def of(cls, one: Vote, other: Vote, validators: ValidatorSet) -> Evidence:
        """Return the evidence that two contradicting votes make, in whichever order they came."""
        invariant(contradict(one, other), "these votes contradict each other in nothing")
        subject = one.subject
        statements = [
            Statement(vote.subject.header_digest, vote.time_ms, vote.signature)
            for vote in (one, other)
        ]
        return _evidence(
            validators,
            Offence(subject.phase.value),
            one.validator,
            statements,
            view=subject.view,
            height=subject.height,
        )

    @classmethod
    def of_messages(
        cls,
        offence: Offence,
        one: Statement,
        other: Statement,
        validators: ValidatorSet,
        *,
        view: int,
        sender: int,
    ) -> Evidence:
        """Return the evidence that two VIEW-CHANGEs, or NEW-VIEWs, of one view make."""
        return _evidence(validators, offence, sender, [one, other], view=view, height=0)

    @classmethod
    def of_checkpoints(
        cls, one: CheckpointStatement, other: CheckpointStatement, validators: ValidatorSet
    ) -> Evidence:
        """Return the evidence that two statements of one member at one height make."""
        header = Header.decode(one.header)
        statements = [Statement(each.header, 0, each.signature) for each in (one, other)]
        index = _index_of(one.validator_id, validators)
        return _evidence(
            validators, Offence.CHECKPOINT, index, statements, view=0, height=header.height
        )

    @classmethod
    def of_false_checkpoint(
        cls, stated: CheckpointStatement, certified: CertifiedHeader, validators: ValidatorSet
    ) -> Evidence:
        """Return the evidence that a statement makes with what is certified at its height."""
        return cls(
            epoch=validators.epoch,
            set_digest=validators.digest,
            offence=Offence.FALSE_CHECKPOINT,
            view=0,
            height=certified.header.height,
            validator=_index_of(stated.validator_id, validators),
            first=Statement(stated.header, 0, stated.signature),
            second=Statement(certified.encode(), 0, b""),
        )

    @property
    def charge(self) -> Charge:
        """Return what is proven."""
        return Charge(self.epoch, self.offence, self.validator)

    def digests(self, suite: Suite) -> tuple[bytes, bytes]:
        """Return what people may compare: digests of headers, or of whole messages."""
        if self.offence in _PHASES:
            return self.first.content, self.second.content
        if self.offence in _VIEW_TAGS:
            return suite.hash(self.first.content), suite.hash(self.second.content)
        stated = Header.decode(self.first.content).digest(suite)
        if self.offence is Offence.CHECKPOINT:
            return stated, Header.decode(self.second.content).digest(suite)
        certified = CertifiedHeader.decode(self.second.content, suite)
        return stated, certified.header.digest(suite)

    def check(self, chain_id: bytes, validators: ValidatorSet) -> None:
        """Check that it proves what it says; raises `PeerError` naming the rule it breaks.

        1. it is of this epoch and this set;
        2. both statements are of this chain, and signed by the named member, or the second is
           certified by a quorum of the set.
        That both are about what the evidence names, and differ, is certain by construction and by
        decoding.
        """
        if self.epoch != validators.epoch or self.set_digest != validators.digest:
            raise PeerError(
                "evidence-set",
                f"expected epoch {validators.epoch} and set {validators.digest.hex()[:16]}, got "
                f"epoch {self.epoch} and set {self.set_digest.hex()[:16]}",
            )
        if self.validator >= validators.size:
            raise PeerError("evidence-signature", f"the set has no member {self.validator}")
        if self.offence is Offence.NEW_VIEW and self.validator != validators.primary(self.view):
            raise PeerError("evidence-primary", f"not the primary of view {self.view}")
        self._check_signed(self.first, chain_id, validators)
        if self.offence is Offence.FALSE_CHECKPOINT:
            self._check_certified(chain_id, validators)
        else:
            self._check_signed(self.second, chain_id, validators)

    def _check_signed(
        self, statement: Statement, chain_id: bytes, validators: ValidatorSet
    ) -> None:
        if not self._is_signed(statement, chain_id, validators):
            raise PeerError(
                "evidence-signature", f"a statement of validator {self.validator} does not verify"
            )

    def _is_signed(self, statement: Statement, chain_id: bytes, validators: ValidatorSet) -> bool:
        content, signature = statement.content, statement.signature
        if self.offence in _PHASES:
            subject = Subject(Phase(self.offence.value), self.view, self.height, content)
            vote = Vote(subject, self.validator, statement.time_ms, signature, self.epoch)
            return vote.verify(chain_id, validators)
        if (tag := _VIEW_TAGS.get(self.offence)) is not None:
            message = domains.tagged(tag, encode([chain_id, _read_message(content)]))
            return validators.vote_keys[self.validator].verify(message, signature)
        header = Header.decode(content)
        if header.chain_id != chain_id:
            return False
        suite = validators.suite
        try:
            key = suite.load_cosignature_key(validators.validators[self.validator].cosignature_key)
        except CryptoError:
            return False
        return key.verify(checkpoint_of(header, header.digest(suite)), signature)

    def _check_certified(self, chain_id: bytes, validators: ValidatorSet) -> None:
        """Check that the second statement is certified, and contradicts the first."""
        suite = validators.suite
        certified = CertifiedHeader.decode(self.second.content, suite)
        header, subject = certified.header, certified.certificate.subject
        digest = header.digest(suite)
        stated = Header.decode(self.first.content).digest(suite)
        if (subject.height, subject.header_digest) != (header.height, digest) or digest == stated:
            raise PeerError("evidence-certificate", "it certifies no other header of this height")
        check_certificate(certified.certificate, chain_id, validators, Phase.COMMIT)

    def to_value(self) -> list[Any]:
        """Return the CBOR array `evidence`, which states once what the statements share."""
        return [
            1,
            self.epoch,
            self.set_digest,
            self.offence.value,
            self.view,
            self.height,
            self.validator,
            *(
                [statement.content, statement.time_ms, statement.signature]
                for statement in (self.first, self.second)
            ),
        ]

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(self.to_value())

    @classmethod
    def from_value(cls, value: object, signature_size: int) -> Evidence:
        """Read the CBOR array `evidence`; raises `DecodeError`.

        Both statements must be about what the evidence names, and stand in ascending order of their
        contents: so they differ, and one pair has one encoding.
        """
        version, epoch, set_digest, offence, view, height, validator, *statements = expect_array(
            value, 9, "evidence"
        )
        expect_version(version, "evidence")
        number = expect_uint(offence, "evidence offence", max(Offence).value)
        if not number:
            raise DecodeError("evidence offence: expected 1..6, got 0")
        kind = Offence(number)
        sizes = {
            Offence.CHECKPOINT: (_COSIGNATURE_BYTES,) * 2,
            Offence.FALSE_CHECKPOINT: (_COSIGNATURE_BYTES, 0),
        }.get(kind, (signature_size,) * 2)
        first, second = (
            _read_statement(each, size) for each, size in zip(statements, sizes, strict=True)
        )
        found = cls(
            epoch=expect_uint(epoch, "evidence epoch"),
            set_digest=expect_bytes(set_digest, "evidence set hash", size=DIGEST_BYTES),
            offence=kind,
            view=expect_uint(view, "evidence view"),
            height=expect_uint(height, "evidence height"),
            validator=expect_uint(validator, "evidence validator", VALIDATORS_MAX - 1),
            first=first,
            second=second,
        )
        if kind is not Offence.FALSE_CHECKPOINT and first.content >= second.content:
            raise DecodeError("evidence: expected two statements in ascending order")
        _READERS[kind](found, signature_size)
        return found

    @classmethod
    def decode(cls, data: bytes, suite: Suite) -> Evidence:
        """Read evidence on its own; raises `DecodeError`."""
        value = decode(data, what="evidence", size_max=EVIDENCE_BYTES_MAX)
        return cls.from_value(value, suite.signature_size)


def _evidence(
    validators: ValidatorSet,
    offence: Offence,
    validator: int,
    statements: list[Statement],
    *,
    view: int,
    height: int,
) -> Evidence:
    first, second = sorted(statements, key=lambda each: each.content)
    return Evidence(
        epoch=validators.epoch,
        set_digest=validators.digest,
        offence=offence,
        view=view,
        height=height,
        validator=validator,
        first=first,
        second=second,
    )


def _index_of(validator_id: str, validators: ValidatorSet) -> int:
    index = validators.index_of(validator_id)
    invariant(index is not None, f"{validator_id} is no member of epoch {validators.epoch}")
    return index or 0


# --- What each kind of statement must look like ---


def _read_statement(value: object, signature_size: int) -> Statement:
    content, time_ms, signature = expect_array(value, 3, "evidence statement")
    return Statement(
        expect_blob(content, "evidence content", size_max=_STATEMENT_BYTES_MAX),
        expect_uint(time_ms, "evidence time"),
        expect_bytes(signature, "evidence signature", size=signature_size),
    )


def _read_message(content: bytes) -> list[Any]:
    """Return the signed fields of a VIEW-CHANGE or NEW-VIEW: version, epoch, view, and more."""
    value = decode(content, what="evidence message", size_max=_STATEMENT_BYTES_MAX)
    return list(expect_list(value, _MESSAGE_FIELDS_MAX, "evidence message"))


def _expect_votes(evidence: Evidence, _signature_size: int) -> None:
    for statement in (evidence.first, evidence.second):
        expect_bytes(statement.content, "evidence digest", size=DIGEST_BYTES)


def _expect_messages(evidence: Evidence, _signature_size: int) -> None:
    for statement in (evidence.first, evidence.second):
        fields = _read_message(statement.content)
        place = [1, evidence.epoch, evidence.view]
        if evidence.offence is Offence.VIEW_CHANGE:
            place.append(evidence.validator)
        if fields[: len(place)] != place or any(type(each) is not int for each in fields[:3]):
            raise DecodeError("evidence message: of another epoch, view or sender")
        _expect_nothing_more(evidence, statement, evidence.height)


def _expect_checkpoints(evidence: Evidence, signature_size: int) -> None:
    _expect_header(evidence, Header.decode(evidence.first.content))
    if evidence.offence is Offence.CHECKPOINT:
        _expect_header(evidence, Header.decode(evidence.second.content))
    else:
        content, size_max = evidence.second.content, CERTIFIED_HEADER_BYTES_MAX
        value = decode(content, what="evidence certified header", size_max=size_max)
        _expect_header(evidence, CertifiedHeader.from_value(value, signature_size).header)
    for statement in (evidence.first, evidence.second):
        _expect_nothing_more(evidence, statement, evidence.view)


def _expect_header(evidence: Evidence, header: Header) -> None:
    if (header.epoch, header.height) != (evidence.epoch, evidence.height):
        raise DecodeError("evidence header: of another epoch or height")


def _expect_nothing_more(evidence: Evidence, statement: Statement, unused: int) -> None:
    """Expect zero where this kind of evidence has nothing to say, so that it has one encoding."""
    if unused or statement.time_ms:
        raise DecodeError(f"evidence of {evidence.offence.name}: expected 0 where nothing is said")


_READERS: Final[dict[Offence, Callable[[Evidence, int], None]]] = {
    Offence.PREPARE: _expect_votes,
    Offence.COMMIT: _expect_votes,
    Offence.VIEW_CHANGE: _expect_messages,
    Offence.NEW_VIEW: _expect_messages,
    Offence.CHECKPOINT: _expect_checkpoints,
    Offence.FALSE_CHECKPOINT: _expect_checkpoints,
}
