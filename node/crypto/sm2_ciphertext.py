"""The two forms of an SM2 ciphertext: C1 || C3 || C2, and the ASN.1 of GM/T 0009 section 7.2.

C1 is an uncompressed point, C3 a digest by SM3, C2 as long as the plaintext. (Old files hold
C1 || C2 || C3, by a draft of the standard: they are not read.) Decoding is strict: only DER, and
only what encoding gives.
"""

from __future__ import annotations

from typing import Final

from node.crypto.sm2_library import SM2_SCALAR_BYTES
from node.errors import CryptoError

SM2_CIPHERTEXT_BYTES_OVER: Final = 1 + 3 * SM2_SCALAR_BYTES
"""By how much a ciphertext C1 || C3 || C2 is longer than its plaintext."""

_UNCOMPRESSED: Final = b"\x04"
_SEQUENCE: Final = 0x30
_INTEGER: Final = 0x02
_OCTET_STRING: Final = 0x04
_LONG_FORM: Final = 0x80
_SIZE_BYTES_MAX: Final = 2


def encode_der(ciphertext: bytes) -> bytes:
    """Return the ASN.1 form of C1 || C3 || C2; raise `CryptoError` for what has not its form."""
    if len(ciphertext) <= SM2_CIPHERTEXT_BYTES_OVER or not ciphertext.startswith(_UNCOMPRESSED):
        raise CryptoError("ciphertext: expected C1 || C3 || C2 of SM2")
    x, y, digest = (
        ciphertext[1 + at : 1 + at + SM2_SCALAR_BYTES] for at in range(0, 96, SM2_SCALAR_BYTES)
    )
    body = ciphertext[SM2_CIPHERTEXT_BYTES_OVER:]
    return _element(
        _SEQUENCE,
        _element(_INTEGER, _shortest(x))
        + _element(_INTEGER, _shortest(y))
        + _element(_OCTET_STRING, digest)
        + _element(_OCTET_STRING, body),
    )


def decode_der(encoded: bytes) -> bytes:
    """Return C1 || C3 || C2 of the ASN.1 form; raise `CryptoError` for anything else."""
    sequence, _ = _content(encoded, 0, _SEQUENCE)
    at, parts = 0, []
    for tag in (_INTEGER, _INTEGER, _OCTET_STRING, _OCTET_STRING):
        content, at = _content(sequence, at, tag)
        parts.append(content)
    x, y = (number.lstrip(b"\0").rjust(SM2_SCALAR_BYTES, b"\0") for number in parts[:2])
    ciphertext = b"".join((_UNCOMPRESSED, x, y, *parts[2:]))
    sizes = (len(x), len(y), len(parts[2]))
    # Encoded again, what is not the shortest form, or is followed by more, is another.
    if sizes != (SM2_SCALAR_BYTES,) * 3 or encode_der(ciphertext) != encoded:
        raise _no_ciphertext()
    return ciphertext


def is_trivial(ciphertext: bytes, plaintext: bytes) -> bool:
    """Tell whether a ciphertext C1 || C3 || C2 holds its plaintext unmasked."""
    return ciphertext[SM2_CIPHERTEXT_BYTES_OVER:] == plaintext


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < _LONG_FORM:
        return bytes((tag, size)) + content
    length = size.to_bytes(-(-size.bit_length() // 8), "big")
    return bytes((tag, _LONG_FORM | len(length))) + length + content


def _shortest(number: bytes) -> bytes:
    """Return the content of an INTEGER, not negative."""
    shortest = number.lstrip(b"\0") or b"\0"
    return b"\0" + shortest if shortest[0] & 0x80 else shortest


def _content(data: bytes, at: int, tag: int) -> tuple[bytes, int]:
    """Return the content of the element that starts there, and where the next one does."""
    if data[at : at + 1] != bytes((tag,)) or len(data) < at + 2:
        raise _no_ciphertext()
    size, start = data[at + 1], at + 2
    if size >= _LONG_FORM:
        count = size & ~_LONG_FORM
        if not 0 < count <= _SIZE_BYTES_MAX:
            raise _no_ciphertext()
        size, start = int.from_bytes(data[start : start + count], "big"), start + count
    if start + size > len(data):
        raise _no_ciphertext()
    return data[start : start + size], start + size


def _no_ciphertext() -> CryptoError:
    return CryptoError("ciphertext: expected the DER of an SM2 ciphertext")
