"""What the state holds under one key, proved: a value, or that there is none, after one block.

As a proof of standing (standing.py), for any key; read and believed within one question, and so
without steps to report. The vault proves by it who may open a document, and under which keys to
wrap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from node.chain.block import CertifiedHeader
from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_blob,
    expect_version,
)
from node.chain.state_tree import StateProof, verify_proof
from node.crypto.suite import Suite
from node.errors import DecodeError, ProofError
from node.limits import RECEIPT_BYTES_MAX, STATE_VALUE_BYTES_MAX
from node.timestamp.history import Handover, read_handovers
from node.timestamp.receipt import expect_suite
from node.timestamp.steps import CertifiedClaim, NotRootedError, expect_past
from node.timestamp.trust import TrustAnchor

STATE_VALUE_FORMAT: Final = "govchain-state-value"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateValueProof:
    """What the state after a block holds under a key. Proves nothing until verified."""

    suite: Suite
    key: bytes
    value: bytes | None
    proof: StateProof
    block: CertifiedHeader
    """The header whose state root it leads to, and its commit certificate."""
    handovers: tuple[Handover, ...]
    """As in a receipt."""

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `state-value-proof`."""
        return encode(
            [
                STATE_VALUE_FORMAT,
                1,
                self.suite.suite_id,
                self.key,
                self.value,
                self.proof.to_value(),
                *self.block.to_value(),
                [handover.to_value() for handover in self.handovers],
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> StateValueProof:
        """Read a proof; raises `DecodeError` on all but the canonical bytes of one."""
        form, version, suite_id, key, value, proof, header, certificate, handovers = expect_array(
            decode(data, what="state proof", size_max=RECEIPT_BYTES_MAX), 9, "state proof"
        )
        if form != STATE_VALUE_FORMAT:
            raise DecodeError(f"state proof: expected {STATE_VALUE_FORMAT!r}, got {form!r:.40}")
        expect_version(version, "state proof")
        suite = expect_suite(suite_id, "state proof suite")
        size_max = STATE_VALUE_BYTES_MAX
        return cls(
            suite=suite,
            key=expect_blob(key, "state proof key", size_max=size_max),
            value=None
            if value is None
            else expect_blob(value, "state proof value", size_max=size_max),
            proof=StateProof.from_value(proof),
            block=CertifiedHeader.from_value([header, certificate], suite.signature_size),
            handovers=read_handovers(handovers, suite, "state proof handovers"),
        )


@dataclass(frozen=True, slots=True)
class StateValue:
    """What a quorum attests that the state holds; made only by `verify_state_value`."""

    value: bytes | None
    height: int
    """Of the block after which it is so; of what came later nothing is said."""
    time_ms: int
    """T of that block, milliseconds since 1970 UTC."""


def verify_state_value(
    data: bytes, key: bytes, anchor: TrustAnchor, *, now_ms: int | None = None
) -> StateValue:
    """Return what the state held under `key`, by steps 1 to 7 of a proof of standing.

    `now_ms` is the verifier's clock, None to ask none. Raises `DecodeError`, `ProofError`,
    `CryptoError` or `PeerError` for what does not hold.
    """
    proof = StateValueProof.decode(data)
    if proof.key != key:
        raise ProofError("state-key", f"expected {key.hex()}, got {proof.key.hex()}")
    header = proof.block.header
    verify_proof(header.state_root, key, proof.value, proof.proof, proof.suite)
    claim = CertifiedClaim(proof.block, proof.handovers, proof.suite, anchor)
    claim.check_certificate()
    try:
        claim.find_validators()
    except NotRootedError as error:
        raise ProofError("state-root-of-trust", str(error)) from error
    claim.check_signatures()
    claim.check_history()
    expect_past(header.time_ms, now_ms)
    return StateValue(proof.value, header.height, header.time_ms)
