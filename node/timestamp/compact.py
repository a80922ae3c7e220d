"""The compact receipt: what of a receipt fits one QR code, as text that people can copy.

It proves a record under a checkpoint that a quorum signed with one BLS signature, however far the
chain went on since: no handovers, so the trust file must know the set of the checkpoint's epoch.
node/adr/0015 gives the sizes, and why the text is base 32.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

from node.chain.compact import Checkpoint, CompactCertificate
from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_blob,
    expect_bytes,
    expect_uint,
    expect_version,
)
from node.chain.merkle import DIGEST_BYTES, leaf_hash, root_from_inclusion
from node.chain.record import LEAF_BYTES_MAX, RecordLeaf
from node.crypto.bls import BLS_SIGNATURE_BYTES
from node.crypto.suite import Suite, suite_by_id
from node.errors import CryptoError, DecodeError

COMPACT_START: Final = b"GOVCHAIN1:"
COMPACT_TEXT_BYTES_MAX: Final = 4_296
"""What the largest QR code holds of these characters, at the lowest error correction."""
PATH_BYTES_MAX: Final = 64 * DIGEST_BYTES
_BASE32_BITS: Final = 5
_BASE32_GROUP: Final = 8
_WHITESPACE: Final = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class CompactProof:
    """A receipt's slot for it: a compact certificate, and the way of the leaf to its log root."""

    log_path: tuple[bytes, ...]
    """RFC 9162 inclusion path in the tree of the checkpoint's log."""
    certificate: CompactCertificate

    def to_value(self) -> list[Any]:
        """Return the CBOR array `compact-proof`."""
        return [b"".join(self.log_path), self.certificate.to_value()]

    @classmethod
    def from_value(cls, value: object) -> CompactProof:
        """Read the CBOR array `compact-proof`; raises `DecodeError`."""
        log_path, certificate = expect_array(value, 2, "compact proof")
        return cls(_read_path(log_path), CompactCertificate.from_value(certificate))


@dataclass(frozen=True, slots=True)
class CompactReceipt:
    """What a QR code says. Untrusted until `verify_compact` has passed."""

    chain_id: bytes
    suite: Suite
    leaf: RecordLeaf
    log_index: int
    proof: CompactProof

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `compact-receipt`.

        The log root is left out: it is where the path leads, and what the signature vouches for.
        """
        certificate = self.proof.certificate
        at = certificate.checkpoint
        return encode(
            [
                1,
                self.chain_id,
                self.suite.suite_id,
                self.leaf.encode(),
                self.log_index,
                b"".join(self.proof.log_path),
                at.epoch,
                at.height,
                at.header_digest,
                at.log_size,
                at.state_root,
                certificate.signers,
                certificate.aggregate,
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> CompactReceipt:
        """Read the canonical bytes; raises `DecodeError`, or `ProofError` where no path can fit."""
        (
            version,
            chain_id,
            suite_id,
            leaf,
            log_index,
            log_path,
            epoch,
            height,
            header_digest,
            log_size,
            state_root,
            signers,
            aggregate,
        ) = expect_array(
            decode(data, what="compact receipt", size_max=COMPACT_TEXT_BYTES_MAX),
            13,
            "compact receipt",
        )
        expect_version(version, "compact receipt")
        try:
            suite = suite_by_id(expect_uint(suite_id, "compact receipt suite", 255))
        except CryptoError as error:
            raise DecodeError(f"compact receipt: {error}") from error
        record_leaf = RecordLeaf.decode(
            expect_blob(leaf, "compact receipt leaf", size_max=LEAF_BYTES_MAX)
        )
        index, size = (
            expect_uint(log_index, "compact receipt log index"),
            expect_uint(log_size, "checkpoint log size"),
        )
        path = _read_path(log_path)
        root = root_from_inclusion(
            leaf_hash(record_leaf.encode(), suite.hash), index, size, path, suite.hash
        )
        checkpoint = Checkpoint(
            epoch=expect_uint(epoch, "checkpoint epoch"),
            height=expect_uint(height, "checkpoint height"),
            header_digest=expect_bytes(
                header_digest, "checkpoint header digest", size=DIGEST_BYTES
            ),
            log_size=size,
            log_root=root,
            state_root=expect_bytes(state_root, "checkpoint state root", size=DIGEST_BYTES),
        )
        certificate = CompactCertificate(
            checkpoint,
            expect_uint(signers, "checkpoint signers"),
            expect_bytes(aggregate, "checkpoint signature", size=BLS_SIGNATURE_BYTES),
        )
        return cls(
            chain_id=expect_bytes(chain_id, "compact receipt chain id", size=DIGEST_BYTES),
            suite=suite,
            leaf=record_leaf,
            log_index=index,
            proof=CompactProof(path, certificate),
        )

    def text(self) -> bytes:
        """Return the text of the QR code, ASCII: the start, then base 32 without padding.

        All its characters are of the QR code's alphanumeric mode, and none is a space.
        """
        return COMPACT_START + base64.b32encode(self.encode()).rstrip(b"=")

    @classmethod
    def parse(cls, text: bytes) -> CompactReceipt:
        """Read the text; raises as `decode` does. Around it, white space does not count."""
        stripped = text.strip(_WHITESPACE)
        if len(stripped) > COMPACT_TEXT_BYTES_MAX or not stripped.startswith(COMPACT_START):
            start = COMPACT_START.decode()
            raise DecodeError(
                f"compact receipt: expected at most {COMPACT_TEXT_BYTES_MAX} characters "
                f"that start with {start}"
            )
        digits = stripped.removeprefix(COMPACT_START)
        try:
            data = base64.b32decode(digits + b"=" * (-len(digits) % _BASE32_GROUP))
        except binascii.Error as error:
            raise DecodeError(f"compact receipt: expected base 32: {error}") from error
        if base64.b32encode(data).rstrip(b"=") != digits:
            raise DecodeError("compact receipt: expected base 32 with spare bits zero")
        return cls.decode(data)


def _read_path(value: object) -> tuple[bytes, ...]:
    joined = expect_blob(value, "compact log path", size_max=PATH_BYTES_MAX)
    if len(joined) % DIGEST_BYTES:
        raise DecodeError(f"compact log path: expected a multiple of {DIGEST_BYTES} bytes")
    return tuple(
        joined[start : start + DIGEST_BYTES] for start in range(0, len(joined), DIGEST_BYTES)
    )
