"""Verification in numbered steps, and the steps that every proof under a certified header shares.

A proof holds a certified header and the handovers that lead to the set of its epoch; what the proof
shows under that header is the business of its own module. No format is known here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import cached_property
from typing import Any, Final, Generic, TypeVar

from node.chain.block import CertifiedHeader
from node.chain.certificate import Phase, check_certificate
from node.chain.membership import ValidatorSet
from node.chain.record import Record, RecordAction
from node.crypto.bls_backend import MissingLibraryError
from node.crypto.suite import Suite
from node.errors import CryptoError, DecodeError, PeerError, ProofError
from node.timestamp.history import Handover, check_about, expect_equal
from node.timestamp.receipt import digest_name, iso_time
from node.timestamp.trust import TrustAnchor

_Attestation = TypeVar("_Attestation")
_Found = TypeVar("_Found")

PROVEN_MAX: Final = 256
"""Checks remembered at most: those of some twenty blocks."""

CLOCK_ERROR_MS: Final = 60_000
"""How far the verifier's clock may be behind before a time counts as from the future."""
FUTURE_RULE: Final = "time-future"
"""What `expect_past` says was broken."""
IN_FORCE_RULE: Final = "record-action"
"""What `expect_in_force` says was broken."""
COMPACT_CERTIFICATE: Final = "compact certificate"
"""The one part of any proof that needs a library (BLS12-381) which may be missing."""


class Outcome(Enum):
    """What verification comes to."""

    VERIFIED = "verified"
    NOT_VERIFIED = "not verified"
    """Something does not fit or a signature is wrong, or the record withdraws a document."""
    NOT_ROOTED = "not rooted"
    """Nothing is wrong so far, but the trust file does not lead to the proof's validators.

    Or a library is missing here without which no signature of a quorum could be checked.
    """


@dataclass(frozen=True, slots=True)
class Epochs:
    """The epoch of a proof, and the last one that the trust file knows, which is another."""

    proof: int
    trust: int

    @property
    def is_retired(self) -> bool:
        """Tell whether the proof is of an earlier epoch, whose keys may have leaked since."""
        return self.proof < self.trust


@dataclass(frozen=True, slots=True)
class Finding:
    """What a step found that passed without a part of what there was to check."""

    detail: str
    unchecked: str


@dataclass(frozen=True, slots=True)
class StepReport:
    """How one step went."""

    step: IntEnum
    passed: bool
    detail: str
    """What was found; for a failed step, what was expected and what was got."""
    unchecked: str | None = None
    """Which part a library is missing for here, by name. Nothing attested rests on it; a failed
    step had nothing else to rest on."""
    epochs: Epochs | None = None
    """Where it is for these that a step does not lead to a root."""

    @property
    def is_from_future(self) -> bool:
        """Tell whether it failed by the verifier's clock alone: that, or the proof, is wrong."""
        return not self.passed and f"{FUTURE_RULE}: " in self.detail


@dataclass(frozen=True, slots=True)
class Judgement(Generic[_Attestation]):
    """The answer of a verification. Steps after a failed one were not taken and are not listed."""

    outcome: Outcome
    steps: tuple[StepReport, ...]
    attestation: _Attestation | None
    """What is attested, as soon as enough steps have passed for it."""

    @property
    def unchecked(self) -> str | None:
        """Return which part was not checked for want of a library, by name; None where all was."""
        return next((each.unchecked for each in self.steps if each.unchecked is not None), None)

    @property
    def unreached_epoch(self) -> int | None:
        """Return the epoch of a proof that is not rooted for want of handovers to it, else None.

        An anchor that leads further can root it, see `TrustAnchor.up_to`.
        """
        epochs = None if self.failure is None else self.failure.epochs
        return None if epochs is None or epochs.is_retired else epochs.proof

    @property
    def failure(self) -> StepReport | None:
        """Return the step that failed, the last one taken; None when verified."""
        return None if self.steps[-1].passed else self.steps[-1]


def expect_past(time_ms: int, now_ms: int | None) -> None:
    """Raise `ProofError` if a time is after the verifier's clock by more than that may err.

    Both are ms since 1970 UTC; None for `now_ms` asks nothing.
    """
    if now_ms is not None and time_ms > now_ms + CLOCK_ERROR_MS:
        raise ProofError(
            FUTURE_RULE,
            f"expected at most {iso_time(now_ms)} by the clock here, got {iso_time(time_ms)}",
        )


def expect_document(record: Record, document: str) -> str:
    """Return the digest that a record holds, with its algorithm; raise unless it is `document`."""
    recorded = f"{digest_name(record.digest_algorithm)}:{record.digest.hex()}"
    expect_equal("document-digest", recorded, document)
    return recorded


def expect_in_force(record: Record) -> str:
    """Return what a record does, in a word; raise `ProofError` if that is a withdrawal."""
    if record.action is RecordAction.WITHDRAW:
        raise ProofError(IN_FORCE_RULE, "expected a record in force, got a withdrawal")
    return record.action.name.lower()


class NotRootedError(Exception):
    """The trust file does not lead to the proof; nothing is known to be wrong with it.

    `epochs` where that is because they differ.
    """

    def __init__(self, message: str, epochs: Epochs | None = None) -> None:
        super().__init__(message)
        self.epochs = epochs


Steps = Iterable[tuple[IntEnum, Callable[[], str | Finding]]]
"""Steps in their order. A step returns what it found or raises what it missed.

May be a generator: it goes on only when the step before has passed.
"""


def take_steps(steps: Steps) -> tuple[Outcome, tuple[StepReport, ...]]:
    """Take steps until one fails; return what that comes to, and how each one taken went."""
    reports: list[StepReport] = []
    for step, check in steps:
        try:
            reports.append(_passed(step, check()))
        except NotRootedError as error:
            failed = StepReport(step, passed=False, detail=str(error), epochs=error.epochs)
            return Outcome.NOT_ROOTED, (*reports, failed)
        except MissingLibraryError as error:
            detail = str(error)
            failed = StepReport(step, passed=False, detail=detail, unchecked=COMPACT_CERTIFICATE)
            return Outcome.NOT_ROOTED, (*reports, failed)
        except (CryptoError, DecodeError, PeerError, ProofError) as error:
            reports.append(StepReport(step, passed=False, detail=str(error)))
            return Outcome.NOT_VERIFIED, tuple(reports)
    return Outcome.VERIFIED, tuple(reports)


def _passed(step: IntEnum, found: str | Finding) -> StepReport:
    if isinstance(found, str):
        return StepReport(step, passed=True, detail=found)
    return StepReport(step, passed=True, detail=found.detail, unchecked=found.unchecked)


class Proven:
    """What was checked before, by all that the check depends on: successes alone, the newest.

    Proofs of one block share its header, its certificate and what leads to it: what is signed there
    need not be checked again for each of them.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._found: dict[Hashable, Any] = {}

    def once(self, subject: Hashable, check: Callable[[], _Found]) -> _Found:
        """Return what checking a subject found, now or before; raises what `check` raises."""
        if subject not in self._found:
            found = check()
            if len(self._found) >= PROVEN_MAX:
                self._found.clear()
            self._found[subject] = found
        known: _Found = self._found[subject]
        return known


class CertifiedClaim:
    """A certified header with the handovers to its epoch, checked step by step, in this order."""

    def __init__(
        self,
        block: CertifiedHeader,
        handovers: tuple[Handover, ...],
        suite: Suite,
        anchor: TrustAnchor,
    ) -> None:
        self._block, self._handovers, self._suite, self._anchor = block, handovers, suite, anchor
        self.validators: ValidatorSet
        """The set of the header's epoch, once it is found."""

    def check_certificate(self) -> str:
        """Check that the certificate is one of exactly this header."""
        check_about(self._block, self._suite)
        return f"header {self._block.certificate.subject.header_digest.hex()}"

    def find_validators(self, *, is_joined: bool = False) -> str:
        """Find the set of the header's epoch from the anchor, or raise `NotRootedError`.

        That epoch may be retired only if the header is joined to a later one, by whose quorum it
        stands on the chain whatever the retired keys sign; or, as joined to an outside time, if it
        was signed before they were retired.
        """
        handovers, anchor, header = self._handovers, self._anchor, self._block.header
        epoch = header.epoch
        # The chain id settles the suite, but the steps so far hashed by the proof's word for it.
        if (header.chain_id, self._suite) != (anchor.chain_id, anchor.suite):
            raise NotRootedError(
                f"expected chain {anchor.chain_id.hex()}, got {header.chain_id.hex()}"
            )
        if self.is_retired and not is_joined:
            raise NotRootedError(
                f"expected epoch {anchor.epoch} or later, got {epoch}: its keys are retired",
                Epochs(epoch, anchor.epoch),
            )
        first = handovers[0].block.header.epoch if handovers else epoch
        if first > anchor.epoch:
            raise NotRootedError(
                f"expected handovers from epoch {anchor.epoch} or earlier, got from {first}",
                Epochs(epoch, anchor.epoch),
            )
        validators = anchor.validator_sets[first]
        for handover in handovers:
            handover.check(anchor.chain_id, validators)
            validators = handover.next_set
            if validators.epoch <= anchor.epoch:
                known = anchor.validator_sets[validators.epoch]
                expect_equal("handover-known", known.digest.hex(), validators.digest.hex())
        expect_equal("handover-last", epoch, validators.epoch)
        self.validators = validators
        return f"epoch {epoch}, {validators.size} validators, {len(handovers)} handovers"

    def check_signatures(self) -> str:
        """Check that a quorum of the set signed, and that every signature is valid."""
        certificate, validators = self._block.certificate, self.validators
        check_certificate(certificate, self._anchor.chain_id, validators, Phase.COMMIT)
        return f"{len(certificate.votes)} of {validators.size}, quorum {validators.quorum}"

    def check_history(self, others: Iterable[CertifiedHeader] = ()) -> str:
        """Check that all certified headers at hand, and `others`, can stand on one chain."""
        self._anchor.check_joined([*self.blocks, *others])
        pinned = self._anchor.pinned
        return "pinned at genesis" if pinned is None else f"pinned at height {pinned.header.height}"

    @property
    def is_retired(self) -> bool:
        """Tell whether the header is of an epoch before the anchor's, whose keys prove nothing."""
        return self._block.header.epoch < self._anchor.epoch

    @property
    def blocks(self) -> tuple[CertifiedHeader, ...]:
        """The certified headers that the proof brings along."""
        return (*(handover.block for handover in self._handovers), self._block)

    @cached_property
    def accuracy_ms(self) -> int | None:
        """How far T may lie from UTC, as genesis promises; None if that must not be stated."""
        header, genesis = self._block.header, self._anchor.genesis
        unchanged = header.parameters_digest == genesis.parameters.digest(genesis.suite)
        promised = unchanged and not header.time_degraded
        return genesis.parameters.accuracy_ms if promised else None

    @property
    def signers(self) -> tuple[str, ...]:
        """Ids of the validators who signed, in index order, once the set is found."""
        members = self.validators.validators
        votes = self._block.certificate.votes
        return tuple(members[vote.validator].validator_id for vote in votes)
