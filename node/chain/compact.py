"""Compact certificates: one BLS signature by which a quorum states how far the chain is.

Validators sign checkpoints, not votes: all sign the same bytes, so their signatures add up to one.
It is no part of consensus, which neither waits for it nor looks at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from node.chain.block import Header
from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_bytes,
    expect_uint,
    expect_version,
)
from node.chain.governance import checkpoint_bytes
from node.chain.membership import ValidatorSet
from node.chain.merkle import DIGEST_BYTES
from node.crypto import domains
from node.crypto.bls import (
    BLS_SIGNATURE_BYTES,
    aggregate_signatures,
    verify_aggregate,
)
from node.errors import ProofError

COMPACT_CERTIFICATE_BYTES_MAX = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The chain up to a header: what a share states."""

    epoch: int
    height: int
    header_digest: bytes
    log_size: int
    log_root: bytes
    state_root: bytes

    @classmethod
    def of(cls, header: Header, digest: bytes) -> Checkpoint:
        """Return what a header, whose digest is given, says of the chain."""
        (log_root,) = header.log_roots
        return cls(
            epoch=header.epoch,
            height=header.height,
            header_digest=digest,
            log_size=header.log_size,
            log_root=log_root,
            state_root=header.state_root,
        )

    def share_bytes(self, chain_id: bytes) -> bytes:
        """Return what every validator signs with its BLS key."""
        return checkpoint_bytes(
            chain_id,
            epoch=self.epoch,
            height=self.height,
            header_digest=self.header_digest,
            log_size=self.log_size,
            log_roots=(self.log_root,),
            state_root=self.state_root,
            tag=domains.SHARE,
        )


@dataclass(frozen=True, slots=True)
class Share:
    """What a validator signed, as it tells it. Untrusted: who sent it is known, no more."""

    epoch: int
    height: int
    header_digest: bytes
    signature: bytes
    """96 bytes, over `Checkpoint.share_bytes`."""

    def to_value(self) -> list[Any]:
        """Return the CBOR array `share`."""
        return [self.epoch, self.height, self.header_digest, self.signature]

    @classmethod
    def from_value(cls, value: object) -> Share:
        """Read the CBOR array `share`; raises `DecodeError`."""
        epoch, height, header_digest, signature = expect_array(value, 4, "share")
        return cls(
            expect_uint(epoch, "share epoch"),
            expect_uint(height, "share height"),
            expect_bytes(header_digest, "share header digest", size=DIGEST_BYTES),
            expect_bytes(signature, "share signature", size=BLS_SIGNATURE_BYTES),
        )


@dataclass(frozen=True, slots=True)
class CompactCertificate:
    """A checkpoint and a signature said to be a quorum's. Untrusted until `check` has passed."""

    checkpoint: Checkpoint
    signers: int
    """Bit i, from the lowest, stands for the validator at index i of the set of its epoch."""
    aggregate: bytes
    """The sum of their signatures, 96 bytes."""

    @classmethod
    def of(cls, checkpoint: Checkpoint, shares: Mapping[int, bytes]) -> CompactCertificate:
        """Add up shares by validator index; raises `CryptoError` on none or a malformed one."""
        signers = sum(1 << index for index in shares)
        return cls(checkpoint, signers, aggregate_signatures([*shares.values()]))

    @property
    def indices(self) -> tuple[int, ...]:
        """Return the indices of the signers, ascending."""
        return tuple(
            index for index in range(self.signers.bit_length()) if self.signers >> index & 1
        )

    def check(self, chain_id: bytes, validators: ValidatorSet) -> None:
        """Check that a quorum of `validators` signed it; raises `ProofError` or `CryptoError`.

        Their keys count as possessed: that was checked where each was registered.
        """
        if self.checkpoint.epoch != validators.epoch:
            expected, got = validators.epoch, self.checkpoint.epoch
            raise ProofError("compact-epoch", f"expected epoch {expected}, got {got}")
        if self.signers.bit_length() > validators.size:
            raise ProofError("compact-signer", f"the set has no member {self.indices[-1]}")
        if len(self.indices) < validators.quorum:
            raise ProofError(
                "compact-quorum",
                f"expected {validators.quorum} of {validators.size}, got {len(self.indices)}",
            )
        keys = []
        for index in self.indices:
            registered = validators.validators[index].aggregate_key
            if registered is None:
                raise ProofError("compact-keys", "the validators of this chain have no BLS keys")
            keys.append(registered.parse())
        if not verify_aggregate(keys, self.checkpoint.share_bytes(chain_id), self.aggregate):
            raise ProofError("compact-signature", "the aggregate signature does not verify")

    def to_value(self) -> list[Any]:
        """Return the CBOR array `compact-certificate`."""
        at = self.checkpoint
        return [
            1,
            at.epoch,
            at.height,
            at.header_digest,
            at.log_size,
            at.log_root,
            at.state_root,
            self.signers,
            self.aggregate,
        ]

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(self.to_value())

    @classmethod
    def from_value(cls, value: object) -> CompactCertificate:
        """Read the CBOR array `compact-certificate`; raises `DecodeError`."""
        version, epoch, height, digest, size, root, state_root, signers, aggregate = expect_array(
            value, 9, "compact certificate"
        )
        expect_version(version, "compact certificate")
        return cls(
            Checkpoint(
                epoch=expect_uint(epoch, "checkpoint epoch"),
                height=expect_uint(height, "checkpoint height"),
                header_digest=expect_bytes(digest, "checkpoint header digest", size=DIGEST_BYTES),
                log_size=expect_uint(size, "checkpoint log size"),
                log_root=expect_bytes(root, "checkpoint log root", size=DIGEST_BYTES),
                state_root=expect_bytes(state_root, "checkpoint state root", size=DIGEST_BYTES),
            ),
            expect_uint(signers, "checkpoint signers"),
            expect_bytes(aggregate, "checkpoint signature", size=BLS_SIGNATURE_BYTES),
        )

    @classmethod
    def decode(cls, data: bytes) -> CompactCertificate:
        """Read the canonical bytes; raises `DecodeError`."""
        value = decode(data, what="compact certificate", size_max=COMPACT_CERTIFICATE_BYTES_MAX)
        return cls.from_value(value)
