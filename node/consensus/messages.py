"""Consensus messages: shapes and canonical bytes. What makes one acceptable: verification.py.

Names are the paper's (OSDI'99 sections 4.2-4.4). Two differences in shape: a pre-prepare carries
the primary's own PREPARE vote instead of a signature of its own, so that a prepared certificate is
a quorum of votes of one kind; and a VIEW-CHANGE starts from commit certificates instead of
checkpoints, because here every commit certificate covers the state after execution.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from node.chain.block import CertifiedHeader, Header
from node.chain.certificate import Vote
from node.chain.encoding import (
    encode,
    expect_array,
    expect_bool,
    expect_bytes,
    expect_list,
    expect_uint,
    expect_version,
)
from node.chain.transaction import decode_hash_list, encode_hash_list
from node.crypto import domains
from node.errors import DecodeError
from node.limits import BLOCK_TXS_MAX, VALIDATORS_MAX, WINDOW_SLOTS_MAX


@dataclass(frozen=True, slots=True)
class Proposal:
    """PRE-PREPARE: a header, the hashes of its transactions, and the primary's PREPARE vote."""

    header: Header
    tx_hashes: tuple[bytes, ...]
    vote: Vote

    def to_value(self) -> list[Any]:
        """Return the CBOR array `proposal`."""
        return [
            1,
            self.header.encoded,
            encode_hash_list(self.tx_hashes),
            self.vote.to_value(),
        ]

    @classmethod
    def from_value(cls, value: object, signature_size: int) -> Proposal:
        """Read the CBOR array `proposal`; raises `DecodeError`."""
        version, header, tx_hashes, vote = expect_array(value, 4, "proposal")
        expect_version(version, "proposal")
        return cls(
            Header.from_value(header),
            decode_hash_list(tx_hashes, BLOCK_TXS_MAX, "proposal transactions"),
            Vote.from_value(vote, signature_size),
        )


class Reason(IntEnum):
    """Why a validator leaves a view: its word alone, so nothing that is safe may rest on it."""

    TIMEOUT = 1
    """Work waited and nothing was final for the timeout, or no NEW-VIEW came."""
    ROTATION = 2
    """The view has lasted as long as the schedule lets it."""
    FAIRNESS = 3
    """The primary preferred younger transactions to one that had waited too long."""
    OTHERS = 4
    """The primary left it, or f + 1 validators did."""
    CLOCK = 5
    """Work waits for this validator to propose, whose clock is unfit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewChange:
    """VIEW-CHANGE: one validator leaves all views below `view` and shows what it holds.

    `committed`: its newest certified headers with commit certificates, ascending, chained, ending
    at its tip: the last W of them, of this epoch alone. A commit certificate for s alone does not
    prove that every height below s is decided; the W below it together do, because no correct
    validator commits further than W above its own tip.
    `prepared`: above its tip, the certificate of the highest view it knows for each height.
    """

    epoch: int
    view: int
    validator: int
    committed: tuple[CertifiedHeader, ...]
    prepared: tuple[CertifiedHeader, ...]
    clock_bit: bool
    """Set when the sender cannot vouch for time: its clock is unfit; T of the newest block it
    shows is above its clock + PRECISION; a header came too late in the view it leaves although D
    cannot grow further; or the timer of that view ran out and another's bit was held."""
    clock_ms: int
    """The sender's UTC clock when it left."""
    reason: Reason
    signature: bytes = b""
    """Empty until signed."""

    def unsigned_value(self) -> list[Any]:
        """Return the signed fields in order."""
        return [
            1,
            self.epoch,
            self.view,
            self.validator,
            [item.to_value() for item in self.committed],
            [item.to_value() for item in self.prepared],
            self.clock_bit,
            self.clock_ms,
            self.reason.value,
        ]

    def sign_bytes(self, chain_id: bytes) -> bytes:
        """Return the byte string its sender signs."""
        return domains.tagged(domains.VIEW_CHANGE, encode([chain_id, self.unsigned_value()]))

    def to_value(self) -> list[Any]:
        """Return the CBOR array `view-change`."""
        return [*self.unsigned_value(), self.signature]

    @classmethod
    def from_value(cls, value: object, signature_size: int) -> ViewChange:
        """Read the CBOR array `view-change`; raises `DecodeError`."""
        (
            version,
            epoch,
            view,
            validator,
            committed,
            prepared,
            clock_bit,
            clock_ms,
            reason,
            signature,
        ) = expect_array(value, 10, "view change")
        expect_version(version, "view change")
        reason_number = expect_uint(reason, "view change reason", max(Reason))
        if not reason_number:
            raise DecodeError("view change reason: expected 1..5, got 0")
        return cls(
            epoch=expect_uint(epoch, "view change epoch"),
            view=expect_uint(view, "view change view"),
            validator=expect_uint(validator, "view change validator", VALIDATORS_MAX - 1),
            committed=tuple(
                CertifiedHeader.from_value(item, signature_size)
                for item in expect_list(committed, WINDOW_SLOTS_MAX, "view change committed")
            ),
            prepared=tuple(
                CertifiedHeader.from_value(item, signature_size)
                for item in expect_list(prepared, WINDOW_SLOTS_MAX, "view change prepared")
            ),
            clock_bit=expect_bool(clock_bit, "view change clock bit"),
            clock_ms=expect_uint(clock_ms, "view change clock"),
            reason=Reason(reason_number),
            signature=expect_bytes(signature, "view change signature", size=signature_size),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewView:
    """NEW-VIEW: the quorum of VIEW-CHANGEs a primary starts its view from, and nothing else.

    What the view carries over is recomputed by everybody from `view_changes` (new_view.py).
    """

    epoch: int
    view: int
    view_changes: tuple[ViewChange, ...]
    """In ascending order of validator, all for `view`."""
    signature: bytes = b""
    """The primary's; empty until signed."""

    def unsigned_value(self) -> list[Any]:
        """Return the signed fields in order."""
        return [1, self.epoch, self.view, [item.to_value() for item in self.view_changes]]

    def sign_bytes(self, chain_id: bytes) -> bytes:
        """Return the byte string the primary signs."""
        return domains.tagged(domains.NEW_VIEW, encode([chain_id, self.unsigned_value()]))

    def to_value(self) -> list[Any]:
        """Return the CBOR array `new-view`."""
        return [*self.unsigned_value(), self.signature]

    @classmethod
    def from_value(cls, value: object, signature_size: int) -> NewView:
        """Read the CBOR array `new-view`; raises `DecodeError`."""
        version, epoch, view, view_changes, signature = expect_array(value, 5, "new view")
        expect_version(version, "new view")
        return cls(
            epoch=expect_uint(epoch, "new view epoch"),
            view=expect_uint(view, "new view view"),
            view_changes=tuple(
                ViewChange.from_value(item, signature_size)
                for item in expect_list(view_changes, VALIDATORS_MAX, "new view view changes")
            ),
            signature=expect_bytes(signature, "new view signature", size=signature_size),
        )


@dataclass(frozen=True, slots=True)
class Status:
    """Where a node stands; unsigned, a hint that only makes others offer certificates."""

    epoch: int
    view: int
    view_active: bool
    height: int

    def to_value(self) -> list[Any]:
        """Return the CBOR array `status`."""
        return [self.epoch, self.view, self.view_active, self.height]

    @classmethod
    def from_value(cls, value: object) -> Status:
        """Read the CBOR array `status`; raises `DecodeError`."""
        epoch, view, view_active, height = expect_array(value, 4, "status")
        return cls(
            expect_uint(epoch, "status epoch"),
            expect_uint(view, "status view"),
            expect_bool(view_active, "status active"),
            expect_uint(height, "status height"),
        )
