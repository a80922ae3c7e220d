"""The notarization service: what one transaction of records does to the state.

A record without a reference touches the log alone. A record with one also moves the status kept
under (issuer, type, reference), where the issuer is the sender: everything in that key stands in
the record's leaf, so who holds the leaf can ask for the status, and for a proof of it.

A transaction is atomic: its operations apply in order, each seeing those before it, and the first
that breaks a rule fails them all with its index. The rules:

- N1 the digest algorithm is a known one;
- N2 superseding or withdrawing names a reference;
- N3 a first record finds its reference unknown or withdrawn;
- N4 superseding or withdrawing finds its reference in force.

Hence no reference occurs twice in a transaction of first records (N3) or withdrawals (N4). Versions
count every record accepted under a reference, its withdrawals too, and never start again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final

from msgspec import Struct

from node.chain.block import ResultCode
from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_bytes,
    expect_uint,
    expect_version,
)
from node.chain.record import DIGEST_BYTES, Notarization, Record, RecordAction
from node.crypto.suite import DOCUMENT_DIGESTS
from node.errors import DecodeError, InvariantViolation
from node.execution.registry import StateKind
from node.limits import STATE_VALUE_BYTES_MAX

_KNOWN_DIGESTS: Final = frozenset(digest.digest_id for digest in DOCUMENT_DIGESTS)
_NO_WRITES: Final[Mapping[bytes, bytes]] = {}
_REFERENCE_KIND: Final = StateKind.REFERENCE.value


class Standing(IntEnum):
    """Whether what a reference names is valid today. Numbers are consensus."""

    IN_FORCE = 1
    WITHDRAWN = 2


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

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `reference-status`."""
        return encode(
            [
                1,
                int(self.standing),
                self.version,
                self.height,
                self.time_ms,
                self.log_index,
                self.digest_algorithm,
                self.digest,
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> ReferenceStatus:
        """Read a status; raises `DecodeError`."""
        version, standing, count, height, time_ms, log_index, algorithm, digest = expect_array(
            decode(data, what="reference status", size_max=STATE_VALUE_BYTES_MAX),
            8,
            "reference status",
        )
        expect_version(version, "reference status")
        if not expect_uint(standing, "reference standing", Standing.WITHDRAWN.value):
            raise DecodeError("reference standing: expected 1 (in force) or 2 (withdrawn), got 0")
        return cls(
            standing=Standing(standing),
            version=expect_uint(count, "reference version"),
            height=expect_uint(height, "reference height"),
            time_ms=expect_uint(time_ms, "reference time"),
            log_index=expect_uint(log_index, "reference log index"),
            digest_algorithm=expect_uint(algorithm, "reference digest algorithm", 255),
            digest=expect_bytes(digest, "reference digest", size=DIGEST_BYTES),
        )


class Position(Struct, frozen=True, gc=False):
    """Where a transaction lands if it succeeds."""

    height: int
    time_ms: int
    log_index: int
    """Log index of its first record; operation i follows i later."""


class Failure(Struct, frozen=True, gc=False):
    """Why a transaction has no effect."""

    code: ResultCode
    operation_index: int = 0


def reference_key(issuer: str, type_code: str, reference: str) -> bytes:
    """Return the state key of the status of (issuer, type, reference)."""
    return encode([_REFERENCE_KIND, issuer, type_code, reference])


def notarize(
    payload: Notarization, issuer: str, at: Position, read: Callable[[bytes], bytes | None]
) -> Mapping[bytes, bytes] | Failure:
    """Return what the records of `payload` write to the state, or why they fail.

    `read` gives the state as the transactions before this one left it.
    """
    if payload.digest_algorithm not in _KNOWN_DIGESTS:  # N1
        return Failure(ResultCode.DIGEST_ALGORITHM_UNKNOWN)
    if payload.references is None:
        if payload.action is RecordAction.RECORD:
            return _NO_WRITES
        return Failure(ResultCode.REFERENCE_MISSING)  # N2
    writes: dict[bytes, bytes] = {}
    for index, record in enumerate(payload.records()):
        if record.reference is None:
            if record.action is RecordAction.RECORD:
                continue
            return Failure(ResultCode.REFERENCE_MISSING, index)  # N2
        key = reference_key(issuer, record.type_code, record.reference)
        before = _status(writes.get(key) or read(key))
        refusal = _refusal(record.action, before)
        if refusal is not None:
            return Failure(refusal, index)
        version = 1 if before is None else before.version + 1
        writes[key] = _status_after(record, version, at, index).encode()
    return writes


def _refusal(action: RecordAction, before: ReferenceStatus | None) -> ResultCode | None:
    in_force = before is not None and before.standing is Standing.IN_FORCE
    if action is RecordAction.RECORD:
        return ResultCode.REFERENCE_IN_FORCE if in_force else None  # N3
    return None if in_force else ResultCode.REFERENCE_NOT_IN_FORCE  # N4


def _status_after(record: Record, version: int, at: Position, index: int) -> ReferenceStatus:
    withdrawn = record.action is RecordAction.WITHDRAW
    return ReferenceStatus(
        standing=Standing.WITHDRAWN if withdrawn else Standing.IN_FORCE,
        version=version,
        height=at.height,
        time_ms=at.time_ms,
        log_index=at.log_index + index,
        digest_algorithm=record.digest_algorithm,
        digest=record.digest,
    )


def _status(value: bytes | None) -> ReferenceStatus | None:
    if value is None:
        return None
    try:
        return ReferenceStatus.decode(value)
    except DecodeError as error:
        raise InvariantViolation(f"state holds a malformed reference status: {error}") from error
