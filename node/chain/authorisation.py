"""Data authorisation: for what purpose, which fields and until when a recipient may read.

Terms bind a grant of the vault (node/chain/vault.py). Who is granted a document under terms reads
it at the owner's nodes alone, each time after a transaction of its own that says so: the trace.
What the state holds of that is how many there were, and where the newest stands; that one names the
one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from node.chain.encoding import expect_array, expect_bytes, expect_list, expect_text, expect_uint

PURPOSE_BYTES_MAX: Final = 128
AUTHORISED_FIELDS_MAX: Final = 16
AUTHORISED_FIELD_BYTES_MAX: Final = 64
_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a recipient agreed to. On chain, for all to read: names no person."""

    purpose: str
    """1..128 bytes."""
    fields: tuple[str, ...]
    """Names of the fields that the document shows; none where it is no disclosure."""
    not_after_ms: int
    """Nothing may be read at an agreed time later than this, milliseconds since 1970 UTC."""
    basis: bytes | None
    """Digest of what allows it (a consent, a decision), 32 bytes; that itself stays off chain."""

    def to_value(self) -> list[Any]:
        """Return the CBOR array `vault-terms`."""
        return [self.purpose, list(self.fields), self.not_after_ms, self.basis]

    @classmethod
    def from_value(cls, value: object) -> Self:
        """Read the CBOR array `vault-terms`; raises `DecodeError`."""
        purpose, fields, not_after_ms, basis = expect_array(value, 4, "vault terms")
        return cls(
            purpose=expect_text(purpose, "vault purpose", size_max=PURPOSE_BYTES_MAX),
            fields=tuple(
                expect_text(each, "vault field", size_max=AUTHORISED_FIELD_BYTES_MAX)
                for each in expect_list(fields, AUTHORISED_FIELDS_MAX, "vault fields")
            ),
            not_after_ms=expect_uint(not_after_ms, "vault terms' end"),
            basis=None
            if basis is None
            else expect_bytes(basis, "vault terms' basis", size=_DIGEST_BYTES),
        )

    def is_over(self, time_ms: int) -> bool:
        """Tell whether nothing may be read any more at a time."""
        return time_ms > self.not_after_ms


@dataclass(frozen=True, slots=True)
class Uses:
    """The trace of a grant under terms."""

    count: int = 0
    height: int = 0
    """Of the block of the newest; 0 where there is none."""
    time_ms: int = 0
    """T of that block, milliseconds since 1970 UTC."""

    def and_one(self, height: int, time_ms: int) -> Uses:
        """Return the trace after one more."""
        return Uses(self.count + 1, height, time_ms)


@dataclass(frozen=True, slots=True)
class Authorised:
    """Terms, and what use was made of them."""

    terms: Terms
    uses: Uses = Uses()

    def to_value(self) -> list[Any]:
        """Return the CBOR array `vault-authorised`."""
        uses = self.uses
        return [self.terms.to_value(), uses.count, uses.height, uses.time_ms]

    @classmethod
    def from_value(cls, value: object) -> Self:
        """Read the CBOR array `vault-authorised`; raises `DecodeError`."""
        terms, count, height, time_ms = expect_array(value, 4, "vault authorisation")
        uses = Uses(
            expect_uint(count, "vault uses"),
            expect_uint(height, "vault use height"),
            expect_uint(time_ms, "vault use time"),
        )
        return cls(Terms.from_value(terms), uses)
