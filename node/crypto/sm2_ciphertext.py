"""The two forms of an SM2 ciphertext: C1 || C3 || C2, and the ASN.1 of GM/T 0009 section 7.2.

C1 is an uncompressed point, C3 a digest by SM3, C2 as long as the plaintext. (Old files hold
C1 || C2 || C3, by a draft of the standard: they are not read.) Decoding is strict: only DER, and
only what encoding gives.
"""

from __future__ import annotations

from typing import Final

from node.crypto import der
from node.crypto.sm2_library import SM2_SCALAR_BYTES
from node.errors import CryptoError, DecodeError

SM2_CIPHERTEXT_BYTES_OVER: Final = 1 + 3 * SM2_SCALAR_BYTES
"""By how much a ciphertext C1 || C3 || C2 is longer than its plaintext."""

_UNCOMPRESSED: Final = b"\x04"


def encode_der(ciphertext: bytes) -> bytes:
    """Return the ASN.1 form of C1 || C3 || C2; raise `CryptoError` for what has not its form."""
    if len(ciphertext) <= SM2_CIPHERTEXT_BYTES_OVER or not ciphertext.startswith(_UNCOMPRESSED):
        raise _no_ciphertext()
    x, y, digest = (
        ciphertext[at : at + SM2_SCALAR_BYTES]
        for at in range(1, SM2_CIPHERTEXT_BYTES_OVER, SM2_SCALAR_BYTES)
    )
    return der.encode_sequence(
        der.encode_integer(int.from_bytes(x, "big")),
        der.encode_integer(int.from_bytes(y, "big")),
        der.encode(der.OCTET_STRING, digest),
        der.encode(der.OCTET_STRING, ciphertext[SM2_CIPHERTEXT_BYTES_OVER:]),
    )


def decode_der(encoded: bytes) -> bytes:
    """Return C1 || C3 || C2 of the ASN.1 form; raise `CryptoError` for anything else."""
    try:
        reader = der.read_only(encoded, der.SEQUENCE, "ciphertext")
        x, y = reader.read_integer(), reader.read_integer()
        digest, body = (reader.read(der.OCTET_STRING).content for _ in range(2))
        reader.finish()
        point = b"".join(each.to_bytes(SM2_SCALAR_BYTES, "big") for each in (x, y))
    except (DecodeError, OverflowError) as error:
        raise _no_ciphertext() from error
    if len(digest) != SM2_SCALAR_BYTES or not body:
        raise _no_ciphertext()
    return b"".join((_UNCOMPRESSED, point, digest, body))


def is_trivial(ciphertext: bytes, plaintext: bytes) -> bool:
    """Tell whether a ciphertext C1 || C3 || C2 holds its plaintext unmasked."""
    return ciphertext[SM2_CIPHERTEXT_BYTES_OVER:] == plaintext


def _no_ciphertext() -> CryptoError:
    return CryptoError("ciphertext: expected an SM2 ciphertext")
