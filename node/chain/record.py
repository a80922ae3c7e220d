"""Records (what notarization writes), their columnar payload, and the leaves of the log.

Content never goes on chain: a record holds a document's digest. A record that carries a reference
also has a current status in the state tree (see node/chain/reference.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from node.chain.encoding import (
    decode,
    encode,
    encode_bytes,
    encode_sequence,
    encode_text,
    encode_uint,
    expect_array,
    expect_blob,
    expect_bytes,
    expect_list,
    expect_text,
    expect_uint,
    expect_version,
)
from node.chain.struct import Struct
from node.crypto.suite import DOCUMENT_DIGESTS
from node.errors import DecodeError
from node.limits import (
    IDENTITY_ID_BYTES_MAX,
    RECORD_REFERENCE_BYTES_MAX,
    RECORD_TYPE_BYTES_MAX,
    TX_RECORDS_MAX,
    TX_REFERENCES_MAX,
)

DIGEST_BYTES = 32
LEAF_BYTES_MAX = 1_024

_DOCUMENT_DIGEST_BYTES: Final = {digest.digest_id: digest.size for digest in DOCUMENT_DIGESTS}


def document_digest_bytes(digest_algorithm: int) -> int:
    """Return how long a record's digest of this algorithm is.

    That of an unknown algorithm is 32 bytes: such a record has a form, and execution refuses it.
    """
    return _DOCUMENT_DIGEST_BYTES.get(digest_algorithm, DIGEST_BYTES)


class RecordAction(IntEnum):
    """What a record does to the status of its reference."""

    RECORD = 0
    """A first record; its reference, if any, must not be in force yet."""
    SUPERSEDE = 1
    """Replaces the record in force under the same issuer, type and reference."""
    WITHDRAW = 2
    """Ends the record in force under the same issuer, type and reference."""


_ACTIONS: Final = tuple(RecordAction)  # by number
_LEAF_HEAD: Final = encode([None] * 8)[:1]  # of the array itself, as short as any head can be
_RECORD_HEAD: Final = encode([None] * 5)[:1]
_NULL: Final = encode(None)
_FIRST_INDEX: Final = encode(0)
_REMEMBERED: Final = 256  # of blocks a few, of senders and types most


class Record(Struct, frozen=True, gc=False, kw_only=True):
    """One notarized fact."""

    digest_algorithm: int
    """Id in `node.crypto.suite`'s registry of document digests (1 = SHA-256, 2 = SM3, ...)."""
    digest: bytes
    """As long as `document_digest_bytes` says: 32, 48 or 64 bytes."""
    type_code: str
    reference: str | None = None
    action: RecordAction = RecordAction.RECORD

    def to_value(self) -> list[Any]:
        """Return the CBOR array `record`."""
        return [
            self.digest_algorithm,
            self.digest,
            self.type_code,
            self.reference,
            int(self.action),
        ]

    @classmethod
    def from_value(cls, value: object) -> Record:
        """Read the CBOR array `record`; raises `DecodeError`."""
        algorithm, digest, type_code, reference, action = expect_array(value, 5, "record")
        digest_algorithm = expect_uint(algorithm, "record digest algorithm", 255)
        size = document_digest_bytes(digest_algorithm)
        return cls(
            digest_algorithm=digest_algorithm,
            digest=expect_bytes(digest, "record digest", size=size),
            type_code=expect_text(type_code, "record type", size_max=RECORD_TYPE_BYTES_MAX),
            reference=_expect_reference(reference, "record reference"),
            action=_expect_action(action),
        )


class Notarization(Struct, frozen=True, gc=False, kw_only=True):
    """The payload of a notarization: one or many records of one algorithm, type and action.

    Columnar, so that a batch decodes in a handful of items: all digests in one byte string.
    """

    digest_algorithm: int
    type_code: str
    action: RecordAction
    digests: bytes
    """As many digests as records, each as long as `document_digest_bytes` says."""
    references: tuple[str | None, ...] | None = None
    """One entry per record, or None where no record carries a reference."""

    @property
    def count(self) -> int:
        """Return the number of records."""
        return len(self.digests) // document_digest_bytes(self.digest_algorithm)

    def split_digests(self) -> list[bytes]:
        """Return the digest of each record, in operation order."""
        size = document_digest_bytes(self.digest_algorithm)
        if len(self.digests) == size:
            return [self.digests]
        return [self.digests[at : at + size] for at in range(0, len(self.digests), size)]

    def record(self, index: int) -> Record:
        """Return the record of operation `index`."""
        size = document_digest_bytes(self.digest_algorithm)
        return Record(
            digest_algorithm=self.digest_algorithm,
            digest=self.digests[index * size : (index + 1) * size],
            type_code=self.type_code,
            reference=None if self.references is None else self.references[index],
            action=self.action,
        )

    def records(self) -> Iterator[Record]:
        """Yield the records in operation order."""
        return (self.record(index) for index in range(self.count))

    def to_value(self) -> list[Any]:
        """Return the CBOR array `notarization`."""
        references = None if self.references is None else list(self.references)
        return [
            self.digest_algorithm,
            self.type_code,
            int(self.action),
            self.digests,
            references,
        ]

    @classmethod
    def from_value(cls, value: object) -> Notarization:
        """Read the CBOR array `notarization`; raises `DecodeError`."""
        algorithm, type_code, action, digests, references = expect_array(value, 5, "notarization")
        digest_algorithm = expect_uint(algorithm, "notarization digest algorithm", 255)
        size = document_digest_bytes(digest_algorithm)
        expect_blob(digests, "notarization digests", size_max=TX_RECORDS_MAX * size)
        count, rest = divmod(len(digests), size)
        if rest or not count:
            raise DecodeError(
                f"notarization digests: expected a positive multiple of {size} bytes, "
                f"got {len(digests)}"
            )
        listed: tuple[str | None, ...] | None = None
        if references is not None:
            expect_list(references, count, "notarization references")
            listed = _expect_references(references)
            named = len(listed) - listed.count(None)
            if len(listed) != count or not 0 < named <= TX_REFERENCES_MAX:
                raise DecodeError(
                    f"notarization references: expected {count} entries, 1 to {TX_REFERENCES_MAX} "
                    f"of them not null, or null; got {len(listed)}, {named} of them not null"
                )
        return cls(
            digest_algorithm=digest_algorithm,
            type_code=expect_text(type_code, "notarization type", size_max=RECORD_TYPE_BYTES_MAX),
            action=_expect_action(action),
            digests=digests,
            references=listed,
        )


class LeafKind(IntEnum):
    """What a leaf of the log stands for."""

    HEADER = 0
    RECORD = 1


class RecordLeaf(Struct, frozen=True, gc=False, kw_only=True):
    """A committed record as the log holds it: when, by whom, in which transaction, and what."""

    height: int
    time_ms: int
    """The block's agreed time T, milliseconds since 1970 UTC."""
    tx_id: bytes
    operation_index: int
    sender: str
    """Identity id of the submitter: with it, a leaf alone proves who asked."""
    record: Record

    def encode(self) -> bytes:
        """Return the leaf's bytes, the input of the RFC 9162 leaf hash."""
        return encode(
            [
                1,
                LeafKind.RECORD.value,
                self.height,
                self.time_ms,
                self.tx_id,
                self.operation_index,
                self.sender,
                self.record.to_value(),
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> RecordLeaf:
        """Read a record leaf; raises `DecodeError`."""
        version, kind, height, time_ms, tx_id, operation_index, sender, record = expect_array(
            decode(data, what="record leaf", size_max=LEAF_BYTES_MAX), 8, "record leaf"
        )
        expect_version(version, "record leaf")
        if type(kind) is not int or kind != LeafKind.RECORD:
            raise DecodeError(f"record leaf: expected kind {LeafKind.RECORD.value}, got {kind!r}")
        return cls(
            height=expect_uint(height, "leaf height"),
            time_ms=expect_uint(time_ms, "leaf time"),
            tx_id=expect_bytes(tx_id, "leaf transaction id", size=DIGEST_BYTES),
            operation_index=expect_uint(operation_index, "leaf operation", TX_RECORDS_MAX - 1),
            sender=expect_text(sender, "leaf sender", size_max=IDENTITY_ID_BYTES_MAX),
            record=Record.from_value(record),
        )


class LeafFrame(NamedTuple):
    """What is the same in the leaves of transactions of one record each that are alike.

    A leaf is the four parts with transaction id, digest and encoded reference between them: as
    `RecordLeaf.encode` gives it.
    """

    before_tx_id: bytes
    before_digest: bytes
    before_reference: bytes
    end: bytes


NO_REFERENCE: Final = _NULL
"""What a leaf has in place of an encoded reference where there is none."""


def leaf_frame(payload: Notarization, *, height: int, time_ms: int, sender: str) -> LeafFrame:
    """Return the frame of the leaf of a record like that of `payload`, a single one."""
    blank = bytes(DIGEST_BYTES)
    before_digest = _until_digest(sender, payload.digest_algorithm)
    return LeafFrame(
        before_tx_id=_leaf_start(height, time_ms) + encode_bytes(blank).removesuffix(blank),
        before_digest=_FIRST_INDEX + before_digest,
        before_reference=_encode_name(payload.type_code),
        end=encode_uint(payload.action),
    )


def encode_record_leaves(
    payload: Notarization, *, height: int, time_ms: int, tx_id: bytes, sender: str
) -> list[bytes]:
    """Return the leaves of a transaction's records, in operation order.

    Each is what `RecordLeaf.encode` gives, but what they share is encoded once for all of them.
    """
    before_index = _leaf_start(height, time_ms) + encode_bytes(tx_id)
    before_digest = _until_digest(sender, payload.digest_algorithm)
    type_code, action = _encode_name(payload.type_code), encode_uint(payload.action)
    digests = payload.split_digests()
    indexes = _encoded_indexes(len(digests).bit_length())
    if payload.references is None:
        after_digest = type_code + _NULL + action
        return [
            before_index + index + before_digest + digest + after_digest
            for index, digest in zip(indexes, digests, strict=False)  # of indexes there are more
        ]
    return [
        before_index
        + index
        + before_digest
        + digest
        + type_code
        + (_NULL if reference is None else encode_text(reference))
        + action
        for index, (digest, reference) in zip(
            indexes, zip(digests, payload.references, strict=True), strict=False
        )
    ]


@lru_cache(maxsize=_REMEMBERED)
def _encoded_indexes(bits: int) -> list[bytes]:
    """Return the encoded operation indexes of so many bits, from 0 on."""
    return [encode_uint(index) for index in range(1 << bits)]


@lru_cache(maxsize=_REMEMBERED)
def _leaf_start(height: int, time_ms: int) -> bytes:
    """Return what the leaves of a block begin with."""
    return _LEAF_HEAD + encode_sequence(1, LeafKind.RECORD.value, height, time_ms)


@lru_cache(maxsize=_REMEMBERED)
def _until_digest(sender: str, digest_algorithm: int) -> bytes:
    """Return what stands between a leaf's operation index and its digest."""
    blank = bytes(document_digest_bytes(digest_algorithm))
    before = encode_text(sender) + _RECORD_HEAD + encode_sequence(digest_algorithm, blank)
    return before.removesuffix(blank)


@lru_cache(maxsize=_REMEMBERED)
def _encode_name(name: str) -> bytes:
    return encode_text(name)


def encode_header_leaf(height: int, header_digest: bytes) -> bytes:
    """Return the leaf that commits the header of `height`; the first leaf of the next block."""
    return encode([1, LeafKind.HEADER.value, height, header_digest])


def _expect_references(values: Sequence[object]) -> tuple[str | None, ...]:
    found: list[str | None] = []
    try:
        for value in values:
            # Where one fails, those found tell which it is.
            found.append(_expect_reference(value, "record reference"))  # noqa: PERF401
    except DecodeError as error:
        raise DecodeError(f"notarization references: entry {len(found)}: {error}") from error
    return tuple(found)


def _expect_reference(value: object, what: str) -> str | None:
    if value is None:
        return None
    return expect_text(value, what, size_max=RECORD_REFERENCE_BYTES_MAX)


def _expect_action(value: object) -> RecordAction:
    return _ACTIONS[expect_uint(value, "record action", len(_ACTIONS) - 1)]
