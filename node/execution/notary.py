"""The notarization service: what one transaction of records does to the state.

A record without a reference touches the log alone. A record with one also moves the status kept
under (issuer, type, reference), see node/chain/reference.py, where the issuer is the sender:
everything in that key stands in the record's leaf, so who holds the leaf can ask for the status,
and for a proof of it.

A transaction is atomic: its operations apply in order, each seeing those before it, and the first
that breaks a rule fails them all with its index. The rules:

- N1 the digest algorithm is a known one;
- N2 superseding or withdrawing names a reference;
- N3 a first record finds its reference unknown or withdrawn;
- N4 superseding or withdrawing finds its reference in force.

Hence no reference occurs twice in a transaction of first records (N3) or withdrawals (N4). Versions
count every record accepted under a reference, its withdrawals too, and never start again. What was
withdrawn stays so: a status in force after a withdrawal names the newest one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, final

from msgspec import Struct

from node.chain.block import ResultCode
from node.chain.encoding import encode_text, encode_uint
from node.chain.policy import NOTARIZE
from node.chain.record import (
    NO_REFERENCE,
    Notarization,
    RecordAction,
    document_digest_bytes,
    leaf_frame,
)
from node.chain.reference import (
    ReferenceStatus,
    Standing,
    encode_first_status,
    first_status_frame,
    reference_key,
    reference_key_start,
)
from node.crypto.suite import DOCUMENT_DIGESTS
from node.errors import DecodeError, InvariantViolation

_KNOWN_DIGESTS: Final = frozenset(digest.digest_id for digest in DOCUMENT_DIGESTS)
_NO_WRITES: Final[Mapping[bytes, bytes]] = {}


class Position(Struct, frozen=True, gc=False):
    """Where a transaction lands if it succeeds."""

    height: int
    time_ms: int
    log_index: int
    """Log index of its first record; operation i follows i later."""


@final
class Failure(Struct, frozen=True, gc=False):
    """Why a transaction has no effect."""

    code: ResultCode
    operation_index: int = 0


def operation_of(payload: Notarization) -> str:
    """Return the name that rules (T2) are bound to, of what such a transaction asks for."""
    return f"{NOTARIZE}:{payload.type_code}"


def keys_read(payload: Notarization, issuer: str) -> list[bytes]:
    """Return the state keys that `notarize` reads."""
    return [
        reference_key(issuer, payload.type_code, reference)
        for reference in payload.references or ()
        if reference is not None
    ]


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
    columns = zip(payload.split_digests(), payload.references, strict=True)
    for index, (digest, reference) in enumerate(columns):
        if reference is None:
            if payload.action is RecordAction.RECORD:
                continue
            return Failure(ResultCode.REFERENCE_MISSING, index)  # N2
        key = reference_key(issuer, payload.type_code, reference)
        stored = writes.get(key) or read(key)
        if stored is None and payload.action is RecordAction.RECORD:  # N3 holds
            writes[key] = encode_first_status(
                at.height, at.time_ms, at.log_index + index, payload.digest_algorithm, digest
            )
            continue
        before = _status(stored)
        refusal = _refusal(payload.action, before)
        if refusal is not None:
            return Failure(refusal, index)
        standing, withdrawn_index = _moved(payload.action, before)
        writes[key] = ReferenceStatus(
            standing=standing,
            version=1 if before is None else before.version + 1,
            height=at.height,
            time_ms=at.time_ms,
            log_index=at.log_index + index,
            digest_algorithm=payload.digest_algorithm,
            digest=digest,
            withdrawn_index=withdrawn_index,
        ).encode()
    return writes


class Plain(Struct, frozen=True, gc=False):
    """A plain transaction, by what it does not share with its kind. See `PlainKind`."""

    kind: PlainKind
    digest: bytes
    reference: bytes
    """Encoded; that of none where it has none."""
    key: bytes
    """The state key of the reference; no bytes where it has none."""


class PlainKind:
    """Plain transactions of a block that share sender, type and digest algorithm.

    Plain is a transaction of one first record whose digest algorithm is known (N1), and which finds
    nothing under its reference (N3), or has none; nothing else is asked of it (N2, N4). Nearly all
    are that, so what they share is encoded once. `notarize` and `encode_record_leaves` do the same
    to a plain one, and anything else is for them.
    """

    __slots__ = ("_digest_bytes", "_key_start", "_leaf", "_status", "is_permitted", "operation")

    def __init__(self, alike: Notarization, sender: str, height: int, time_ms: int) -> None:
        """Begin with what all of a block share with a first record."""
        algorithm = alike.digest_algorithm
        is_known = algorithm in _KNOWN_DIGESTS  # N1
        self._digest_bytes = document_digest_bytes(algorithm) if is_known else 0
        self._leaf = leaf_frame(alike, height=height, time_ms=time_ms, sender=sender)
        self._key_start = reference_key_start(sender, alike.type_code)
        self._status = first_status_frame(height, time_ms, algorithm)
        self.operation = operation_of(alike)
        self.is_permitted: bool | None = None
        """Whether T1 and T2 hold; None where that has to be asked."""

    def plain(self, payload: Notarization) -> Plain | None:
        """Return what a first record of this kind is if nothing is under its key; None for more."""
        if len(payload.digests) != self._digest_bytes:
            return None
        if payload.references is None:
            return Plain(self, payload.digests, NO_REFERENCE, b"")
        reference = payload.references[0]
        if reference is None:
            return None
        encoded = encode_text(reference)
        return Plain(self, payload.digests, encoded, self._key_start + encoded)

    def status(self, plain: Plain, log_index: int) -> bytes:
        """Return what it writes under its key."""
        start, before_digest = self._status
        return b"".join((start, encode_uint(log_index), before_digest, plain.digest))

    def leaf(self, plain: Plain, tx_id: bytes) -> bytes:
        """Return its leaf."""
        start, before_digest, before_reference, end = self._leaf
        return b"".join(
            (start, tx_id, before_digest, plain.digest, before_reference, plain.reference, end)
        )


def _refusal(action: RecordAction, before: ReferenceStatus | None) -> ResultCode | None:
    in_force = before is not None and before.is_in_force
    if action is RecordAction.RECORD:
        return ResultCode.REFERENCE_IN_FORCE if in_force else None  # N3
    return None if in_force else ResultCode.REFERENCE_NOT_IN_FORCE  # N4


def _moved(action: RecordAction, before: ReferenceStatus | None) -> tuple[Standing, int | None]:
    """Return the standing after a record, and the newest withdrawal before it if it is renewed."""
    if action is RecordAction.WITHDRAW:
        return Standing.WITHDRAWN, None
    if before is None or before.standing is Standing.IN_FORCE:
        return Standing.IN_FORCE, None
    is_withdrawn = before.standing is Standing.WITHDRAWN
    return Standing.RENEWED, before.log_index if is_withdrawn else before.withdrawn_index


def _status(value: bytes | None) -> ReferenceStatus | None:
    if value is None:
        return None
    try:
        return ReferenceStatus.decode(value)
    except DecodeError as error:
        raise InvariantViolation(f"state holds a malformed reference status: {error}") from error
