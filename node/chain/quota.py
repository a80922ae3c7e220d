"""What an organisation may ask of the validators at a time: its quota, kept in the state.

No rule of blocks: each validator goes by it where it takes transactions in (node/service/turns.py).
It is agreed on all the same, so that all validators serve in about the same order, and nobody's
operator decides alone who waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_text,
    expect_uint,
    expect_version,
)
from node.errors import DecodeError
from node.limits import IDENTITY_ID_BYTES_MAX, MEMPOOL_TXS_MAX

SHARE_MAX: Final = 100
_VALUE_BYTES_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Quota:
    """The quota of one organisation; without one, it is `Quota()`."""

    share: int = 1
    """1..100: how many times the bytes of an organisation without quota it is served of in turn."""
    waiting_max: int = 0
    """How many of its transactions may wait in a validator's pool; 0: as many as find room."""

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `quota`."""
        return encode(self.to_value())

    def to_value(self) -> list[Any]:
        """Return the CBOR array `quota`."""
        return [1, self.share, self.waiting_max]

    @classmethod
    def decode(cls, data: bytes) -> Quota:
        """Read a quota from its canonical bytes; raises `DecodeError`."""
        return cls.from_value(decode(data, what="quota", size_max=_VALUE_BYTES_MAX))

    @classmethod
    def from_value(cls, value: object) -> Quota:
        """Read a quota; raises `DecodeError`."""
        version, share, waiting_max = expect_array(value, 3, "quota")
        expect_version(version, "quota")
        quota = cls(
            expect_uint(share, "quota share", SHARE_MAX),
            expect_uint(waiting_max, "quota of what waits", MEMPOOL_TXS_MAX),
        )
        if not quota.share:
            raise DecodeError(f"quota share: expected 1..{SHARE_MAX}, got 0")
        return quota


@dataclass(frozen=True, slots=True)
class SetQuota:
    """Give an organisation a quota, or take it away again."""

    organisation_id: str
    quota: Quota | None
    """None: as one that never had any."""

    def to_value(self) -> list[Any]:
        """Return the CBOR array `set-quota-of`."""
        return [self.organisation_id, None if self.quota is None else self.quota.to_value()]

    @classmethod
    def from_value(cls, value: object) -> SetQuota:
        """Read it; raises `DecodeError`."""
        organisation_id, quota = expect_array(value, 2, "quota to be set")
        return cls(
            expect_text(organisation_id, "quota's organisation", size_max=IDENTITY_ID_BYTES_MAX),
            None if quota is None else Quota.from_value(quota),
        )
