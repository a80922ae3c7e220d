"""The receipt: the native proof bundle a person keeps for one record. Its shape and its views.

A receipt is data that anyone may have written: it proves nothing until `verify.py` says so. It is
exported as the canonical bytes of the CBOR array `receipt` of proto/govchain.cddl, in a file named
`*.receipt`. Two nodes may export different receipts for one record: their quorums may differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from node.chain.block import CertifiedHeader
from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_blob,
    expect_bytes,
    expect_list,
    expect_uint,
    expect_version,
)
from node.chain.record import LEAF_BYTES_MAX, RecordLeaf
from node.crypto.suite import (
    Suite,
    document_digest_by_id,
    suite_by_id,
)
from node.errors import CryptoError, DecodeError
from node.limits import RECEIPT_BYTES_MAX, TOKEN_BYTES_MAX
from node.timestamp.compact import CompactProof
from node.timestamp.cose import LOG_PATH_HASHES_MAX, CoseSignature
from node.timestamp.history import Handover, read_handovers
from node.timestamp.log.note import NOTE_BYTES_MAX

RECEIPT_SUFFIX: Final = ".receipt"
_DIGEST_BYTES: Final = 32
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PublicCheckpoint:
    """A checkpoint that validators of the record's epoch cosigned, and the record's path in it."""

    note: bytes
    """A signed note, as it is served."""
    path: tuple[bytes, ...]
    """RFC 9162 inclusion path of the record in the tree of the checkpoint."""

    def to_value(self) -> list[Any]:
        """Return the CBOR array `public-checkpoint`."""
        return [self.note, list(self.path)]

    @classmethod
    def from_value(cls, value: object) -> PublicCheckpoint:
        """Read the CBOR array `public-checkpoint`; raises `DecodeError`."""
        note, path = expect_array(value, 2, "receipt checkpoint")
        return cls(
            expect_blob(note, "receipt checkpoint", size_max=NOTE_BYTES_MAX),
            _expect_path(path, "receipt checkpoint path"),
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """Everything needed, besides a trust file, to show that a record was committed, and when."""

    chain_id: bytes
    suite: Suite
    leaf: RecordLeaf
    log_index: int
    """Position of the leaf in the chain-wide log, from 0."""
    log_path: tuple[bytes, ...]
    """RFC 9162 inclusion path in the tree of `header.log_size` leaves."""
    block: CertifiedHeader
    """The header of the block that committed the record, and its commit certificate."""
    handovers: tuple[Handover, ...]
    """From a set that the trust file leads to, one per epoch, up to the header's epoch."""
    token: bytes | None = None
    """A time-stamp token (RFC 3161) of the record, DER without unsigned attributes, or None."""
    cose: CoseSignature | None = None
    """What makes it a COSE Receipt as well, by a validator of the header's epoch, or None."""
    checkpoint: PublicCheckpoint | None = None
    """A later state of the log, for those who know only its public form; None: not at hand."""
    compact: CompactProof | None = None
    """What makes it fit a QR code, of a checkpoint of the record's epoch; None: not at hand."""

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `receipt`."""
        return encode(
            [
                1,
                self.chain_id,
                self.suite.suite_id,
                self.leaf.encode(),
                self.log_index,
                list(self.log_path),
                *self.block.to_value(),
                [handover.to_value() for handover in self.handovers],
                self.token,
                None if self.cose is None else self.cose.to_value(),
                None if self.checkpoint is None else self.checkpoint.to_value(),
                None if self.compact is None else self.compact.to_value(),
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> Receipt:
        """Read a receipt; raises `DecodeError` on all but the canonical bytes of one.

        Only the shape is checked here; of the token, that it is a byte string.
        """
        (
            version,
            chain_id,
            suite_id,
            leaf,
            log_index,
            log_path,
            header,
            certificate,
            handovers,
            token,
            cose,
            checkpoint,
            compact,
        ) = expect_array(decode(data, what="receipt", size_max=RECEIPT_BYTES_MAX), 13, "receipt")
        expect_version(version, "receipt")
        if token is not None:
            expect_blob(token, "receipt token", size_max=TOKEN_BYTES_MAX)
        suite = expect_suite(suite_id, "receipt suite")
        return cls(
            chain_id=expect_bytes(chain_id, "receipt chain id", size=_DIGEST_BYTES),
            suite=suite,
            leaf=RecordLeaf.decode(expect_blob(leaf, "receipt leaf", size_max=LEAF_BYTES_MAX)),
            log_index=expect_uint(log_index, "receipt log index"),
            log_path=_expect_path(log_path, "receipt log path"),
            block=CertifiedHeader.from_value([header, certificate], suite.signature_size),
            handovers=read_handovers(handovers, suite, "receipt handovers"),
            token=token,
            cose=None if cose is None else CoseSignature.from_value(cose),
            checkpoint=None if checkpoint is None else PublicCheckpoint.from_value(checkpoint),
            compact=None if compact is None else CompactProof.from_value(compact),
        )


def build_receipt(  # noqa: PLR0913 - the parts of a receipt
    suite: Suite,
    leaf: bytes,
    log_index: int,
    log_path: Sequence[bytes],
    *,
    block: CertifiedHeader,
    handovers: Sequence[Handover] = (),
    cose: CoseSignature | None = None,
    checkpoint: PublicCheckpoint | None = None,
    compact: CompactProof | None = None,
) -> Receipt:
    """Return the receipt of the record whose encoded leaf stands at `log_index`.

    `log_path` is its inclusion path in the log as of `block`, the block that committed it. Give the
    newest handovers (`carry_newest`): trust files that know the epoch of the first can root it.
    `cose` signs the log root of `block`. Raises `DecodeError` unless `leaf` is a record leaf.
    """
    return Receipt(
        chain_id=block.header.chain_id,
        suite=suite,
        leaf=RecordLeaf.decode(leaf),
        log_index=log_index,
        log_path=tuple(log_path),
        block=block,
        handovers=tuple(handovers),
        cose=cose,
        checkpoint=checkpoint,
        compact=compact,
    )


def view_receipt(receipt: Receipt) -> dict[str, Any]:
    """Return what a receipt says as JSON values, for people; says nothing about its truth.

    Bytes are hex, times ISO 8601 UTC beside their milliseconds. Not a format: only the canonical
    bytes are.
    """
    leaf, header, certificate = receipt.leaf, receipt.block.header, receipt.block.certificate
    seal_time_ms = certificate.seal_time_ms() if certificate.votes else None
    return {
        "version": 1,
        "chain_id": receipt.chain_id.hex(),
        "suite": receipt.suite.name,
        "record": {
            "digest_algorithm": digest_name(leaf.record.digest_algorithm),
            "digest": leaf.record.digest.hex(),
            "type": leaf.record.type_code,
            "reference": leaf.record.reference,
            "action": leaf.record.action.name.lower(),
        },
        "sender": leaf.sender,
        "transaction": leaf.tx_id.hex(),
        "operation": leaf.operation_index,
        "height": header.height,
        "epoch": header.epoch,
        "header": header.digest(receipt.suite).hex(),
        "time": iso_time(header.time_ms),
        "time_ms": header.time_ms,
        "time_degraded": header.time_degraded,
        "seal_time": None if seal_time_ms is None else iso_time(seal_time_ms),
        "seal_time_ms": seal_time_ms,
        "log_index": receipt.log_index,
        "log_size": header.log_size,
        "log_root": header.log_roots[0].hex(),
        "log_path": [node.hex() for node in receipt.log_path],
        "votes": [
            {
                "validator": vote.validator,
                "time": iso_time(vote.time_ms),
                "time_ms": vote.time_ms,
                "signature": vote.signature.hex(),
            }
            for vote in certificate.votes
        ],
        "public_checkpoint": None
        if receipt.checkpoint is None
        else receipt.checkpoint.note.decode("utf-8", "replace"),
        "compact_checkpoint_height": None
        if receipt.compact is None
        else receipt.compact.certificate.checkpoint.height,
        "handovers": [
            {
                "height": handover.block.header.height,
                "epoch": handover.next_set.epoch,
                "validators": [member.validator_id for member in handover.next_set.validators],
            }
            for handover in receipt.handovers
        ],
    }


def iso_time(time_ms: int) -> str:
    """Return ISO 8601 UTC with milliseconds, or the number and its unit past the year 9999."""
    try:
        moment = _EPOCH + timedelta(milliseconds=time_ms)
    except OverflowError:
        return f"{time_ms} ms"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def digest_name(digest_id: int) -> str:
    """Return the name of a document digest algorithm, or words for a number that has none."""
    try:
        return document_digest_by_id(digest_id).name
    except CryptoError:
        return f"unknown ({digest_id})"


def _expect_path(value: object, what: str) -> tuple[bytes, ...]:
    nodes = expect_list(value, LOG_PATH_HASHES_MAX, what)
    return tuple(expect_bytes(node, what, size=_DIGEST_BYTES) for node in nodes)


def expect_suite(value: object, what: str) -> Suite:
    """Return the suite of this id, or raise `DecodeError` naming `what`."""
    try:
        return suite_by_id(expect_uint(value, what, 255))
    except CryptoError as error:
        raise DecodeError(f"{what}: {error}") from error
