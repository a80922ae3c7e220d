"""What a validator answers to a submitted transaction: admission first, the final result later.

Values only. Admission is one node's word and binds nobody; the final result is the chain's.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from node.chain.block import ResultCode
from node.chain.struct import Struct


class AdmissionCode(IntEnum):
    """A validator's first word on a transaction. Numbers are those of the wire, never reused."""

    ACCEPTED = 1
    DUPLICATE_PENDING = 2
    """Known here and not final yet: treated as accepted."""
    ALREADY_FINAL = 3
    """Known and final: its result is known."""
    MALFORMED = 4
    WRONG_CHAIN = 5
    UNKNOWN_SENDER = 6
    BAD_SIGNATURE = 7
    EXPIRED = 8
    TOO_FAR_AHEAD = 9
    """Its not-after lies more than ten minutes ahead."""
    NOT_PERMITTED = 10
    POOL_FULL = 11
    """No room; `retry_after_ms` says when to come back."""
    NOT_READY = 12
    """This validator is starting or catching up: another may be ready."""
    OVER_QUOTA = 13
    """As much of its organisation waits here as may; `retry_after_ms` says when to come back."""

    @property
    def is_admitted(self) -> bool:
        """Say whether the transaction is, or will be, final unless it expires first."""
        return self <= AdmissionCode.ALREADY_FINAL


class Admission(Struct, frozen=True, gc=False):
    """The verdict of admission on one transaction."""

    code: AdmissionCode
    message: str = ""
    """Why it was refused, for a person; empty when admitted."""
    retry_after_ms: int = 0
    """When to come back; 0 where trying again does not help."""
    tx_id: bytes | None = None
    """Of the transaction, where it was well formed and is known already."""


ACCEPTED: Final = Admission(AdmissionCode.ACCEPTED)


class FinalResult(Struct, frozen=True, gc=False):
    """What became of one admitted transaction. It can no longer change."""

    code: ResultCode
    height: int
    """Of its block; 0 when it expired without having been included (the code is EXPIRED then)."""
    time_ms: int
    """T of its block, milliseconds since 1970 UTC."""
    operation_index: int
    """The operation that failed; 0 when all succeeded."""
    log_index: int
    """Log index of its first record."""

    @classmethod
    def expired(cls) -> FinalResult:
        """Return the result of a transaction no block can include any more."""
        return cls(ResultCode.EXPIRED, height=0, time_ms=0, operation_index=0, log_index=0)
