"""Watermarks: a code per copy, keyed, printed on it and hidden in it, and recorded on chain.

The code is HMAC, under a key drawn for this copy, of what the copy is, for whom and when: nobody
can choose it, or say in advance what it is. The statement that holds the key is notarized before
the copy is handed out, and kept by who exports; a copy found later leads by its code to the
statement, and its receipt says since when that stands. It shows whose copy leaked, not who did it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final, Self

from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_bytes,
    expect_text,
    expect_uint,
)
from node.crypto import domains
from node.crypto.suite import Suite
from node.disclosure.fields import expect_format, read_suite

CODE_BYTES: Final = 16
KEY_BYTES: Final = 32
RECIPIENT_BYTES_MAX: Final = 128
STATEMENT_FORMAT: Final = "govchain-watermark-1"
WATERMARK_PREFIX: Final = encode([STATEMENT_FORMAT, *[None] * 5])[: 2 + len(STATEMENT_FORMAT)]
"""What the file of a statement begins with."""
STATEMENT_BYTES_MAX: Final = 512
_DIGEST_BYTES: Final = 32
_GROUP: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """What is stated of one copy. Its digest is notarized; itself it is secret until shown."""

    suite: Suite
    digest: bytes
    """SHA-256 of what was marked, before it was, 32 bytes."""
    recipient: str
    """For whom the copy is: 1..128 bytes."""
    time_ms: int
    """When it was made, by the exporter's clock, milliseconds since 1970 UTC."""
    key: bytes = field(repr=False)
    """32 random bytes, of this copy alone."""

    @property
    def code(self) -> bytes:
        """The code of the copy, 16 bytes: HMAC under the key of digest, recipient and time."""
        subject = encode([self.digest, self.recipient, self.time_ms])
        message = domains.tagged(domains.WATERMARK, subject)
        return self.suite.keyed_hash.authenticate(self.key, message)[:CODE_BYTES]

    @property
    def code_text(self) -> str:
        """Return the code as it is printed: 32 hexadecimal digits in groups of four."""
        digits = self.code.hex().upper()
        return "-".join(digits[at : at + _GROUP] for at in range(0, len(digits), _GROUP))

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `watermark-statement`."""
        return encode(
            [
                STATEMENT_FORMAT,
                self.suite.suite_id,
                self.digest,
                self.recipient,
                self.time_ms,
                self.key,
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a statement; raises `DecodeError`."""
        what = "watermark"
        items = decode(data, what=what, size_max=STATEMENT_BYTES_MAX)
        marked, suite_id, digest, recipient, time_ms, key = expect_array(items, 6, what)
        expect_format(marked, STATEMENT_FORMAT, what)
        return cls(
            suite=read_suite(suite_id),
            digest=expect_bytes(digest, "watermark digest", size=_DIGEST_BYTES),
            recipient=expect_text(recipient, "watermark recipient", size_max=RECIPIENT_BYTES_MAX),
            time_ms=expect_uint(time_ms, "watermark time"),
            key=expect_bytes(key, "watermark key", size=KEY_BYTES),
        )


def pattern_bits(code: bytes, count: int) -> bytes:
    """Return so many bits that a code stands for, one a byte, 0 or 1: what is hidden in images."""
    stream = hashlib.shake_256(domains.tagged(domains.WATERMARK_PATTERN, code))
    data = stream.digest(-(-count // 8))
    return bytes(byte >> bit & 1 for byte in data for bit in range(8))[:count]
