"""SM2 by the system's libcrypto (OpenSSL 3), through ctypes: no wheel of good health has it.

Keys are handles of the library, freed with the object;
calls release the interpreter lock. The signer's identity is always set, to the default one of
GM/T 0009: without it OpenSSL hashes none, which is another signature. The library is tried with
known answers before its first use, and refused if it gives another. Which release may sign is asked
where keys are kept (`libcrypto_release.py`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_size_t, c_ulong, c_void_p
from functools import cache
from typing import Any, Final

from node.errors import CryptoError

SM2_POINT_BYTES: Final = 33
SM2_SCALAR_BYTES: Final = 32
SM2_ORDER: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123

LIBCRYPTO: Final = "libcrypto.so.3"
_SIGNER_IDENTITY: Final = b"1234567812345678"
_SIGNATURE_DER_BYTES_MAX: Final = 72
_COMPRESSED: Final = (2, 3)
# SubjectPublicKeyInfo up to the point, and ECPrivateKey (RFC 5915) around the scalar, both naming
# the curve sm2p256v1 (1.2.156.10197.1.301).
_PUBLIC_HEAD: Final = bytes.fromhex("3039301306072a8648ce3d020106082a811ccf5501822d032200")
_PRIVATE_HEAD: Final = bytes.fromhex("30310201010420")
_PRIVATE_TAIL: Final = bytes.fromhex("a00a06082a811ccf5501822d")
_COORDINATES_BYTES: Final = 2 * SM2_SCALAR_BYTES

# GB/T 32918.5-2017, the example over the recommended curve.
_KNOWN_KEY: Final = bytes.fromhex(
    "0309f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
)
_KNOWN_SECRET: Final = bytes.fromhex(
    "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8"
)
_KNOWN_MESSAGE: Final = b"message digest"
_KNOWN_SIGNATURE: Final = bytes.fromhex(
    "3046"
    "022100f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"
    "022100b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
)


class Sm2Handle:
    """A key of SM2 in the library, public or with its secret."""

    __slots__ = ("_library", "_pointer")

    def __init__(self, library: Any, pointer: int) -> None:  # noqa: ANN401 - ctypes has no type for it
        """Take over a pointer of the library."""
        self._library, self._pointer = library, pointer

    def __del__(self) -> None:
        self._library.EVP_PKEY_free(self._pointer)

    def point(self) -> bytes:
        """Return the public point in compressed form, 33 bytes."""
        size = self._library.i2d_PUBKEY(self._pointer, None)
        encoded = ctypes.create_string_buffer(max(size, _COORDINATES_BYTES))
        self._library.i2d_PUBKEY(self._pointer, byref(c_void_p(ctypes.addressof(encoded))))
        x_and_y = encoded.raw[size - _COORDINATES_BYTES : size]
        return bytes((_COMPRESSED[x_and_y[-1] & 1],)) + x_and_y[:SM2_SCALAR_BYTES]

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether a signature (DER) is this key's over `message`, hashed by SM3."""
        library = self._library
        with _Context(library, library.EVP_DigestVerifyInit, self._pointer) as context:
            size = len(signature)
            return bool(
                library.EVP_DigestVerify(context, signature, size, message, len(message)) == 1
            )

    def sign(self, message: bytes) -> bytes:
        """Return a signature (DER) over `message`; its nonce is drawn by the library."""
        library = self._library
        signature = ctypes.create_string_buffer(_SIGNATURE_DER_BYTES_MAX)
        size = c_size_t(_SIGNATURE_DER_BYTES_MAX)
        with _Context(library, library.EVP_DigestSignInit, self._pointer) as context:
            args = (context, signature, byref(size), message, len(message))
            if library.EVP_DigestSign(*args) != 1:
                raise _failure()
        return signature.raw[: size.value]


class _Context:
    """A context of the library for one signature, begun with SM3 and the signer's identity."""

    __slots__ = ("_begin", "_key", "_library", "_pointer")

    def __init__(self, library: Any, begin: Any, key: int) -> None:  # noqa: ANN401 - as above
        self._library, self._begin, self._key = library, begin, key

    def __enter__(self) -> int:
        library, of_key = self._library, c_void_p()
        self._pointer = library.EVP_MD_CTX_new()
        has_begun = self._begin(self._pointer, byref(of_key), library.EVP_sm3(), None, self._key)
        size = len(_SIGNER_IDENTITY)
        if has_begun != 1 or library.EVP_PKEY_CTX_set1_id(of_key, _SIGNER_IDENTITY, size) != 1:
            library.EVP_MD_CTX_free(self._pointer)
            raise _failure()
        return int(self._pointer)

    def __exit__(self, *_: object) -> None:
        self._library.EVP_MD_CTX_free(self._pointer)


def load_sm2_point(point: bytes) -> Sm2Handle:
    """Load a compressed point, 33 bytes; raise `CryptoError` for what is none of the curve."""
    return _load_point(_tried_library(), point)


def load_sm2_secret(secret: bytes) -> Sm2Handle:
    """Load a private scalar, 32 bytes in 1..n-2 (GB/T 32918.1), or raise `CryptoError`."""
    scalar = int.from_bytes(secret, "big")
    if len(secret) != SM2_SCALAR_BYTES or not 0 < scalar < SM2_ORDER - 1:
        raise CryptoError("private key: expected 32 bytes holding a scalar in 1..n-2")
    return _load_secret(_tried_library(), secret)


def _load_point(library: Any, point: bytes) -> Sm2Handle:  # noqa: ANN401 - as above
    if len(point) != SM2_POINT_BYTES or point[0] not in _COMPRESSED:
        raise CryptoError("public key: expected a compressed point of SM2")
    encoded = _PUBLIC_HEAD + point
    pointer = library.d2i_PUBKEY(None, byref(c_char_p(encoded)), len(encoded))
    if not pointer:
        library.ERR_clear_error()
        raise CryptoError("public key: expected a compressed point of SM2")
    return Sm2Handle(library, pointer)


def _load_secret(library: Any, secret: bytes) -> Sm2Handle:  # noqa: ANN401 - as above
    encoded = _PRIVATE_HEAD + secret + _PRIVATE_TAIL
    pointer = library.d2i_AutoPrivateKey(None, byref(c_char_p(encoded)), len(encoded))
    if not pointer:
        raise _failure()
    return Sm2Handle(library, pointer)


@cache
def _tried_library() -> Any:  # noqa: ANN401 - as above
    """Return the library, tried with known answers; raise `CryptoError` if one is wrong."""
    try:
        library = _declared(ctypes.CDLL(LIBCRYPTO))
    except (OSError, AttributeError) as error:
        raise _failure() from error
    key, own = _load_point(library, _KNOWN_KEY), _load_secret(library, _KNOWN_SECRET)
    answers = (
        own.point() == _KNOWN_KEY,
        key.verify(_KNOWN_MESSAGE, _KNOWN_SIGNATURE),
        not key.verify(_KNOWN_MESSAGE + b"!", _KNOWN_SIGNATURE),
        not key.verify(_KNOWN_MESSAGE, _KNOWN_SIGNATURE[:-1] + b"\xab"),
    )
    if not all(answers):
        raise _failure()
    return library


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """Return the library as ctypes has to know it; `AttributeError` where a function is missing."""
    text, out = c_char_p, POINTER(c_void_p)
    signatures: dict[str, tuple[Any, ...]] = {
        "OpenSSL_version_num": (c_ulong,),
        "ERR_clear_error": (None,),
        "d2i_PUBKEY": (c_void_p, c_void_p, POINTER(c_char_p), c_long),
        "d2i_AutoPrivateKey": (c_void_p, c_void_p, POINTER(c_char_p), c_long),
        "i2d_PUBKEY": (c_int, c_void_p, out),
        "EVP_PKEY_free": (None, c_void_p),
        "EVP_PKEY_CTX_set1_id": (c_int, c_void_p, text, c_int),
        "EVP_sm3": (c_void_p,),
        "EVP_MD_CTX_new": (c_void_p,),
        "EVP_MD_CTX_free": (None, c_void_p),
        "EVP_DigestVerifyInit": (c_int, c_void_p, out, c_void_p, c_void_p, c_void_p),
        "EVP_DigestVerify": (c_int, c_void_p, text, c_size_t, text, c_size_t),
        "EVP_DigestSignInit": (c_int, c_void_p, out, c_void_p, c_void_p, c_void_p),
        "EVP_DigestSign": (c_int, c_void_p, c_void_p, POINTER(c_size_t), text, c_size_t),
    }
    declare(library, signatures)
    return library


def declare(library: ctypes.CDLL, signatures: Mapping[str, Sequence[Any]]) -> None:
    """Tell ctypes what functions return, and take; `AttributeError` for one that is missing."""
    for name, (answer, *arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = answer, arguments


def libcrypto_version() -> tuple[int, int, int]:
    """Return its version; raise `CryptoError` where it cannot be used."""
    number = _tried_library().OpenSSL_version_num()
    return number >> 28, number >> 20 & 0xFF, number >> 4 & 0xFF


def _failure() -> CryptoError:
    return CryptoError(
        "libcrypto: expected OpenSSL 3 that computes SM2 by the standard",
        fix="install OpenSSL 3 as the distribution has it (Debian: libssl3)",
    )
