"""That a chain only grew: an old header and a newer, certified one, and what joins them, offline.

A proof shows that the log of the old header is a prefix of the newer one's, by RFC 9162, and that
the old header itself stands in it: nothing recorded by then was removed, changed or moved. It is
kept in a file named `*.consistency`; the page proto/CONSISTENCY.md says how to verify it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from node.chain.block import CertifiedHeader, Header
from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_bytes,
    expect_list,
    expect_version,
)
from node.chain.merkle import (
    DIGEST_BYTES,
    TreeHead,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from node.chain.record import encode_header_leaf
from node.crypto.suite import Suite
from node.errors import DecodeError, ProofError
from node.limits import RECEIPT_BYTES_MAX
from node.timestamp.cose import LOG_PATH_HASHES_MAX
from node.timestamp.history import Handover, expect_equal, read_handovers
from node.timestamp.receipt import expect_suite, iso_time
from node.timestamp.steps import CertifiedClaim, Judgement, Outcome, expect_past, take_steps
from node.timestamp.trust import TrustAnchor

CONSISTENCY_SUFFIX: Final = ".consistency"
CONSISTENCY_FORMAT: Final = "govchain-consistency"
CONSISTENCY_PREFIX: Final = encode([CONSISTENCY_FORMAT, *[None] * 8])[: 2 + len(CONSISTENCY_FORMAT)]
"""What such a file, and no other of ours, begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyProof:
    """Two headers of one chain and what joins them. Proves nothing until verified."""

    suite: Suite
    old: Header
    log_path: tuple[bytes, ...]
    """RFC 9162 consistency path from the log of `old` to that of the newer header."""
    header_path: tuple[bytes, ...]
    """Inclusion path of the leaf that commits `old`: the first one beyond its own log."""
    block: CertifiedHeader
    """The newer header, and its commit certificate."""
    handovers: tuple[Handover, ...]
    """As in a receipt, to the epoch of the newer header."""

    @property
    def blocks(self) -> tuple[CertifiedHeader, ...]:
        """Return the certified headers that it brings along."""
        return (*(handover.block for handover in self.handovers), self.block)

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `consistency-proof`."""
        return encode(
            [
                CONSISTENCY_FORMAT,
                1,
                self.suite.suite_id,
                self.old.to_value(),
                list(self.log_path),
                list(self.header_path),
                *self.block.to_value(),
                [handover.to_value() for handover in self.handovers],
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> ConsistencyProof:
        """Read a proof; raises `DecodeError` on all but the canonical bytes of one."""
        form, version, suite_id, old, log_path, header_path, header, certificate, handovers = (
            expect_array(
                decode(data, what="consistency proof", size_max=RECEIPT_BYTES_MAX),
                9,
                "consistency proof",
            )
        )
        if form != CONSISTENCY_FORMAT:
            raise DecodeError(
                f"consistency proof: expected {CONSISTENCY_FORMAT!r}, got {form!r:.40}"
            )
        expect_version(version, "consistency proof")
        suite = expect_suite(suite_id, "consistency proof suite")
        return cls(
            suite=suite,
            old=Header.from_value(old),
            log_path=_read_path(log_path, "consistency proof log path"),
            header_path=_read_path(header_path, "consistency proof header path"),
            block=CertifiedHeader.from_value([header, certificate], suite.signature_size),
            handovers=read_handovers(handovers, suite, "consistency proof handovers"),
        )


class ConsistencyStep(IntEnum):
    """The steps of verification, in their order."""

    PROOF = 1
    ORDER = 2
    LOG = 3
    HEADER = 4
    CERTIFICATE = 5
    ROOT = 6
    SIGNATURES = 7
    HISTORY = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyAttestation:
    """What is shown: the log of `new` holds that of `old`, leaf by leaf, and `old` itself."""

    old: Header
    new: Header
    signers: tuple[str, ...]
    """Ids of the validators who signed `new`, in index order."""
    validator_count: int


ConsistencyVerdict = Judgement[ConsistencyAttestation]
"""What is attested is there if all steps have passed."""


def build_consistency(
    suite: Suite,
    old: Header,
    block: CertifiedHeader,
    *,
    log_path: Sequence[bytes],
    header_path: Sequence[bytes],
    handovers: Sequence[Handover] = (),
) -> ConsistencyProof:
    """Return the proof that joins `old` to the header of `block`, by paths in the log of that one.

    The leaf of `old` is at index `old.log_size`. Give the handovers as in a receipt.
    """
    return ConsistencyProof(
        suite=suite,
        old=old,
        log_path=tuple(log_path),
        header_path=tuple(header_path),
        block=block,
        handovers=tuple(handovers),
    )


def verify_consistency_proof(
    proof: bytes, anchor: TrustAnchor, *, now_ms: int | None = None
) -> ConsistencyVerdict:
    """Verify that the log of one header only grew up to a later, certified one. Never raises.

    1. PROOF: the bytes are the canonical encoding of a consistency proof.
    2. ORDER: both headers name one chain; from the old one to the later one height, T and log size
       rise, by a millisecond and a leaf per block at least, and the epoch does not fall.
    3. LOG: the old log is a prefix of the later one (RFC 9162 section 2.1.4.2).
    4. HEADER: the old header is the later log's leaf at the index where its own log ends.
    5. CERTIFICATE: it is a COMMIT certificate of exactly the later header.
    6. ROOT: as of a receipt.
    7. SIGNATURES: as of a receipt.
    8. HISTORY: the later header, the handovers and the anchor's headers can all stand on one chain,
       and one of them at the height of the old header is that header. The later T is not after
       `now_ms`, the verifier's clock (ms since 1970 UTC), by more than that may err; None asks
       nothing.

    The old header needs no certificate of its own, whose keys may be retired: the quorum of the
    later one signed a log that holds it. The first failed step ends it: `NOT_ROOTED` if step 6
    lacks a root, else `NOT_VERIFIED`.
    """
    return _Verification(proof, anchor, now_ms).run()


class _Verification:
    """One run through the steps."""

    def __init__(self, data: bytes, anchor: TrustAnchor, now_ms: int | None) -> None:
        self._data, self._anchor, self._now_ms = data, anchor, now_ms
        self._proof: ConsistencyProof
        self._claim: CertifiedClaim

    def run(self) -> ConsistencyVerdict:
        outcome, reports = take_steps(self._steps())
        attestation = self._attestation() if outcome is Outcome.VERIFIED else None
        return Judgement(outcome, reports, attestation)

    def _steps(self) -> Iterator[tuple[ConsistencyStep, Callable[[], str]]]:
        yield ConsistencyStep.PROOF, self._decode
        proof = self._proof
        self._claim = claim = CertifiedClaim(
            proof.block, proof.handovers, proof.suite, self._anchor
        )
        yield ConsistencyStep.ORDER, self._check_order
        yield ConsistencyStep.LOG, self._check_log
        yield ConsistencyStep.HEADER, self._check_header
        yield ConsistencyStep.CERTIFICATE, claim.check_certificate
        yield ConsistencyStep.ROOT, claim.find_validators
        yield ConsistencyStep.SIGNATURES, claim.check_signatures
        yield ConsistencyStep.HISTORY, self._check_history

    def _decode(self) -> str:  # step 1
        self._proof = ConsistencyProof.decode(self._data)
        return f"version 1, {len(self._data)} bytes, suite {self._proof.suite.name}"

    def _check_order(self) -> str:  # step 2
        old, new = self._proof.old, self._proof.block.header
        expect_equal("consistency-chain", new.chain_id.hex(), old.chain_id.hex())
        blocks = new.height - old.height
        if blocks < 1:
            raise ProofError(
                "consistency-height", f"expected above height {old.height}, got {new.height}"
            )
        rises = {
            "consistency-time": (old.time_ms + blocks, new.time_ms),
            "consistency-log-size": (old.log_size + blocks, new.log_size),
            "consistency-epoch": (old.epoch, new.epoch),
        }
        for rule, (least, got) in rises.items():
            if got < least:
                raise ProofError(rule, f"expected at least {least}, got {got}")
        return f"heights {old.height} and {new.height}, T {iso_time(old.time_ms)} and later"

    def _check_log(self) -> str:  # step 3, RFC 9162 section 2.1.4.2
        proof = self._proof
        old, new = _head(proof.old), _head(proof.block.header)
        verify_consistency(old, new, proof.log_path, proof.suite.hash)
        return f"{old.size} of {new.size} leaves, path of {len(proof.log_path)}"

    def _check_header(self) -> str:  # step 4, RFC 9162 section 2.1.3.2
        old, suite = self._proof.old, self._proof.suite
        leaf = encode_header_leaf(old.height, old.digest(suite))
        verify_inclusion(
            leaf_hash(leaf, suite.hash),
            old.log_size,
            self._proof.header_path,
            _head(self._proof.block.header),
            suite.hash,
        )
        return f"index {old.log_size}, path of {len(self._proof.header_path)}"

    def _check_history(self) -> str:  # step 8
        told = self._claim.check_history()
        old, suite = self._proof.old, self._proof.suite
        for block in (*self._anchor.blocks, *self._claim.blocks):
            if block.header.height == old.height:
                expected, got = block.header.digest(suite).hex(), old.digest(suite).hex()
                expect_equal("history-fork", expected, got)
        expect_past(self._proof.block.header.time_ms, self._now_ms)
        return told

    def _attestation(self) -> ConsistencyAttestation:
        return ConsistencyAttestation(
            old=self._proof.old,
            new=self._proof.block.header,
            signers=self._claim.signers,
            validator_count=self._claim.validators.size,
        )


def _head(header: Header) -> TreeHead:
    return TreeHead(header.log_size, header.log_roots[0])


def _read_path(value: object, what: str) -> tuple[bytes, ...]:
    return tuple(
        expect_bytes(node, what, size=DIGEST_BYTES)
        for node in expect_list(value, LOG_PATH_HASHES_MAX + 1, what)
    )
