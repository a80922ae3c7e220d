"""An anchor: a certified header of the chain, and a time stamp over it by an authority outside.

The stamp is over what is needed to believe the header: its commit certificate, and the newest
handovers to its epoch, as a receipt carries them. So all these signatures existed by the time that
the authority states, whatever becomes of the validators' keys later; and so did every older header,
which the log of this one holds. Kept in a file named `*.anchor`; the page
proto/ANCHOR.md says how to verify it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from node.chain.block import CertifiedHeader
from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_blob,
    expect_bytes,
    expect_list,
    expect_version,
)
from node.chain.merkle import DIGEST_BYTES
from node.crypto.suite import SHA_256, DocumentDigest, Suite
from node.errors import DecodeError
from node.limits import RECEIPT_BYTES_MAX
from node.timestamp.history import Handover, read_handovers
from node.timestamp.receipt import expect_suite

ANCHOR_SUFFIX: Final = ".anchor"
ANCHOR_DIGEST: Final = SHA_256
"""How what is stamped is hashed, and so the anchor itself where it is recorded on the chain."""
TOKEN_BYTES_MAX: Final = 65_536

_FORMAT: Final = "govchain-anchor"
_CHECKPOINT_FORMAT: Final = "govchain-anchored-checkpoint"
_PATH_HASHES_MAX: Final = 64
ANCHOR_PREFIX: Final = encode([_FORMAT, *[None] * 4])[: 2 + len(_FORMAT)]
"""What such a file, and no other of ours, begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchoredCheckpoint:
    """What is stamped: a header, who certified it, and how their set came to be. A claim."""

    suite: Suite
    block: CertifiedHeader
    handovers: tuple[Handover, ...]
    """Of consecutive epochs, up to the one before the header's."""

    @property
    def document(self) -> tuple[DocumentDigest, bytes]:
        """How it is hashed to be stamped, and the digest."""
        return ANCHOR_DIGEST, ANCHOR_DIGEST.new_hash(self.encode()).digest()

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `anchored-checkpoint`."""
        return encode(
            [
                _CHECKPOINT_FORMAT,
                1,
                self.suite.suite_id,
                *self.block.to_value(),
                [handover.to_value() for handover in self.handovers],
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a checkpoint; raises `DecodeError` on all but the canonical bytes of one."""
        what = "anchored checkpoint"
        form, version, suite_id, header, certificate, handovers = expect_array(
            decode(data, what=what, size_max=RECEIPT_BYTES_MAX), 6, what
        )
        _expect_format(form, _CHECKPOINT_FORMAT, what)
        expect_version(version, what)
        suite = expect_suite(suite_id, f"{what} suite")
        return cls(
            suite=suite,
            block=CertifiedHeader.from_value([header, certificate], suite.signature_size),
            handovers=read_handovers(handovers, suite, f"{what} handovers"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A stamped checkpoint, joined to an earlier header or not. Proves nothing until verified."""

    checkpoint: AnchoredCheckpoint
    token: bytes
    """The DER of the TimeStampToken."""
    header_path: tuple[bytes, ...] | None = None
    """RFC 9162 inclusion path of the leaf that commits an earlier header, in the log of this one.

    None in the form that is recorded on the chain, and for records of the anchored block itself.
    """

    def joined(self, header_path: Sequence[bytes] | None) -> Self:
        """Return the anchor for the records under an earlier header."""
        return replace(self, header_path=None if header_path is None else tuple(header_path))

    @property
    def recorded_digest(self) -> bytes:
        """The digest of its record on the chain, by `ANCHOR_DIGEST`: joined to nothing."""
        return ANCHOR_DIGEST.new_hash(self.joined(None).encode()).digest()

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `anchor`."""
        path = None if self.header_path is None else list(self.header_path)
        return encode([_FORMAT, 1, self.checkpoint.encode(), self.token, path])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read an anchor; raises `DecodeError` on all but the canonical bytes of one."""
        form, version, checkpoint, token, path = expect_array(
            decode(data, what="anchor", size_max=RECEIPT_BYTES_MAX), 5, "anchor"
        )
        _expect_format(form, _FORMAT, "anchor")
        expect_version(version, "anchor")
        encoded = expect_blob(checkpoint, "anchor checkpoint", size_max=RECEIPT_BYTES_MAX)
        return cls(
            checkpoint=AnchoredCheckpoint.decode(encoded),
            token=expect_blob(token, "anchor token", size_max=TOKEN_BYTES_MAX),
            header_path=None if path is None else _read_path(path),
        )


def _expect_format(got: object, expected: str, what: str) -> None:
    if got != expected:
        raise DecodeError(f"{what}: expected {expected!r}, got {got!r:.40}")


def _read_path(value: object) -> tuple[bytes, ...]:
    what = "anchor header path"
    return tuple(
        expect_bytes(each, what, size=DIGEST_BYTES)
        for each in expect_list(value, _PATH_HASHES_MAX, what)
    )
