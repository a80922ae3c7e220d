"""SM2 by the system's libcrypto (OpenSSL 3), through ctypes: no wheel of good health has it.

Keys are handles of the library, freed with the object; calls release the interpreter lock. The
signer's identity is always set, to the default one of GM/T 0009: without it OpenSSL hashes none,
which is another signature. Which release may sign is asked where keys are kept
(`libcrypto_release.py`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_size_t, c_ulong, c_void_p
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from node.crypto.sm2_library import (
    COMPRESSED,
    SIGNER_IDENTITY,
    SM2_POINT_BYTES,
    SM2_SCALAR_BYTES,
    Sm2Key,
    check_scalar,
    no_plaintext,
    no_point,
)
from node.errors import CryptoError

LIBCRYPTO: Final = "libcrypto.so.3"
_SIGNATURE_DER_BYTES_MAX: Final = 72
# SubjectPublicKeyInfo up to the point, and ECPrivateKey (RFC 5915) around the scalar, both naming
# the curve sm2p256v1 (1.2.156.10197.1.301).
_PUBLIC_HEAD: Final = bytes.fromhex("3039301306072a8648ce3d020106082a811ccf5501822d032200")
_PRIVATE_HEAD: Final = bytes.fromhex("30310201010420")
_PRIVATE_TAIL: Final = bytes.fromhex("a00a06082a811ccf5501822d")
_COORDINATES_BYTES: Final = 2 * SM2_SCALAR_BYTES


class Libcrypto:
    """The library, once it was found; raises `CryptoError` where it is not."""

    name = "libcrypto"

    def __init__(self) -> None:
        try:
            self._functions = _declared(ctypes.CDLL(LIBCRYPTO))
        except (OSError, AttributeError) as error:
            raise _failure() from error

    def load_point(self, point: bytes) -> Sm2Key:
        """Load a compressed point, 33 bytes; raise `CryptoError` for what is none of the curve."""
        if len(point) != SM2_POINT_BYTES or point[0] not in COMPRESSED:
            raise no_point()
        encoded = _PUBLIC_HEAD + point
        load = self._functions.d2i_PUBKEY
        pointer = load(None, byref(c_char_p(encoded)), len(encoded))
        if not pointer:
            self._functions.ERR_clear_error()
            raise no_point()
        return _Key(self._functions, pointer)

    def load_secret(self, secret: bytes) -> Sm2Key:
        """Load a private scalar, 32 bytes in 1..n-2, or raise `CryptoError`."""
        check_scalar(secret)
        encoded = _PRIVATE_HEAD + secret + _PRIVATE_TAIL
        load = self._functions.d2i_AutoPrivateKey
        pointer = load(None, byref(c_char_p(encoded)), len(encoded))
        if not pointer:
            raise _failure()
        return _Key(self._functions, pointer)

    def failure(self) -> CryptoError:
        """Return what is raised where it answers otherwise than the standard."""
        return _failure()

    def version(self) -> tuple[int, int, int]:
        """Return series and patch level of the release."""
        number = self._functions.OpenSSL_version_num()
        return number >> 28, number >> 20 & 0xFF, number >> 4 & 0xFF


class _Key:
    """A handle of the library; see `Sm2Key`."""

    __slots__ = ("_library", "_pointer")

    def __init__(self, library: Any, pointer: int) -> None:  # noqa: ANN401 - ctypes has no type for it
        self._library, self._pointer = library, pointer

    def __del__(self) -> None:
        self._library.EVP_PKEY_free(self._pointer)

    def coordinates(self) -> bytes:
        # A key is written as it was read, compressed or not, until told otherwise.
        form = self._library.EVP_PKEY_set_utf8_string_param
        if form(self._pointer, b"point-format", b"uncompressed") != 1:
            raise _failure()
        size = self._library.i2d_PUBKEY(self._pointer, None)
        encoded = ctypes.create_string_buffer(max(size, _COORDINATES_BYTES))
        self._library.i2d_PUBKEY(self._pointer, byref(c_void_p(ctypes.addressof(encoded))))
        return encoded.raw[size - _COORDINATES_BYTES : size]

    def verify(self, message: bytes, signature: bytes) -> bool:
        r, s = signature[:SM2_SCALAR_BYTES], signature[SM2_SCALAR_BYTES:]
        encoded = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
        library = self._library
        with _SigningContext(library, library.EVP_DigestVerifyInit, self._pointer) as context:
            size = len(encoded)
            return bool(
                library.EVP_DigestVerify(context, encoded, size, message, len(message)) == 1
            )

    def sign(self, message: bytes) -> bytes:
        library = self._library
        encoded = ctypes.create_string_buffer(_SIGNATURE_DER_BYTES_MAX)
        size = c_size_t(_SIGNATURE_DER_BYTES_MAX)
        with _SigningContext(library, library.EVP_DigestSignInit, self._pointer) as context:
            args = (context, encoded, byref(size), message, len(message))
            if library.EVP_DigestSign(*args) != 1:
                raise _failure()
        r, s = decode_dss_signature(encoded.raw[: size.value])
        return r.to_bytes(SM2_SCALAR_BYTES, "big") + s.to_bytes(SM2_SCALAR_BYTES, "big")

    def encrypt(self, plaintext: bytes) -> bytes:
        made = self._crypt("encrypt", plaintext)
        if made is None:
            raise _failure()
        return made

    def decrypt(self, ciphertext: bytes) -> bytes:
        made = self._crypt("decrypt", ciphertext)
        if made is None:
            raise no_plaintext()
        return made

    def _crypt(self, way: str, data: bytes) -> bytes | None:
        """Encrypt or decrypt, by SM3, the library's default for SM2; None where it refuses."""
        library = self._library
        context = library.EVP_PKEY_CTX_new(self._pointer, None)
        try:
            size = c_size_t()
            crypt = getattr(library, f"EVP_PKEY_{way}")
            if (
                getattr(library, f"EVP_PKEY_{way}_init")(context) != 1
                or crypt(context, None, byref(size), data, len(data)) != 1
            ):
                return None
            made = ctypes.create_string_buffer(max(size.value, 1))
            if crypt(context, made, byref(size), data, len(data)) != 1:
                return None
            return made.raw[: size.value]
        finally:
            library.EVP_PKEY_CTX_free(context)
            library.ERR_clear_error()


class _SigningContext:
    """A context of the library for one signature, begun with SM3 and the signer's identity."""

    __slots__ = ("_begin", "_key", "_library", "_pointer")

    def __init__(self, library: Any, begin: Any, key: int) -> None:  # noqa: ANN401 - as above
        self._library, self._begin, self._key = library, begin, key

    def __enter__(self) -> int:
        library, of_key = self._library, c_void_p()
        self._pointer = library.EVP_MD_CTX_new()
        has_begun = self._begin(self._pointer, byref(of_key), library.EVP_sm3(), None, self._key)
        size = len(SIGNER_IDENTITY)
        if has_begun != 1 or library.EVP_PKEY_CTX_set1_id(of_key, SIGNER_IDENTITY, size) != 1:
            library.EVP_MD_CTX_free(self._pointer)
            raise _failure()
        return int(self._pointer)

    def __exit__(self, *_: object) -> None:
        self._library.EVP_MD_CTX_free(self._pointer)


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """Return the library as ctypes has to know it; `AttributeError` where a function is missing."""
    text, out, size_out = c_char_p, POINTER(c_void_p), POINTER(c_size_t)
    signatures: dict[str, tuple[Any, ...]] = {
        "OpenSSL_version_num": (c_ulong,),
        "ERR_clear_error": (None,),
        "d2i_PUBKEY": (c_void_p, c_void_p, POINTER(c_char_p), c_long),
        "d2i_AutoPrivateKey": (c_void_p, c_void_p, POINTER(c_char_p), c_long),
        "i2d_PUBKEY": (c_int, c_void_p, out),
        "EVP_PKEY_free": (None, c_void_p),
        "EVP_PKEY_set_utf8_string_param": (c_int, c_void_p, text, text),
        "EVP_PKEY_CTX_new": (c_void_p, c_void_p, c_void_p),
        "EVP_PKEY_CTX_free": (None, c_void_p),
        "EVP_PKEY_CTX_set1_id": (c_int, c_void_p, text, c_int),
        "EVP_PKEY_encrypt_init": (c_int, c_void_p),
        "EVP_PKEY_encrypt": (c_int, c_void_p, c_void_p, size_out, text, c_size_t),
        "EVP_PKEY_decrypt_init": (c_int, c_void_p),
        "EVP_PKEY_decrypt": (c_int, c_void_p, c_void_p, size_out, text, c_size_t),
        "EVP_sm3": (c_void_p,),
        "EVP_MD_CTX_new": (c_void_p,),
        "EVP_MD_CTX_free": (None, c_void_p),
        "EVP_DigestVerifyInit": (c_int, c_void_p, out, c_void_p, c_void_p, c_void_p),
        "EVP_DigestVerify": (c_int, c_void_p, text, c_size_t, text, c_size_t),
        "EVP_DigestSignInit": (c_int, c_void_p, out, c_void_p, c_void_p, c_void_p),
        "EVP_DigestSign": (c_int, c_void_p, c_void_p, size_out, text, c_size_t),
    }
    declare(library, signatures)
    return library


def declare(library: ctypes.CDLL, signatures: Mapping[str, Sequence[Any]]) -> None:
    """Tell ctypes what functions return, and take; `AttributeError` for one that is missing."""
    for name, (answer, *arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = answer, arguments


def _failure() -> CryptoError:
    return CryptoError(
        "libcrypto: expected OpenSSL 3 that computes SM2 by the standard",
        fix="install OpenSSL 3 as the distribution has it (Debian: libssl3)",
    )
