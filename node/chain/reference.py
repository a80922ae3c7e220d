"""What the state holds under a reference: whether what it names stands, and its latest record.

Only the key and the value live here; what moves them is in node/execution/notary.py. An entry is
made by the first record under (issuer, type, reference) and never removed, so that where there is
none, none ever was.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import Final, Self

from node.chain.encoding import (
    decode,
    encode,
    encode_bytes,
    encode_sequence,
    encode_text,
    encode_uint,
    expect_array,
    expect_bytes,
    expect_text,
    expect_uint,
    expect_version,
)
from node.chain.record import document_digest_bytes
from node.chain.struct import Struct
from node.errors import DecodeError
from node.limits import (
    IDENTITY_ID_BYTES_MAX,
    RECORD_REFERENCE_BYTES_MAX,
    RECORD_TYPE_BYTES_MAX,
    STATE_VALUE_BYTES_MAX,
)

REFERENCE_KIND: Final = 5
"""The first item of the state keys of references, and of no others."""

_KEY_HEAD: Final = encode([None] * 4)[:1]  # of the array itself, as short as any head can be
_STATUS_ITEMS: Final = 8
_STATUS_HEAD: Final = encode([None] * _STATUS_ITEMS)[:1]
_RENEWED_HEAD: Final = encode([None] * (_STATUS_ITEMS + 1))[:1]
_REMEMBERED: Final = 256


class Standing(IntEnum):
    """Whether what a reference names is valid today. Numbers are consensus."""

    IN_FORCE = 1
    """Nothing under it was ever withdrawn."""
    WITHDRAWN = 2
    RENEWED = 3
    """In force, though something earlier under it was withdrawn, and stays so."""


class ReferenceStatus(Struct, frozen=True, gc=False, kw_only=True):
    """What the state holds under a reference: its standing, and the latest record that moved it."""

    standing: Standing
    version: int
    """1 for the first record under the reference, one more with each later one."""
    height: int
    time_ms: int
    """T of the block of the latest record."""
    log_index: int
    """Where the latest record stands in the log. An earlier record is no longer the current one."""
    digest_algorithm: int
    digest: bytes
    withdrawn_index: int | None = None
    """Where the newest withdrawal stands in the log: of a renewed reference, and of no other."""

    @property
    def is_in_force(self) -> bool:
        """Whether the latest record is in force."""
        return self.standing is not Standing.WITHDRAWN

    def has_withdrawn(self, log_index: int) -> bool:
        """Say whether a record under the reference, by its log index, is withdrawn.

        True also of a withdrawal itself; no later record makes it False.
        """
        if self.withdrawn_index is None:
            return not self.is_in_force
        return log_index <= self.withdrawn_index

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `reference-status`."""
        encoded = _encode_status(
            _status_start(int(self.standing), self.version, self.height, self.time_ms),
            self.log_index,
            self.digest_algorithm,
            self.digest,
        )
        withdrawn_index = self.withdrawn_index
        return encoded if withdrawn_index is None else encoded + encode_uint(withdrawn_index)

    @classmethod
    def decode(cls, data: bytes) -> ReferenceStatus:
        """Read a status; raises `DecodeError`."""
        value = decode(data, what="reference status", size_max=STATE_VALUE_BYTES_MAX)
        is_renewed = isinstance(value, list) and len(value) > _STATUS_ITEMS
        items = expect_array(value, _STATUS_ITEMS + is_renewed, "reference status")
        version, standing, count, height, time_ms, latest, algorithm, digest = items[:_STATUS_ITEMS]
        expect_version(version, "reference status")
        stated = expect_uint(standing, "reference standing", 2 + is_renewed)
        if is_renewed and stated != Standing.RENEWED:
            raise DecodeError(f"reference standing: expected 3 (renewed), got {stated}")
        if not stated:
            raise DecodeError("reference standing: expected 1 (in force) or 2 (withdrawn), got 0")
        log_index = expect_uint(latest, "reference log index")
        digest_algorithm = expect_uint(algorithm, "reference digest algorithm", 255)
        size = document_digest_bytes(digest_algorithm)
        return cls(
            standing=Standing(stated),
            version=expect_uint(count, "reference version"),
            height=expect_uint(height, "reference height"),
            time_ms=expect_uint(time_ms, "reference time"),
            log_index=log_index,
            digest_algorithm=digest_algorithm,
            digest=expect_bytes(digest, "reference digest", size=size),
            withdrawn_index=expect_uint(items[-1], "reference withdrawn index", log_index - 1)
            if is_renewed
            else None,
        )


class ReferenceName(Struct, frozen=True, gc=False):
    """What a reference belongs to: the same one of another issuer or type is another."""

    issuer: str
    """Identity id of who records under it."""
    type_code: str
    reference: str

    def __str__(self) -> str:
        return f"{self.reference} ({self.type_code}, {self.issuer})"

    @property
    def key(self) -> bytes:
        """Return the state key of its status."""
        return reference_key(self.issuer, self.type_code, self.reference)

    def to_value(self) -> list[str]:
        """Return the CBOR array `reference-name`."""
        return [self.issuer, self.type_code, self.reference]

    @classmethod
    def from_value(cls, value: object) -> Self:
        """Read the CBOR array `reference-name`; raises `DecodeError`."""
        issuer, type_code, reference = expect_array(value, 3, "reference name")
        return cls(
            expect_text(issuer, "issuer", size_max=IDENTITY_ID_BYTES_MAX),
            expect_text(type_code, "record type", size_max=RECORD_TYPE_BYTES_MAX),
            expect_text(reference, "record reference", size_max=RECORD_REFERENCE_BYTES_MAX),
        )


def reference_key(issuer: str, type_code: str, reference: str) -> bytes:
    """Return the state key of the status of (issuer, type, reference)."""
    return reference_key_start(issuer, type_code) + encode_text(reference)


@lru_cache(maxsize=_REMEMBERED)
def reference_key_start(issuer: str, type_code: str) -> bytes:
    """Return what the keys of one issuer and type begin with; the encoded reference is the rest."""
    return _KEY_HEAD + encode_sequence(REFERENCE_KIND, issuer, type_code)


def encode_first_status(
    height: int, time_ms: int, log_index: int, digest_algorithm: int, digest: bytes
) -> bytes:
    """Return what `ReferenceStatus.encode` gives for the first record under a reference.

    Nearly all that a chain writes is that, so it takes no object.
    """
    start = _status_start(int(Standing.IN_FORCE), 1, height, time_ms)
    return _encode_status(start, log_index, digest_algorithm, digest)


def first_status_frame(height: int, time_ms: int, digest_algorithm: int) -> tuple[bytes, bytes]:
    """Return what is the same in such values of one block and algorithm.

    A value is the first part, the encoded log index, the second part, and the digest.
    """
    blank = bytes(document_digest_bytes(digest_algorithm))
    before_digest = encode_uint(digest_algorithm) + encode_bytes(blank).removesuffix(blank)
    return _status_start(int(Standing.IN_FORCE), 1, height, time_ms), before_digest


def _encode_status(start: bytes, log_index: int, digest_algorithm: int, digest: bytes) -> bytes:
    """Return a status without what a renewed one ends with."""
    return start + encode_uint(log_index) + encode_uint(digest_algorithm) + encode_bytes(digest)


@lru_cache(maxsize=_REMEMBERED)
def _status_start(standing: int, version: int, height: int, time_ms: int) -> bytes:
    """Return what most of what a block writes begins with."""
    head = _RENEWED_HEAD if standing == Standing.RENEWED else _STATUS_HEAD
    return head + encode_sequence(1, standing, version, height, time_ms)
